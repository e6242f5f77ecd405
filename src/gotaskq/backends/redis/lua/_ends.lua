-- How attempts fail and jobs end; put before the scripts that end them, after the prelude.

-- The field of a job's trail and the value that keep how an attempt failed: an error, and a traceback in the lines after
-- it. Attempts that fail have consecutive numbers, so their number modulo five keeps the last five of them.
local function failed(state, failure)
  local words = {state.attempt, state.started, now, state.worker, failure}
  return 'h' .. state.attempt % 5, table.concat(words, '\t')
end

-- Free the unique key of a job that has ended, if it had one.
local function let_go(id, unique_key)
  if (unique_key or '') ~= '' and call('HGET', base .. 'uk', unique_key) == id then call('HDEL', base .. 'uk', unique_key) end
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
    scores[2 * place - 1], scores[2 * place] = first + (place - 1) * 64, id
  end
  call('ZADD', key, unpack(scores))
  local most = tonumber(terms)
  if most then return most end
  for _, id in ipairs(ids) do
    local _, last = string.find(terms, ' ' .. state_of(id).queue .. '=', 1, true)
    if last then call('ZADD', base .. 'own', now + string.match(terms, '^%d+', last + 1), id) end
  end
  return tonumber(string.match(terms, '^%d+'))
end

-- Drop jobs that have ended from the store, whatever still names them.
local function forget(ids)
  local keys = {}
  for _, id in ipairs(ids) do
    keys[#keys + 1], keys[#keys + 2], keys[#keys + 3] = body_key(id), state_key(id), trail_key(id)
  end
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
    call('HINCRBY', counters, 'd:' .. state_of(id).queue, -1)
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
  for _, id in ipairs(ids) do call('HINCRBY', counters, 'd:' .. state_of(id).queue, 1) end
  local most = file_by_stamp(base .. 'dlq', ids, terms)
  local excess = call('ZCARD', base .. 'dlq') - most
  if excess > 0 then forget_dead(call('ZRANGE', base .. 'dlq', 0, math.min(excess, 500) - 1)) end
end

