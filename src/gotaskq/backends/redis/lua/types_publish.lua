-- Remember what a process says of the job types it runs; forget what nobody has said for long, and what is too much.
-- ARGV     2 for how many ms it is remembered  3 how many are  then for each: its digest, its body
-- Returns  how many are remembered
-- Atomic so that each digest that is listed has its body.
local ttl_ms, most = tonumber(ARGV[2]), tonumber(ARGV[3])
for place = 4, #ARGV, 2 do
  call('HSET', type_bodies, ARGV[place], ARGV[place + 1])
  call('ZADD', type_ages, now, ARGV[place])
end
local gone = call('ZRANGEBYSCORE', type_ages, '-inf', now - ttl_ms)
local excess = call('ZCARD', type_ages) - #gone - most
if excess > 0 then
  for _, digest in ipairs(call('ZRANGE', type_ages, #gone, #gone + excess - 1)) do gone[#gone + 1] = digest end
end
if #gone > 0 then
  call('ZREM', type_ages, unpack(gone))
  call('HDEL', type_bodies, unpack(gone))
end
return call('ZCARD', type_ages)
