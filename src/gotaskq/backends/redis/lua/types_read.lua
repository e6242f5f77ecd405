-- Look at what processes have said of the job types they run.
-- ARGV     2 for how many ms it is remembered  3.. digests of bodies that are wanted
-- Returns  digests, each with how many ms ago it was said last; then the bodies that are wanted, false for one that is gone
-- Atomic so that a body that is listed can be asked for; it changes nothing.
local said = call('ZRANGEBYSCORE', type_ages, '(' .. string.format('%.0f', now - ARGV[2]), '+inf', 'WITHSCORES')
for place = 2, #said, 2 do said[place] = math.max(now - said[place], 0) end
local bodies = {}
for place = 3, #ARGV do bodies[#bodies + 1] = call('HGET', type_bodies, ARGV[place]) end
return {said, bodies}
