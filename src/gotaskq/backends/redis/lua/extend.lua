-- Let leases run `lease_ms` from now (T3); a deadline never moves back.
-- ARGV     2 lease_ms  then for each lease: id, nonce
-- Returns  a letter a lease: H held, L lost, C held by a job whose end was asked for
-- Atomic because a lease must not be lengthened after another has taken the job.
local replies = {}
for first = 3, #ARGV, 2 do
  local id, nonce = ARGV[first], ARGV[first + 1]
  local state = state_of(id)
  if state.status == RUNNING and state.nonce == nonce then
    call('ZADD', run, 'XX', 'GT', now + ARGV[2], id)
    replies[#replies + 1] = state.is_cancel_requested == '1' and 'C' or 'H'
  else
    replies[#replies + 1] = 'L'
  end
end
return table.concat(replies)
