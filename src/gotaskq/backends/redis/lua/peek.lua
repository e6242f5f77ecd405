-- Say whether queues have jobs that are due, or when they will.
-- ARGV     2.. queues
-- Returns  milliseconds until the first job is due, 0 when one is, -1 when none waits
-- Atomic so that a job which is being promoted is seen.
local next_ms = -1
for place = 2, #ARGV do
  local queue = ARGV[place]
  if call('EXISTS', ready_key(queue)) == 1 then return 0 end
  local head = call('ZRANGE', scheduled_key(queue), 0, 0, 'WITHSCORES')
  if head[2] then
    local due_ms = math.max(0, head[2] - now)
    if next_ms < 0 or due_ms < next_ms then next_ms = due_ms end
  end
end
return next_ms
