-- Delete jobs that have ended (T14).
-- ARGV     2 only those in this state ('' any that has ended)  3.. ids
-- Returns  how many
-- Atomic because a job must not be replayed between the look and its end.
local deleted = 0
for place = 3, #ARGV do
  local id = ARGV[place]
  local state = call('HGET', job_key(id), 's')
  if state and (ARGV[2] == '' or ARGV[2] == state) then
    if state == DEAD then
      forget_dead({id})
      deleted = deleted + 1
    elseif state == DONE or state == CANCELLED then
      forget_done({id})
      deleted = deleted + 1
    end
  end
end
return deleted
