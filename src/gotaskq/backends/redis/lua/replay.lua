-- Make dead jobs PENDING again, on their own queue, with fresh counts (T13); pass over what is not DEAD, or has a unique
-- key that another job has by now.
-- ARGV     2 nonce  3.. ids
-- Returns  a row a job replayed; for the same nonce again the same jobs, as they are by then
-- Atomic because two callers must not both replay it.
local nonce, rows, seen = ARGV[2], {}, {}

local function take_again(id, unique_key)
  return not unique_key or call('HSETNX', base .. 'uk', unique_key, id) == 1
end

for place = 3, #ARGV do
  local id = ARGV[place]
  local key = job_key(id)
  local state = call('HMGET', key, 's', 'rn', 'uq')
  if state[2] == nonce then
    if not seen[id] then rows[#rows + 1] = row(id) end
  elseif state[1] == DEAD and take_again(id, state[3]) then
    local rank, queue = place_of(id)
    call('ZREM', base .. 'dlq', id)
    call('ZREM', base .. 'own', id)
    call('HINCRBY', counters, 'd:' .. queue, -1)
    call('HINCRBY', key, 'rp', 1)
    call('HDEL', key, 'rt', 'cr', 'rl', 'cx', 'uh', 'er', 'dr', 'st', 'fi', 'pg')
    call('HSET', key, 's', PENDING, 'ra', now, 'ua', now, 'rn', nonce)
    watch(id, now, call('HGET', key, 'sx'))
    push_ready(queue, {rank, id})
    rows[#rows + 1] = row(id)
  end
  seen[id] = true
end
return rows
