-- Gives a place back. KEYS: zset of holders; ARGV: id of the holder, channel of those who wait.
-- Returns 0 if the place was lost, else 1 + the number of connections that were told.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ends = redis.call('ZSCORE', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[1], ARGV[1])
if not ends or tonumber(ends) <= now then
  return 0
end
local told = redis.pcall('PUBLISH', ARGV[2], '') -- a user who may not publish must still be able to give it back
return 1 + (tonumber(told) or 0)
