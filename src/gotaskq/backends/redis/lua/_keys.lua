-- The keys of new jobs; put before `enqueue` and after the prelude.
--   uk         hash: unique key → the job that has it and waits or runs; the job's own state names the key too
--   ik:DIGEST  until when it counts, the job that stands for the request, and the request's fingerprint
-- All in one function, which only calls with keys make use of: what a script defines is made anew in each call, and with
-- these seven the call of a lone job took an eighth longer (docs/decisions/0032-jobs-are-sent-once.md).
local ring

local function keyring()
  if ring then return ring end
  ring = {is_trial = false}
  local tried, asked = {}, {}  -- what a trial of an all-or-nothing call gives out: unique key → id, digest → as in `ik`

  local function request_key(keys) return base .. 'ik:' .. keys.digest end

  function ring.read(terms)
    local unique, digest, fingerprint, ttl_ms = string.match(terms, '\t([^\t]*)\t([^\t]*)\t([^\t]*)\t(%d+)$')
    return unique and {unique = unique, digest = digest, fingerprint = fingerprint, ttl_ms = ttl_ms}
  end

  -- Let a request stand for a job: its own, or the one its unique key found.
  function ring.remember(keys, id)
    if keys.digest == '' then return end
    local kept = string.format('%.0f %s %s', now + keys.ttl_ms, id, keys.fingerprint)
    if ring.is_trial then
      asked[keys.digest] = kept
    else
      call('SET', request_key(keys), kept, 'PX', keys.ttl_ms)
    end
  end

  -- The letter for a job one of whose keys is taken, and the id of the one it stands for. The instant is kept beside the
  -- expiry of the key itself: a test's store does not live by the server's time.
  function ring.find(keys)
    if keys.digest ~= '' then
      local kept = asked[keys.digest] or call('GET', request_key(keys))
      local until_ms, id, fingerprint = string.match(kept or '', '^(%d+) (%d+) (.*)$')
      if until_ms and tonumber(until_ms) > now then
        if fingerprint == keys.fingerprint then return 'R', id end
        return 'M'
      end
    end
    local holder = keys.unique ~= '' and (tried[keys.unique] or call('HGET', base .. 'uk', keys.unique))
    if not holder then return nil end
    ring.remember(keys, holder)
    return 'E', holder
  end

  -- Let the keys stand for a job that is stored.
  function ring.take(keys, id)
    ring.remember(keys, id)
    if keys.unique == '' then return end
    if ring.is_trial then
      tried[keys.unique] = id
    else
      call('HSET', base .. 'uk', keys.unique, id)
    end
  end

  -- End a trial: what it gave out is not given out.
  function ring.clear() ring.is_trial, tried, asked = false, {}, {} end

  return ring
end
