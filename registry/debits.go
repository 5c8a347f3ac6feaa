package registry

import (
	"context"
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"mobileid/internal/mobileid"
	"mobileid/registry/reconcile"
)

// Debits takes all lines of a file that says what the operator debited, and
// compares them with the Charges, number by number. Lines and Messages of the
// period lie in temporary tables of one connection meanwhile, so what the process
// keeps does not grow with the file. Close ends it.
type Debits struct {
	db   *DB
	of   FileOf
	file reconcile.File
	id   int64 // of the file
	conn *pgx.Conn

	batch []*reconcile.Line
}

// Found is a difference and the number that it is of.
type Found struct {
	reconcile.Difference

	Number mobileid.Pseudonym
}

// OpenDebits begins a comparison. id is the number of the file, when it is being
// applied (BeginFile), and zero otherwise.
func (db *DB) OpenDebits(ctx context.Context, of FileOf, f reconcile.File, id int64) (*Debits, error) {
	pooled, err := db.pool.Acquire(ctx)
	if err != nil {
		return nil, clean("debits: open", err)
	}
	d := &Debits{db: db, of: of, file: f, id: id, conn: pooled.Hijack()}
	for _, sql := range []string{
		`set statement_timeout = 0`, // what is sorted may be a month
		`create temporary table debits (
			no integer, dest bytea, operator_id text, submitted timestamptz, reference integer, failed boolean, parts integer,
			priced boolean, charged bigint, message_id bytea, part integer)`,
		`create index on debits (dest)`,
		`create temporary table books (
			id bytea primary key, dest bytea, since timestamptz, until timestamptz, parts integer, tries integer, state text,
			charging text, charge text, price bigint, charged bigint, step integer)`,
		`create index on books (dest)`,
	} {
		if _, err := d.conn.Exec(ctx, sql); err != nil {
			d.Close()
			return nil, clean("debits: open", err)
		}
	}
	return d, nil
}

// Close gives everything back.
func (d *Debits) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = d.conn.Close(ctx) // the temporary tables go with it
}

// Add takes a line.
func (d *Debits) Add(ctx context.Context, l *reconcile.Line) error {
	keep := *l
	if d.batch = append(d.batch, &keep); len(d.batch) < compareBatch {
		return nil
	}
	return d.stage(ctx)
}

// stageSQL stores lines with the part that was answered with their id to their
// number, the nearest in time: operators' ids come round. A line without an id
// that has settled a Message has the one that we made for it.
const stageSQL = `
insert into debits
select l.no, l.dest, l.operator_id, l.submitted, l.reference, l.failed, l.parts, l.priced, l.charged, p.message_id, p.part
from unnest($1::integer[], $2::bytea[], $3::text[], $4::timestamptz[], $5::integer[], $6::boolean[], $7::integer[], $8::boolean[], $9::bigint[])
     as l(no, dest, operator_id, submitted, reference, failed, parts, priced, charged)
left join lateral (
	select q.message_id, q.part from message_parts q
	where q.operator_id = case when l.operator_id = '' then 'file ' || $11::bigint || ' line ' || l.no else l.operator_id end
	  and q.account = $10 and q.dest = l.dest
	  and q.answered_at between l.submitted - interval '72 hours' and l.submitted + interval '72 hours'
	order by abs(extract(epoch from q.answered_at - l.submitted)), q.message_id, q.part limit 1) p on true`

func (d *Debits) stage(ctx context.Context) error {
	n := len(d.batch)
	if n == 0 {
		return nil
	}
	nos, refs, parts, charged := make([]int32, n), make([]int32, n), make([]int32, n), make([]int64, n)
	dests, ids, at := make([][]byte, n), make([]string, n), make([]time.Time, n)
	failed, priced := make([]bool, n), make([]bool, n)
	for i, l := range d.batch {
		nos[i], refs[i], parts[i], charged[i] = int32(l.No), int32(l.Reference), int32(l.Parts), int64(l.Charged)
		dests[i], ids[i], at[i], priced[i] = l.Dest[:], l.ID, l.Submitted, l.Priced
		failed[i] = l.State != "" && l.State != mobileid.MessageDelivered
	}
	d.batch = d.batch[:0]
	_, err := d.conn.Exec(ctx, stageSQL, nos, dests, ids, at, refs, failed, parts, priced, charged, d.of.Account, d.id)
	return clean("debits: stage", err)
}

// bookSQL stages Messages m of an operator that have a Charge.
const bookSQL = `
insert into books
select m.id, m.dest,
       case when m.resends > 0 then m.queued_at else coalesce(m.submitted_at, m.admitted_at, m.queued_at) end,
       case when m.resends > 0 then m.deadline else coalesce(m.submitted_at, m.deadline) end,
       m.parts, 1 + m.resends, m.state, m.charging, m.charge, m.amount, m.charged, m.charge_step
from messages m
where m.operator = $1 and m.charge is not null and m.dest is not null and `

// books stages what lines may be of, and what they would have to be of. It walks over
// the Messages of the period as doubts does.
func (d *Debits) books(ctx context.Context) error {
	from, until := d.file.From, d.file.Until
	if from.IsZero() {
		from, until = d.file.First, d.file.Last
	}
	for at := from.Add(-d.of.Life); at.Before(until.Add(time.Hour)); at = at.Add(slice) {
		_, err := d.conn.Exec(ctx, bookSQL+`m.id >= $2 and m.id < $3
and (m.state = 'delivered' or exists (select from debits d where d.dest = m.dest)) on conflict do nothing`,
			d.of.Operator, firstID(at), firstID(at.Add(slice)))
		if err != nil {
			return clean("debits: books", err)
		}
	}
	// An id may be of one that was accepted before.
	_, err := d.conn.Exec(ctx, bookSQL+`m.id in (select message_id from debits where message_id is not null) on conflict do nothing`, d.of.Operator)
	return clean("debits: books", err)
}

// numbersAtOnce are compared in one step.
const numbersAtOnce = 500

// Judge compares what was added and gives what it finds to each, in steps. It returns how
// many lines may be of several Messages, where it matters of which. Messages in
// skip are left alone: their own lines have not settled them yet.
func (d *Debits) Judge(ctx context.Context, skip map[mobileid.ID]bool, each func([]Found) error) (unsure int, err error) {
	if err := d.stage(ctx); err != nil {
		return 0, err
	}
	if err := d.books(ctx); err != nil {
		return 0, err
	}
	for after := []byte{}; ; {
		rows, err := d.conn.Query(ctx, `
(select distinct dest from debits where dest > $1 order by dest limit $2)
union
(select distinct dest from books where dest > $1 order by dest limit $2)
order by dest limit $2`, after, numbersAtOnce)
		if err != nil {
			return 0, clean("debits: numbers", err)
		}
		numbers, err := pgx.CollectRows(rows, pgx.RowTo[[]byte])
		if err != nil || len(numbers) == 0 {
			return unsure, clean("debits: numbers", err)
		}
		found, more, err := d.judge(ctx, numbers, skip)
		if err == nil {
			err = each(found)
		}
		if err != nil {
			return 0, err
		}
		unsure += more
		after = numbers[len(numbers)-1]
	}
}

// judge compares some numbers.
func (d *Debits) judge(ctx context.Context, numbers [][]byte, skip map[mobileid.ID]bool) (found []Found, unsure int, err error) {
	books, err := d.booksOf(ctx, numbers)
	if err != nil {
		return nil, 0, err
	}
	debits, err := d.debitsOf(ctx, numbers)
	if err != nil {
		return nil, 0, err
	}
	for _, n := range numbers {
		number := toPseudonym(n)
		judged := reconcile.Judge(d.file, books[number], debits[number])
		for _, x := range judged.Differences {
			if x.Book == nil || !skip[x.Book.ID] {
				found = append(found, Found{x, number})
			}
		}
		unsure += len(judged.Unsure)
	}
	return found, unsure, nil
}

func (d *Debits) booksOf(ctx context.Context, numbers [][]byte) (map[mobileid.Pseudonym][]*reconcile.Book, error) {
	rows, err := d.conn.Query(ctx, `
select dest, id, since, until, parts, tries, state, charging, charge, price, charged, step from books where dest = any($1)`, numbers)
	if err != nil {
		return nil, clean("debits: books", err)
	}
	out := map[mobileid.Pseudonym][]*reconcile.Book{}
	var dest, id []byte
	var b reconcile.Book
	_, err = pgx.ForEachRow(rows, []any{
		&dest, &id, &b.From, &b.Until, &b.Parts, &b.Tries, &b.State, &b.Charging, &b.Charge, &b.Price, &b.Charged, &b.Step,
	}, func() error {
		x := b
		x.ID = toID(id)
		out[toPseudonym(dest)] = append(out[toPseudonym(dest)], &x)
		return nil
	})
	return out, clean("debits: books", err)
}

func (d *Debits) debitsOf(ctx context.Context, numbers [][]byte) (map[mobileid.Pseudonym][]*reconcile.Debit, error) {
	rows, err := d.conn.Query(ctx, `
select dest, no, operator_id, submitted, reference, failed, parts, priced, charged, message_id, case when parts = 1 then coalesce(part, 0) else 0 end
from debits where dest = any($1)`, numbers)
	if err != nil {
		return nil, clean("debits: lines", err)
	}
	out := map[mobileid.Pseudonym][]*reconcile.Debit{}
	var dest, of []byte
	var l reconcile.Debit
	_, err = pgx.ForEachRow(rows, []any{
		&dest, &l.Line, &l.ID, &l.Submitted, &l.Reference, &l.Failed, &l.Parts, &l.Priced, &l.Charged, &of, &l.Part,
	}, func() error {
		x := l
		x.Of = toID(of)
		out[toPseudonym(dest)] = append(out[toPseudonym(dest)], &x)
		return nil
	})
	return out, clean("debits: lines", err)
}

// mark is a hash that names a difference whichever file of the operator tells of it.
func (f *Found) mark(operator string) []byte {
	text := fmt.Sprintf("%s %s %d ", operator, f.Kind, f.Theirs)
	if f.Book != nil {
		text += f.Book.ID.String()
	} else {
		text += fmt.Sprintf("%s %d %d %s", f.Number, f.Debit.Submitted.Unix(), f.Debit.Reference, f.Debit.ID)
	}
	sum := sha256.Sum256([]byte(text))
	return sum[:]
}
