package limits

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"mobileid/internal/mobileid"
	"mobileid/otp/internal/call"
)

// The codes of a person, and those to a number, are bounded by buckets of the same
// kind as a quota (GCRA: Most at once, then evenly Most in a Per), each under the tag
// of its subject. A script takes one from every bucket of a subject or from none, and
// remembers for which request, so that a record that is delivered twice is counted
// once. A code that turns out right gives back what was taken for it: who signs in
// often is no guesser.
//
// KEYS the buckets, and last the mark of the request. ARGV now in ms, life of the
// mark in ms, then interval (ms) and burst of each bucket. The answer is how long to
// wait, 0 = taken.
var takeScript = redis.NewScript(`
local now, n = tonumber(ARGV[1]), #KEYS - 1
if redis.call('EXISTS', KEYS[n + 1]) == 1 then return 0 end
local tats, wait = {}, 0
for i = 1, n do
  local interval, burst = tonumber(ARGV[1 + 2 * i]), tonumber(ARGV[2 + 2 * i])
  local room = interval * burst
  local tat = tonumber(redis.call('GET', KEYS[i]) or '0')
  if tat < now then tat = now end
  if tat > now + room then tat = now + room end
  tats[i] = tat + interval
  wait = math.max(wait, tat + interval - room - now)
end
if wait > 0 then return wait end
local mark = {}
for i = 1, n do
  mark[i] = string.format('%.0f', tats[i])
  redis.call('SET', KEYS[i], mark[i], 'PX', tats[i] - now + 1000)
end
redis.call('SET', KEYS[n + 1], table.concat(mark, ' '), 'PX', ARGV[2])
return 0`)

// giveBack: KEYS as above, ARGV now in ms, then the interval of each bucket. Only what
// the mark says was taken comes back, once, and of it what time has not given back
// already: the mark has until when that was owed.
var giveBackScript = redis.NewScript(`
local now, n = tonumber(ARGV[1]), #KEYS - 1
local mark = redis.call('GETDEL', KEYS[n + 1])
if not mark then return 0 end
local i = 0
for owed in string.gmatch(mark, '%d+') do
  i = i + 1
  local back = math.max(0, math.min(tonumber(ARGV[1 + i]), tonumber(owed) - now))
  local tat = tonumber(redis.call('GET', KEYS[i]) or '0') - back
  redis.call('SET', KEYS[i], string.format('%.0f', tat), 'PX', math.max(tat - now, 0) + 1000)
end
return 1`)

// Codes bounds how many codes persons and numbers get.
type Codes struct {
	rdb   redis.UniversalClient
	rules mobileid.CodeLimits
	now   func() time.Time
}

// NewCodes wraps a client made with otp.RedisOptions; nil now means time.Now.
func NewCodes(rdb redis.UniversalClient, rules mobileid.CodeLimits, now func() time.Time) *Codes {
	if now == nil {
		now = time.Now
	}
	return &Codes{rdb, rules, now}
}

// Take takes one code of the person and one to the number, which may be zero, or
// neither: wait > 0 says when one is free again. For one request (ID) it is taken
// once. The error is KindUnavailable "redis_away"; then nothing may be concluded.
func (c *Codes) Take(ctx context.Context, ask mobileid.CodeAsk) (wait time.Duration, err error) {
	ctx, cancel := call.Bound(ctx)
	defer cancel()
	person, number := c.subjects(ask)
	if wait, err = c.take(ctx, person); err != nil || wait > 0 || ask.Number == (mobileid.Pseudonym{}) {
		return wait, err
	}
	if wait, err = c.take(ctx, number); err != nil || wait > 0 {
		// What a refusal took is given back; if that fails, the person is short of
		// one code for a while, which his next right one makes good.
		_ = c.giveBack(ctx, person)
	}
	return wait, err
}

// GiveBack gives back what was taken for a request: its code was right, or was never
// made. Called again, nothing changes.
func (c *Codes) GiveBack(ctx context.Context, ask mobileid.CodeAsk) error {
	ctx, cancel := call.Bound(ctx)
	defer cancel()
	person, number := c.subjects(ask)
	if err := c.giveBack(ctx, person); err != nil || ask.Number == (mobileid.Pseudonym{}) {
		return err
	}
	return c.giveBack(ctx, number)
}

// subject is what a script needs of a person or a number.
type subject struct {
	keys  []string // of the buckets, then the mark
	rules []mobileid.CodeRule
	life  time.Duration // of the mark
}

func (c *Codes) subjects(ask mobileid.CodeAsk) (person, number subject) {
	rules := c.rules.Person
	if ask.Presence == mobileid.PresenceNone {
		rules = slices.Concat(rules, c.rules.Absent)
	}
	return newSubject("person", ask.Person, ask.ID, rules), newSubject("number", ask.Number, ask.ID, c.rules.Number)
}

func newSubject(kind string, who mobileid.Pseudonym, id mobileid.ID, rules []mobileid.CodeRule) subject {
	s := subject{rules: rules}
	tag := "codes:" + kind + ":{" + who.String() + "}:"
	for _, r := range rules {
		// The rule is part of the name: another rule is another bucket.
		s.keys = append(s.keys, tag+strconv.Itoa(r.Most)+"/"+r.Per.String())
		s.life = max(s.life, r.Per)
	}
	s.keys = append(s.keys, tag+id.String())
	return s
}

func (s subject) interval(i int) int64 {
	return max(1, s.rules[i].Per.Milliseconds()/int64(s.rules[i].Most))
}

func (c *Codes) take(ctx context.Context, s subject) (time.Duration, error) {
	if len(s.rules) == 0 {
		return 0, nil
	}
	args := []any{c.now().UnixMilli(), s.life.Milliseconds()}
	for i, r := range s.rules {
		args = append(args, s.interval(i), r.Most)
	}
	wait, err := takeScript.Run(ctx, c.rdb, s.keys, args...).Int64()
	if err != nil {
		return 0, call.Away(err)
	}
	return time.Duration(wait) * time.Millisecond, nil
}

func (c *Codes) giveBack(ctx context.Context, s subject) error {
	if len(s.rules) == 0 {
		return nil
	}
	args := []any{c.now().UnixMilli()}
	for i := range s.rules {
		args = append(args, s.interval(i))
	}
	if err := giveBackScript.Run(ctx, c.rdb, s.keys, args...).Err(); err != nil {
		return call.Away(err)
	}
	return nil
}
