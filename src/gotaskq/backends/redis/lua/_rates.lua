-- The rate limits of queues; put before `enqueue` and after the keys of new jobs.
--   rl:QUEUE  how many more jobs the queue takes, and at which instant that was so; with an expiry
-- What it defines is defined for calls with such queues alone, as with the keys of jobs.
local meter

if string.find(ARGV[3], '/', 1, true) then
  local rates, left, spent = {}, {}, {}
  for queue, rate in string.gmatch(ARGV[3], ' (%S+) %d+/([%d.]+)') do rates[queue] = tonumber(rate) end
  meter = {}

  -- Where a second brings less than one job, there is room for one all the same.
  local function look(queue)
    local most = math.max(rates[queue], 1)
    local tokens, at_ms = string.match(call('GET', base .. 'rl:' .. queue) or '', '^(%S+) (%d+)$')
    if not tokens then return most end
    return math.min(most, tokens + math.max(now - at_ms, 0) * rates[queue] / 1000)
  end

  function meter.is_dry(queue)
    if not rates[queue] then return false end
    left[queue] = left[queue] or look(queue)
    return left[queue] < 1
  end

  function meter.spend(queue)
    if not rates[queue] then return end
    left[queue], spent[queue] = left[queue] - 1, (spent[queue] or 0) + 1
  end

  -- End a trial: what it spent is not spent.
  function meter.give_back()
    for queue, count in pairs(spent) do left[queue] = left[queue] + count end
    spent = {}
  end

  -- Write down what was spent; return a line for each queue that was looked at, of what it has left.
  function meter.close()
    local lines = {}
    for queue, tokens in pairs(left) do
      local text = string.format('%.6f', tokens)
      if spent[queue] then call('SET', base .. 'rl:' .. queue, text .. string.format(' %.0f', now), 'PX', 60000) end
      lines[#lines + 1] = '\n' .. queue .. ' ' .. text
    end
    return table.concat(lines)
  end
end
