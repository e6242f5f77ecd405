-- Store one new job (T1) that is due at once and has no keys, on a queue that has no limits of its own: what most calls
-- bring that bring only one.
-- ARGV     2 most waiting jobs a queue takes  3 id  4 queue  5 rank  6 record
-- Returns  'O' when it was stored; '' when it was not, and `enqueue` says why
-- Atomic because an id must be checked and taken in one step, and a queue's depth too.
-- Stands alone: what prelude and script define is made anew in each call, which is more than half of what a lone job
-- costs the server in `enqueue` (docs/decisions/0046-a-lone-job-has-a-script-of-its-own.md).
local call, base = redis.call, string.sub(KEYS[1], 1, -5)
local most, id, queue, rank, record = tonumber(ARGV[2]), ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local ready_key = base .. 'rdy:' .. queue

local ready = call('ZCARD', ready_key)
if ready + call('ZCARD', base .. 'dly:' .. queue) >= most then return '' end
if not call('SET', base .. 'b:' .. id, record, 'NX') then return '' end
call('ZADD', base .. 'ids', 0, id)
call('ZADD', ready_key, rank, id)
if ready == 0 then call('PUBLISH', string.match(base, '^(.-){') .. 'wake', queue) end
call('HINCRBY', base .. 'st', 'enq', 1)
return 'O'
