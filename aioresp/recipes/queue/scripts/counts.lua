-- Count the jobs: waiting, delayed, running, dead.
local waiting = call('LLEN', SUSPECTS)
for list = 7, 11 do waiting = waiting + call('LLEN', KEYS[list]) end
return { waiting, call('ZCARD', DELAYED), call('ZCARD', LEASES), call('ZCARD', DEAD) }
