package registry

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"mobileid/internal/mobileid"
	"mobileid/registry/reconcile"
)

// doubtsSQL lists the Messages of an operator that may have lines in its file
// under no id that we know, among those accepted in a span ($2, $3 are ids).
// Those that are not in doubt are there to explain lines, not to be settled.
// A Message that only wants its receipt is found by its id (foundSQL). One of
// several parts that has failed may have done so by its answered parts alone,
// and then the lines of the others are not another Message's. An id that we made
// for a line without one ("file ...") is no answer.
const doubtsSQL = `
select m.id, m.dest, m.state, m.state_version, m.parts, m.resends, m.queued_at, m.admitted_at, m.submitted_at, m.deadline,
       coalesce(m.charge not in ('posted', 'reversed'), true), coalesce(m.charge = 'unknown', false), r.message_id is not null, p.ids, p.answered
from messages m
left join reconciled r on r.message_id = m.id
left join lateral (
	select array_agg(operator_id) as ids, array_agg(part::integer) as answered
	from message_parts where message_id = m.id and operator_id <> '' and operator_id not like 'file %') p on true
where m.id >= $2 and m.id < $3 and m.operator = $1 and m.admitted_at is not null and m.dest is not null
  and (m.state in ('in_doubt', 'unconfirmed', 'admitted') or m.resends > 0 or r.message_id is not null
       or m.parts > 1 and m.state in ('undeliverable', 'expired', 'rejected', 'failed'))`

// foundSQL lists the Messages that were answered with an operator's id to that
// number, whatever became of them.
const foundSQL = `
select distinct on (k.ord, m.id) k.ord, m.id, m.dest, m.state, m.state_version, m.parts, m.resends, m.queued_at, m.admitted_at, m.submitted_at, m.deadline,
       coalesce(m.charge not in ('posted', 'reversed'), true), coalesce(m.charge = 'unknown', false), r.message_id is not null, q.ids, q.answered, p.receipt <> ''
from unnest($2::text[], $3::bytea[], $4::timestamptz[]) with ordinality as k(operator_id, dest, at, ord)
join message_parts p on p.operator_id = k.operator_id and p.account = $1 and p.dest = k.dest
     and p.answered_at between k.at - interval '72 hours' and k.at + interval '72 hours'
join messages m on m.id = p.message_id
left join reconciled r on r.message_id = m.id
left join lateral (
	select array_agg(operator_id) as ids, array_agg(part::integer) as answered
	from message_parts where message_id = m.id and operator_id <> '' and operator_id not like 'file %') q on true
order by k.ord, m.id, p.receipt`

// reconcilable is what a row of both says.
type reconcilable struct {
	id, dest            []byte
	state               mobileid.MessageState
	version             int32
	parts, resends      int
	queued, deadline    time.Time
	admitted, submitted *time.Time
	uncharged, settled  bool
	undecided           bool
	ids                 []string
	answered            []int32
}

func (m *reconcilable) fields() []any {
	return []any{
		&m.id, &m.dest, &m.state, &m.version, &m.parts, &m.resends, &m.queued, &m.admitted, &m.submitted, &m.deadline,
		&m.uncharged, &m.undecided, &m.settled, &m.ids, &m.answered,
	}
}

func (m *reconcilable) message(slack time.Duration) *reconcile.Message {
	out := &reconcile.Message{
		ID: toID(m.id), Dest: toPseudonym(m.dest), State: m.state, Version: m.version, IDs: m.ids, Tries: 1 + m.resends,
		From: m.queued, Until: m.deadline, ValidUntil: m.deadline.Add(slack), Uncharged: m.uncharged, Undecided: m.undecided,
	}
	switch {
	case m.resends > 0 || m.admitted == nil:
	case m.submitted != nil:
		out.From, out.Until = *m.submitted, *m.submitted
	default:
		out.From = *m.admitted
	}
	out.Open = !m.settled && (m.state == mobileid.MessageInDoubt || m.state == mobileid.MessageUnconfirmed || m.state == mobileid.MessageSent)
	have := map[int]bool{}
	for _, part := range m.answered {
		have[int(part)] = true
	}
	for part := 1; part <= m.parts; part++ {
		if !have[part] {
			out.Missing = append(out.Missing, part)
		}
	}
	return out
}

// slice is how much of the accepted Messages one look walks over: each look is
// bounded by statement_timeout.
const slice = 10 * time.Minute

// doubts returns the Messages of an operator, accepted from one time to another,
// whose lines cannot be told by an id. slack is how much longer than a deadline
// the operator may try. It walks over every Message of that time by the primary
// key: it is for a command of a person, not for each second.
func (db *DB) doubts(ctx context.Context, operator string, from, until time.Time, slack time.Duration) ([]*reconcile.Message, error) {
	var out []*reconcile.Message
	for at := from; at.Before(until); at = at.Add(slice) {
		err := db.query(ctx, "reconcile: doubts", doubtsSQL, []any{operator, firstID(at), firstID(at.Add(slice))}, func(r pgx.Rows) error {
			var m reconcilable
			err := r.Scan(m.fields()...)
			out = append(out, m.message(slack))
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// firstID is below every id that was made at that millisecond or later.
func firstID(at time.Time) []byte {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(at.UnixMilli()))
	return append(b[2:8:8], make([]byte, 18)...)
}

// answeredAs returns for each line, by its place, the Messages of the operator
// account that were answered with its id. One whose receipt is in already is not
// Open: the line adds nothing.
func (db *DB) answeredAs(ctx context.Context, account string, lines []*reconcile.Line, slack time.Duration) (map[int][]*reconcile.Message, error) {
	ids, dests, at := make([]string, len(lines)), make([][]byte, len(lines)), make([]time.Time, len(lines))
	for i, l := range lines {
		ids[i], dests[i], at[i] = l.ID, l.Dest[:], l.Submitted
	}
	out := map[int][]*reconcile.Message{}
	err := db.query(ctx, "reconcile: answered", foundSQL, []any{account, ids, dests, at}, func(r pgx.Rows) error {
		var m reconcilable
		var ord int
		var told bool
		if err := r.Scan(append(append([]any{&ord}, m.fields()...), &told)...); err != nil {
			return err
		}
		x := m.message(slack)
		x.Open = x.Open && !told
		out[ord-1] = append(out[ord-1], x)
		return nil
	})
	return out, err
}

// ReconciledFile is what is known of a file that was seen before.
type ReconciledFile struct {
	ID     int64
	Done   time.Time // zero: it was not applied to its end
	Doubts int       // left to a person
	Open   int       // differences that are not settled
}

// SeenFile looks for a file by its hash; the zero value: never seen.
func (db *DB) SeenFile(ctx context.Context, operator string, hash [32]byte) (ReconciledFile, error) {
	var f ReconciledFile
	var done *time.Time
	err := db.look(ctx, "reconcile: seen", []any{&f.ID, &done, &f.Doubts, &f.Open}, `
select f.id, f.done_at, f.doubts, (
	select count(*) from differences_open o join differences d on d.id = o.difference_id where d.file_id = f.id)
from reconciled_files f where f.operator = $1 and f.sha256 = $2`, operator, hash[:])
	if mobileid.KindOf(err) == mobileid.KindNotFound {
		return ReconciledFile{}, nil
	}
	if done != nil {
		f.Done = done.UTC()
	}
	return f, err
}

// BeginFile notes that a file is being applied and returns its number: the same
// one when it was begun before.
func (db *DB) BeginFile(ctx context.Context, operator string, f reconcile.File) (int64, error) {
	var id int64
	err := db.one(ctx, "reconcile: begin", []any{&id}, `
insert into reconciled_files (operator, sha256, lines, began_at) values ($1, $2, $3, $4)
on conflict (operator, sha256) do update set lines = excluded.lines returning id`, operator, f.Hash[:], f.Lines, db.clock())
	return id, err
}

// EndFile notes that a file was applied to its end.
func (db *DB) EndFile(ctx context.Context, file int64, doubts int) error {
	return db.query(ctx, "reconcile: end", `
update reconciled_files set done_at = $2, doubts = $3 where id = $1 and done_at is null`,
		[]any{file, db.clock(), doubts}, func(pgx.Rows) error { return nil })
}

// Reconcile stores groups of settlements of a file, in one transaction, and
// returns how many Messages it settled. What the file says of a part is stored
// as the answer that never came and the receipt that follows it, so it moves
// Message, challenge and charge as a receipt does: a Message that has ended
// keeps its state, and only its charge may be corrected. A Message that a
// complete file does not have was never taken: one in doubt ends failed, and its
// charge is voided, as is that of one that ended unconfirmed.
//
// A group with a Message that has moved since it was read is left alone, as is
// one that a file has settled before: the next run looks again.
func (db *DB) Reconcile(ctx context.Context, account string, file int64, groups [][]reconcile.Settlement) (settled int, err error) {
	err = db.inTx(ctx, "reconcile", func(tx pgx.Tx) error {
		settled = 0
		var ids [][]byte
		for _, g := range groups {
			for i := range g {
				ids = append(ids, raw(g[i].Message.ID))
			}
		}
		b := &pgx.Batch{}
		lockFromMessages(b, ids)
		if err := tx.SendBatch(ctx, b).Close(); err != nil {
			return err
		}
		unmoved, err := unmovedOf(ctx, tx, ids)
		if err != nil {
			return err
		}
		s := &reconciling{db: db, tx: tx, account: account, file: file}
		for _, g := range groups {
			if whole(g, unmoved) {
				s.add(g)
				settled += len(g)
			}
		}
		return s.store(ctx)
	})
	return settled, err
}

// unmovedOf returns the versions of the locked Messages that no file settled.
func unmovedOf(ctx context.Context, tx pgx.Tx, ids [][]byte) (map[mobileid.ID]int32, error) {
	rows, err := tx.Query(ctx, `
select m.id, m.state_version from messages m left join reconciled r on r.message_id = m.id
where m.id = any($1) and r.message_id is null`, ids)
	if err != nil {
		return nil, err
	}
	out := map[mobileid.ID]int32{}
	var id []byte
	var version int32
	_, err = pgx.ForEachRow(rows, []any{&id, &version}, func() error {
		out[toID(id)] = version
		return nil
	})
	return out, err
}

func whole(g []reconcile.Settlement, unmoved map[mobileid.ID]int32) bool {
	for i := range g {
		if v, ok := unmoved[g[i].Message.ID]; !ok || v != g[i].Message.Version {
			return false
		}
	}
	return true
}

// reconciling gathers what one transaction stores.
type reconciling struct {
	db      *DB
	tx      pgx.Tx
	account string
	file    int64

	marked [][]byte // settled for good
	rules  []string
	absent [][]byte
	byID   []idHit
	parts  struct {
		ids, dests  [][]byte
		numbers     []int32
		operatorIDs []string
		sequences   []int64
		answeredAt  []time.Time
	}
	receipts attachment
}

// idHit is a line for a part that was answered with its id.
type idHit struct {
	message mobileid.ID
	line    *reconcile.Line
}

// fileLink is the link of parts that only a file tells of. Their sequence is
// the line.
func (s *reconciling) fileLink() string { return fmt.Sprintf("file %d", s.file) }

func receiptOf(l *reconcile.Line) *mobileid.Receipt {
	return &mobileid.Receipt{State: l.State, Reason: l.Reason, Stat: l.Stat, Err: l.Err, At: l.At()}
}

func (s *reconciling) add(g []reconcile.Settlement) {
	for i := range g {
		x := &g[i]
		if x.Rule != reconcile.ByID {
			s.marked, s.rules = append(s.marked, raw(x.Message.ID)), append(s.rules, string(x.Rule))
		}
		if x.Rule == reconcile.ByAbsence {
			s.absent = append(s.absent, raw(x.Message.ID))
		}
		for _, h := range x.Hits {
			if h.Part == 0 {
				s.byID = append(s.byID, idHit{x.Message.ID, h.Line})
				continue
			}
			id := h.Line.ID
			if id == "" { // a part with an answer has an id
				id = fmt.Sprintf("file %d line %d", s.file, h.Line.No)
			}
			p := &s.parts
			p.ids, p.dests = append(p.ids, raw(x.Message.ID)), append(p.dests, h.Line.Dest[:])
			p.numbers, p.operatorIDs = append(p.numbers, int32(h.Part)), append(p.operatorIDs, id)
			p.sequences, p.answeredAt = append(p.sequences, int64(h.Line.No)), append(p.answeredAt, h.Line.Submitted)
			s.receipts.add(partRef{x.Message.ID, int32(h.Part), s.fileLink(), int64(h.Line.No)}, receiptOf(h.Line))
		}
	}
}

func (s *reconciling) store(ctx context.Context) error {
	if err := s.findAnswered(ctx); err != nil {
		return err
	}
	b := &pgx.Batch{}
	if len(s.marked) > 0 {
		b.Queue(`insert into reconciled (message_id, file_id, rule, at)
select id, $1, rule, $2 from unnest($3::bytea[], $4::text[]) as x(id, rule) order by id`, s.file, s.db.clock(), s.marked, s.rules)
	}
	if p := &s.parts; len(p.ids) > 0 {
		b.Queue(`
insert into message_parts (message_id, part, account, operator_id, dest, link, sequence, status, answered_at)
select id, part, $1, operator_id, dest, $2, sequence, 0, answered_at
from unnest($3::bytea[], $4::integer[], $5::text[], $6::bytea[], $7::bigint[], $8::timestamptz[])
     as p(id, part, operator_id, dest, sequence, answered_at) order by id, part
on conflict do nothing`, s.account, s.fileLink(), p.ids, p.numbers, p.operatorIDs, p.dests, p.sequences, p.answeredAt)
	}
	if s.receipts.len() > 0 {
		s.receipts.queue(b, s.db.clock())
	}
	if len(s.absent) > 0 {
		lockFromMessages(b, s.absent)
		b.Queue(absentSQL, s.db.clock(), s.absent)
	}
	return s.tx.SendBatch(ctx, b).Close()
}

// findAnswered finds the parts of the lines that were found by their ids.
func (s *reconciling) findAnswered(ctx context.Context) error {
	ids, operatorIDs := make([][]byte, len(s.byID)), make([]string, len(s.byID))
	for i, h := range s.byID {
		ids[i], operatorIDs[i] = raw(h.message), h.line.ID
	}
	rows, err := s.tx.Query(ctx, `
select k.ord, p.part, p.link, p.sequence from unnest($1::bytea[], $2::text[]) with ordinality as k(id, operator_id, ord)
join message_parts p on p.message_id = k.id and p.operator_id = k.operator_id`, ids, operatorIDs)
	if err != nil {
		return err
	}
	var ord int
	var p partRef
	_, err = pgx.ForEachRow(rows, []any{&ord, &p.part, &p.link, &p.sequence}, func() error {
		p.message = s.byID[ord-1].message
		s.receipts.add(p, receiptOf(s.byID[ord-1].line))
		return nil
	})
	return err
}

// absentSQL ends Messages in doubt that the operator never took.
var absentSQL = `
with told as (
	select id, state, challenge_id, account_id, operator, amount, charging, charge, charge_step, charged,
	       case when charge in ('pending', 'unknown') then 'voided' end as charge_to, 0::bigint as due
	from messages where id in ` + knownSQL + ` and state in ('in_doubt', 'unconfirmed')
), moves as (
	select * from told where state = 'in_doubt'
), changed as (
	update messages m set state = 'failed', reason = 'no_answer', state_version = m.state_version + 1, ` + chargeSQL + `,
	       sealed = null, seal_key = null, owner = null, ended_at = $1
	from moves v where m.id = v.id
	returning m.id, m.challenge_id, m.client, m.state, m.reason, m.state_version
), corrected as (
	update messages m set ` + chargeSQL + `
	from told v where m.id = v.id and v.state = 'unconfirmed' and v.charge_to is not null
), postings as (` + postingsSQL("told", "'absent'") + `
), ended as (
	update challenges c set state = 'failed', reason = 'no_answer', state_version = c.state_version + 1, ended_at = $1
	from moves v where c.id = v.challenge_id and c.message_id = v.id and c.state = 'pending'
	returning c.id, c.client, c.person, c.purpose, c.state, c.reason, c.state_version
), done as (
	delete from retries where message_id = any(array(select id from moves))
), ` + tailSQL + `
select count(*) from changed`
