-- Delete waiting jobs of a queue, those that are due first, at most `limit`.
-- ARGV     2 nonce  3 queue  4 limit
-- Returns  how many; for the nonce of the last purge what it returned, since its jobs can no longer say
-- Atomic because a job must not be given out between the look and its end.
local nonce, queue, limit = ARGV[2], ARGV[3], tonumber(ARGV[4])
local last = string.match(call('HGET', meta, 'prg') or '', '^' .. nonce .. ' (%d+)$')
if last then return tonumber(last) end

local function purge(key, most)
  if most == 0 then return 0 end
  local ids = call('ZRANGE', key, 0, most - 1)
  if #ids > 0 then
    call('ZREM', key, unpack(ids))
    call('ZREM', patience, unpack(ids))
    for _, id in ipairs(ids) do let_go(id, state_of(id).unique_key) end
    forget(ids)
  end
  return #ids
end

local purged = purge(ready_key(queue), limit)
purged = purged + purge(scheduled_key(queue), limit - purged)
if purged > 0 then call('HSET', meta, 'prg', nonce .. ' ' .. purged) end
return purged
