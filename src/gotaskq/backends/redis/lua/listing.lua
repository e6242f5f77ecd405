-- Look at jobs in order: the newest first, or of the dead the latest death first.
-- ARGV     2 'ids' or 'dlq'  3 from behind this one ('' from the start)  4 how many
-- Returns  for each, its place (an id or a stamp) and its row
-- Atomic because a job's record and its state are two keys.
local places, rows = {}, {}
if ARGV[2] == 'ids' then
  local from = ARGV[3] == '' and '+' or '(' .. ARGV[3]
  for _, id in ipairs(call('ZREVRANGEBYLEX', ids_index, from, '-', 'LIMIT', 0, ARGV[4])) do
    places[#places + 1], places[#places + 2] = id, id
  end
else
  local from = ARGV[3] == '' and '+inf' or '(' .. ARGV[3]
  local found = call('ZREVRANGEBYSCORE', base .. 'dlq', from, '-inf', 'WITHSCORES', 'LIMIT', 0, ARGV[4])
  for first = 1, #found, 2 do
    places[#places + 1], places[#places + 2] = string.format('%.0f', found[first + 1]), found[first]
  end
end
for first = 1, #places, 2 do
  rows[#rows + 1], rows[#rows + 2] = places[first], row(places[first + 1])
end
return rows
