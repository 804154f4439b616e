-- Stores what was loaded, if the load still has its lease, and tells those who wait.
-- KEYS[1]: the entry. ARGV: token of the load ('' stores in any case), whole entry, milliseconds to live.
local head, token = redis.call('GETRANGE', KEYS[1], 0, 32), ARGV[1]
local kind, owner = string.sub(head, 1, 4), string.sub(head, 5, 12)
if token ~= '' then
  if kind == '\0acV' and owner == token then return 1 end
  local has = (kind == '\0acL' and owner == token) or (kind == '\0acV' and string.sub(head, 13, 20) == token)
  if not has then return 0 end
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
redis.pcall('PUBLISH', KEYS[1], 'stored')
return 1
