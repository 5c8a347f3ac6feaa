package demo

import (
	"context"
	"fmt"
	"time"

	"mobileid/registry"
)

// counts reads the totals; the app must still have its connections.
func (d *demo) counts() (registry.Totals, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return d.app.Registry().Totals(ctx)
}

// did is what the last line says of a run.
func (d *demo) did() string {
	now, err := d.counts()
	if err != nil {
		return "stopped: what was done in this run could not be read"
	}
	money, word := now.Charged-d.before.Charged, "charged"
	if money < 0 { // of Messages of an earlier run that came to nothing
		money, word = -money, "given back"
	}
	return fmt.Sprintf("stopped: in this run %d requests stored, %d messages delivered, %d codes confirmed, %s soum %s",
		now.Requests-d.before.Requests, now.Delivered-d.before.Delivered, now.Confirmed-d.before.Confirmed, money, word)
}

// left is what the last line says is still there.
func (d *demo) left() string {
	switch {
	case d.temp != nil:
		return "nothing is left behind"
	case d.schema != nil:
		return "the data stay in " + d.dir + " and in schema " + d.schema.name + " of the database of --postgres"
	}
	return "the data stay in " + d.dir
}
