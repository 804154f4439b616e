-- Make up to 100 delayed jobs due. Returns how many. For tests, which do not wait.
local ids = call('ZRANGE', DELAYED, 0, 99)
for _, id in ipairs(ids) do call('ZADD', DELAYED, now, id) end
if #ids > 0 then wake() end
return #ids
