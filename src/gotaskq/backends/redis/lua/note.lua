-- Keep what running attempts say of themselves, fenced by the nonce of the lease; of two of one job the later counts.
-- ARGV     for each note: id, nonce, progress ('' none; else the fraction, a tab, a note), checkpoint ('' none)
-- Returns  a letter a note: H kept, L the lease is lost, C kept for a job whose end was asked for
-- Atomic because the next attempt must not begin with what a former holder says.
local replies = {}
for first = 2, #ARGV, 4 do
  local id, nonce, progress, checkpoint = unpack(ARGV, first, first + 3)
  local state = state_of(id)
  if state.status == RUNNING and state.nonce == nonce then
    state.updated = now
    keep_state(id, state)
    if progress ~= '' then call('HSET', trail_key(id), 'pg', progress) end
    if checkpoint ~= '' then call('HSET', trail_key(id), 'ck', checkpoint) end
    replies[#replies + 1] = state.is_cancel_requested == '1' and 'C' or 'H'
  else
    replies[#replies + 1] = 'L'
  end
end
return table.concat(replies)
