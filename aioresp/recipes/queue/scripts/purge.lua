-- Drop up to 100 jobs. ARGV: waiting, delayed or dead. Returns how many, and whether that was all.
local ids, all = {}, true
if ARGV[1] == 'waiting' then
  for list = 6, 11 do
    local found = call('LPOP', KEYS[list], 100 - #ids + 1)
    for _, id in ipairs(found or {}) do ids[#ids + 1] = id end
    if #ids > 99 then all = false break end
  end
else
  ids = call('ZRANGE', ARGV[1] == 'dead' and DEAD or DELAYED, 0, 99)
  if #ids > 0 then call('ZREM', ARGV[1] == 'dead' and DEAD or DELAYED, unpack(ids)) end
  all = #ids < 100
end
for _, id in ipairs(ids) do
  local job = call('HMGET', key(id), 'unique', 'waited')
  release(id, job[1])
  call('DEL', key(id))
  if job[2] then call('PUBLISH', ROOT .. 'done', id) end
end
return { #ids, all and 1 or 0 }
