-- Carry out what was decided of running jobs (T4 to T7, T12), fenced by the nonce of the lease.
-- ARGV     2 terms of DONE and CANCELLED jobs  3 of DEAD jobs  then for each settlement five: kind, id, nonce, x, y
--          C complete: result ('' none) | R reschedule: delay_ms, failure | D dead-letter: reason, failure
--          | L release: delay_ms, unhandled ('1' or '') | X cancel; a failure is the error, and in further lines a traceback
-- Returns  a letter a settlement: O carried out, A already so, L the lease is lost, C cancelled instead of run again
-- Atomic because the check of the lease and the job's next place must be one step. A repeat answers A and does nothing.
local finished, dead, ready, left, counts = {}, {}, {}, {}, {}
local now_text = string.format('%.0f', now)  -- for every job: a number is made text anew in each call

local function count(name, by) counts[name] = (counts[name] or 0) + by end

local function error_of(failure) return string.match(failure, '^[^\n]*') end

-- End the attempt: the lease is let go of, and the job's state is what follows; one call, most of what a settlement costs.
local function leave(job, ...)
  call('HSET', job.key, 'tk', '', 'lt', job.nonce, 'ua', now_text, ...)
end

local function run_again(id, queue, delay_ms)
  call('HDEL', job_key(id), 'pg')
  watch(id, now + delay_ms, call('HGET', job_key(id), 'sx'))
  if delay_ms ~= '0' then return schedule(queue, id, now + delay_ms) end
  local entries = ready[queue] or {}
  entries[#entries + 1], entries[#entries + 2] = place_of(id), id
  ready[queue] = entries
end

local function filed(id, job, counter)
  if job.unique_key then let_go(id, job.unique_key) end
  finished[#finished + 1] = id
  count(counter, 1)
end

local carry_out = {
  C = function(id, job, result)
    if result == '' then
      leave(job, 's', DONE, 'fi', now_text)
    else
      leave(job, 's', DONE, 'fi', now_text, 're', result)
    end
    filed(id, job, 'done')
  end,
  X = function(id, job)
    leave(job, 's', CANCELLED, 'fi', now_text)
    filed(id, job, 'cancel')
  end,
  D = function(id, job, reason, failure)
    leave(job, 's', DEAD, 'fi', now_text, 'dr', reason, 'er', error_of(failure))
    if reason == 'expired' then  -- taken only to find that it is too late: that was no attempt
      call('HINCRBY', job.key, 'at', -1)
    else
      call('HSET', job.key, failed(job.key, failure))
    end
    let_go(id, job.unique_key)
    dead[#dead + 1] = id
    count('dead', 1)
  end,
  R = function(id, job, delay_ms, failure)
    leave(job, 's', PENDING, 'ra', now + delay_ms, 'er', error_of(failure), 'uh', '', failed(job.key, failure))
    call('HINCRBY', job.key, 'rt', 1)
    run_again(id, job.queue, delay_ms)
    count('retry', 1)
  end,
  L = function(id, job, delay_ms, unhandled)
    local since = unhandled == '1' and (job.unhandled_since ~= '' and job.unhandled_since or now) or ''
    leave(job, 's', PENDING, 'ra', now + delay_ms, 'uh', since)
    call('HINCRBY', job.key, 'at', -1)
    call('HINCRBY', job.key, 'rl', 1)
    run_again(id, job.queue, delay_ms)
    count('release', 1)
  end,
}

local function settle(kind, id, nonce, x, y)
  local key = job_key(id)
  local state = call('HMGET', key, 's', 'tk', 'lt', 'cx', 'q', 'uh', 'uq')
  if state[1] ~= RUNNING or state[2] ~= nonce then
    count(state[3] == nonce and 'dup' or 'lost', 1)
    return state[3] == nonce and 'A' or 'L'
  end
  if kind == 'X' and state[4] ~= '1' then return 'L' end  -- nobody asked for its end
  local job = {key = key, nonce = nonce, queue = state[5], unhandled_since = state[6] or '', unique_key = state[7]}
  left[#left + 1] = id
  count('r:' .. job.queue, -1)
  if state[4] == '1' and (kind == 'R' or kind == 'L') then
    carry_out.X(id, job)
    return 'C'
  end
  carry_out[kind](id, job, x, y)
  return 'O'
end

local replies = {}
for first = 4, #ARGV, 5 do
  replies[#replies + 1] = settle(unpack(ARGV, first, first + 4))
end
if #left > 0 then call('ZREM', run, unpack(left)) end
if #finished > 0 then finish(finished, ARGV[2]) end
if #dead > 0 then bury(dead, ARGV[3]) end
for queue, entries in pairs(ready) do push_ready(queue, entries) end
for name, by in pairs(counts) do call('HINCRBY', counters, name, by) end
return table.concat(replies)
