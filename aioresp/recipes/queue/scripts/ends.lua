-- The words for the end of a job.
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
