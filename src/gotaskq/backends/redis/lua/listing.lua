-- Look at jobs in order: the newest first, or of the dead the latest death first.
-- ARGV     2 'ids' or 'dlq'  3 from behind this one ('' from the start)  4 how many  5 most bytes
--          6 down to this id ('' to the end); of the dead this is left out
-- Returns  '1' when the bytes were the limit, else '', then for each job its place (an id or a stamp) and its row
-- Atomic because a job's record and its state are two keys.
local places, replies, bytes = {}, {''}, 0
if ARGV[2] == 'ids' then
  local from = ARGV[3] == '' and '+' or '(' .. ARGV[3]
  local down_to = ARGV[6] == '' and '-' or '[' .. ARGV[6]
  for _, id in ipairs(call('ZREVRANGEBYLEX', ids_index, from, down_to, 'LIMIT', 0, ARGV[4])) do
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
  if bytes >= tonumber(ARGV[5]) then
    replies[1] = '1'
    break
  end
  local seen = row(places[first + 1])
  replies[#replies + 1], replies[#replies + 2] = places[first], seen
  bytes = bytes + size_of(seen)
end
return replies
