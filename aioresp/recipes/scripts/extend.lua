-- Renews the lease of a load. KEYS[1]: the entry. ARGV: token of the load, milliseconds. Returns 1 if it still has it.
local head = redis.call('GETRANGE', KEYS[1], 0, 45)
local kind, lease = string.sub(head, 1, 4), tonumber(ARGV[2])
if kind == '\0acL' and string.sub(head, 5, 12) == ARGV[1] then
  return redis.call('PEXPIRE', KEYS[1], lease)
end
if kind ~= '\0acV' or string.sub(head, 13, 20) ~= ARGV[1] then return 0 end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('SETRANGE', KEYS[1], 20, string.format('%013.0f', now + lease))
if redis.call('PTTL', KEYS[1]) < lease then redis.call('PEXPIRE', KEYS[1], lease) end
return 1
