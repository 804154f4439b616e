-- Takes the lease of a load: the place of an entry that is missing, or a place in the head of the value.
-- KEYS[1]: the entry. ARGV: token of the load, milliseconds of the lease, 'miss', 'early' or 'force', token of a value
-- that the caller cannot read. Returns 1 if the lease is the caller's.
local head, token, how = redis.call('GETRANGE', KEYS[1], 0, 45), ARGV[1], ARGV[3]
local kind, owner = string.sub(head, 1, 4), string.sub(head, 5, 12)
if head ~= '' and kind ~= '\0acL' and kind ~= '\0acV' then return redis.error_reply('FOREIGN not an entry') end
if owner == token or string.sub(head, 13, 20) == token then return 1 end
if kind == '\0acV' and owner ~= ARGV[4] then
  local time = redis.call('TIME')
  local now, dies = time[1] * 1000 + math.floor(time[2] / 1000), tonumber(string.sub(head, 34, 46))
  if dies == 0 then dies = now + redis.call('PTTL', KEYS[1]) end
  if how ~= 'force' and tonumber(string.sub(head, 21, 33)) > now then return 0 end
  if dies > now then
    if how == 'miss' then return 0 end
    redis.call('SETRANGE', KEYS[1], 12, token .. string.format('%013.0f%013.0f', now + ARGV[2], dies))
    redis.call('PEXPIRE', KEYS[1], math.max(dies - now, ARGV[2]))
    return 1
  end
elseif kind == '\0acL' and how ~= 'force' then
  return 0
end
redis.call('SET', KEYS[1], '\0acL' .. token, 'PX', ARGV[2])
return 1
