-- The word of take that gives one job to the worker. ARGV and KEYS[12] are those of take.
local wanted, token, last, lease = tonumber(ARGV[1]), ARGV[2], KEYS[12], ARGV[3]
local ids, jobs, known = {}, { -1 }, call('GET', last)
local again = known and known:match('^%S+') == token
local function give(id)
  local job = call('HMGET', key(id), 'fn', 'args', 'attempts', 'deaths', 'headers', 'lease', 'state', 'by', 'keep')
  if again then
    if job[8] == token then jobs[#jobs + 1] = { id, job[1], job[2], tonumber(job[3]), job[4], job[5] } end
  elseif job[7] then
    call('PEXPIRE', key(id), job[9] or KEEP) -- it was cancelled while it waited
  elseif (job[8] or ''):match('[^!]$') and call('ZSCORE', LEASES, id) then
    return -- it is in hand: its id is twice in line, because its hash was deleted and it was enqueued again
  elseif not (job[1] and job[2]) then
    bury(id, '{"type":"PayloadLost","message":"its payload was evicted or deleted"}')
  else
    call('HSET', key(id), 'by', token, 'attempts', (job[3] or 0) + 1)
    call('ZADD', LEASES, now + (job[6] or lease), id)
    jobs[#jobs + 1], ids[#ids + 1] = { id, job[1], job[2], (job[3] or 0) + 1, job[4], job[5] }, id
  end
end
