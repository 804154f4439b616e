-- Gives a lock back. KEYS: lock; ARGV: id of the holder, channel of those who wait.
-- Returns 0 if another holds it or nobody does, else 1 + the number of connections that were told.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
redis.call('DEL', KEYS[1])
local told = redis.pcall('PUBLISH', ARGV[2], '') -- a user who may not publish must still be able to give it back
return 1 + (tonumber(told) or 0)
