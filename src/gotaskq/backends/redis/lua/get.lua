-- Look at jobs.
-- ARGV     2.. ids
-- Returns  a row an id; its record is false when there is no such job
-- Atomic because a job's record and its state are two keys.
local rows = {}
for place = 2, #ARGV do rows[#rows + 1] = row(ARGV[place]) end
return rows
