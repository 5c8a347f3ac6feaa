package app

import (
	"context"

	"mobileid/otp/share"
)

// keepShares keeps each bridge of this process at its share of its account's
// pace. The parts stop after the bridges, which write until they are drained.
// An account whose limit nobody has named has no pace to share: each bridge
// finds out what is taken.
func (a *App) keepShares() (parts stage) {
	for i, b := range a.bridges {
		o := a.cfg.Operators[i]
		if o.Pace.Rate == 0 {
			continue
		}
		account := o.ID + "/" + o.Account.SystemID
		k := share.NewKeeper(share.Config{
			Redis: a.redis, Account: account, Ceiling: float64(o.Pace.Rate), Pacer: b,
			Alive: func(ctx context.Context) (int, error) { return a.db.LiveBridges(ctx, o.ID) },
			Log:   a.log, Loop: a.progress.loop("share of the pace of " + account),
		})
		parts = append(parts, part{"share of the pace of " + account, k.Run})
	}
	return parts
}
