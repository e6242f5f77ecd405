-- Move scheduled jobs that are due to ready, at most `limit`.
-- ARGV     2 limit  then the queues
-- Returns  how many
-- Atomic because a job must stand in one of the two, never in both or neither.
local promoted = 0
for place = 3, #ARGV do
  if promoted == tonumber(ARGV[2]) then break end
  promoted = promoted + promote(ARGV[place], ARGV[2] - promoted)
end
return promoted
