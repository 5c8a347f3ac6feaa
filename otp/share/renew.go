package share

import (
	"context"
	"math"
	"time"

	"github.com/redis/go-redis/v9"

	"mobileid/internal/mobileid"
	"mobileid/otp/internal/call"
)

const (
	// Lease is how long a share may be used after it was asked for.
	Lease = 3 * time.Second
	// kept is how much longer Redis keeps it from others.
	kept = time.Second
	// everything is what a bridge wants that was held back.
	everything = math.MaxInt32
	// inThousandths: rates are whole numbers in Redis, thousandths of a
	// submit_sm a second, so that no rounding adds up to more than there is.
	inThousandths = 1000
)

// renewScript gives a member its share of an account. The hash has a field a
// member: when its lease ends (ms of Redis's clock), what it holds, what it
// wants. It holds its share, or what it used when it asked, if that is more: it
// may never hear that it was given less.
//
// ARGV member, lease in ms, ceiling, want, used, bridges alive ("0": not known).
// The answer is the share and how many members there are.
var renewScript = redis.NewScript(`
local me, lease, ceiling, want = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local used, alive = tonumber(ARGV[5]), tonumber(ARGV[6])
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local wants, given, members = {want}, 0, 1
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  if all[i] ~= me then
    local ends, holds, wanted = string.match(all[i + 1], '^(%d+) (%d+) (%d+)$')
    if tonumber(ends) <= now then
      redis.call('HDEL', KEYS[1], all[i])
    else
      given, members = given + tonumber(holds), members + 1
      wants[members] = tonumber(wanted)
    end -- of a lease
  end -- of another member
end
-- Bridges that live and are not here cannot see Redis, or not yet. Each may
-- take an equal part.
local absent = 0
if alive > members then absent = math.ceil(ceiling * (alive - members) / alive) end
local room = ceiling - absent
-- A level that wants are cut to: who wants less leaves the rest to the others.
-- Nobody is taken for wanting less than a quarter of an equal part, so that it
-- can begin.
local least = math.floor(room / (4 * members))
for i = 1, members do wants[i] = math.max(wants[i], least) end
local mine = wants[1]
table.sort(wants)
local left, level = room, nil
for i = 1, members do
  local equal = left / (members - i + 1)
  if wants[i] > equal then
    level = equal
    break
  end
  left = left - wants[i]
end
local share
if level then share = math.min(mine, level) else share = mine + left / members end
share = math.max(0, math.min(math.floor(share), room - given))
redis.call('HSET', KEYS[1], me, string.format('%.0f %.0f %.0f', now + lease, math.max(share, used), want))
redis.call('PEXPIRE', KEYS[1], lease)
return {share, members}`)

// Ask is what a bridge says when it renews. Rates are submit_sm a second.
type Ask struct {
	Account string  // "operator/system_id"
	Member  string  // names the bridge; another one after each start
	Ceiling float64 // of the account
	Used    float64 // the share until the answer
	Demand  float64 // written in the last second
	More    bool    // the pace held some back
	Alive   int     // bridges of the operator by the registry; 0: not known
}

// want is what the bridge could use, in thousandths: some more than it wrote,
// to grow into.
func (a Ask) want() int64 {
	if a.More {
		return everything
	}
	return thousandths(1.5 * a.Demand)
}

func thousandths(rate float64) int64 {
	return int64(math.Round(min(max(rate, 0)*inThousandths, everything)))
}

// Grant is the answer.
type Grant struct {
	Share   float64 // submit_sm a second, for Lease from before asking
	Members int     // bridges that hold a lease, this one included
}

// Renew asks for a share of an account, or for its renewal. Errors:
// KindUnavailable "redis_away" within a second; whether Redis has renewed is
// not known then.
func Renew(ctx context.Context, rdb redis.UniversalClient, a Ask) (Grant, error) {
	ctx, cancel := call.Bound(ctx)
	defer cancel()
	got, err := renewScript.Run(ctx, rdb, []string{key(a.Account)}, a.Member, (Lease + kept).Milliseconds(),
		thousandths(a.Ceiling), a.want(), thousandths(a.Used), a.Alive).Int64Slice()
	if err != nil {
		return Grant{}, call.Away(err)
	}
	if len(got) != 2 {
		return Grant{}, &mobileid.Error{Kind: mobileid.KindInternal, Code: "share_unreadable", Message: "the answer is not a share"}
	}
	return Grant{Share: float64(got[0]) / inThousandths, Members: int(got[1])}, nil
}

// Leave frees the share of a bridge that has stopped writing. Left alone it
// frees itself. Errors are Renew's.
func Leave(ctx context.Context, rdb redis.UniversalClient, account, member string) error {
	ctx, cancel := call.Bound(ctx)
	defer cancel()
	if err := rdb.HDel(ctx, key(account), member).Err(); err != nil {
		return call.Away(err)
	}
	return nil
}

func key(account string) string { return "pace:{" + account + "}" }
