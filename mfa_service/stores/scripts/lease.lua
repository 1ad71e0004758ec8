-- Takes requests out of an application's bucket, which fills by the server's clock.
--
-- KEYS[1]  the bucket, `thousandths of a request in it:Unix time in ms`; one that is not there is full
-- ARGV[1]  how many requests are wanted
-- ARGV[2]  how many a second flow in
-- ARGV[3]  how many it holds
--
-- Returns how many were taken, and the thousandths of a request left. The key lives until the bucket is full again.

local wanted, rate, most = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]) * 1000
local time = redis.call('TIME')
local now_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

local level, at_ms = most, now_ms
local value = redis.call('GET', KEYS[1])
if value then
  level, at_ms = string.match(value, '^(%d+):(%d+)$')
  -- A clock set back neither fills nor empties it.
  level = math.min(most, tonumber(level) + math.max(0, now_ms - tonumber(at_ms)) * rate)
end

local taken = math.min(wanted, math.floor(level / 1000))
level = level - taken * 1000
local full_in_ms = math.ceil((most - level) / rate)
redis.call('SET', KEYS[1], string.format('%d:%d', level, now_ms), 'PX', full_in_ms + 1)
return { taken, level }
