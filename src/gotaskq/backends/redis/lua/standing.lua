-- Say where a job stands: how many due jobs of its queue go before it, or for how long its lease runs.
-- ARGV     2 id  3 queue  4 rank  5 the instant it is due
-- Returns  how many stand before it in this partition (one that does not stand here, by its rank) or -1 for one that is not
--          due, how many of the queue are due and have no place yet, and the milliseconds its lease runs, or '' when there is none
-- Atomic so that the two counts are of one moment.
local id, ready, scheduled = ARGV[2], ready_key(ARGV[3]), scheduled_key(ARGV[3])
local before = call('ZRANK', ready, id) or call('ZCOUNT', ready, '-inf', '(' .. ARGV[4])
if now < tonumber(ARGV[5]) then before = -1 end
local deadline = call('ZSCORE', run, id)
return {before, call('ZCOUNT', scheduled, '-inf', now), deadline and deadline - now or ''}
