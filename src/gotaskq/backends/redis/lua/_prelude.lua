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
local function job_key(id) return base .. 'j:' .. id end
-- Where a notice board keeps when each key was said last, the digests of what was said, and the bodies.
local function board_keys(name)
  local key = base .. 'nb:' .. name
  return key, key .. ':d', key .. ':b'
end
local function ready_key(queue) return base .. 'rdy:' .. queue end
local function scheduled_key(queue) return base .. 'dly:' .. queue end

-- The rank and the queue of a job, from the head of its record; nil when the job is gone.
local function place_of(id)
  local head = call('GETRANGE', body_key(id), 0, 511)
  return string.match(head, '^(%d+)\t%d+\t[^\t]*\t[^\t]*\t([^\t]*)\t')
end

-- A job as it stands: its record (false when gone) and its state, empty while nothing has touched it.
local function row(id) return {id, call('GET', body_key(id)), call('HGETALL', job_key(id))} end

-- How many bytes a row brings, so that a reply can be kept small.
local function size_of(seen)
  local bytes = #(seen[2] or '')
  for _, word in ipairs(seen[3]) do bytes = bytes + #word end
  return bytes
end

-- The field and the value that keep how a job's attempt failed: an error, and a traceback in the lines after it.
-- Attempts that fail have consecutive numbers, so their number modulo five keeps the last five of them.
local function failed(key, failure)
  local number, started, worker = unpack(call('HMGET', key, 'at', 'st', 'ow'))
  return 'h' .. number % 5, table.concat({number, started, now, worker, failure}, '\t')
end

-- Remember until when a job that is due at an instant may wait, if it must not wait for ever.
local function watch(id, due_ms, schedule_ms)
  if schedule_ms then call('ZADD', patience, due_ms + schedule_ms, id) end
end

local function wake(queue) call('PUBLISH', string.match(base, '^(.-){') .. 'wake', queue) end

local function push_ready(queue, ranks_and_ids)
  local key = ready_key(queue)
  local was_empty = call('EXISTS', key) == 0
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

-- Free the unique key of a job that has ended, if it had one.
local function let_go(id, unique_key)
  if unique_key and call('HGET', base .. 'uk', unique_key) == id then call('HDEL', base .. 'uk', unique_key) end
end

-- The first of `count` stamps: they order ends and deaths, those of one millisecond too, across partitions.
local function stamps(count)
  local first = math.max((tonumber(call('HGET', meta, 'stamp')) or 0) + 64, now * 4096 + partition)
  call('HSET', meta, 'stamp', string.format('%.0f', first + (count - 1) * 64))
  return first
end

-- File jobs in the order they ended, and return how many may be there. `terms` is that number, then for each queue that
-- keeps its jobs for a time of its own a space, its name, '=' and the ms; its jobs are filed by when they go, too.
local function file_by_stamp(key, ids, terms)
  local scores, first = {}, stamps(#ids)
  for place, id in ipairs(ids) do
    scores[2 * place - 1], scores[2 * place] = string.format('%.0f', first + (place - 1) * 64), id
  end
  call('ZADD', key, unpack(scores))
  local most = tonumber(terms)
  if most then return most end
  for _, id in ipairs(ids) do
    local _, last = string.find(terms, ' ' .. call('HGET', job_key(id), 'q') .. '=', 1, true)
    if last then call('ZADD', base .. 'own', now + string.match(terms, '^%d+', last + 1), id) end
  end
  return tonumber(string.match(terms, '^%d+'))
end

-- Drop jobs that have ended from the store, whatever still names them.
local function forget(ids)
  local keys = {}
  for _, id in ipairs(ids) do keys[#keys + 1], keys[#keys + 2] = body_key(id), job_key(id) end
  call('UNLINK', unpack(keys))
  call('ZREM', ids_index, unpack(ids))
end

local function forget_done(ids)
  call('ZREM', base .. 'fin', unpack(ids))
  call('ZREM', base .. 'own', unpack(ids))
  forget(ids)
end

local function forget_dead(ids)
  for _, id in ipairs(ids) do
    call('HINCRBY', counters, 'd:' .. call('HGET', job_key(id), 'q'), -1)
  end
  call('ZREM', base .. 'dlq', unpack(ids))
  call('ZREM', base .. 'own', unpack(ids))
  forget(ids)
end

-- File jobs that are DONE or CANCELLED and whose state says which queue they are of; of too many the first to have ended
-- go.
local function finish(ids, terms)
  local most = file_by_stamp(base .. 'fin', ids, terms)
  local excess = call('ZCARD', base .. 'fin') - most
  if excess > 0 then forget_done(call('ZRANGE', base .. 'fin', 0, math.min(excess, 500) - 1)) end
end

-- File jobs that are DEAD and whose state says which queue they are of; of too many the first to have died go.
local function bury(ids, terms)
  for _, id in ipairs(ids) do call('HINCRBY', counters, 'd:' .. call('HGET', job_key(id), 'q'), 1) end
  local most = file_by_stamp(base .. 'dlq', ids, terms)
  local excess = call('ZCARD', base .. 'dlq') - most
  if excess > 0 then forget_dead(call('ZRANGE', base .. 'dlq', 0, math.min(excess, 500) - 1)) end
end

