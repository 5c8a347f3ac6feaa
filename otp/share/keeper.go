package share

import (
	"context"
	"crypto/rand"
	"log/slog"
	"math"
	"time"

	"github.com/redis/go-redis/v9"

	"mobileid/internal/mobileid"
)

const (
	// every is how often a bridge renews: twice more before its lease is over.
	every = time.Second
	// soon is how often a bridge asks that has no share, and when one asks again
	// that was given less, so that the others learn that it has heard.
	soon = 250 * time.Millisecond
	// lookLimit bounds the look at the registry, so that a step is over before
	// Redis gives a share to others.
	lookLimit = 200 * time.Millisecond
)

// Pacer is the bridge whose share is kept. Rates are submit_sm a second.
type Pacer interface {
	// SetPace bounds what is written to the account; 0 stops writing.
	SetPace(perSecond float64)
	// Demand is what was written in the last second, and whether the pace held
	// some back.
	Demand() (perSecond float64, more bool)
}

// Config is one bridge of an account.
type Config struct {
	Redis   redis.UniversalClient
	Account string  // "operator/system_id"
	Ceiling float64 // of the account, submit_sm a second
	Pacer   Pacer
	// Alive counts the bridges of the operator that hold a lease of the registry.
	Alive func(context.Context) (int, error)
	Log   *slog.Logger
	Now   func() time.Time // nil: time.Now; its times must carry the monotonic clock
	Loop  *mobileid.Loop
}

// Keeper keeps a bridge at its share of the account's pace.
type Keeper struct {
	cfg    Config
	member string
	share  float64
	until  time.Time // the share may be used so long
	known  int       // bridges, when Redis last said
	alive  int       // bridges, as the registry last said
	away   bool      // Redis, when it was asked last
}

// NewKeeper makes a keeper and sets the bridge's pace to 0 until it runs.
func NewKeeper(cfg Config) *Keeper {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	cfg.Pacer.SetPace(0)
	return &Keeper{cfg: cfg, member: rand.Text()}
}

// Run keeps the share until ctx ends, which should be after the bridge has
// stopped: then its share is free. It returns nil.
func (k *Keeper) Run(ctx context.Context) error {
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		k.cfg.Loop.Rest()
		select {
		case <-t.C:
		case <-ctx.Done():
			if err := Leave(context.WithoutCancel(ctx), k.cfg.Redis, k.cfg.Account, k.member); err != nil {
				k.cfg.Log.Info("the share of the pace is free when its lease ends", "account", k.cfg.Account, "err", err)
			}
			return nil
		}
		k.cfg.Loop.Step()
		t.Reset(k.step(ctx))
	}
}

// step renews once and returns when to come again.
func (k *Keeper) step(ctx context.Context) time.Duration {
	look, cancel := context.WithTimeout(ctx, lookLimit)
	if n, err := k.cfg.Alive(look); err == nil {
		k.alive = n
	}
	cancel()
	asked := k.cfg.Now()
	demand, more := k.cfg.Pacer.Demand()
	got, err := Renew(ctx, k.cfg.Redis, Ask{
		Account: k.cfg.Account, Member: k.member, Ceiling: k.cfg.Ceiling,
		Used: k.share, Demand: demand, More: more || k.share == 0, Alive: k.alive,
	})
	if k.away != (err != nil) && ctx.Err() == nil {
		k.away = err != nil
		k.cfg.Log.Warn("the pace of the account is divided", "account", k.cfg.Account, "by_redis", !k.away, "bridges", max(k.known, k.alive), "err", err)
	}
	before := k.share
	switch now := k.cfg.Now(); {
	case err == nil:
		k.share, k.known, k.until = got.Share, got.Members, asked.Add(Lease)
	case now.Before(k.until):
		// The lease stands. Its end is not to be missed.
		return min(every, k.until.Sub(now))
	default:
		k.share = k.equal()
	}
	k.cfg.Pacer.SetPace(k.share)
	if k.share == 0 || k.share < before {
		return soon
	}
	return every
}

// equal is the share without Redis, in whole thousandths as all shares are.
func (k *Keeper) equal() float64 {
	n := max(k.known, k.alive)
	if n == 0 {
		return 0
	}
	return math.Floor(k.cfg.Ceiling*inThousandths/float64(n)) / inThousandths
}
