-- Count the jobs of queues by where they are; what is due counts as ready.
-- ARGV     2.. queues
-- Returns  four numbers a queue: ready, scheduled, running, dead
-- Atomic so that a job on its way is counted once.
local counts = {}
for place = 2, #ARGV do
  local queue = ARGV[place]
  local due = call('ZCOUNT', scheduled_key(queue), '-inf', now)
  local ended = call('HMGET', counters, 'r:' .. queue, 'd:' .. queue)
  counts[#counts + 1] = call('ZCARD', ready_key(queue)) + due
  counts[#counts + 1] = call('ZCARD', scheduled_key(queue)) - due
  counts[#counts + 1], counts[#counts + 2] = tonumber(ended[1]) or 0, tonumber(ended[2]) or 0
end
return counts
