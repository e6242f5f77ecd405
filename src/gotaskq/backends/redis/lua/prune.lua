-- Delete jobs that are past their retention, at most `limit`, the first to have ended first.
-- ARGV     2 limit  3 how long DONE and CANCELLED jobs stay, in ms  4 how long DEAD ones do
-- Returns  how many, and how many it passed over: jobs that stay for a time of their queue's own, each passed over once;
--          together at most `limit`
-- Atomic because a job must not be replayed between the look and its end.
local limit, passed = tonumber(ARGV[2]), 0
local own = base .. 'own'
local has_own = call('EXISTS', own) == 1

local function past_their_own(most)
  local done, dead = {}, {}
  for _, id in ipairs(call('ZRANGEBYSCORE', own, '-inf', now, 'LIMIT', 0, most)) do
    local ended = call('GETRANGE', state_key(id), 0, 0) == DEAD and dead or done
    ended[#ended + 1] = id
  end
  if #done > 0 then forget_done(done) end
  if #dead > 0 then forget_dead(dead) end
  return #done + #dead
end

-- Say which of those found go, and go on behind them next time: what stays would else be found again and again.
local function without_own(key, mark, found)
  local going = {}
  for place, until_ms in ipairs(call('ZMSCORE', own, unpack(found))) do
    if not until_ms then going[#going + 1] = found[place] end
  end
  call('HSET', meta, mark, '(' .. call('ZSCORE', key, found[#found]))
  passed = passed + #found - #going
  return going
end

local function past(key, mark, ttl_ms, most)
  local from = has_own and call('HGET', meta, mark) or '-inf'
  local youngest = string.format('(%.0f', (now - ttl_ms + 1) * 4096)  -- ended exactly `ttl_ms` ago goes too
  local found = call('ZRANGEBYSCORE', key, from, youngest, 'LIMIT', 0, most)
  return has_own and #found > 0 and without_own(key, mark, found) or found
end

local gone = has_own and past_their_own(limit) or 0
local done = past(base .. 'fin', 'finmark', tonumber(ARGV[3]), limit - gone)
if #done > 0 then forget_done(done) end
gone = gone + #done
local dead = past(base .. 'dlq', 'dlqmark', tonumber(ARGV[4]), limit - gone - passed)
if #dead > 0 then forget_dead(dead) end
return {gone + #dead, passed}
