-- Keep what happened in a process, if somebody watches.
-- ARGV     2 a field of the process  3 nonce of this call  4 how many entries are kept  5.. what happened
-- Returns  1, or 0 when nobody watches; a repeat of the process's last call keeps nothing twice
-- Atomic so that a call is kept whole, or seen to have been.
local teller, nonce, most = ARGV[2], ARGV[3], ARGV[4]
local name, left_ms = watched_log()
if not name then return 0 end
if call('HGET', watched, teller) == nonce then return 1 end
call('HSET', watched, teller, nonce)
for place = 5, #ARGV do call('XADD', log, 'MAXLEN', '~', most, '*', 'h', ARGV[place]) end
call('PEXPIRE', log, left_ms)
return 1
