package app

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"mobileid/cmd/mobileid/config"
	"mobileid/internal/mobileid"
	"mobileid/registry"
	"mobileid/registry/reconcile"
	"mobileid/smpp"
	"mobileid/smpp/profile"
)

// Reconciliation is a file to compare with what is in doubt.
type Reconciliation struct {
	Operator, File, Zone string
	Settle               bool
	Progress             func(lines int)
}

// Reconciled is what became of it.
type Reconciled struct {
	File    reconcile.File
	Seen    registry.ReconciledFile // before this run
	Listed  []*reconcile.Message    // in doubt
	Result  reconcile.Result
	Settled int // Messages, by this run
	Unknown int // lines of nothing that we know

	Differences []registry.Found // what was debited and is not in our books, at most listedDifferences of them
	Differ      int              // all of them
	ByHand      int              // of them, those that no rule settles; with Settle, those that are not settled
	Stored      registry.DiffersStored
	Unsure      int // lines that may be of several Messages, where it matters to their Charges
}

// listedDifferences are kept to be told; mobileid reconcile differences lists all that were stored.
const listedDifferences = 1000

// People counts what a person must look at.
func (r Reconciled) People() int {
	if !r.Seen.Done.IsZero() {
		return r.Seen.Doubts + r.Seen.Open
	}
	return len(r.Result.Doubts) + r.Unsure + r.ByHand
}

// batchMessages are stored at once, but for a group that is larger.
const batchMessages = 500

// Reconcile compares an operator's daily file with the Messages that are in
// doubt and, with Settle, settles those that the file leaves no doubt about. If the
// file says what the operator debited, that is compared with the Charges then, and
// with Settle the differences are stored. A wrong file is *reconcile.FileError. An unknown operator is KindInvalid.
func Reconcile(ctx context.Context, cfg *config.Config, o Reconciliation, log *slog.Logger) (Reconciled, error) {
	at := slices.IndexFunc(cfg.Operators, func(x config.Operator) bool { return x.ID == o.Operator })
	if at < 0 {
		return Reconciled{}, mobileid.Invalid("operator", "operator_unknown",
			fmt.Sprintf("--operator: want one of %s", strings.Join(cfg.OperatorIDs(), ", ")))
	}
	p := cfg.Operators[at].Profile()
	keys, err := mobileid.NewPseudonymKey([]byte(cfg.Keys.Pseudonym.Reveal()))
	if err != nil {
		return Reconciled{}, err
	}
	in, err := os.Open(o.File)
	if err != nil {
		return Reconciled{}, err
	}
	defer func() { _ = in.Close() }()
	read := reconcile.Options{
		Operator: o.Operator, Zone: o.Zone, Progress: o.Progress,
		Dialect: reconcile.Dialect{
			Number: keys.Number, ID: p.IDs.FromReceipt,
			State: func(stat, err string) (mobileid.MessageState, string, bool) {
				return smpp.StateOf(p.Receipts, stat, err)
			},
		},
	}
	c := comparison{o: o, read: read, refunds: p.Charging.Duplicates == profile.DuplicatesRefunded, of: registry.FileOf{
		Operator: p.ID, Account: p.ID + "/" + p.Account.SystemID, Life: longestLife(cfg, p), Slack: p.Validity.Overrun(),
	}}
	// Once to be sure that all of it is right, and once to compare.
	if c.out.File, err = reconcile.Read(in, read, nil); err != nil {
		return Reconciled{}, err
	}
	if c.db, err = openRegistry(ctx, cfg, log); err != nil {
		return Reconciled{}, err
	}
	defer c.db.Close()
	if err := c.db.CheckSchema(ctx); err != nil {
		return Reconciled{}, err
	}
	c.out.Seen, err = c.db.SeenFile(ctx, o.Operator, c.out.File.Hash)
	if err != nil || !c.out.Seen.Done.IsZero() {
		return c.out, err
	}
	if _, err := in.Seek(0, io.SeekStart); err != nil {
		return Reconciled{}, err
	}
	if err := c.compare(ctx, in); err != nil {
		return c.out, err
	}
	return c.out, c.apply(ctx, in)
}

// longestLife is how long after it was accepted a Message may be written.
func longestLife(cfg *config.Config, p profile.Profile) time.Duration {
	return max(cfg.Deadlines.Notice, time.Hour) + p.Validity.Min
}

// comparison is one run.
type comparison struct {
	o    Reconciliation
	read reconcile.Options
	db   *registry.DB
	of   registry.FileOf
	out  Reconciled

	refunds bool // the operator gives back what he debits for an SMS that was written twice
}

// again reads the file once more.
func (c *comparison) again(in io.Reader, each func(*reconcile.Line) error) error {
	f, err := reconcile.Read(in, c.read, each)
	if err == nil && f.Hash != c.out.File.Hash {
		err = mobileid.Invalid("file", "file_changed", "the file changed while it was read: run the same command again")
	}
	return err
}

func (c *comparison) compare(ctx context.Context, in io.Reader) error {
	with, err := c.db.Compare(ctx, c.of, c.out.File)
	if err != nil {
		return err
	}
	if err := c.again(in, func(l *reconcile.Line) error { return with.Add(ctx, l) }); err != nil {
		return err
	}
	c.out.Result, err = with.Match(ctx)
	c.out.Listed, c.out.Unknown = with.InDoubt, with.Unknown
	return err
}

// apply settles what is in doubt and compares what was debited: in this order, since
// what is settled moves Charges. Without Settle it changes nothing.
func (c *comparison) apply(ctx context.Context, in io.ReadSeeker) error {
	file := c.out.Seen.ID
	if c.o.Settle {
		var err error
		if file, err = c.db.BeginFile(ctx, c.o.Operator, c.out.File); err != nil {
			return err
		}
		if err := c.settle(ctx, file); err != nil {
			return err
		}
	}
	if c.out.File.Charges {
		if _, err := in.Seek(0, io.SeekStart); err != nil {
			return err
		}
		if err := c.debits(ctx, in, file); err != nil {
			return err
		}
	}
	if !c.o.Settle {
		return nil
	}
	return c.db.EndFile(ctx, file, len(c.out.Result.Doubts)+c.out.Unsure)
}

// debits compares what the operator debited with the Charges, and stores what
// differs. What would still be settled is left out.
func (c *comparison) debits(ctx context.Context, in io.Reader, file int64) error {
	with, err := c.db.OpenDebits(ctx, c.of, c.out.File, file)
	if err != nil {
		return err
	}
	defer with.Close()
	if err := c.again(in, func(l *reconcile.Line) error { return with.Add(ctx, l) }); err != nil {
		return err
	}
	skip := map[mobileid.ID]bool{}
	for _, g := range c.out.Result.Groups {
		for _, s := range g {
			skip[s.Message.ID] = !c.o.Settle
		}
	}
	c.out.Unsure, err = with.Judge(ctx, skip, func(found []registry.Found) error {
		c.out.Differ += len(found)
		for i := range found {
			if t := found[i].Terms(); t.ByRule(c.refunds) == "" {
				c.out.ByHand++
			}
		}
		c.out.Differences = append(c.out.Differences, found[:min(len(found), listedDifferences-len(c.out.Differences))]...)
		if !c.o.Settle {
			return nil
		}
		for some := range slices.Chunk(found, batchMessages) {
			stored, err := c.db.StoreDifferences(ctx, c.o.Operator, file, c.refunds, some)
			if err != nil {
				return err
			}
			c.out.Stored.Add(stored)
		}
		c.out.ByHand = c.out.Stored.Open
		return nil
	})
	if err == nil && c.out.Stored.Moved > 0 {
		err = moved(c.out.Stored.Moved)
	}
	return err
}

func moved(n int) error {
	return mobileid.Unavailable("messages_moved", 0, fmt.Errorf("%d messages moved while the file was compared: run the same command again", n))
}

// settle stores what was found, group by group.
func (c *comparison) settle(ctx context.Context, file int64) error {
	left := 0
	for groups := c.out.Result.Groups; len(groups) > 0; {
		n, messages := 0, 0
		for n < len(groups) && (n == 0 || messages+len(groups[n]) <= batchMessages) {
			messages += len(groups[n])
			n++
		}
		settled, err := c.db.Reconcile(ctx, c.of.Account, file, groups[:n])
		if err != nil {
			return err
		}
		c.out.Settled += settled
		left += messages - settled
		groups = groups[n:]
	}
	if left > 0 {
		return moved(left)
	}
	return nil
}
