package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mobileid/cmd/mobileid/config"
	"mobileid/internal/mobileid"
	"mobileid/smpp"
	"mobileid/smpp/diameter"
)

// lateLimit bounds what a late answer may cost the registry.
const lateLimit = 5 * time.Second

// openCharger opens the operator's charging system for his bridge. It is closed with
// the App.
func (a *App) openCharger(o config.Operator) (smpp.Charger, error) {
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("charging of %s: %w", o.ID, err)
	}
	cfg := o.Diameter.Client(host)
	cfg.Log, cfg.Registry, cfg.Watch = a.log.With("operator", o.ID), prometheus.WrapRegistererWith(prometheus.Labels{"operator": o.ID}, a.reg), a.progress.loop
	// What nobody waits for any more is asked again, and answered from its record.
	cfg.Late = func(id string, _ diameter.Result) {
		message, err := mobileid.ParseID(id)
		if err != nil {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), lateLimit)
		defer cancel()
		if err := a.db.HastenCharge(ctx, message); err != nil {
			a.log.Warn("a late answer of a charging system waits for the next question", "operator", o.ID, "err", err)
		}
	}
	client, err := diameter.Open(cfg)
	if err != nil {
		return nil, fmt.Errorf("charging of %s: %w", o.ID, err)
	}
	a.chargers = append(a.chargers, client)
	return charger{client}, nil
}

// charger asks by Diameter what a bridge asks.
type charger struct{ client *diameter.Client }

func request(m smpp.Charge) diameter.Request {
	return diameter.Request{
		ID: m.ID.String(), Number: m.Number, Units: m.Units, Kind: mobileid.TextKind(m.TextID), At: m.ID.Time(), Step: m.Step, Again: m.Again,
	}
}

// Reserve is smpp.Charger's.
func (c charger) Reserve(ctx context.Context, m smpp.Charge) smpp.ChargeAnswer {
	switch c.client.Reserve(ctx, request(m)).Answer {
	case diameter.Yes:
		return smpp.ChargeYes
	case diameter.Free:
		return smpp.ChargeFree
	case diameter.No:
		return smpp.ChargeNo
	case diameter.Denied:
		return smpp.ChargeDenied
	case diameter.NoUser:
		return smpp.ChargeNoUser
	case diameter.UnknownHold:
		return smpp.ChargeHeld
	case diameter.Unknown:
	}
	return smpp.ChargeUnknown
}

// Settle is smpp.Charger's.
func (c charger) Settle(ctx context.Context, m smpp.Charge, used int) error {
	err := c.client.Settle(ctx, request(m), used)
	if errors.Is(err, diameter.ErrNoSession) {
		return smpp.ErrNotReserved
	}
	return err
}

// Refund is smpp.Charger's.
func (c charger) Refund(ctx context.Context, m smpp.Charge, units int) error {
	return c.client.Refund(ctx, request(m), units)
}
