-- Cancel a waiting job (T10), ask the holder of a running one (T11), leave one that has ended.
-- ARGV     2 id  3 terms of DONE and CANCELLED jobs
-- Returns  the job's row as it is then; its record is false when there is none
-- Publishes '!' and the id of a running job, so that its holder hears at once; again each time somebody asks.
-- Atomic because a job must not be given out between the look and the mark.
local id = ARGV[2]
local key = job_key(id)
local _, queue = place_of(id)
if not queue then return {id, false, {}} end
local state = call('HGET', key, 's') or PENDING
if state == PENDING then
  call('ZREM', ready_key(queue), id)
  call('ZREM', scheduled_key(queue), id)
  call('ZREM', patience, id)
  call('HSET', key, 's', CANCELLED, 'fi', now, 'ua', now, 'q', queue)
  call('HINCRBY', counters, 'cancel', 1)
  let_go(id, call('HGET', key, 'uq'))
  local cancelled = row(id)
  finish({id}, ARGV[3])
  return cancelled
end
if state == RUNNING then
  if call('HGET', key, 'cx') ~= '1' then call('HSET', key, 'cx', 1, 'ua', now) end
  wake('!' .. id)  -- no queue's name begins so
end
return row(id)
