-- The log of what happens, and who wants it: `watched` is a hash of the log's name, until when somebody watches, and a
-- few nonces of calls that told last. Both expire, so nothing is left where nobody watches.
local log, watched = base .. 'hap', base .. 'wat'

-- The name of the log, and for how many ms more it is kept; nil when nobody watches.
local function watched_log()
  local name, until_ms = unpack(call('HMGET', watched, 'log', 'until'))
  if name and tonumber(until_ms) > now then return name, tonumber(until_ms) - now end
end
