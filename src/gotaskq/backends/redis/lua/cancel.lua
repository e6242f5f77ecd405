-- Cancel a waiting job (T10), ask the holder of a running one (T11), leave one that has ended.
-- ARGV     2 id  3 terms of DONE and CANCELLED jobs
-- Returns  the job's row as it is then; its record is false when there is none
-- Publishes '!' and the id of a running job, so that its holder hears at once; again each time somebody asks.
-- Atomic because a job must not be given out between the look and the mark.
local id = ARGV[2]
local _, queue = place_of(id)
if not queue then return {id, false} end
local state = state_of(id)
if state.status == PENDING then
  call('ZREM', ready_key(queue), id)
  call('ZREM', scheduled_key(queue), id)
  call('ZREM', patience, id)
  state.status, state.finished, state.updated, state.queue = CANCELLED, now, now, queue
  keep_state(id, state)
  call('HINCRBY', counters, 'cancel', 1)
  let_go(id, state.unique_key)
  local cancelled = row(id)
  finish({id}, ARGV[3])
  return cancelled
end
if state.status == RUNNING then
  if state.is_cancel_requested ~= '1' then
    state.is_cancel_requested, state.updated = '1', now
    keep_state(id, state)
  end
  wake('!' .. id)  -- no queue's name begins so
end
return row(id)
