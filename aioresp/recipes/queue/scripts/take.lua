-- Take jobs. ARGV: how many, token, key of the last take, lease, whether one suspect may be among them.
-- Returns ms to the next due job (-1: none), then the jobs. Sent twice, it returns the same jobs: the last take is kept.
local wanted, token, last, lease = tonumber(ARGV[1]), ARGV[2], KEYS[12], ARGV[3]
local due, ids, jobs, room = call('ZRANGEBYSCORE', DELAYED, '-inf', now, 'LIMIT', 0, 100), {}, { -1 }, wanted + 100
for _, id in ipairs(due) do call('RPUSH', line(id), id) end
if #due > 0 then call('ZREM', DELAYED, unpack(due)) end
local known = call('GET', last)
local again = known and known:match('^%S+') == token
for id in (again and known:sub(#token + 1) or ''):gmatch('%S+') do ids[#ids + 1] = id end
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
if again then
  for _, id in ipairs(ids) do give(id) end
else
  local suspect = ARGV[4] == '1' and wanted > 0 and call('LPOP', SUSPECTS)
  if suspect then give(suspect) end
  for list = 7, 11 do
    while #ids < wanted and room > 0 do
      local found = call('LPOP', KEYS[list], wanted - #ids)
      if not found then break end
      room = room - #found
      for _, id in ipairs(found) do give(id) end
    end
  end
  if #ids > 0 then call('SET', last, token .. ' ' .. table.concat(ids, ' '), 'PX', 60000) end
  if (#ids == wanted or room <= 0) and call('EXISTS', DELAYED, unpack(KEYS, 7, 11)) > 0 then wake() end
end
local first = call('ZRANGE', DELAYED, 0, 0, 'WITHSCORES')
if first[2] then jobs[1] = math.max(first[2] - now, 0) end
return jobs
