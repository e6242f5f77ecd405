-- Change a waiting job (T16), or a dead one that is replayed by the same step: when it is due, its rank, what its record
-- says; leave any other.
-- ARGV     2 nonce  3 id  then what changes, '' for what stays: 4 delay_ms  5 rank  6 priority  7 max_retries
--          8 execution_ms (0 none)  9 schedule_ms (0 none)  10 payload
--          11 '' or, for a dead job, how often it has come back
-- Returns  '1' when it was changed (by this call, or an earlier one with the nonce), else '', and the job's row; its record
--          is false when there is none
-- Atomic because a job must not be given out between the look and the change.
local nonce, id, delay_ms, rank, priority, retries, execution_ms, schedule_ms, payload, replays = unpack(ARGV, 2, 11)
local record = call('GET', body_key(id))
if not record then return {'', {id, false}} end
local state, trail = state_of(id), trail_key(id)
local last_nonce, times = unpack(call('HMGET', trail, 'an', 'rp'))
if last_nonce == nonce then return {'1', row(id)} end
if replays ~= '' then
  local is_meant = state.status == DEAD and (times or '0') == replays
  if not (is_meant and revive(id, state, nonce)) then return {'', row(id)} end
elseif state.status ~= PENDING then
  return {'', row(id)}
end

-- The record's parts before the payload: rank, instant, nonce, type, queue, priority, delay, retries, then rare ones.
local head_end = string.find(record, '\0', 1, true)
local parts = {}
for part in string.gmatch(string.sub(record, 1, head_end - 1) .. '\t', '([^\t]*)\t') do parts[#parts + 1] = part end
local queue = parts[5]

local function set(place, value) if value ~= '' then parts[place] = value end end

local function set_rare(letter, value)
  if value == '' then return end
  for place = #parts, 9, -1 do
    if string.sub(parts[place], 1, 1) == letter then table.remove(parts, place) end
  end
  if value ~= '0' then table.insert(parts, 9, letter .. value) end
end

set(1, rank)
set(6, priority)
set(8, retries)
set_rare('s', schedule_ms)
set_rare('t', execution_ms)
local body = payload ~= '' and payload or string.sub(record, head_end + 1)
call('SET', body_key(id), table.concat(parts, '\t') .. '\0' .. body)

state.due = delay_ms ~= '' and now + delay_ms or tonumber(state.due) or tonumber(parts[2])
state.updated = now
if schedule_ms ~= '' then state.schedule_ms = schedule_ms ~= '0' and schedule_ms or '' end
keep_state(id, state)
call('HSET', trail, 'an', nonce)
if delay_ms ~= '' then
  call('ZREM', ready_key(queue), id)
  call('ZREM', scheduled_key(queue), id)
  if delay_ms == '0' then push_ready(queue, {parts[1], id}) else schedule(queue, id, state.due) end
elseif rank ~= '' then
  call('ZADD', ready_key(queue), 'XX', rank, id)  -- one that is not due yet gets its rank when it is
end
call('ZREM', patience, id)
watch(id, state.due, state.schedule_ms)
return {'1', row(id)}
