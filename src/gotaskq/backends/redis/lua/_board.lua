-- Where a notice board keeps when each key was said last, the digests of what was said, and the bodies.
local function board_keys(name)
  local key = base .. 'nb:' .. name
  return key, key .. ':d', key .. ':b'
end
