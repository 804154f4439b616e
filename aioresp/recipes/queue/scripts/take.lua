-- Take jobs. ARGV: how many, token, lease, whether one suspect may be among them. KEYS[12]: the worker's last take.
-- Returns ms to the next due job (-1: none), then the jobs. Sent twice, it returns the same jobs: the last take is kept.
local room, due = wanted + 100, call('ZRANGEBYSCORE', DELAYED, '-inf', now, 'LIMIT', 0, 100)
for _, id in ipairs(due) do call('RPUSH', line(id), id) end
if #due > 0 then call('ZREM', DELAYED, unpack(due)) end
if again then
  for id in known:sub(#token + 1):gmatch('%S+') do give(id) end
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
