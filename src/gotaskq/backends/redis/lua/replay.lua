-- Make dead jobs PENDING again, on their own queue, with fresh counts (T13); pass over what is not DEAD.
-- ARGV     2.. ids
-- Returns  a row a job replayed
-- Atomic because two callers must not both replay it.
local rows = {}
for place = 2, #ARGV do
  local id = ARGV[place]
  local key = job_key(id)
  if call('HGET', key, 's') == DEAD then
    local rank, queue = place_of(id)
    call('ZREM', base .. 'dlq', id)
    call('HINCRBY', counters, 'd:' .. queue, -1)
    call('HINCRBY', key, 'rp', 1)
    call('HDEL', key, 'rt', 'cr', 'rl', 'cx', 'uh', 'er', 'dr', 'st', 'fi')
    call('HSET', key, 's', PENDING, 'ra', now, 'ua', now)
    push_ready(queue, {rank, id})
    rows[#rows + 1] = row(id)
  end
end
return rows
