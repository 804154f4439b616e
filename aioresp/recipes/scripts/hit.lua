-- A hit of one caller, by the generic cell rate algorithm (GCRA).
-- KEYS[1]: the time in microseconds at which all places are free again, then the tokens of the last hits.
-- ARGV: microseconds for a place to become free, number of places, cost, token of this hit ('' only looks).
local time = redis.call('TIME')
local now, step, cost, token = time[1] * 1000000 + time[2], tonumber(ARGV[1]), tonumber(ARGV[3]), ARGV[4]
local most = tonumber(ARGV[2]) * step
local value = redis.call('GET', KEYS[1]) or ''
local free = math.max(tonumber(string.sub(value, 1, 16)) or now, now)
-- Only after the clock has gone back: the time must be set back, or all are refused until the clock is there again.
local ahead = free > now + most
if ahead then free = now + most end
local tokens = string.sub(value, 17)
local seen = token ~= '' and string.find(tokens, token, 1, true)
local wait = seen and 0 or math.max(free + cost * step - most - now, 0)
if token ~= '' and not seen and (wait == 0 or ahead) then
  if wait == 0 then free, tokens = free + cost * step, string.sub(token .. tokens, 1, 24) end
  redis.call('SET', KEYS[1], string.format('%016.0f', free) .. tokens, 'PX', math.ceil((free - now) / 1000))
end
return {wait == 0 and 1 or 0, math.floor((now + most - free) / step), wait, free - now}
