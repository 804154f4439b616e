-- Takes a lock. KEYS: lock, fence; ARGV: id of the holder, ttl in ms, ttl of the fence in ms.
-- Returns {fencing token, 0}, or {'', ms until the lease of the other holder ends}.
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then
  return {'', redis.call('PTTL', KEYS[1])}
end
local token = redis.call('GET', KEYS[2])
if not (holder and token) then -- else this is the same call again, which gets the same token
  local now = redis.call('TIME')
  local last = tonumber(token or '') or 0
  token = string.format('%.0f', math.max(last + 1, now[1] * 1000000 + now[2]))
  redis.call('SET', KEYS[2], token, 'PX', ARGV[3])
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return {token, 0}
