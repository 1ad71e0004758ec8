-- Puts a verdict on a challenge, atomically, and never moves its deadline.
--
-- KEYS[1]  the challenge, `attempts:taken step:rest`; the taken step is empty until a code is right
-- ARGV[1]  the verdict: wrong, used or match
-- ARGV[2]  the time step whose code was given; empty with wrong
-- ARGV[3]  how many wrong codes a challenge takes
--
-- Returns wrong, last_wrong, used, taken, repeat or mismatch as in `mfa_service.model.Settlement`;
-- absent where there is no such challenge, spent where it takes no more codes. Those two change nothing.

local value = redis.call('GET', KEYS[1])
if not value then
  return 'absent'
end

local attempts, taken, rest = string.match(value, '^(%d+):(%d*):(.*)$')
local verdict, step, most = ARGV[1], ARGV[2], tonumber(ARGV[3])
attempts = tonumber(attempts)
if attempts >= most then
  return 'spent'
end

local settlement
if taken ~= '' and verdict ~= 'wrong' and step == taken then
  return 'repeat'
elseif verdict == 'used' then
  return 'used'
elseif taken == '' and verdict == 'match' then
  taken, settlement = step, 'taken'
else
  attempts = attempts + 1
  settlement = taken ~= '' and 'mismatch' or attempts < most and 'wrong' or 'last_wrong'
end
redis.call('SET', KEYS[1], attempts .. ':' .. taken .. ':' .. rest, 'KEEPTTL')
return settlement
