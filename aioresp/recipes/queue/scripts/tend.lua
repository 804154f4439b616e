-- Put jobs whose lease has ended back in line, or bury those that were in hand at too many ends.
-- Returns ms to the next end of a lease (-1: none), then the ids that were put back and those that were buried.
local back, buried = {}, {}
for _, id in ipairs(call('ZRANGEBYSCORE', LEASES, '-inf', now, 'LIMIT', 0, 100)) do
  local job = call('HMGET', key(id), 'fn', 'cancel')
  call('ZREM', LEASES, id)
  local deaths = call('HINCRBY', key(id), 'deaths', 1)
  call('HSET', key(id), 'by', '')
  if job[2] then
    close(id, 'cancelled', '')
  elseif deaths >= DEATHS or not job[1] then
    buried[#buried + 1] = id
    bury(id, job[1] and '{"type":"WorkerDied","message":"its worker died, or lost its lease, 3 times"}'
      or '{"type":"PayloadLost","message":"its payload was evicted or deleted"}')
  else
    back[#back + 1] = id
    put(id, deaths == DEATHS - 1 and SUSPECTS or line(id), 0, 'LPUSH')
  end
end
local first = call('ZRANGE', LEASES, 0, 0, 'WITHSCORES')
return { first[2] and math.max(first[2] - now, 0) or -1, back, buried }
