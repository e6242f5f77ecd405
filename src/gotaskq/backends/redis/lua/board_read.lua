-- Look at a notice board.
-- ARGV     2 the board  3 for how many ms it is remembered  4.. keys whose bodies are wanted
-- Returns  keys, each with how many ms ago it was said last; their digests; then the bodies that are wanted, false for
--          one that is gone
-- Atomic so that a body that is listed can be asked for; it changes nothing.
local ages, digests, bodies = board_keys(ARGV[2])
local said = call('ZRANGEBYSCORE', ages, '(' .. string.format('%.0f', now - ARGV[3]), '+inf', 'WITHSCORES')
local marks, wanted = {}, {}
for place = 2, #said, 2 do
  said[place] = math.max(now - said[place], 0)
  marks[#marks + 1] = call('HGET', digests, said[place - 1])
end
for place = 4, #ARGV do wanted[#wanted + 1] = call('HGET', bodies, ARGV[place]) end
return {said, marks, wanted}
