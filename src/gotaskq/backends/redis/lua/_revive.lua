-- What brings a dead job back; put before `replay` and `amend`, after the prelude.

-- Make a dead job PENDING on its own queue, with fresh counts; false where another job has its unique key by now.
local function revive(id, unique_key, nonce)
  if unique_key and call('HSETNX', base .. 'uk', unique_key, id) == 0 then return false end
  local key = job_key(id)
  local rank, queue = place_of(id)
  call('ZREM', base .. 'dlq', id)
  call('ZREM', base .. 'own', id)
  call('HINCRBY', counters, 'd:' .. queue, -1)
  call('HINCRBY', key, 'rp', 1)
  call('HDEL', key, 'rt', 'cr', 'rl', 'cx', 'uh', 'er', 'dr', 'st', 'fi', 'pg')
  call('HSET', key, 's', PENDING, 'ra', now, 'ua', now, 'rn', nonce, 'ry', now)
  watch(id, now, call('HGET', key, 'sx'))
  push_ready(queue, {rank, id})
  return true
end

