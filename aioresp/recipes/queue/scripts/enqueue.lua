-- Enqueue a job. ARGV: id, due (0: now), delay, priority, unique or '', keep or replace, then fields of the job's hash.
-- KEYS[7]: the list of its priority. Returns the id of the job that is in the queue. Sent twice, the second finds the first.
local id, unique = ARGV[1], ARGV[5]
if call('EXISTS', key(id)) == 1 then return id end
if unique ~= '' then
  local other = call('HGET', UNIQUE, unique)
  local job = other and call('HMGET', key(other), 'fn', 'state') or {}
  if job[1] and not job[2] then
    if ARGV[6] == 'keep' then return other end
    if not call('ZSCORE', LEASES, other) then
      local delayed = call('ZREM', DELAYED, other) == 1
      close(other, 'cancelled', '')
      if not delayed then call('PERSIST', key(other)) end -- it goes when its id leaves the list
    end
  end
  call('HSET', UNIQUE, unique, id)
  call('HSET', key(id), 'unique', unique)
end
if ARGV[4] ~= '0' then call('HSET', key(id), 'priority', ARGV[4]) end
call('HSET', key(id), 'at', now, unpack(ARGV, 7))
put(id, KEYS[7], math.max(tonumber(ARGV[2]), now + ARGV[3]))
return id
