-- Renews the lease of a lock. KEYS: lock; ARGV: id of the holder, ttl in ms. Returns 1 if it is still held, else 0.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
