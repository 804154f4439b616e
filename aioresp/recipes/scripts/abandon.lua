-- Gives back the lease of a load that has failed, and tells those who wait.
-- KEYS[1]: the entry. ARGV: token of the load, milliseconds in which an old value is not refreshed again.
local head = redis.call('GETRANGE', KEYS[1], 0, 45)
local kind = string.sub(head, 1, 4)
local time = redis.call('TIME')
local now, dies = time[1] * 1000 + math.floor(time[2] / 1000), tonumber(string.sub(head, 34, 46)) or 0
if kind == '\0acV' and string.sub(head, 13, 20) == ARGV[1] and dies > now then
  redis.call('SETRANGE', KEYS[1], 12, string.rep('\0', 8) .. string.format('%013.0f%013.0f', now + ARGV[2], 0))
  redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', dies))
elseif (kind == '\0acV' and string.sub(head, 13, 20) == ARGV[1])
    or (kind == '\0acL' and string.sub(head, 5, 12) == ARGV[1]) then
  redis.call('DEL', KEYS[1])
  redis.pcall('PUBLISH', KEYS[1], 'failed')
end
return 1
