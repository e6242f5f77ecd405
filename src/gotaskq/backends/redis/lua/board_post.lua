-- Remember what a process says on a notice board; forget what nobody has said for long, and what is too much.
-- ARGV     2 the board  3 for how many ms it is remembered  4 how many are  then for each: its key, digest and body
-- Returns  how many are remembered
-- Atomic so that each key that is listed has its body. All of it lapses by itself where nobody says anything any more.
local ages, digests, bodies = board_keys(ARGV[2])
local ttl_ms, most = tonumber(ARGV[3]), tonumber(ARGV[4])
for place = 5, #ARGV, 3 do
  call('ZADD', ages, now, ARGV[place])
  call('HSET', digests, ARGV[place], ARGV[place + 1])
  call('HSET', bodies, ARGV[place], ARGV[place + 2])
end
local gone = call('ZRANGEBYSCORE', ages, '-inf', now - ttl_ms)
local excess = call('ZCARD', ages) - #gone - most
if excess > 0 then
  for _, key in ipairs(call('ZRANGE', ages, #gone, #gone + excess - 1)) do gone[#gone + 1] = key end
end
if #gone > 0 then
  call('ZREM', ages, unpack(gone))
  call('HDEL', digests, unpack(gone))
  call('HDEL', bodies, unpack(gone))
end
for _, key in ipairs({ages, digests, bodies}) do call('PEXPIRE', key, ttl_ms) end
return call('ZCARD', ages)
