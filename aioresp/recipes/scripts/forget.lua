-- Deletes an entry, with the lease of a load that is under way, and tells those who wait. KEYS[1]: the entry.
local deleted = redis.call('DEL', KEYS[1])
redis.pcall('PUBLISH', KEYS[1], 'deleted')
return deleted
