-- Takes a place. KEYS: zset of holders by the end of their lease; ARGV: id of the holder, ttl in ms, limit.
-- Returns {1, 0}, or {'', ms until a place is free if no lease is renewed}.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now))
local limit = tonumber(ARGV[3])
local held = redis.call('ZCARD', KEYS[1])
if held >= limit and not redis.call('ZSCORE', KEYS[1], ARGV[1]) then
  local next = redis.call('ZRANGE', KEYS[1], held - limit, held - limit, 'WITHSCORES')
  return {'', tonumber(next[2]) - now}
end
redis.call('ZADD', KEYS[1], string.format('%.0f', now + ARGV[2]), ARGV[1])
local last = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')
redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', tonumber(last[2])))
return {'1', 0}
