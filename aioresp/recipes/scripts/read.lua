-- Reads an entry: its bytes, its milliseconds to live, and whether a refresh of it is under way.
-- KEYS[1]: the entry, of the form that entries.py describes.
local value = redis.call('GET', KEYS[1])
if not value then return {} end
local left, busy = redis.call('PTTL', KEYS[1]), string.sub(value, 21, 33)
if string.sub(value, 1, 4) ~= '\0acV' or busy == '0000000000000' then return {value, left, 0} end
local time = redis.call('TIME')
local now, dies = time[1] * 1000 + math.floor(time[2] / 1000), tonumber(string.sub(value, 34, 46))
-- The key outlives its value for the sake of the lease that is in it.
if dies > 0 and dies <= now then return {'\0acL' .. string.sub(value, 13, 20), left, 0} end
return {value, dies > 0 and dies - now or left, tonumber(busy) > now and 1 or 0}
