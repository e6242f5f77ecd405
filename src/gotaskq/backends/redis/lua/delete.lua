-- Delete jobs that have ended (T14).
-- ARGV     2 nonce  3 only those in this state ('' any that has ended)  4.. ids
-- Returns  how many; for the nonce of the last deletion what it returned, since its jobs can no longer say
-- Atomic because a job must not be replayed between the look and its end.
local nonce = ARGV[2]
local last = string.match(call('HGET', meta, 'del') or '', '^' .. nonce .. ' (%d+)$')
if last then return tonumber(last) end
local deleted = 0
for place = 4, #ARGV do
  local id = ARGV[place]
  local status = call('GETRANGE', state_key(id), 0, 0)
  if ARGV[3] == '' or ARGV[3] == status then
    if status == DEAD then
      forget_dead({id})
      deleted = deleted + 1
    elseif status == DONE or status == CANCELLED then
      forget_done({id})
      deleted = deleted + 1
    end
  end
end
if deleted > 0 then call('HSET', meta, 'del', nonce .. ' ' .. deleted) end
return deleted
