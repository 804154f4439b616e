-- The words of all scripts of the queue; each script follows them. KEYS are the same in all: see books.py.
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
local function release(id, unique)
  if unique and call('HGET', UNIQUE, unique) == id then call('HDEL', UNIQUE, unique) end
end
local function close(id, state, data, age) -- the outcome is stored, then told to those who wait
  local job = call('HMGET', key(id), 'unique', 'waited', 'keep')
  release(id, job[1])
  call('HSET', key(id), 'state', state, 'data', data, 'ended', now)
  call('PEXPIRE', key(id), age or job[3] or KEEP)
  if job[2] then call('PUBLISH', ROOT .. 'done', id) end
end
local function bury(id, reason)
  call('HSETNX', key(id), 'fn', '?')
  close(id, 'dead', reason, DEAD_AGE)
  call('ZADD', DEAD, now, id)
  for _, old in ipairs(call('ZRANGE', DEAD, 0, math.min(call('ZCARD', DEAD) - DEAD_COUNT, 100) - 1)) do
    call('ZREM', DEAD, old)
    call('DEL', key(old))
  end
  call('ZREMRANGEBYSCORE', DEAD, '-inf', now - DEAD_AGE)
end
