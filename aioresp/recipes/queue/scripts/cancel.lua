-- Cancel a job. ARGV: id. Returns its state: cancelled, running (its worker is told), done, dead; gone if there is none.
local id = ARGV[1]
local job = call('HMGET', key(id), 'fn', 'state')
if not job[1] then return 'gone' end
if job[2] then return job[2] end
if call('ZSCORE', LEASES, id) then
  call('HSET', key(id), 'cancel', 1)
  call('PUBLISH', ROOT .. 'cancel', id)
  return 'running'
end
local delayed = call('ZREM', DELAYED, id) == 1
close(id, 'cancelled', '')
if not delayed then call('PERSIST', key(id)) end -- it goes when its id leaves the list
return 'cancelled'
