-- Make dead jobs PENDING again, on their own queue, with fresh counts (T13); pass over what is not DEAD, or has a unique
-- key that another job has by now.
-- ARGV     2 nonce  3.. ids
-- Returns  a row a job replayed; for the same nonce again the same jobs, as they are by then
-- Atomic because two callers must not both replay it.
local nonce, rows, seen = ARGV[2], {}, {}

for place = 3, #ARGV do
  local id = ARGV[place]
  local state = state_of(id)
  if call('HGET', trail_key(id), 'rn') == nonce then
    if not seen[id] then rows[#rows + 1] = row(id) end
  elseif state.status == DEAD and revive(id, state, nonce) then
    rows[#rows + 1] = row(id)
  end
  seen[id] = true
end
return rows
