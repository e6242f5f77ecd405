-- What brings a dead job back; put before `replay` and `amend`, after the prelude.

-- Make a dead job PENDING on its own queue, with fresh counts; false where another job has its unique key by now.
local function revive(id, state, nonce)
  local unique_key = state.unique_key
  if unique_key ~= '' and call('HSETNX', base .. 'uk', unique_key, id) == 0 then return false end
  local rank, queue = place_of(id)
  call('ZREM', base .. 'dlq', id)
  call('ZREM', base .. 'own', id)
  call('HINCRBY', counters, 'd:' .. queue, -1)
  local trail = trail_key(id)
  call('HINCRBY', trail, 'rp', 1)
  call('HDEL', trail, 'rt', 'cr', 'rl', 'uh', 'er', 'dr', 'pg')
  call('HSET', trail, 'rn', nonce, 'ry', now)
  state.status, state.due, state.updated = PENDING, now, now
  state.is_cancel_requested, state.started, state.finished = '', '', ''
  keep_state(id, state)
  watch(id, now, state.schedule_ms)
  push_ready(queue, {rank, id})
  return true
end

