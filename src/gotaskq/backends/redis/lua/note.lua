-- Keep what running attempts say of themselves, fenced by the nonce of the lease; of two of one job the later counts.
-- ARGV     for each note: id, nonce, progress ('' none; else the fraction, a tab, a note), checkpoint ('' none)
-- Returns  a letter a note: H kept, L the lease is lost, C kept for a job whose end was asked for
-- Atomic because the next attempt must not begin with what a former holder says.
local replies = {}
for first = 2, #ARGV, 4 do
  local id, nonce, progress, checkpoint = unpack(ARGV, first, first + 3)
  local key = job_key(id)
  local state = call('HMGET', key, 's', 'tk', 'cx')
  if state[1] == RUNNING and state[2] == nonce then
    call('HSET', key, 'ua', now)
    if progress ~= '' then call('HSET', key, 'pg', progress) end
    if checkpoint ~= '' then call('HSET', key, 'ck', checkpoint) end
    replies[#replies + 1] = state[3] == '1' and 'C' or 'H'
  else
    replies[#replies + 1] = 'L'
  end
end
return table.concat(replies)
