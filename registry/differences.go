package registry

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"mobileid/internal/mobileid"
	"mobileid/registry/reconcile"
)

// DifferenceState is where a difference stands.
type DifferenceState string

// The states. Only settled is an end.
const (
	DifferenceOpen     DifferenceState = "open"
	DifferenceProposed DifferenceState = "proposed" // by one person
	DifferenceSettled  DifferenceState = "settled"  // confirmed by another one, or by a rule
	DifferenceRejected DifferenceState = "rejected" // the proposal: another one may follow
)

// byRule is who settles without a person. Nobody may be called so.
const byRule = "rule"

// DiffersStored is what became of differences that were found.
type DiffersStored struct {
	New     int
	Settled int // of them, by rule
	Open    int // those that are not settled, of before, too
	Moved   int // their Charge has moved since it was read: the next run looks again
}

// Add adds what became of others.
func (s *DiffersStored) Add(o DiffersStored) {
	s.New, s.Settled, s.Open, s.Moved = s.New+o.New, s.Settled+o.Settled, s.Open+o.Open, s.Moved+o.Moved
}

// StoreDifferences keeps what was found in a file, in one transaction, and settles
// what a rule can (reconcile.Terms.ByRule): the transfer is in it, too. What was
// found before, in this file or in another one of the operator, changes nothing.
func (db *DB) StoreDifferences(ctx context.Context, operator string, file int64, refunds bool, found []Found) (out DiffersStored, err error) {
	if len(found) == 0 {
		return out, nil
	}
	err = db.inTx(ctx, "store differences", func(tx pgx.Tx) error {
		out = DiffersStored{}
		// Two files that tell of one difference must not both store it.
		if _, err := tx.Exec(ctx, `select pg_advisory_xact_lock(hashtextextended('differences ' || $1::text, 0))`, operator); err != nil {
			return err
		}
		charges, err := lockCharges(ctx, tx, found)
		if err != nil {
			return err
		}
		unmoved := slices.DeleteFunc(slices.Clone(found), func(f Found) bool { return f.Book != nil && charges[f.Book.ID].step != f.Book.Step })
		out.Moved = len(found) - len(unmoved)
		ids, err := db.insertDifferences(ctx, tx, operator, file, unmoved)
		if err != nil {
			return err
		}
		s := &settling{db: db}
		for i := range unmoved {
			if ids[i] == 0 {
				continue
			}
			out.New++
			if s.byRule(ids[i], &unmoved[i], refunds, charges) {
				out.Settled++
			}
		}
		if err := s.store(ctx, tx); err != nil {
			return err
		}
		marks := make([][]byte, len(unmoved))
		for i := range unmoved {
			marks[i] = unmoved[i].mark(operator)
		}
		return tx.QueryRow(ctx, `
select count(*) from unnest($1::bytea[]) as m(mark)
where exists (select from differences d join differences_open o on o.difference_id = d.id where d.mark = m.mark)`, marks).Scan(&out.Open)
	})
	return out, err
}

// chargeOf is what a locked Message has.
type chargeOf struct {
	charge  mobileid.ChargeState
	charged mobileid.Money
	step    int32
}

func lockCharges(ctx context.Context, tx pgx.Tx, found []Found) (map[mobileid.ID]chargeOf, error) {
	var ids [][]byte
	for i := range found {
		if b := found[i].Book; b != nil {
			ids = append(ids, raw(b.ID))
		}
	}
	return lockChargesOf(ctx, tx, ids)
}

func lockChargesOf(ctx context.Context, tx pgx.Tx, ids [][]byte) (map[mobileid.ID]chargeOf, error) {
	b := &pgx.Batch{}
	lockFromMessages(b, ids)
	if err := tx.SendBatch(ctx, b).Close(); err != nil {
		return nil, err
	}
	rows, err := tx.Query(ctx, `select id, coalesce(charge, ''), charged, charge_step from messages where id = any($1)`, ids)
	if err != nil {
		return nil, err
	}
	out := map[mobileid.ID]chargeOf{}
	var id []byte
	var c chargeOf
	_, err = pgx.ForEachRow(rows, []any{&id, &c.charge, &c.charged, &c.step}, func() error {
		out[toID(id)] = c
		return nil
	})
	return out, err
}

// insertDifferences returns the number of each that is new, and zero for the others.
func (db *DB) insertDifferences(ctx context.Context, tx pgx.Tx, operator string, file int64, found []Found) ([]int64, error) {
	ids := make([]int64, len(found))
	b := &pgx.Batch{}
	for i := range found {
		f, t := &found[i], found[i].Terms()
		var message []byte
		if f.Book != nil {
			message = raw(f.Book.ID)
		}
		lines := make([]int32, len(f.Lines))
		for n, l := range f.Lines {
			lines[n] = int32(l)
		}
		b.Queue(`
insert into differences (file_id, operator, kind, message_id, lines, number, charging, charge, price, again, ours, theirs, mark, found_at)
select $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14
where not exists (select from differences where mark = $13 and file_id <> $1)
on conflict (file_id, mark, lines) do nothing returning id`,
			file, operator, string(f.Kind), message, lines, f.Number[:], string(t.Charging), string(t.Charge), int64(t.Price), t.Again,
			int64(t.Ours), int64(t.Theirs), f.mark(operator), db.clock(),
		).QueryRow(func(r pgx.Row) error {
			err := r.Scan(&ids[i])
			if errors.Is(err, pgx.ErrNoRows) {
				return nil
			}
			return err
		})
	}
	return ids, tx.SendBatch(ctx, b).Close()
}

// settling gathers steps of differences and the transfers that they make.
type settling struct {
	db    *DB
	steps pgx.Batch
	moves struct {
		ids [][]byte
		due []int64
		to  []string
	}
}

func (s *settling) step(id int64, step int, state DifferenceState, way reconcile.Way, by, why string, transfer int32) {
	s.steps.Queue(`
insert into difference_steps (difference_id, step, state, way, by, why, transfer, at)
values ($1, $2, $3, nullif($4, ''), $5, $6, nullif($7, 0), $8)`, id, step, string(state), string(way), by, why, transfer, s.db.clock())
}

// byRule takes the first steps of a difference, and settles it if a rule can.
func (s *settling) byRule(id int64, f *Found, refunds bool, charges map[mobileid.ID]chargeOf) bool {
	s.step(id, 1, DifferenceOpen, "", "", "", 0)
	terms := f.Terms()
	way := terms.ByRule(refunds)
	if way == "" {
		s.steps.Queue(`insert into differences_open (difference_id) values ($1)`, id)
		return false
	}
	s.step(id, 2, DifferenceSettled, way, byRule, byRule, s.move(f.Book.ID, charges[f.Book.ID], terms, way))
	return true
}

// move plans the transfer of a settlement and returns its step; zero: there is none.
func (s *settling) move(id mobileid.ID, c chargeOf, terms reconcile.Terms, way reconcile.Way) int32 {
	due, moves := terms.Due(way)
	to := c.becomes(due)
	if !moves || to == "" {
		return 0
	}
	s.moves.ids, s.moves.due, s.moves.to = append(s.moves.ids, raw(id)), append(s.moves.due, int64(due)), append(s.moves.to, string(to))
	return c.step + 1
}

// becomes says how a Charge gets to what is due of it; "": it is there.
func (c chargeOf) becomes(due mobileid.Money) mobileid.ChargeState {
	switch {
	case c.charge == mobileid.ChargePending || due == c.charged && c.charge != mobileid.ChargeUnknown:
		return ""
	case due > 0:
		return mobileid.ChargePosted
	case c.charge == mobileid.ChargeUnknown:
		return mobileid.ChargeVoided
	}
	return mobileid.ChargeReversed
}

// reconciledSQL moves Charges to what was settled. Nothing is reserved for them any
// more, so what is posted is posted late.
var reconciledSQL = `
with told as (
	select m.id, m.account_id, m.operator, m.amount, m.charging, m.charge, m.charge_step, m.charged, x.due, x.charge_to
	from unnest($2::bytea[], $3::bigint[], $4::text[]) as x(id, due, charge_to) join messages m on m.id = x.id
), corrected as (
	update messages m set ` + chargeSQL + ` from told v where m.id = v.id
), postings as (` + postingsSQL("told", "'reconciled'") + `
), ` + moneySQL + `
select 1`

func (s *settling) store(ctx context.Context, tx pgx.Tx) error {
	if len(s.moves.ids) > 0 {
		s.steps.Queue(reconciledSQL, s.db.clock(), s.moves.ids, s.moves.due, s.moves.to)
	}
	return tx.SendBatch(ctx, &s.steps).Close()
}

// openDifference is one whose lock is held.
type openDifference struct {
	terms   reconcile.Terms
	message mobileid.ID
	step    int // the last
	state   DifferenceState
	way     reconcile.Way
	by      string
	charges map[mobileid.ID]chargeOf
}

// onDifference runs a step of a person in a transaction that holds the locks of the
// Message and of the difference. KindNotFound: there is none of that number;
// KindConflict, code "difference_settled": it has ended.
func (db *DB) onDifference(ctx context.Context, op string, id int64, do func(*openDifference, *settling) error) error {
	return db.inTx(ctx, op, func(tx pgx.Tx) error {
		d := &openDifference{}
		t := &d.terms
		var message []byte
		err := tx.QueryRow(ctx, `
select kind, message_id, charging, charge, price, again, ours, theirs from differences where id = $1`, id).
			Scan(&t.Kind, &message, &t.Charging, &t.Charge, &t.Price, &t.Again, &t.Ours, &t.Theirs)
		if errors.Is(err, pgx.ErrNoRows) {
			return &mobileid.Error{
				Kind: mobileid.KindNotFound, Code: "difference_unknown",
				Message: "there is no difference of that number: mobileid reconcile differences lists them",
			}
		}
		if err != nil {
			return err
		}
		if d.message = toID(message); message != nil {
			if d.charges, err = lockChargesOf(ctx, tx, [][]byte{message}); err != nil {
				return err
			}
		}
		var open int64
		err = tx.QueryRow(ctx, `select difference_id from differences_open where difference_id = $1 for update`, id).Scan(&open)
		if errors.Is(err, pgx.ErrNoRows) {
			return conflict("difference_settled", "it is settled already: mobileid reconcile differences says how, and by whom")
		}
		if err != nil {
			return err
		}
		err = tx.QueryRow(ctx, `
select step, state, coalesce(way, ''), by from difference_steps where difference_id = $1 order by step desc limit 1`, id).
			Scan(&d.step, &d.state, &d.way, &d.by)
		if err != nil {
			return err
		}
		s := &settling{db: db}
		if err := do(d, s); err != nil {
			return err
		}
		return s.store(ctx, tx)
	})
}

// ProposeDifference notes how a person wants a difference to be settled; nothing
// else changes. A way that is not for it is KindInvalid, code "difference_way"; a
// proposal that waits already is KindConflict, code "difference_proposed".
func (db *DB) ProposeDifference(ctx context.Context, id int64, way reconcile.Way, by, why string) error {
	by, why, err := saidBy(by, why)
	if err != nil {
		return err
	}
	return db.onDifference(ctx, "propose difference", id, func(d *openDifference, s *settling) error {
		switch {
		case d.state == DifferenceProposed:
			return conflict("difference_proposed", "a proposal of it waits: let another person confirm or reject that one first")
		case !d.terms.May(way):
			return mobileid.Invalid("as", "difference_way", fmt.Sprintf("a difference of kind %s, ours %s and theirs %s, is not settled as %s: want %s",
				d.terms.Kind, d.terms.Ours, d.terms.Theirs, way, d.terms.Ways()))
		}
		s.step(id, d.step+1, DifferenceProposed, way, by, why, 0)
		return nil
	})
}

// ConfirmDifference settles a difference as it was proposed, with the transfer that
// this takes, once whoever confirms at the same time. By is another person than who
// proposed it: KindInvalid, code "four_eyes". Without a proposal it is KindConflict,
// code "difference_not_proposed"; "charge_moved" when the Charge is not any more what
// it was found to be, and the proposal rests on that.
func (db *DB) ConfirmDifference(ctx context.Context, id int64, by string) error {
	by, _, err := saidBy(by, "confirmed")
	if err != nil {
		return err
	}
	return db.onDifference(ctx, "confirm difference", id, func(d *openDifference, s *settling) error {
		if d.state != DifferenceProposed {
			return errNotProposed()
		}
		if sameName(d.by, by) {
			return mobileid.Invalid("by", "four_eyes", "the same person has proposed it: another one must confirm")
		}
		c := d.charges[d.message]
		if d.way == reconcile.Accept && (c.charge != d.terms.Charge || c.charged != d.terms.Ours) {
			return conflict("charge_moved", "the Charge has moved since the difference was found: mobileid explain shows how; reject the proposal")
		}
		transfer := int32(0)
		if d.way == reconcile.Accept || c.charge == mobileid.ChargeUnknown {
			transfer = s.move(d.message, c, d.terms, d.way)
		}
		s.step(id, d.step+1, DifferenceSettled, d.way, by, "confirmed", transfer)
		s.steps.Queue(`delete from differences_open where difference_id = $1`, id)
		return nil
	})
}

// RejectDifference ends a proposal without an effect: another one may follow.
func (db *DB) RejectDifference(ctx context.Context, id int64, by, why string) error {
	by, why, err := saidBy(by, why)
	if err != nil {
		return err
	}
	return db.onDifference(ctx, "reject difference", id, func(d *openDifference, s *settling) error {
		if d.state != DifferenceProposed {
			return errNotProposed()
		}
		s.step(id, d.step+1, DifferenceRejected, "", by, why, 0)
		return nil
	})
}

func errNotProposed() error {
	return conflict("difference_not_proposed", "nothing is proposed for it: mobileid reconcile propose comes first")
}

// DifferenceView is a difference with its last step.
type DifferenceView struct {
	ID           int64
	Operator     string
	File         [sha256.Size]byte // its SHA-256
	Kind         reconcile.Kind
	Message      mobileid.ID // zero of a stranger
	Lines        []int32
	Number       mobileid.Pseudonym
	Charging     mobileid.Charging
	Ours, Theirs mobileid.Money
	FoundAt      time.Time
	State        DifferenceState
	Way          reconcile.Way
	ProposedBy   string // of the last proposal
	ProposedWhy  string
	By, Why      string // of the last step
	At           time.Time
	Transfer     int32 // of the Charge; zero: none
}

// Differences gives differences to each, in the order in which they were found: of an
// operator, or "" for all; of those with open only what is not settled.
func (db *DB) Differences(ctx context.Context, operator string, open bool, each func(DifferenceView) error) error {
	return db.query(ctx, "differences", `
select d.id, d.operator, f.sha256, d.kind, d.message_id, d.lines, d.number, d.charging, d.ours, d.theirs, d.found_at,
       s.state, coalesce(s.way, ''), coalesce(p.by, ''), coalesce(p.why, ''), s.by, s.why, s.at, coalesce(s.transfer, 0)
from differences d join reconciled_files f on f.id = d.file_id
join lateral (select * from difference_steps x where x.difference_id = d.id order by step desc limit 1) s on true
left join lateral (select by, why from difference_steps x where x.difference_id = d.id and x.state = 'proposed' order by step desc limit 1) p on true
where ($1 = '' or d.operator = $1) and (not $2 or exists (select from differences_open o where o.difference_id = d.id))
order by d.id`, []any{operator, open}, func(r pgx.Rows) error {
		var v DifferenceView
		var file, message, number []byte
		err := r.Scan(&v.ID, &v.Operator, &file, &v.Kind, &message, &v.Lines, &number, &v.Charging, &v.Ours, &v.Theirs, &v.FoundAt,
			&v.State, &v.Way, &v.ProposedBy, &v.ProposedWhy, &v.By, &v.Why, &v.At, &v.Transfer)
		if err != nil {
			return err
		}
		copy(v.File[:], file)
		v.Message, v.Number = toID(message), toPseudonym(number)
		return each(v)
	})
}
