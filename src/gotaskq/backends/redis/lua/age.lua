-- Say since when the oldest ready job of each queue has been due.
-- ARGV     2.. queues
-- Returns  for each queue for how many ms; 0 where none is ready
-- Looks at the first job of each band of ranks (a priority, mostly: sixteen at most), so its cost does not grow with the
-- queue. Atomic so that a head is there when it is looked up.
local BAND = 562949953421312  -- 2^49: what a rank holds below its band

local function due_of(id)
  local created = string.match(call('GETRANGE', body_key(id), 0, 63), '^%d+\t(%d+)\t')
  return tonumber(state_of(id).due) or tonumber(created) or now
end

local function since(queue)
  local key, from = ready_key(queue), '-inf'
  local coming = call('ZRANGE', scheduled_key(queue), 0, 0, 'WITHSCORES')  -- due, but not promoted yet
  local oldest = math.min(now, tonumber(coming[2]) or now)
  local head = call('ZRANGEBYSCORE', key, from, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
  while head[1] do
    oldest = math.min(oldest, due_of(head[1]))
    from = string.format('%.0f', (math.floor(tonumber(head[2]) / BAND) + 1) * BAND)
    head = call('ZRANGEBYSCORE', key, from, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
  end
  return oldest
end

local ages = {}
for place = 2, #ARGV do ages[#ages + 1] = now - since(ARGV[place]) end
return ages
