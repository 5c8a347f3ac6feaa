package share

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"mobileid/internal/testenv"
	"mobileid/otp"
)

func TestMain(m *testing.M) { testenv.Main(m) }

const (
	ceiling = 1000.0
	tick    = 50 * time.Millisecond
	// registryLease is how long the registry counts a bridge that was killed.
	registryLease = 15 * time.Second
)

// fault is what is wrong between a bridge and Redis.
type fault int

const (
	none fault = iota
	cut        // Redis is not reached
	deaf       // the answer is lost
)

// way is a bridge's way to Redis.
type way struct{ fault fault }

func (w *way) DialHook(next redis.DialHook) redis.DialHook { return next }

func (w *way) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (w *way) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if w.fault == none {
			return next(ctx, cmd)
		}
		if w.fault == deaf {
			_ = next(ctx, cmd)
		}
		err := errors.New("cut off")
		cmd.SetErr(err)
		return err
	}
}

// bridge writes at its pace, as far as it has something to write.
type bridge struct {
	*Keeper
	way    *way
	offers float64 // Messages a second that come
	pace   float64
	next   time.Time
	died   time.Time
}

func (b *bridge) SetPace(perSecond float64) { b.pace = perSecond }

func (b *bridge) Demand() (float64, bool) { return min(b.offers, b.pace), b.offers > b.pace }

// account is the bridges of an account and what they share.
type account struct {
	t       testing.TB
	server  *miniredis.Miniredis
	now     time.Time
	bridges []*bridge
	over    time.Duration // for how long the shares have added up to more than there is
	longest time.Duration
}

func newAccount(t testing.TB) *account {
	t.Helper()
	a := &account{t: t, server: miniredis.RunT(t), now: time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)}
	a.server.SetTime(a.now)
	return a
}

func (a *account) join(offers float64) *bridge {
	b := &bridge{way: &way{}, offers: offers, next: a.now, pace: ceiling}
	rdb := redis.NewUniversalClient(otp.RedisOptions([]string{a.server.Addr()}, ""))
	rdb.AddHook(b.way)
	a.t.Cleanup(func() { _ = rdb.Close() })
	b.Keeper = NewKeeper(Config{
		Redis: rdb, Account: "beeline/us", Ceiling: ceiling, Pacer: b, Now: func() time.Time { return a.now },
		Alive: func(context.Context) (int, error) { return a.alive(), nil },
	})
	a.bridges = append(a.bridges, b)
	return b
}

// alive is the count of the registry.
func (a *account) alive() (n int) {
	for _, b := range a.bridges {
		if b.died.IsZero() || a.now.Sub(b.died) < registryLease {
			n++
		}
	}
	return n
}

func (a *account) living() (out []*bridge) {
	for _, b := range a.bridges {
		if b.died.IsZero() {
			out = append(out, b)
		}
	}
	return out
}

func (a *account) sum() (sum float64) {
	for _, b := range a.living() {
		sum += b.pace
	}
	return sum
}

// pass lets time pass.
func (a *account) pass(d time.Duration) {
	for end := a.now.Add(d); a.now.Before(end); {
		for _, b := range a.living() {
			if !b.next.After(a.now) {
				b.next = a.now.Add(b.step(context.Background()))
			}
		}
		a.now = a.now.Add(tick)
		a.server.SetTime(a.now)
		a.server.FastForward(tick)
		if a.over += tick; a.sum() <= ceiling+1e-6 {
			a.over = 0
		}
		a.longest = max(a.longest, a.over)
	}
}

// random lets bridges come, die and have more or less to write.
func (a *account) random(t *rapid.T) {
	living := a.living()
	one := func() *bridge { return rapid.SampledFrom(living).Draw(t, "bridge") }
	switch what := rapid.IntRange(0, 9).Draw(t, "what"); {
	case len(living) == 0 || what == 0 && len(living) < 5:
		a.join(rapid.Float64Range(0, 2*ceiling).Draw(t, "offers"))
	case what == 1:
		one().died = a.now
	default:
		one().offers = rapid.SampledFrom([]float64{0, 1, 50, 300, 1000, 5000}).Draw(t, "offers")
	}
	a.pass(time.Duration(rapid.IntRange(0, 50).Draw(t, "ticks")) * tick)
}

func TestSharesNeverAddUpToMoreThanTheCeilingAndInTheEndToAllOfIt(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		a := newAccount(t)
		for range 12 {
			a.random(r)
		}
		if a.longest > 0 {
			r.Fatalf("the shares were above the ceiling for %s", a.longest)
		}
		a.pass(registryLease + 2*(Lease+kept)) // the dead are forgotten
		if got := a.sum(); len(a.living()) > 0 && (got < ceiling-1 || got > ceiling+1e-6) {
			r.Fatalf("%d bridges have %f of %.0f", len(a.living()), got, ceiling)
		}
	})
}

func TestSharesAreAboveTheCeilingForALeaseAtMostWhenSomeLoseSightOfRedis(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		a := newAccount(t)
		for range 6 {
			a.random(r)
			if living := a.living(); len(living) > 0 {
				b := rapid.SampledFrom(living).Draw(r, "bridge")
				b.way.fault = rapid.SampledFrom([]fault{none, cut, deaf}).Draw(r, "fault")
			}
			a.pass(2 * (Lease + kept)) // one after the other: two excesses are not one
		}
		if a.longest > Lease {
			r.Fatalf("the shares were above the ceiling for %s", a.longest)
		}
	})
}

func TestLostAnswersGiveNoPartTwice(t *testing.T) {
	a := newAccount(t)
	busy := a.join(5000)
	a.pass(2 * time.Second)
	busy.way.fault = deaf
	fresh := a.join(5000)
	a.pass(Lease - every)
	if busy.pace != ceiling || fresh.pace != 0 {
		t.Errorf("%.0f and %.0f/s: the first has not heard that it was given less", busy.pace, fresh.pace)
	}
	a.pass(2 * Lease)
	if busy.pace != ceiling/2 || fresh.pace != ceiling/2 || a.longest > 0 {
		t.Errorf("%.0f and %.0f/s; above the ceiling for %s", busy.pace, fresh.pace, a.longest)
	}
}

func TestAFreshBridgeHasItsShareWithinTwoSeconds(t *testing.T) {
	a := newAccount(t)
	a.join(5000)
	a.pass(2300 * time.Millisecond)
	fresh := a.join(5000)
	if fresh.pace != 0 {
		t.Errorf("%.0f/s before it asked", fresh.pace)
	}
	a.pass(2 * time.Second)
	if fresh.pace != ceiling/2 {
		t.Errorf("%.0f/s after 2 s, want half of %.0f", fresh.pace, ceiling)
	}
	if a.longest > 0 {
		t.Errorf("above the ceiling for %s", a.longest)
	}
}

func TestWhoNeedsLittleLeavesTheRestToOthers(t *testing.T) {
	a := newAccount(t)
	idle, some, busy := a.join(0), a.join(100), a.join(5000)
	a.pass(5 * time.Second)
	if idle.pace < 50 || idle.pace > 100 || some.pace < 140 || some.pace > 160 || busy.pace < 700 {
		t.Errorf("idle %.0f, some %.0f, busy %.0f", idle.pace, some.pace, busy.pace)
	}
	idle.offers = 5000
	a.pass(3 * time.Second)
	if idle.pace < 400 || a.longest > 0 {
		t.Errorf("idle that became busy: %.0f; above the ceiling for %s", idle.pace, a.longest)
	}
}

func TestTheShareOfADeadBridgeIsFreeWhenTheRegistryForgetsItAndOfOneThatLeftAtOnce(t *testing.T) {
	a := newAccount(t)
	stays, dies := a.join(5000), a.join(5000)
	a.pass(4 * time.Second)
	dies.died = a.now
	a.pass(Lease)
	if stays.pace != ceiling/2 {
		t.Errorf("%.0f/s while the other may still write", stays.pace)
	}
	a.pass(registryLease)
	if stays.pace != ceiling {
		t.Errorf("%.0f/s when it is forgotten", stays.pace)
	}
	leaves := a.join(5000)
	a.pass(4 * time.Second)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := leaves.Run(ctx); err != nil {
		t.Fatal(err)
	}
	leaves.died = a.now.Add(-registryLease) // its lease of the registry is closed
	a.pass(time.Second + tick)
	if stays.pace != ceiling {
		t.Errorf("%.0f/s a second after the other left", stays.pace)
	}
}

func TestWithoutRedisEachTakesAnEqualPart(t *testing.T) {
	a := newAccount(t)
	busy, other := a.join(5000), a.join(0)
	a.pass(4 * time.Second)
	before := busy.pace
	busy.way.fault, other.way.fault = cut, cut
	a.pass(Lease - 2*tick - every)
	if busy.pace != before {
		t.Errorf("%.0f/s while the lease stands, want %.0f", busy.pace, before)
	}
	a.pass(every + 4*tick)
	if busy.pace != ceiling/2 || other.pace != ceiling/2 {
		t.Errorf("%.0f and %.0f/s, want half of %.0f each", busy.pace, other.pace, ceiling)
	}
	third := a.join(5000)
	third.way.fault = cut
	a.pass(every + tick)
	if want := 333.333; third.pace != want || busy.pace != want {
		t.Errorf("%.0f and %.0f/s, want a third", third.pace, busy.pace)
	}
}

func TestWhoNeverLearnedHowManyBridgesThereAreWritesNothing(t *testing.T) {
	a := newAccount(t)
	b := a.join(5000)
	b.way.fault = cut
	b.cfg.Alive = func(context.Context) (int, error) { return 0, errors.New("away") }
	a.pass(10 * time.Second)
	if b.pace != 0 {
		t.Errorf("%.0f/s", b.pace)
	}
}

func TestOneShareOnARealServer(t *testing.T) {
	e := testenv.New(t)
	opts := otp.RedisOptions([]string{e.RedisAddr()}, "")
	opts.IsClusterMode = e.Set == testenv.Real
	rdb := redis.NewUniversalClient(opts)
	defer func() { _ = rdb.Close() }()
	renew := func(member string, used, demand float64, more bool) Grant {
		t.Helper()
		got, err := Renew(t.Context(), rdb, Ask{Account: "beeline/us", Member: member, Ceiling: 500, Used: used, Demand: demand, More: more, Alive: 2})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if got := renew("a", 0, 0, true); got != (Grant{250, 1}) { // the other's part is left to it
		t.Errorf("a: %+v", got)
	}
	if got := renew("b", 0, 0, true); got != (Grant{250, 2}) {
		t.Errorf("b: %+v", got)
	}
	if got := renew("b", 250, 10, false); got.Share < 62 || got.Share > 63 {
		t.Errorf("b wants little: %+v", got)
	}
	if got := renew("a", 250, 250, true); got.Share != 250 {
		t.Errorf("a, before b said that it has heard: %+v", got)
	}
	renew("b", 62.5, 10, false)
	if got := renew("a", 250, 250, true); got.Share < 437 || got.Share > 438 {
		t.Errorf("a has the rest: %+v", got)
	}
	if err := Leave(t.Context(), rdb, "beeline/us", "b"); err != nil {
		t.Fatal(err)
	}
	if ttl := rdb.PTTL(t.Context(), key("beeline/us")).Val(); ttl <= 0 || ttl > Lease+kept {
		t.Errorf("the key lives for %s", ttl)
	}
	if n := rdb.HLen(t.Context(), key("beeline/us")).Val(); n != 1 {
		t.Errorf("%d members after one left", n)
	}
}

func TestRedisKeepsAShareLongerThanItsBridgeUsesIt(t *testing.T) {
	a := newAccount(t)
	rdb := redis.NewUniversalClient(otp.RedisOptions([]string{a.server.Addr()}, ""))
	defer func() { _ = rdb.Close() }()
	renew := func(member string, want float64) {
		t.Helper()
		got, err := Renew(t.Context(), rdb, Ask{Account: "beeline/us", Member: member, Ceiling: ceiling, More: true})
		if err != nil || got.Share != want {
			t.Errorf("%s: %+v, %v, want %.0f", member, got, err, want)
		}
	}
	renew("a", ceiling) // the registry does not say how many there are
	a.pass(Lease)
	renew("b", 0)
	a.pass(kept)
	renew("c", ceiling/2) // b is there, too
}
