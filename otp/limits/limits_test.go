package limits

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"mobileid/internal/mobileid"
	"mobileid/otp"
)

var start = time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)

func connect(t testing.TB, addr string) redis.UniversalClient {
	t.Helper()
	rdb := redis.NewUniversalClient(otp.RedisOptions([]string{addr}, ""))
	t.Cleanup(func() { _ = rdb.Close() })
	return rdb
}

func quota(rate int, per time.Duration, burst int) mobileid.Client {
	return mobileid.Client{ID: "oneid", Quota: mobileid.Quota{Rate: rate, Per: per, Burst: burst}}
}

func TestSpendGivesTheBurstThenThePace(t *testing.T) {
	server := miniredis.RunT(t)
	at := start
	l := New(connect(t, server.Addr()), func() time.Time { return at })
	c := quota(10, time.Second, 3)
	steps := []struct {
		after time.Duration
		want  time.Duration
	}{
		{0, 0},
		{0, 0},
		{0, 0},
		{0, 100 * time.Millisecond},
		{40 * time.Millisecond, 60 * time.Millisecond},
		{60 * time.Millisecond, 0},
		{0, 100 * time.Millisecond}, // a refusal costs nothing
		{time.Hour, 0},
		{0, 0},
		{0, 0},
		{0, 100 * time.Millisecond}, // an hour of silence saves up no more than the burst
	}
	for i, s := range steps {
		at = at.Add(s.after)
		server.FastForward(s.after)
		got, err := l.Spend(t.Context(), c)
		if err != nil || got != s.want {
			t.Errorf("step %d: wait %s (%v), want %s", i, got, err, s.want)
		}
	}
}

func TestSpendKeepsClientsApart(t *testing.T) {
	l := New(connect(t, miniredis.RunT(t).Addr()), func() time.Time { return start })
	a, b := quota(1, time.Minute, 1), quota(1, time.Minute, 1)
	b.ID = "tax"
	for _, c := range []mobileid.Client{a, b} {
		if wait, err := l.Spend(t.Context(), c); wait != 0 || err != nil {
			t.Errorf("%s: wait %s, %v", c.ID, wait, err)
		}
	}
	if wait, err := l.Spend(t.Context(), a); wait != time.Minute || err != nil {
		t.Errorf("wait %s, %v", wait, err)
	}
}

func TestSpendIsOneQuotaForAllGateways(t *testing.T) {
	addr := miniredis.RunT(t).Addr()
	gateways := []*Limits{
		New(connect(t, addr), func() time.Time { return start }),
		New(connect(t, addr), func() time.Time { return start }),
	}
	const burst = 7
	var mu sync.Mutex
	passed := 0
	var all sync.WaitGroup
	for i := range 40 {
		all.Go(func() {
			wait, err := gateways[i%2].Spend(t.Context(), quota(1, time.Hour, burst))
			if err != nil {
				t.Error(err)
			}
			if wait == 0 {
				mu.Lock()
				passed++
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if passed != burst {
		t.Errorf("%d passed, want %d", passed, burst)
	}
}

func TestSpendForgetsAClockThatRanAhead(t *testing.T) {
	addr := miniredis.RunT(t).Addr()
	ahead := New(connect(t, addr), func() time.Time { return start.Add(48 * time.Hour) })
	right := New(connect(t, addr), func() time.Time { return start })
	c := quota(10, time.Second, 5)
	if _, err := ahead.Spend(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if wait, err := right.Spend(t.Context(), c); err != nil || wait > 100*time.Millisecond {
		t.Errorf("wait %s, %v", wait, err)
	}
}

func TestSpendRefusesAClientWithoutQuota(t *testing.T) {
	l := New(connect(t, miniredis.RunT(t).Addr()), nil)
	for _, c := range []mobileid.Client{{ID: "oneid"}, quota(0, time.Second, 5), quota(5, 0, 5), quota(-1, time.Second, 1)} {
		if _, err := l.Spend(t.Context(), c); mobileid.CodeOf(err) != "quota_invalid" || mobileid.KindOf(err) != mobileid.KindInternal {
			t.Errorf("%+v: %v", c.Quota, err)
		}
	}
}

func TestSpendLeavesNothingBehind(t *testing.T) {
	server := miniredis.RunT(t)
	l := New(connect(t, server.Addr()), func() time.Time { return start })
	if _, err := l.Spend(t.Context(), quota(1, time.Second, 1)); err != nil {
		t.Fatal(err)
	}
	if keys := server.Keys(); len(keys) != 1 || keys[0] != "limit:{oneid}" {
		t.Errorf("keys %v", keys)
	}
	server.FastForward(3 * time.Second)
	if keys := server.Keys(); len(keys) != 0 {
		t.Errorf("keys %v stay", keys)
	}
}

// bucket is the plain model: a bucket of burst tokens that fills at the pace.
// It counts in microseconds, as the script does, so that both are exact.
type bucket struct {
	level, room, interval int64 // µs of debt, its bound, and what one request costs
	at                    time.Time
}

func (b *bucket) spend(now time.Time) time.Duration {
	b.level = max(0, b.level-now.Sub(b.at).Microseconds())
	b.at = now
	if over := b.level + b.interval - b.room; over > 0 {
		return time.Duration(over) * time.Microsecond
	}
	b.level += b.interval
	return 0
}

func TestSpendBehavesAsALeakyBucket(t *testing.T) {
	server := miniredis.RunT(t)
	rdb := connect(t, server.Addr())
	rapid.Check(t, func(rt *rapid.T) {
		server.FlushAll()
		c := quota(
			rapid.IntRange(1, 5000).Draw(rt, "rate"),
			rapid.SampledFrom([]time.Duration{time.Second, time.Minute, time.Hour}).Draw(rt, "per"),
			rapid.IntRange(1, 20).Draw(rt, "burst"),
		)
		at := start
		l := New(rdb, func() time.Time { return at })
		step, ok := interval(c.Quota)
		if !ok {
			rt.Fatal("a good quota is refused")
		}
		model := &bucket{interval: step, room: step * int64(c.Quota.Burst), at: at}
		for i := range rapid.IntRange(1, 60).Draw(rt, "requests") {
			// From nothing to a few intervals, so that both answers are met.
			pause := time.Duration(rapid.Int64Range(0, 3*step).Draw(rt, fmt.Sprint("pause ", i))) * time.Microsecond
			at = at.Add(pause)
			server.FastForward(pause)
			want := model.spend(at)
			got, err := l.Spend(t.Context(), c)
			if err != nil || got != want {
				rt.Fatalf("request %d: wait %s (%v), want %s", i, got, err, want)
			}
		}
	})
}

func TestSpendNeverGivesMoreThanTheQuota(t *testing.T) {
	for _, q := range []mobileid.Quota{
		{Rate: 3, Per: time.Second, Burst: 1}, {Rate: 7, Per: time.Minute, Burst: 4}, {Rate: 6000, Per: time.Second, Burst: 10},
	} {
		step, ok := interval(q)
		if !ok || step*int64(q.Rate) < q.Per.Microseconds() {
			t.Errorf("%+v: an interval of %d µs gives more than the quota", q, step)
		}
	}
}

func ids(t *testing.T) mobileid.IDKey {
	t.Helper()
	k, err := mobileid.NewIDKey([]byte("an id key for tests"))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestClaimReturnsWhatCameFirst(t *testing.T) {
	server := miniredis.RunT(t)
	l := New(connect(t, server.Addr()), nil)
	k := ids(t)
	part := k.KeyPart("oneid", "key-1")
	first := k.Make(mobileid.KindChallenge, "oneid", "key-1", start)
	second := k.Make(mobileid.KindChallenge, "oneid", "key-1", start.Add(time.Second))

	for i, c := range []struct {
		id   mobileid.ID
		hash string
	}{{first, "aa"}, {second, "aa"}, {second, "bb"}, {first, "bb"}} {
		id, hash, err := l.Claim(t.Context(), "oneid", part, c.id, c.hash)
		if err != nil || id != first || hash != "aa" {
			t.Errorf("call %d: %s %q, %v", i, id, hash, err)
		}
	}
	// The same part under another client is another key.
	if id, hash, err := l.Claim(t.Context(), "tax", part, second, "bb"); err != nil || id != second || hash != "bb" {
		t.Errorf("another client: %s %q, %v", id, hash, err)
	}
	server.FastForward(claimLife - time.Second)
	if id, _, err := l.Claim(t.Context(), "oneid", part, second, "bb"); err != nil || id != first {
		t.Errorf("forgotten within 24 h: %s, %v", id, err)
	}
	server.FastForward(time.Second)
	if id, _, err := l.Claim(t.Context(), "oneid", part, second, "bb"); err != nil || id != second {
		t.Errorf("still there after 24 h: %s, %v", id, err)
	}
}

func TestClaimHasOneWinnerAmongMany(t *testing.T) {
	l := New(connect(t, miniredis.RunT(t).Addr()), nil)
	k := ids(t)
	part := k.KeyPart("oneid", "key-1")
	const callers = 30
	var mu sync.Mutex
	stored := map[mobileid.ID]int{}
	own := 0
	var all sync.WaitGroup
	for i := range callers {
		all.Go(func() {
			mine := k.Make(mobileid.KindChallenge, "oneid", "key-1", start.Add(time.Duration(i)*time.Millisecond))
			got, _, err := l.Claim(t.Context(), "oneid", part, mine, "aa")
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			stored[got]++
			if got == mine {
				own++
			}
		})
	}
	all.Wait()
	if len(stored) != 1 || own != 1 {
		t.Errorf("%d different ids came back, %d callers won", len(stored), own)
	}
}

func TestClaimBehavesAsAMapThatForgets(t *testing.T) {
	server := miniredis.RunT(t)
	rdb := connect(t, server.Addr())
	k := ids(t)
	type kept struct {
		id    mobileid.ID
		hash  string
		until time.Time
	}
	rapid.Check(t, func(rt *rapid.T) {
		server.FlushAll()
		at := start
		l := New(rdb, func() time.Time { return at })
		model := map[string]kept{}
		for i := range rapid.IntRange(1, 30).Draw(rt, "calls") {
			pause := time.Duration(rapid.IntRange(0, 20).Draw(rt, fmt.Sprint("hours ", i))) * time.Hour
			at = at.Add(pause)
			server.FastForward(pause)
			client := rapid.SampledFrom([]string{"oneid", "tax"}).Draw(rt, "client")
			key := rapid.SampledFrom([]string{"k1", "k2"}).Draw(rt, "key")
			hash := rapid.SampledFrom([]string{"aa", "bb"}).Draw(rt, "hash")
			mine := k.Make(mobileid.KindMessage, client, key, at)
			want, known := model[client+"/"+key]
			if !known || !at.Before(want.until) {
				want = kept{mine, hash, at.Add(claimLife)}
				model[client+"/"+key] = want
			}
			id, got, err := l.Claim(t.Context(), client, k.KeyPart(client, key), mine, hash)
			if err != nil || id != want.id || got != want.hash {
				rt.Fatalf("call %d: %s %q (%v), want %s %q", i, id, got, err, want.id, want.hash)
			}
		}
	})
}

func TestClaimSaysWhenItCannotReadWhatIsStored(t *testing.T) {
	server := miniredis.RunT(t)
	l := New(connect(t, server.Addr()), nil)
	k := ids(t)
	part := k.KeyPart("oneid", "key-1")
	id := k.Make(mobileid.KindChallenge, "oneid", "key-1", start)
	if _, _, err := l.Claim(t.Context(), "oneid", part, id, "aa"); err != nil {
		t.Fatal(err)
	}
	key := server.Keys()[0]
	if !strings.HasPrefix(key, "idem:{oneid:") || !strings.HasSuffix(key, "}") {
		t.Errorf("key %s", key)
	}
	for _, garbage := range []string{"", "x", "x y", id.String()} {
		if err := server.Set(key, garbage); err != nil {
			t.Fatal(err)
		}
		if _, _, err := l.Claim(t.Context(), "oneid", part, id, "aa"); mobileid.CodeOf(err) != "claim_unreadable" {
			t.Errorf("%q: %v", garbage, err)
		}
	}
}

func TestRedisAwayIsSaidWithinASecond(t *testing.T) {
	stopped := miniredis.RunT(t)
	addr := stopped.Addr()
	stopped.Close()
	// The kernel takes connections to a listener that nobody serves.
	hanging, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = hanging.Close() })
	for name, addr := range map[string]string{"stopped": addr, "hanging": hanging.Addr().String()} {
		l := New(connect(t, addr), nil)
		for call, run := range map[string]func() error{
			"Spend": func() error {
				_, err := l.Spend(t.Context(), quota(1, time.Second, 1))
				return err
			},
			"Claim": func() error {
				_, _, err := l.Claim(t.Context(), "oneid", mobileid.KeyPart{}, mobileid.ID{}, "aa")
				return err
			},
		} {
			began := time.Now()
			err := run()
			if took := time.Since(began); took > time.Second {
				t.Errorf("%s %s took %s", name, call, took)
			}
			var e *mobileid.Error
			if !errors.As(err, &e) || e.Kind != mobileid.KindUnavailable || e.Code != "redis_away" || e.RetryAfter != time.Second {
				t.Errorf("%s %s: %v", name, call, err)
			}
		}
	}
}

func TestClusterClientRunsEveryCall(t *testing.T) {
	opts := otp.RedisOptions([]string{miniredis.RunT(t).Addr()}, "")
	opts.IsClusterMode = true
	rdb := redis.NewUniversalClient(opts)
	t.Cleanup(func() { _ = rdb.Close() })
	l := New(rdb, nil)
	if wait, err := l.Spend(t.Context(), quota(1, time.Second, 1)); wait != 0 || err != nil {
		t.Errorf("wait %s, %v", wait, err)
	}
	k := ids(t)
	id := k.Make(mobileid.KindMessage, "oneid", "k", start)
	if got, _, err := l.Claim(t.Context(), "oneid", id.KeyPart(), id, "aa"); got != id || err != nil {
		t.Errorf("%s, %v", got, err)
	}
}
