-- Settle jobs under their tokens. ARGV: id, token, outcome, data, delay; and again. Returns the ids that were refused.
-- Outcomes: done, dead, cancelled, again (an attempt counts), back (it does not). Sent twice, the second does nothing.
local refused = {}
for i = 1, #ARGV, 5 do
  local id, token, outcome, data, delay = unpack(ARGV, i, i + 4)
  local by, cancel = unpack(call('HMGET', key(id), 'by', 'cancel'))
  if by == token then
    call('ZREM', LEASES, id) -- first: a script that has written may go on when memory is short
    call('HSET', key(id), 'by', token .. '!')
    if outcome == 'dead' then
      bury(id, data)
    elseif outcome == 'done' or outcome == 'cancelled' or cancel then
      call('HDEL', key(id), 'args', 'headers')
      close(id, outcome == 'done' and 'done' or 'cancelled', data)
    else
      if outcome == 'back' then call('HINCRBY', key(id), 'attempts', -1) else call('HSET', key(id), 'data', data) end
      call('HDEL', key(id), 'deaths')
      put(id, line(id), now + delay, outcome == 'back' and 'LPUSH')
    end
  elseif by ~= token .. '!' then
    refused[#refused + 1] = id
  end
end
return refused
