-- Store new PENDING jobs (T1), each whole or not at all; with `atomic`, all or none.
-- ARGV     2 '1' all or none, '' each on its own  3 most waiting jobs a queue takes, then for each queue
--          that has limits of its own a space, its name, a space and its number, then where it has a rate limit '/' and
--          how many jobs a second it takes in this partition
--          then for each job: id, queue ('' one that is not registered), terms, record; the terms are delay_ms, then where
--          the job must not wait for ever a space and for how many ms it may, then where it has keys four words, each
--          with a tab before it: unique key, digest of the idempotency key, fingerprint of the request, ms it is kept
-- Returns  a letter a job: O stored, D duplicate (same id and nonce), C collision, N no such queue, F queue full, W withheld,
--          T too fast for the queue's rate limit,
--          M the idempotency key came before with another request; or a letter and the id of the job that is there by
--          its idempotency key (R) or its unique key (E); then for each queue whose rate limit was looked at a newline,
--          its name, a space and how many more jobs it takes now
-- Atomic because an id and its keys must be checked and taken in one step, and a queue's depth too.
local is_atomic, most = ARGV[2] == '1', tonumber(string.match(ARGV[3], '^%d+'))
local depths, ready_before, ready, stored = {}, {}, {}, {}

local own = {}
for queue, number in string.gmatch(ARGV[3], ' (%S+) (%d+)') do own[queue] = tonumber(number) end
local function is_full(queue, waiting) return waiting >= (own[queue] or most) end

local function nonce_of(record) return string.match(record, '^%d+\t%d+\t([^\t]*)\t') end

local function depth(queue)
  if not depths[queue] then
    ready_before[queue] = call('ZCARD', ready_key(queue))
    depths[queue] = ready_before[queue] + call('ZCARD', scheduled_key(queue))
  end
  return depths[queue]
end

local function judge_known(known, record) return nonce_of(known) == nonce_of(record) and 'D' or 'C' end

-- Say what becomes of a job: a letter, and the id of the one that is there by a key.
local function judge(id, queue, record, keys)
  local known = call('GETRANGE', body_key(id), 0, 255)
  if known ~= '' then return judge_known(known, record) end
  if queue == '' then return 'N' end
  if keys then
    local reply, holder = ring.find(keys)
    if reply then return reply, holder end
  end
  if is_full(queue, depth(queue)) then return 'F' end
  return meter and meter.is_dry(queue) and 'T' or 'O'
end

local function make_ready(id, queue, record)
  local entries = ready[queue] or {}
  entries[#entries + 1], entries[#entries + 2] = string.match(record, '^%d+'), id
  ready[queue] = entries
end

-- File a job that has terms; times count from now, by this clock.
local function file(id, queue, terms, record, unique_key)
  local delay_ms, schedule_ms = string.match(terms, '^(%d+) ?(%d*)')
  local has_times, due_ms = delay_ms ~= '0' or schedule_ms ~= '', now + delay_ms
  if has_times or unique_key ~= '' then
    local due = has_times and due_ms or nil
    keep_state(id, {status = PENDING, due = due, schedule_ms = schedule_ms, unique_key = unique_key})
  end
  watch(id, due_ms, schedule_ms)
  if due_ms > now then schedule(queue, id, due_ms) else make_ready(id, queue, record) end
end

local function store(id, queue, terms, record)
  local keys = terms ~= '0' and keyring().read(terms)
  if keys then
    local reply, holder = judge(id, queue, record, keys)
    if reply ~= 'O' then return reply .. (holder or '') end
    ring.take(keys, id)
  end
  if queue == '' or is_full(queue, depth(queue)) or meter and meter.is_dry(queue) then
    return judge(id, queue, record)
  end
  if not call('SET', body_key(id), record, 'NX') then return judge(id, queue, record) end
  depths[queue] = depths[queue] + 1
  if meter then meter.spend(queue) end
  stored[#stored + 1], stored[#stored + 2] = 0, id
  if terms == '0' then
    make_ready(id, queue, record)
  else
    file(id, queue, terms, record, keys and keys.unique or '')
  end
  return 'O'
end

-- Say what an all-or-nothing call is refused for, or nil.
local function refusals()
  local replies, seen, is_refused = {}, {}, false
  for first = 4, #ARGV, 4 do
    local id, queue, terms, record = unpack(ARGV, first, first + 3)
    local keys, reply, holder = terms ~= '0' and keyring().read(terms), nil, nil
    if keys then ring.is_trial = true end
    if seen[id] then
      reply = judge_known(seen[id], record)
    else
      reply, holder = judge(id, queue, record, keys)
    end
    if reply == 'O' then
      seen[id], depths[queue], reply = record, depths[queue] + 1, 'W'
      if keys then ring.take(keys, id) end
      if meter then meter.spend(queue) end
    elseif seen[id] and reply == 'D' or holder and seen[holder] then
      reply, holder = 'W', nil
    else
      is_refused = is_refused or not (holder or reply == 'D')
    end
    replies[#replies + 1] = reply .. (holder or '')
  end
  depths = {}
  if ring then ring.clear() end
  if meter then meter.give_back() end
  return is_refused and table.concat(replies)
end

local refused = is_atomic and refusals()
if refused then return refused .. (meter and meter.close() or '') end
local replies = {}
for first = 4, #ARGV, 4 do
  replies[#replies + 1] = store(ARGV[first], ARGV[first + 1], ARGV[first + 2], ARGV[first + 3])
end
if #stored > 0 then
  call('ZADD', ids_index, unpack(stored))
  for queue, entries in pairs(ready) do push_ready(queue, entries, ready_before[queue]) end
  call('HINCRBY', counters, 'enq', #stored / 2)
end
return table.concat(replies) .. (meter and meter.close() or '')
