-- Renew leases. ARGV: id, token, lease; and again. Returns the id and 'lost' or 'cancel' for those that are not simply held.
local news = {}
call('ZREM', LEASES, '') -- a script that has written may go on when memory is short
for i = 1, #ARGV, 3 do
  local id, token, lease = unpack(ARGV, i, i + 2)
  local job = call('HMGET', key(id), 'by', 'cancel')
  if job[1] == token then
    call('ZADD', LEASES, now + lease, id)
    if job[2] then news[#news + 1] = { id, 'cancel' } end
  elseif job[1] ~= token .. '!' then
    news[#news + 1] = { id, 'lost' }
  end
end
return news
