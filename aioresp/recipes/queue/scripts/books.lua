-- The words of all scripts of the queue: see books.py for the parts of each. KEYS are the same in all.
local DELAYED, LEASES, DEAD, UNIQUE, WAKE, SUSPECTS = unpack(KEYS, 1, 6)
local ROOT = DELAYED:sub(1, -8)
local KEEP, DEAD_AGE, DEAD_COUNT, DEATHS = 600000, 2592000000, 10000, 3
local call, time = redis.call, redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function key(id) return ROOT .. 'job:' .. id end
local function wake() -- one word wakes one worker, which wakes the next
  if call('LLEN', WAKE) == 0 then call('RPUSH', WAKE, '1') end
  call('PEXPIRE', WAKE, 60000) -- also of one that a cancelled pop has put back
end
local function line(id) -- the list of its priority, 2 to -2
  return KEYS[9 - (tonumber(call('HGET', key(id), 'priority')) or 0)]
end
local function put(id, list, due, push)
  if due <= now then
    call(push or 'RPUSH', list, id)
    wake()
  else
    call('ZADD', DELAYED, due, id)
    if call('ZRANGE', DELAYED, 0, 0)[1] == id then wake() end
  end
end
