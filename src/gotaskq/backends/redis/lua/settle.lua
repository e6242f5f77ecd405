-- Carry out what was decided of running jobs (T4 to T7, T12), fenced by the nonce of the lease.
-- ARGV     2 terms of DONE and CANCELLED jobs  3 of DEAD jobs  then for each settlement five: kind, id, nonce, x, y
--          C complete: result ('' none) | R reschedule: delay_ms, failure | D dead-letter: reason, failure
--          | L release: delay_ms, unhandled ('1' or '') | X cancel; a failure is the error, and in further lines a traceback
-- Returns  a letter a settlement: O carried out, A already so, L the lease is lost, C cancelled instead of run again
-- Atomic because the check of the lease and the job's next place must be one step. A repeat answers A and does nothing.
local finished, dead, ready, left, counts = {}, {}, {}, {}, {}
local now_text = string.format('%.0f', now)  -- for every job: a number is made text anew in each call
local texts, changed = {}, {}  -- the states of the jobs that are settled, as they are by now, and who has another one
local read = {}  -- from the texts of running jobs: the state, and the text once it is DONE; the same for many jobs

local function count(name, by) counts[name] = (counts[name] or 0) + by end

local function error_of(failure) return string.match(failure, '^[^\n]*') end

local function read_once(text)
  local state = read[text] or read_state(text)
  read[text] = state
  return state
end

local function change(id, text) texts[id], changed[#changed + 1] = text, id end

-- End the attempt: the lease is let go of.
local function leave(id, status, state)
  state.status, state.nonce, state.settled, state.updated = status, '', state.nonce, now_text
  if status ~= PENDING then state.finished = now_text end
  return change(id, write_state(state))
end

local function run_again(id, state, delay_ms)
  state.due = now + delay_ms
  leave(id, PENDING, state)
  call('HDEL', trail_key(id), 'pg')
  watch(id, state.due, state.schedule_ms)
  if delay_ms ~= '0' then return schedule(state.queue, id, state.due) end
  local entries = ready[state.queue] or {}
  entries[#entries + 1], entries[#entries + 2] = place_of(id), id
  ready[state.queue] = entries
end

local function filed(id, unique_key, counter)
  let_go(id, unique_key)
  finished[#finished + 1] = id
  count(counter, 1)
end

local carry_out = {
  D = function(id, state, reason, failure)
    if reason == 'expired' then  -- taken only to find that it is too late: that was no attempt
      call('HSET', trail_key(id), 'dr', reason, 'er', error_of(failure))
      state.attempt = state.attempt - 1
    else
      call('HSET', trail_key(id), 'dr', reason, 'er', error_of(failure), failed(state, failure))
    end
    leave(id, DEAD, state)
    let_go(id, state.unique_key)
    dead[#dead + 1] = id
    count('dead', 1)
  end,
  R = function(id, state, delay_ms, failure)
    call('HSET', trail_key(id), 'er', error_of(failure), failed(state, failure))
    call('HDEL', trail_key(id), 'uh')
    call('HINCRBY', trail_key(id), 'rt', 1)
    run_again(id, state, delay_ms)
    count('retry', 1)
  end,
  L = function(id, state, delay_ms, unhandled)
    if unhandled == '1' then
      call('HSETNX', trail_key(id), 'uh', now_text)
    else
      call('HDEL', trail_key(id), 'uh')
    end
    call('HINCRBY', trail_key(id), 'rl', 1)
    state.attempt = state.attempt - 1
    run_again(id, state, delay_ms)
    count('release', 1)
  end,
  X = function(id, state)
    leave(id, CANCELLED, state)
    filed(id, state.unique_key, 'cancel')
  end,
}

-- What most settlements are, so the state that follows is worked out once for all jobs of one reservation.
local function complete(id, lease, result)
  if not lease.done then
    local state = read_state(texts[id])
    leave(id, DONE, state)
    lease.done = texts[id]
  else
    change(id, lease.done)
  end
  if result ~= '' then texts[id] = lease.done .. '\0' .. result end
  filed(id, lease.unique_key, 'done')
end

local function settle(kind, id, nonce, x, y)
  local lease = texts[id] and read_once(texts[id])
  if not lease or lease.status ~= RUNNING or lease.nonce ~= nonce then
    local is_repeat = lease and lease.settled == nonce
    count(is_repeat and 'dup' or 'lost', 1)
    return is_repeat and 'A' or 'L'
  end
  if kind == 'X' and lease.is_cancel_requested ~= '1' then return 'L' end  -- nobody asked for its end
  left[#left + 1] = id
  count('r:' .. lease.queue, -1)
  if kind == 'C' then
    complete(id, lease, x)
    return 'O'
  end
  local is_ended = lease.is_cancel_requested == '1' and (kind == 'R' or kind == 'L')
  carry_out[is_ended and 'X' or kind](id, read_state(texts[id]), x, y)
  return is_ended and 'C' or 'O'
end

local ids, keys = {}, {}
for first = 4, #ARGV, 5 do
  ids[#ids + 1], keys[#keys + 1] = ARGV[first + 1], state_key(ARGV[first + 1])
end
for place, text in ipairs(call('MGET', unpack(keys))) do texts[ids[place]] = text end
local replies = {}
for first = 4, #ARGV, 5 do
  replies[#replies + 1] = settle(unpack(ARGV, first, first + 4))
end
if #changed > 0 then
  local states = {}
  for place, id in ipairs(changed) do states[2 * place - 1], states[2 * place] = state_key(id), texts[id] end
  call('MSET', unpack(states))
  call('ZREM', run, unpack(left))
end
if #finished > 0 then finish(finished, ARGV[2]) end
if #dead > 0 then bury(dead, ARGV[3]) end
for queue, entries in pairs(ready) do push_ready(queue, entries) end
for name, by in pairs(counts) do call('HINCRBY', counters, name, by) end
return table.concat(replies)
