-- Put a dead job back in line. ARGV: id. Returns 1, also if it is back already, or 0.
local id = ARGV[1]
local job = call('HMGET', key(id), 'fn', 'state', 'unique', 'args')
if not (job[1] and job[4]) then return 0 end
if job[2] ~= 'dead' then return job[2] and 0 or 1 end
call('ZREM', DEAD, id)
call('HDEL', key(id), 'state', 'data', 'ended', 'deaths', 'attempts', 'by', 'cancel')
call('PERSIST', key(id))
if job[3] then call('HSETNX', UNIQUE, job[3], id) end
put(id, line(id), 0)
return 1
