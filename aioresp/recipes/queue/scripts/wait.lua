-- Look at a job. ARGV: id, and 1 if its end shall be told on the channel. Returns its state, its due time or 0, and its
-- hash without the payload; nothing if there is none.
local id, fields = ARGV[1], { 'fn', 'data', 'attempts', 'deaths', 'at', 'ended', 'unique', 'priority', 'state' }
local job = call('HMGET', key(id), unpack(fields))
if not job[1] then return {} end
local due = call('ZSCORE', DELAYED, id)
local state = job[9] or (call('ZSCORE', LEASES, id) and 'running') or (due and 'delayed') or 'waiting'
if ARGV[2] == '1' and not job[9] then call('HSET', key(id), 'waited', 1) end
return { state, due or 0, unpack(job, 1, 8) }
