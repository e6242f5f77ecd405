-- Delete jobs that are past their retention, at most `limit`, the first to have ended first.
-- ARGV     2 limit  3 how long DONE and CANCELLED jobs stay, in ms  4 how long DEAD ones do
-- Returns  how many
-- Atomic because a job must not be replayed between the look and its end.
local limit = tonumber(ARGV[2])

local function past(key, ttl_ms, most)
  local youngest = string.format('(%.0f', (now - ttl_ms + 1) * 4096)  -- ended exactly `ttl_ms` ago goes too
  return call('ZRANGEBYSCORE', key, '-inf', youngest, 'LIMIT', 0, most)
end

local done = past(base .. 'fin', tonumber(ARGV[3]), limit)
if #done > 0 then forget_done(done) end
local dead = past(base .. 'dlq', tonumber(ARGV[4]), limit - #done)
if #dead > 0 then forget_dead(dead) end
return #done + #dead
