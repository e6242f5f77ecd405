-- Say that somebody watches, and begin a log where there is none.
-- ARGV     2 what a log that begins is called  3 for how many ms it is kept
-- Returns  the name of the log
-- Atomic so that a log is begun once. It begins with an entry without a body: what was before nobody knows.
local name, ttl_ms = watched_log(), tonumber(ARGV[3])
if not name then
  name = ARGV[2]
  call('XTRIM', log, 'MAXLEN', 0)  -- and not DEL: the ids of the new log must not be those of the old one again
  call('DEL', watched)
  call('HSET', meta, 'log', name)
  wake('~' .. name)
end
call('HSET', watched, 'log', name, 'until', string.format('%.0f', now + ttl_ms))
call('PEXPIRE', watched, ttl_ms)
if call('XLEN', log) == 0 then call('XADD', log, '*', 'h', '') end
call('PEXPIRE', log, ttl_ms)
return name
