-- Lease due jobs (T2), going round the turns until `limit` are taken or none is left; the lowest rank first.
-- ARGV     2 nonce  3 worker  4 lease_ms  5 limit  6 most bytes  then for each turn: queue, take
-- Returns  now, '1' for a repeat or '', then a row a job with its state as it was before (a repeat: as it is)
-- Atomic because a job must leave its queue and get its lease in one step. The same worker and nonce again get the same
-- jobs, as far as they still hold them: else a lost reply would strand them for a lease.
local nonce, worker, lease_ms, limit, most_bytes = ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])
local PROMOTED = 200
local READ = 32  -- jobs looked at in one call: few enough that what is too much for this reply was not much to read
local rows = {now, ''}
local now_text = string.format('%.0f', now)  -- for every job: a number is made text anew in each call

local function repeat_claim(ids)
  rows[2] = '1'
  for id in string.gmatch(ids, '%d+') do
    local state = state_of(id)
    if state.status == RUNNING and state.nonce == nonce then rows[#rows + 1] = row(id) end
  end
  return rows
end

-- The queues that have ready jobs, each as a line.
local function survey()
  local lines = {}
  for first = 7, #ARGV, 2 do
    local queue = ARGV[first]
    promote(queue, PROMOTED)
    local ready = call('ZCARD', ready_key(queue))
    if ready > 0 then lines[#lines + 1] = {queue = queue, take = tonumber(ARGV[first + 1]), ready = ready, share = 0} end
  end
  return lines
end

-- Go round the lines and say whose turn each of the `limit` places is; a line's `share` counts its places.
local function share_out(all)
  local places, lines = {}, all
  while #places < limit and #lines > 0 do
    local still = {}
    for _, line in ipairs(lines) do
      local turn = math.min(#lines == 1 and limit or line.take, line.ready - line.share, limit - #places)
      for _ = 1, turn do places[#places + 1] = line end
      line.share = line.share + turn
      if turn > 0 and line.share < line.ready then still[#still + 1] = line end
    end
    lines = still
  end
  return places
end

-- The jobs of places, in order.
local function fill(places)
  local ids = {}
  for place, line in ipairs(places) do
    line.ids = line.ids or call('ZRANGE', ready_key(line.queue), 0, line.share - 1)
    line.next = (line.next or 0) + 1
    ids[place] = line.ids[line.next]
  end
  return ids
end

local function leased(state, queue)
  state.status, state.attempt, state.nonce, state.worker = RUNNING, (tonumber(state.attempt) or 0) + 1, nonce, worker
  state.queue, state.started, state.updated = queue, now_text, now_text
  return write_state(state)
end

-- Take the job of a line, as it was read; return how many bytes of the reply it is.
local function lease(line, id, record, text)
  line.taken = (line.taken or 0) + 1
  if not record then
    call('HINCRBY', counters, 'corrupt', 1)
    return nil
  end
  line.leased = (line.leased or 0) + 1
  if not text then  -- nothing has happened to it, as to most: they all become the same
    line.first = line.first or leased({}, line.queue)
    rows[#rows + 1] = {id, record}
    return line.first, #record
  end
  local state = read_state(text)
  if state.schedule_ms ~= '' then call('ZREM', patience, id) end
  local seen = {id, record, text, call('HGETALL', trail_key(id))}
  rows[#rows + 1] = seen
  return leased(state, line.queue), size_of(seen)
end

local claim = call('HGET', base .. 'clm', worker)
if claim and string.sub(claim, 1, #nonce + 1) == nonce .. ' ' then return repeat_claim(string.sub(claim, #nonce + 2)) end

local lines, lease_end = survey(), string.format('%.0f', now + lease_ms)
local bytes, states, deadlines, claimed = 0, {}, {}, {nonce}
local places = share_out(lines)
local ids = fill(places)
for first = 1, #ids, READ do
  if bytes >= most_bytes then break end
  local last, keys = math.min(first + READ - 1, #ids), {}
  for place = first, last do
    keys[#keys + 1], keys[#keys + 2] = body_key(ids[place]), state_key(ids[place])
  end
  local read = call('MGET', unpack(keys))
  for place = first, last do
    if bytes >= most_bytes then break end
    local id, at = ids[place], 2 * (place - first) + 1
    local state, size = lease(places[place], id, read[at], read[at + 1])
    if state then
      bytes = bytes + size
      states[#states + 1], states[#states + 2] = keys[at + 1], state
      deadlines[#deadlines + 1], deadlines[#deadlines + 2] = lease_end, id
      claimed[#claimed + 1] = id
    end
  end
end
for _, line in ipairs(lines) do
  if line.taken then call('ZREMRANGEBYRANK', ready_key(line.queue), 0, line.taken - 1) end
  if line.leased then call('HINCRBY', counters, 'r:' .. line.queue, line.leased) end
end
if #deadlines > 0 then
  call('MSET', unpack(states))
  call('ZADD', run, unpack(deadlines))
  call('HSET', base .. 'clm', worker, table.concat(claimed, ' '))
end
return rows
