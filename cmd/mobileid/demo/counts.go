package demo

import (
	"context"
	"time"

	"mobileid/registry"
)

// counts reads the totals; the app must still have its connections.
func (d *demo) counts() (registry.Totals, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return d.app.Registry().Totals(ctx)
}

// summary is the one line at the end.
func (d *demo) summary(now registry.Totals) {
	left := "nothing is left behind"
	switch {
	case d.temp:
	case d.schema != nil:
		left = "the data stay in " + d.dir + " and in schema " + d.schema.name + " of the database of --postgres"
	default:
		left = "the data stay in " + d.dir
	}
	d.sayf("stopped: in this run %d requests stored, %d messages delivered, %d codes confirmed, %s soum charged; %s",
		now.Requests-d.before.Requests, now.Delivered-d.before.Delivered, now.Confirmed-d.before.Confirmed,
		now.Charged-d.before.Charged, left)
}
