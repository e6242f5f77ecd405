-- Words that all scripts share; put before each of them.
-- KEYS[1]  the partition's `meta` key; every other key of the partition begins with the same base, so shares its slot
-- KEYS[2]  a key that never exists: while the slot is moved key by key, no script runs on a part of the partition
-- ARGV[1]  '' or, for a test's store alone, the instant to take for now
local call = redis.call
local meta = KEYS[1]
local base = string.sub(meta, 1, -5)
local partition = tonumber(string.match(base, '{(%d+)'))
local counters, run, ids_index, patience = base .. 'st', base .. 'run', base .. 'ids', base .. 'exp'
local PENDING, RUNNING, DONE, DEAD, CANCELLED = 'P', 'R', 'D', 'X', 'C'

local function instant()
  if ARGV[1] ~= '' and string.sub(base, 1, 7) == 'gtqtest' then return tonumber(ARGV[1]) end
  local time = call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
local now = instant()

local function body_key(id) return base .. 'b:' .. id end
local function state_key(id) return base .. 's:' .. id end
local function trail_key(id) return base .. 't:' .. id end
local function ready_key(queue) return base .. 'rdy:' .. queue end
local function scheduled_key(queue) return base .. 'dly:' .. queue end

-- The rank and the queue of a job, from the head of its record; nil when the job is gone.
local function place_of(id)
  local head = call('GETRANGE', body_key(id), 0, 511)
  return string.match(head, '^(%d+)\t%d+\t[^\t]*\t[^\t]*\t([^\t]*)\t')
end

-- A job's state is a text: thirteen words with tabs between them, then for a result a NUL and the result. There is none
-- until something happens to the job. One text, since jobs of one reservation have the same: then a script works out once
-- what becomes of them, and reads and writes a batch of them in two calls (docs/decisions/0045-a-state-is-one-text.md).
local function read_state(text)
  local state, word = {}, string.gmatch(text, '([^%z\t]*)[%z\t]?')
  state.status, state.attempt, state.nonce, state.settled, state.worker = word(), word(), word(), word(), word()
  state.queue, state.started, state.updated, state.due, state.finished = word(), word(), word(), word(), word()
  state.is_cancel_requested, state.schedule_ms, state.unique_key = word(), word(), word()
  return state
end

local function write_state(state)
  return table.concat({
    state.status, state.attempt or '', state.nonce or '', state.settled or '', state.worker or '', state.queue or '',
    state.started or '', state.updated or '', state.due or '', state.finished or '',
    state.is_cancel_requested or '', state.schedule_ms or '', state.unique_key or '',
  }, '\t')
end

-- The state of a job, and whether anything has happened to it.
local function state_of(id)
  local text = call('GET', state_key(id))
  if not text then return {status = PENDING}, false end
  return read_state(text), true
end

local function keep_state(id, state) call('SET', state_key(id), write_state(state)) end

-- A job as it stands: its record (false when gone), and if something has happened to it its state and its trail.
local function row(id)
  local record, text = unpack(call('MGET', body_key(id), state_key(id)))
  if not text then return {id, record} end
  return {id, record, text, call('HGETALL', trail_key(id))}
end

-- How many bytes a row brings, so that a reply can be kept small.
local function size_of(seen)
  local bytes = #(seen[2] or '') + #(seen[3] or '')
  for _, word in ipairs(seen[4] or {}) do bytes = bytes + #word end
  return bytes
end

-- Remember until when a job that is due at an instant may wait, if it must not wait for ever.
local function watch(id, due_ms, schedule_ms)
  if (schedule_ms or '') ~= '' then call('ZADD', patience, due_ms + schedule_ms, id) end
end

local function wake(queue) call('PUBLISH', string.match(base, '^(.-){') .. 'wake', queue) end

-- Make jobs ready; who knows how many of the queue were ready before says so.
local function push_ready(queue, ranks_and_ids, before)
  local key = ready_key(queue)
  local was_empty = (before or call('EXISTS', key)) == 0
  call('ZADD', key, unpack(ranks_and_ids))
  if was_empty then wake(queue) end
end

local function schedule(queue, id, due_ms)
  local key = scheduled_key(queue)
  local head = call('ZRANGE', key, 0, 0, 'WITHSCORES')
  call('ZADD', key, due_ms, id)
  if not head[2] or due_ms < tonumber(head[2]) then wake(queue) end
end

-- Move what is due of a queue to its ready jobs, at most `limit`; return how many.
local function promote(queue, limit)
  local due = call('ZRANGEBYSCORE', scheduled_key(queue), '-inf', now, 'LIMIT', 0, limit)
  if #due == 0 then return 0 end
  local ready = {}
  for _, id in ipairs(due) do
    local rank = place_of(id)
    if rank then ready[#ready + 1], ready[#ready + 2] = rank, id end
  end
  call('ZREM', scheduled_key(queue), unpack(due))
  if #ready > 0 then push_ready(queue, ready) end
  return #due
end
