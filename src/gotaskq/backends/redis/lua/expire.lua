-- Give up jobs that waited for longer than they may (T15): DEAD, as expired.
-- ARGV     2 limit  3 terms of DEAD jobs
-- Returns  a row a job given up
-- Atomic because a job must not be given out between the look and its end.
local MOST_BYTES = 4194304  -- in one reply; what is left expires with the next call
local rows, dead = {}, {}

local function expire(id)
  local _, queue = place_of(id)
  if not queue then
    call('HINCRBY', counters, 'corrupt', 1)
    return 0
  end
  call('ZREM', ready_key(queue), id)
  call('ZREM', scheduled_key(queue), id)
  local state = state_of(id)
  let_go(id, state.unique_key)
  state.status, state.finished, state.updated, state.queue = DEAD, now, now, queue
  keep_state(id, state)
  local error = 'not started within ' .. state.schedule_ms .. ' ms of being due'
  call('HSET', trail_key(id), 'dr', 'expired', 'er', error)
  dead[#dead + 1] = id
  local expired = row(id)
  rows[#rows + 1] = expired
  return size_of(expired)
end

local bytes = 0
for _, id in ipairs(call('ZRANGEBYSCORE', patience, '-inf', '(' .. now, 'LIMIT', 0, ARGV[2])) do
  if bytes >= MOST_BYTES then break end
  call('ZREM', patience, id)
  bytes = bytes + expire(id)
end
if #dead > 0 then
  call('HINCRBY', counters, 'dead', #dead)
  bury(dead, ARGV[3])
end
return rows
