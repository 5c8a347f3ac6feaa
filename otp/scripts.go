package otp

import "github.com/redis/go-redis/v9"

// A live code is a hash:
//
//	mac    HMAC-SHA256, 32 raw bytes
//	key    id of the key that made it
//	exp    Unix milliseconds from which it is expired
//	tries  how many comparisons it has
//	used   how many were taken
//	cmp:*  how many comparisons of one and the same code are under way
//
// The time to live only cleans up. Whether a code is expired is read from exp
// against the caller's clock, so that expired and lost stay different answers
// and a server whose clock jumps cannot end or revive a code.

// issue: ARGV mac, key, exp, tries, time to live in ms.
var issueScript = redis.NewScript(`
redis.call('HSET', KEYS[1], 'mac', ARGV[1], 'key', ARGV[2], 'exp', ARGV[3], 'tries', ARGV[4], 'used', '0')
redis.call('PEXPIRE', KEYS[1], ARGV[5])
return 1`)

// take: ARGV now in Unix ms, tag of the code. Counts a try before anybody
// compares. Repetitions of one code at the same moment share one try: a client
// that repeats the right code must not exhaust it, and whoever guesses learns
// nothing from the same guess.
var takeScript = redis.NewScript(`
local f = redis.call('HMGET', KEYS[1], 'mac', 'key', 'exp', 'tries', 'cmp:' .. ARGV[2])
if not (f[1] and f[2] and f[3] and f[4]) then return {'lost'} end
if tonumber(ARGV[1]) >= tonumber(f[3]) then return {'expired'} end
local used = tonumber(redis.call('HGET', KEYS[1], 'used') or '0')
if not f[5] then
  if used >= tonumber(f[4]) then return {'exhausted'} end
  used = redis.call('HINCRBY', KEYS[1], 'used', 1)
end
redis.call('HINCRBY', KEYS[1], 'cmp:' .. ARGV[2], 1)
return {'taken', f[1], f[2], tonumber(f[4]) - used}`)

// compared: ARGV tag of the code, 1 if it was right. The last of those who
// shared a try returns it if the code was right. It looks first, because an
// increment would make a key out of nothing, without a time to live.
var comparedScript = redis.NewScript(`
local left = tonumber(redis.call('HGET', KEYS[1], 'cmp:' .. ARGV[1]) or '0') - 1
if left > 0 then
  redis.call('HSET', KEYS[1], 'cmp:' .. ARGV[1], tostring(left))
  return 0
end
redis.call('HDEL', KEYS[1], 'cmp:' .. ARGV[1])
if left == 0 and ARGV[2] == '1' and tonumber(redis.call('HGET', KEYS[1], 'used') or '0') > 0 then
  redis.call('HINCRBY', KEYS[1], 'used', -1)
end
return 1`)
