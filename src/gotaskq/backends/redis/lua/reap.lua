-- Take back jobs whose lease ran out (T8, T9): PENDING again, or DEAD at the `max_crashes`-th crash.
-- ARGV     2 limit  3 max_crashes  4 grace_ms (0: none)  5 terms of DONE and CANCELLED jobs  6 of DEAD jobs
-- Returns  a row a job taken back
-- Atomic because a job must change hands in one step; taking it clears its nonce, so its holder can never settle it.
-- Grace: when nobody has reaped for longer than `grace_ms`, or ever, the store or every worker was away, and leases ran out
-- without a fault of their holders; they get as long again to say that they are alive.
local MOST_BYTES = 4194304  -- in one reply; what is left lapses with the next call
local grace_ms, rows = tonumber(ARGV[4]), {}
if grace_ms > 0 then
  local beat, spared_until = unpack(call('HMGET', meta, 'hb', 'rnb'))
  call('HSET', meta, 'hb', now)
  if not beat or now - beat > grace_ms then
    spared_until = now + grace_ms
    call('HSET', meta, 'rnb', spared_until)
  end
  if spared_until and now < tonumber(spared_until) then return rows end
end

-- Jobs whose next crash would be the last come back apart, so that the one to blame ends the next worker alone.
-- The numbers are those of job.py.
local APART_MS, SPREAD_MS, LOST = 500, 30000, 'worker lost'
local finished, dead, ready, last_chances = {}, {}, {}, 0

local function run_again(id, state, crashes)
  local delay_ms = 0
  if crashes + 1 == tonumber(ARGV[3]) then
    delay_ms = math.min(last_chances * APART_MS, SPREAD_MS)
    last_chances = last_chances + 1
  end
  state.status, state.due = PENDING, now + delay_ms
  call('HSET', trail_key(id), failed(state, LOST))
  call('HDEL', trail_key(id), 'pg')
  watch(id, state.due, state.schedule_ms)
  if delay_ms > 0 then return schedule(state.queue, id, state.due) end
  local entries = ready[state.queue] or {}
  entries[#entries + 1], entries[#entries + 2] = place_of(id), id
  ready[state.queue] = entries
end

local function lapse(id)
  local state, is_known = state_of(id)
  if not is_known then return call('HINCRBY', counters, 'corrupt', 1) end
  local crashes = call('HINCRBY', trail_key(id), 'cr', 1)
  state.nonce, state.updated = '', now
  call('HINCRBY', counters, 'r:' .. state.queue, -1)
  call('HINCRBY', counters, 'crash', 1)
  if state.is_cancel_requested == '1' then
    state.status, state.finished = CANCELLED, now
    let_go(id, state.unique_key)
    finished[#finished + 1] = id
  elseif crashes < tonumber(ARGV[3]) then
    run_again(id, state, crashes)
  else
    state.status, state.finished = DEAD, now
    local error = 'worker lost: the lease ran out ' .. crashes .. ' times, last with ' .. state.worker
    call('HSET', trail_key(id), 'dr', 'worker_lost', 'er', error, failed(state, LOST))
    let_go(id, state.unique_key)
    dead[#dead + 1] = id
  end
  keep_state(id, state)
  local lapsed = row(id)
  rows[#rows + 1] = lapsed
  return size_of(lapsed)
end

local bytes = 0
for _, id in ipairs(call('ZRANGEBYSCORE', run, '-inf', '(' .. now, 'LIMIT', 0, ARGV[2])) do
  if bytes >= MOST_BYTES then break end
  call('ZREM', run, id)
  bytes = bytes + lapse(id)
end
if #finished > 0 then
  call('HINCRBY', counters, 'cancel', #finished)
  finish(finished, ARGV[5])
end
if #dead > 0 then
  call('HINCRBY', counters, 'dead', #dead)
  bury(dead, ARGV[6])
end
for queue, entries in pairs(ready) do push_ready(queue, entries) end
return rows
