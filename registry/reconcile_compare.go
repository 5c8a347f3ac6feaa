package registry

import (
	"context"
	"time"

	"mobileid/internal/mobileid"
	"mobileid/registry/reconcile"
)

// FileOf says whose file is compared.
type FileOf struct {
	Operator string
	Account  string        // "operator/system_id"
	Life     time.Duration // how long after it was accepted a Message may be written
	Slack    time.Duration // how much longer than a deadline the operator may try
}

// Comparison takes the lines of a file one by one and keeps those that may
// settle something: it grows with what is in doubt, not with the file.
type Comparison struct {
	db   *DB
	of   FileOf
	file reconcile.File

	InDoubt []*reconcile.Message // what is to be settled
	Unknown int                  // lines of nothing that we know

	known    int
	messages map[mobileid.ID]*reconcile.Message
	dests    map[mobileid.Pseudonym]bool // of those that no id explains
	batch    []*reconcile.Line
	lines    []*reconcile.Line
}

// compareBatch is how many lines are looked up at once.
const compareBatch = 1000

// Compare begins a comparison. It walks over every Message of the file's period.
func (db *DB) Compare(ctx context.Context, of FileOf, f reconcile.File) (*Comparison, error) {
	from, until := f.From, f.Until
	if from.IsZero() {
		from, until = f.First, f.Last
	}
	// A little later than the period: clocks differ.
	doubts, err := db.doubts(ctx, of.Operator, from.Add(-of.Life), until.Add(time.Hour), of.Slack)
	if err != nil {
		return nil, err
	}
	c := &Comparison{
		db: db, of: of, file: f,
		messages: map[mobileid.ID]*reconcile.Message{}, dests: map[mobileid.Pseudonym]bool{},
	}
	for _, x := range doubts {
		c.messages[x.ID], c.dests[x.Dest] = x, true
		if x.Open {
			c.InDoubt = append(c.InDoubt, x)
		}
	}
	return c, nil
}

// Add takes a line.
func (c *Comparison) Add(ctx context.Context, l *reconcile.Line) error {
	keep := *l
	if c.batch = append(c.batch, &keep); len(c.batch) < compareBatch {
		return nil
	}
	return c.look(ctx)
}

// look sorts the lines of a batch.
func (c *Comparison) look(ctx context.Context) error {
	found, err := c.db.answeredAs(ctx, c.of.Account, c.batch, c.of.Slack)
	if err != nil {
		return err
	}
	for i, l := range c.batch {
		open := false
		for _, x := range found[i] {
			open = open || x.Open
		}
		switch {
		case open:
			for _, x := range found[i] {
				if c.messages[x.ID] == nil {
					c.messages[x.ID] = x
				}
			}
			c.lines = append(c.lines, l)
		case len(found[i]) > 0:
			c.known++
			for _, x := range found[i] {
				if m := c.messages[x.ID]; m != nil {
					m.Told = true
				}
			}
		case c.dests[l.Dest]:
			c.lines = append(c.lines, l)
		default:
			c.Unknown++
		}
	}
	c.batch = c.batch[:0]
	return nil
}

// Match says what becomes of the lines that were added.
func (c *Comparison) Match(ctx context.Context) (reconcile.Result, error) {
	if err := c.look(ctx); err != nil {
		return reconcile.Result{}, err
	}
	all := make([]*reconcile.Message, 0, len(c.messages))
	for _, x := range c.messages {
		all = append(all, x)
	}
	r := reconcile.Match(c.file, all, c.lines)
	r.Known += c.known
	c.Unknown += len(r.Unknown)
	return r, nil
}
