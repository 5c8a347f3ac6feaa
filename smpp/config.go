package smpp

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mobileid/internal/mobileid"
	"mobileid/smpp/profile"
)

// Config is a bridge to one operator. Zero values below Name mean the default
// that stands beside them.
type Config struct {
	Profile profile.Profile
	Name    string // of this bridge, for people: host and process

	UnbindWait   time.Duration // 1 s: for answers, once somebody unbinds
	Lease        time.Duration // 15 s; renewed three times in it
	LeaseMargin  time.Duration // a fifth of Lease: writing stops this long before its end
	RetryEvery   time.Duration // 500 ms: how often due retries are looked for
	GiveBack     time.Duration // 2 s without a link: what waits, and what comes, is left to other bridges
	StoreTimeout time.Duration // 5 s for one statement of the registry
	DrainTimeout time.Duration // 10 s for the window at the end

	ChargeTimeout time.Duration // 8 s for one answer of the Charger
	ChargesAtOnce int           // 1000 subscribers that the Charger is asked about, and as many charges that it is told of
}

// account names the operator account. The operator is part of it: two of them
// may have given us the same system_id, and neither may speak for the other.
func (c Config) account() string { return c.Profile.ID + "/" + c.Profile.Account.SystemID }

func (c Config) withDefaults() Config {
	d := func(v *time.Duration, def time.Duration) {
		if *v <= 0 {
			*v = def
		}
	}
	d(&c.UnbindWait, time.Second)
	d(&c.Lease, 15*time.Second)
	d(&c.LeaseMargin, c.Lease/5)
	d(&c.RetryEvery, 500*time.Millisecond)
	d(&c.GiveBack, 2*time.Second)
	d(&c.StoreTimeout, 5*time.Second)
	d(&c.DrainTimeout, 10*time.Second)
	d(&c.ChargeTimeout, 8*time.Second)
	if c.ChargesAtOnce <= 0 {
		c.ChargesAtOnce = 1000
	}
	return c
}

// Store is the registry as a bridge needs it. Errors are *mobileid.Error:
// KindUnavailable and KindUnknown are tried again, others are not.
type Store interface {
	// OpenBridge begins a lease of that length, counted on the registry's clock.
	OpenBridge(ctx context.Context, operator, name string, lease time.Duration) (id int64, err error)
	// RenewBridge lengthens a lease; KindConflict or KindNotFound when it has ended.
	RenewBridge(ctx context.Context, id int64, lease time.Duration) error
	// CloseBridge ends a lease.
	CloseBridge(ctx context.Context, id int64) error
	// Admit decides about each item and marks the bridge as the owner of those
	// that are "mine". An error is about the items that are not among the
	// admissions. KindConflict: the lease has ended.
	Admit(ctx context.Context, bridge int64, items []mobileid.AdmitItem) ([]mobileid.Admission, error)
	// DueRetries lists what may be sent now and is on no lane topic, with its lane,
	// codes first.
	DueRetries(ctx context.Context, operator string, limit int) ([]mobileid.AdmitItem, error)
	// Settle stores outcomes. account is the operator account that operator ids
	// belong to, "operator/system_id". An outcome moves a Message that the bridge has: admitted by it, or
	// in doubt since, if it is sent or rejected, or if it is to be tried again and
	// only the end of the lease had put it in doubt. Of any other the answers of its
	// parts are kept; one that comes late fills what was stored without it.
	Settle(ctx context.Context, bridge int64, account string, outcomes []mobileid.Outcome) error
	// StoreReceipts stores receipts; storing one again changes nothing.
	StoreReceipts(ctx context.Context, receipts []mobileid.Receipt) (matched int, err error)
	// StoreInbound stores what subscribers sent; storing one again changes nothing.
	StoreInbound(ctx context.Context, messages []mobileid.InboundMessage) error
	// KeepUnread keeps receipts that cannot be read, as many as there is room for.
	KeepUnread(ctx context.Context, receipts []mobileid.UnreadReceipt) error
	Charges
}

// Opener opens what was sealed to the bridge's key.
type Opener interface {
	Open(aad, sealed []byte) ([]byte, error)
	// Fingerprint is a hash of values by a key that only bridges have.
	Fingerprint(values ...[]byte) mobileid.Fingerprint
}

// Numbers gives the pseudonym that a number is stored under.
type Numbers interface {
	Number(mobileid.MSISDN) mobileid.Pseudonym
	// NumberIn is Number of what ParseMSISDN reads in a text.
	NumberIn(text string) (p mobileid.Pseudonym, ok bool)
}

// Deps are the ports of a bridge.
type Deps struct {
	Store   Store
	Opener  Opener
	Numbers Numbers // receipts name the number; the registry knows its pseudonym
	Charger Charger // nil: the operator has no charging system that is asked
	// InboundSealer seals what subscribers write to the bridges' key;
	// UnreadSealer receipts that cannot be read to that of the dead letters,
	// because a person opens them.
	InboundSealer, UnreadSealer Sealer
	Log                         *slog.Logger
	Reg                         prometheus.Registerer // nil: no metrics
	Now                         func() time.Time      // nil: time.Now; its times must carry the monotonic clock
	Watch                       mobileid.Watch        // of the loops
	Dial                        Dialer                // nil: TCP, with TLS where the bind asks for it
}
