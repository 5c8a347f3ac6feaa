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
}

// People counts what a person must look at.
func (r Reconciled) People() int {
	if !r.Seen.Done.IsZero() {
		return r.Seen.Doubts
	}
	return len(r.Result.Doubts)
}

// batchMessages are stored at once, but for a group that is larger.
const batchMessages = 500

// Reconcile compares an operator's daily file with the Messages that are in
// doubt and, with Settle, settles those that the file leaves no doubt about. A
// wrong file is *reconcile.FileError. An unknown operator is KindInvalid.
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
	c := comparison{o: o, read: read, of: registry.FileOf{
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
	if err := c.compare(ctx, in); err != nil || !o.Settle {
		return c.out, err
	}
	return c.out, c.settle(ctx)
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
}

func (c *comparison) compare(ctx context.Context, in io.Reader) error {
	with, err := c.db.Compare(ctx, c.of, c.out.File)
	if err != nil {
		return err
	}
	again, err := reconcile.Read(in, c.read, func(l *reconcile.Line) error { return with.Add(ctx, l) })
	if err == nil && again.Hash != c.out.File.Hash {
		err = mobileid.Invalid("file", "file_changed", "the file changed while it was read; nothing was applied")
	}
	if err != nil {
		return err
	}
	c.out.Result, err = with.Match(ctx)
	c.out.Listed, c.out.Unknown = with.InDoubt, with.Unknown
	return err
}

// settle stores what was found, group by group.
func (c *comparison) settle(ctx context.Context) error {
	file, err := c.db.BeginFile(ctx, c.o.Operator, c.out.File)
	if err != nil {
		return err
	}
	moved := 0
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
		moved += messages - settled
		groups = groups[n:]
	}
	if moved > 0 {
		return mobileid.Unavailable("messages_moved", 0,
			fmt.Errorf("%d messages moved while the file was compared: run the same command again", moved))
	}
	return c.db.EndFile(ctx, file, len(c.out.Result.Doubts))
}
