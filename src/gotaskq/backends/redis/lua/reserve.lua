-- Lease due jobs (T2), going round the turns until `limit` are taken or none is left; the lowest rank first.
-- ARGV     2 nonce  3 worker  4 lease_ms  5 limit  6 most bytes  then for each turn: queue, take
-- Returns  now, '1' for a repeat or '', then a row a job with its state as it was before (a repeat: as it is)
-- Atomic because a job must leave its queue and get its lease in one step. The same worker and nonce again get the same
-- jobs, as far as they still hold them: else a lost reply would strand them for a lease.
local nonce, worker, lease_ms, limit, most_bytes = ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])
local PROMOTED = 200
local rows = {now, ''}
local now_text = string.format('%.0f', now)  -- for every job: a number is made text anew in each call

local function repeat_claim(ids)
  rows[2] = '1'
  for id in string.gmatch(ids, '%d+') do
    local state = call('HMGET', job_key(id), 's', 'tk')
    if state[1] == RUNNING and state[2] == nonce then rows[#rows + 1] = row(id) end
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

local function lease(id, queue)
  local taken = row(id)
  if not taken[2] then return call('HINCRBY', counters, 'corrupt', 1) end
  local key, is_fresh = job_key(id), #taken[3] == 0
  local attempts, schedule_ms = 0, false
  if not is_fresh then attempts, schedule_ms = unpack(call('HMGET', key, 'at', 'sx')) end
  if schedule_ms then call('ZREM', patience, id) end
  call('HSET', key, 'at', (attempts or 0) + 1, 's', RUNNING, 'tk', nonce, 'ow', worker, 'q', queue, 'st', now_text,
    'ua', now_text)
  rows[#rows + 1] = taken
  return size_of(taken)
end

local claim = call('HGET', base .. 'clm', worker)
if claim and string.sub(claim, 1, #nonce + 1) == nonce .. ' ' then return repeat_claim(string.sub(claim, #nonce + 2)) end

local lines, lease_end = survey(), string.format('%.0f', now + lease_ms)
local bytes, deadlines, claimed = 0, {}, {nonce}
for _, line in ipairs(share_out(lines)) do
  line.ids = line.ids or call('ZRANGE', ready_key(line.queue), 0, line.share - 1)
  line.taken = (line.taken or 0) + 1
  local id = line.ids[line.taken]
  local before = #rows
  bytes = bytes + lease(id, line.queue)
  if #rows > before then
    deadlines[#deadlines + 1], deadlines[#deadlines + 2] = lease_end, id
    claimed[#claimed + 1] = id
    line.leased = (line.leased or 0) + 1
  end
  if bytes >= most_bytes then break end
end
for _, line in ipairs(lines) do
  if line.taken then call('ZREM', ready_key(line.queue), unpack(line.ids, 1, line.taken)) end
  if line.leased then call('HINCRBY', counters, 'r:' .. line.queue, line.leased) end
end
if #deadlines > 0 then
  call('ZADD', run, unpack(deadlines))
  call('HSET', base .. 'clm', worker, table.concat(claimed, ' '))
end
return rows
