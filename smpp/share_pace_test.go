package smpp

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"mobileid/cmd/smscsim/smsc"
	"mobileid/internal/mobileid"
	sharing "mobileid/otp/share"
)

// Two bridges write to one account whose operator throttles above the rate that
// was agreed, each with more to send than that: together they have all of it and
// are hardly ever throttled. When one is gone the other has all of it.
func TestTwoBridgesShareTheRateOfTheirAccount(t *testing.T) {
	const rate = 100
	server, err := smsc.Start(smsc.Config{
		Accounts: map[string]string{"mobileid": "secret"},
		Faults:   []smsc.Fault{{Kind: smsc.FaultThrottle, Rate: rate, Burst: 20}}, // a busy machine writes late, and then at once
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	rdb := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr()})
	t.Cleanup(func() { _ = rdb.Close() })

	var alive atomic.Int64
	join := func(prefix string) (leave func()) {
		c := Config{Profile: testProfile(server.Addr(), 20), Name: prefix}
		c.Profile.Pace.Rate = rate
		r := assemble(t, c)
		keeper := sharing.NewKeeper(sharing.Config{
			Redis: rdb, Account: r.bridge.cfg.account(), Ceiling: rate, Pacer: r.bridge,
			Alive: func(context.Context) (int, error) { return int(alive.Load()), nil },
		})
		alive.Add(1)
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() { _ = keeper.Run(ctx) })
		r.start()
		all.Go(func() { r.sendMore(ctx, prefix, 2*rate) })
		return sync.OnceFunc(func() {
			r.stop()
			alive.Add(-1)
			cancel()
			all.Wait()
		})
	}
	const first, second = "99890", "99891" // the numbers that each writes to
	leaves, stays := join(first), join(second)
	t.Cleanup(leaves)
	t.Cleanup(stays)

	// check looks at what comes when the shares have settled.
	check := func(what string, of map[string]float64) {
		t.Helper()
		settled := server.Count() + 2*rate // two seconds, in which shares move
		if err := server.Wait(t.Context(), settled); err != nil {
			t.Fatal(err)
		}
		if err := server.Wait(t.Context(), settled+3*rate); err != nil {
			t.Fatal(err)
		}
		seen := server.Received()[settled:]
		seconds, throttled, wrote := seen[len(seen)-1].At.Sub(seen[0].At).Seconds(), 0, map[string]float64{}
		for _, s := range seen {
			wrote[s.Dest[:len(first)]]++
			if s.Status != 0 {
				throttled++
			}
		}
		taken := float64(len(seen)-throttled) / seconds
		if taken < 0.9*rate || throttled*100 > len(seen) {
			t.Errorf("%s: %.1f/s are taken of %d, %d of %d throttled", what, taken, rate, throttled, len(seen))
		}
		for prefix, want := range of {
			if got := wrote[prefix] / float64(len(seen)); math.Abs(got-want) > 0.1 {
				t.Errorf("%s: %.2f of it is of %s, want %.1f", what, got, prefix, want)
			}
		}
	}
	check("two bridges", map[string]float64{first: 0.5, second: 0.5})
	leaves()
	check("one is gone", map[string]float64{first: 0, second: 1})
}

// sendMore brings so many notices a second, for numbers with that prefix, until
// ctx ends.
func (r *rig) sendMore(ctx context.Context, prefix string, perSecond int) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	var all sync.WaitGroup
	defer all.Wait()
	for n := 0; ; {
		ids := make([]mobileid.ID, perSecond/10)
		for i := range ids {
			dest := fmt.Sprintf("%s%07d", prefix, n)
			n++
			ids[i] = r.message(mobileid.LaneBulk, func(x *row) {
				plain, _ := json.Marshal(mobileid.SealedText{To: dest, Text: secretText})
				x.admission.Sealed, _ = r.sealer.Seal(x.admission.ID[:], plain)
				x.admission.Dest = mobileid.Pseudonym{1, byte(n), byte(n >> 8)}
			})
		}
		all.Go(func() { _ = r.take(mobileid.LaneBulk, ids...) })
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
