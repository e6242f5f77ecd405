-- Forget keys of a notice board now.
-- ARGV     2 the board  3.. the keys
-- Returns  how many were named
-- Atomic so that each key that is listed has its body.
local ages, digests, bodies = board_keys(ARGV[2])
for place = 3, #ARGV do
  call('ZREM', ages, ARGV[place])
  call('HDEL', digests, ARGV[place])
  call('HDEL', bodies, ARGV[place])
end
return #ARGV - 2
