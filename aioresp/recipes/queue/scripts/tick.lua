-- Read the clock and, with a tick, enqueue its job, once. KEYS[8]: the last tick. ARGV: tick, since, age of the key, then
-- those of enqueue, which is here as a function. Returns the clock in ms, and 1 if the job was enqueued.
-- Without a last tick, `since` is taken for it: what was due before a worker first knew of the schedule is no tick.
if not ARGV[1] then return { now, 0 } end
local tick, last = tonumber(ARGV[1]), tonumber(call('GET', KEYS[8]) or ARGV[2])
local due = tick > last and tick <= now
if due then enqueue({ unpack(ARGV, 4) }) end
call('SET', KEYS[8], due and tick or last, 'PX', ARGV[3])
return { now, due and 1 or 0 }
