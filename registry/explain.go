package registry

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"mobileid/internal/mobileid"
)

// Explain returns what happened to a challenge or a Message, oldest first, as
// far as the registry knows: accepted at the edge (from the id), the Kafka
// record, the rows, the lane record, admission, the operator's answer to each
// part, receipts, the charge, what the operator debited otherwise, the
// confirmation. A Message that carries a code is explained together with its
// challenge, whichever id is asked. Personal data is masked; the text is never
// there. KindNotFound if there is no row.
func (db *DB) Explain(ctx context.Context, id mobileid.ID) ([]mobileid.Step, error) {
	e := &explaining{}
	err := db.inTx(ctx, "explain", func(tx pgx.Tx) error {
		*e = explaining{}
		return e.load(ctx, tx, id)
	})
	if err != nil {
		return nil, err
	}
	// Stable: steps of one instant stay in the order in which they follow from
	// each other.
	slices.SortStableFunc(e.steps, func(a, b mobileid.Step) int { return a.At.Compare(b.At) })
	return e.steps, nil
}

// explaining gathers the steps of one id.
type explaining struct {
	steps []mobileid.Step
}

func (e *explaining) add(at *time.Time, hop, what string, record *mobileid.RecordRef, facts ...string) {
	if at == nil || at.IsZero() {
		return
	}
	s := mobileid.Step{At: at.UTC(), Hop: hop, What: what, Record: record}
	for i := 0; i+1 < len(facts); i += 2 {
		if facts[i+1] == "" {
			continue
		}
		if s.Facts == nil {
			s.Facts = map[string]string{}
		}
		s.Facts[facts[i]] = facts[i+1]
	}
	e.steps = append(e.steps, s)
}

func (e *explaining) load(ctx context.Context, tx pgx.Tx, id mobileid.ID) error {
	challenge, message := id, mobileid.ID{}
	if id.Kind() == mobileid.KindMessage {
		var parent []byte
		if err := tx.QueryRow(ctx, `select challenge_id from messages where id = $1`, raw(id)).Scan(&parent); err != nil {
			return err
		}
		challenge, message = toID(parent), id
	}
	accepted := id
	if !challenge.IsZero() {
		accepted = challenge
	}
	at := accepted.Time()
	e.add(&at, "edge", "accepted", nil, "id", accepted.String())
	if !challenge.IsZero() {
		m, err := e.challenge(ctx, tx, challenge)
		if err != nil {
			return err
		}
		message = m
	}
	if message.IsZero() {
		return nil
	}
	for _, load := range []func(context.Context, pgx.Tx, mobileid.ID) error{e.message, e.parts, e.receipts, e.charge, e.differences} {
		if err := load(ctx, tx, message); err != nil {
			return err
		}
	}
	return nil
}

func (e *explaining) challenge(ctx context.Context, tx pgx.Tx, id mobileid.ID) (mobileid.ID, error) {
	var client, purpose, locale, state, reason, msisdn string
	var version, wrong, tries int
	var issued, expires time.Time
	var ended, confirmed *time.Time
	var message []byte
	var src mobileid.RecordRef
	err := tx.QueryRow(ctx, `
select c.client, c.purpose, c.locale, c.state, c.reason, c.state_version, c.wrong_tries, c.tries, c.issued_at, c.expires_at,
       c.ended_at, c.message_id, c.source_topic, c.source_partition, c.source_offset, coalesce(b.msisdn, ''), f.confirmed_at
from challenges c
left join bindings b on b.id = c.binding_id
left join confirmations f on f.challenge_id = c.id
where c.id = $1`, raw(id)).Scan(&client, &purpose, &locale, &state, &reason, &version, &wrong, &tries, &issued, &expires,
		&ended, &message, &src.Topic, &src.Partition, &src.Offset, &msisdn, &confirmed)
	if err != nil {
		return mobileid.ID{}, err
	}
	e.source(&issued, src)
	number := ""
	if m, err := mobileid.ParseMSISDN(msisdn); err == nil {
		number = m.Masked()
	}
	if message != nil {
		e.add(&issued, "registry", "challenge pending", nil, "client", client, "purpose", purpose, "locale", locale,
			"number", number, "expires_at", expires.UTC().Format(time.RFC3339), "message", toID(message).String())
	}
	e.add(confirmed, "confirmation", "the code was right", nil, "purpose", purpose)
	e.add(ended, "registry", "challenge "+state, nil, "reason", reason, "version", strconv.Itoa(version),
		"wrong_tries", strconv.Itoa(wrong)+" of "+strconv.Itoa(tries))
	return toID(message), nil
}

// source adds the Kafka record that a request came by.
func (e *explaining) source(at *time.Time, src mobileid.RecordRef) {
	if src.Topic != "" {
		e.add(at, "kafka", "request read", &src)
	}
}

func (e *explaining) message(ctx context.Context, tx pgx.Tx, id mobileid.ID) error {
	var lane mobileid.Lane
	var operator, text, state, reason, link, bridge string
	var version, parts, resends int
	var amount mobileid.Money
	var deadline, queued time.Time
	var published, admitted, submitted, ended, retry *time.Time
	var challenge []byte
	var src, onLane mobileid.RecordRef
	err := tx.QueryRow(ctx, `
select m.lane, m.operator, m.text_id, m.challenge_id, m.amount, m.deadline, m.parts, m.state, m.reason, m.state_version,
       m.resends, m.queued_at, m.published_at, m.admitted_at, m.submitted_at, m.ended_at, m.retry_at, m.link,
       m.source_topic, m.source_partition, m.source_offset, m.lane_partition, m.lane_offset, coalesce(b.name, '')
from messages m left join bridges b on b.id = m.owner where m.id = $1`, raw(id)).Scan(
		&lane, &operator, &text, &challenge, &amount, &deadline, &parts, &state, &reason, &version,
		&resends, &queued, &published, &admitted, &submitted, &ended, &retry, &link,
		&src.Topic, &src.Partition, &src.Offset, &onLane.Partition, &onLane.Offset, &bridge)
	if err != nil {
		return err
	}
	if challenge == nil {
		e.source(&queued, src)
	}
	if operator != "" {
		e.add(&queued, "registry", "message queued", nil, "id", id.String(), "operator", operator, "lane", string(lane),
			"text", text, "price", amount.String(), "parts", strconv.Itoa(parts), "deadline", deadline.UTC().Format(time.RFC3339))
	}
	e.add(published, "kafka", "id published on its lane again", nil)
	if onLane.Partition >= 0 {
		onLane.Topic = mobileid.TopicSMS(operator, lane)
		e.add(admitted, "kafka", "id read from its lane", &onLane)
	}
	e.add(admitted, "bridge", "admitted", nil, "bridge", bridge, "resends", strconv.Itoa(resends))
	e.add(submitted, "bridge", "submit_sm written", nil, "link", link)
	e.add(ended, "registry", "message "+state, nil, "reason", reason, "version", strconv.Itoa(version))
	if ended == nil && !mobileid.MessageState(state).Terminal() {
		next := ""
		if retry != nil {
			next = retry.UTC().Format(time.RFC3339)
		}
		last := latest(&queued, published, admitted, submitted)
		e.add(last, "registry", "message is "+state, nil, "reason", reason, "version", strconv.Itoa(version), "retry_at", next)
	}
	return nil
}

// latest returns the last of the times that are known.
func latest(times ...*time.Time) *time.Time {
	var last *time.Time
	for _, t := range times {
		if t != nil && (last == nil || t.After(*last)) {
			last = t
		}
	}
	return last
}

func (e *explaining) parts(ctx context.Context, tx pgx.Tx, id mobileid.ID) error {
	rows, err := tx.Query(ctx, `
select part, account, operator_id, link, sequence, status, answered_at
from message_parts where message_id = $1 order by part, answered_at`, raw(id))
	if err != nil {
		return err
	}
	var part int
	var account, operatorID, link string
	var sequence, status int64
	var answered *time.Time
	_, err = pgx.ForEachRow(rows, []any{&part, &account, &operatorID, &link, &sequence, &status, &answered}, func() error {
		e.add(answered, "operator", "submit_sm_resp of part "+strconv.Itoa(part), nil,
			"account", account, "message_id", operatorID, "link", link, "sequence", strconv.FormatInt(sequence, 10),
			"command_status", "0x"+strconv.FormatInt(status, 16))
		return nil
	})
	return err
}

func (e *explaining) receipts(ctx context.Context, tx pgx.Tx, id mobileid.ID) error {
	rows, err := tx.Query(ctx, `
select part, state, stat, err, received_at from receipts where message_id = $1 order by part, seen`, raw(id))
	if err != nil {
		return err
	}
	var part int
	var state, stat, code string
	var at time.Time
	_, err = pgx.ForEachRow(rows, []any{&part, &state, &stat, &code, &at}, func() error {
		e.add(&at, "receipt", "receipt of part "+strconv.Itoa(part)+": "+stat, nil, "state", state, "err", code)
		return nil
	})
	return err
}

// charge adds each transfer of the Charge, of an archived month, too.
func (e *explaining) charge(ctx context.Context, tx pgx.Tx, id mobileid.ID) error {
	from, _, err := transfersSQL(ctx, tx)
	if err != nil {
		return err
	}
	rows, err := tx.Query(ctx, `
select t.step, t.kind, t.why, t.account_id, t.operator, t.held, t.taken, t.at, m.charging
from `+from+` t join messages m on m.id = t.message_id where t.message_id = $1 order by t.step`, raw(id))
	if err != nil {
		return err
	}
	var step int
	var kind, why, operator, charging string
	var account int64
	var held, taken mobileid.Money
	var at time.Time
	_, err = pgx.ForEachRow(rows, []any{&step, &kind, &why, &account, &operator, &held, &taken, &at, &charging}, func() error {
		e.add(&at, "charge", kind+": "+why, nil, "step", strconv.Itoa(step), "account", strconv.FormatInt(account, 10), "operator", operator,
			"held", held.String(), "taken", taken.String(), "charging", charging)
		return nil
	})
	return err
}

// differences adds each step of what an operator debited otherwise. Who took it is
// told where differences are listed.
func (e *explaining) differences(ctx context.Context, tx pgx.Tx, id mobileid.ID) error {
	rows, err := tx.Query(ctx, `
select d.id, d.kind, d.ours, d.theirs, array_to_string(d.lines, ' '), s.state, coalesce(s.way, ''), s.at
from differences d join difference_steps s on s.difference_id = d.id where d.message_id = $1 order by d.id, s.step`, raw(id))
	if err != nil {
		return err
	}
	var difference int64
	var kind, lines, state, way string
	var ours, theirs mobileid.Money
	var at time.Time
	_, err = pgx.ForEachRow(rows, []any{&difference, &kind, &ours, &theirs, &lines, &state, &way, &at}, func() error {
		e.add(&at, "reconcile", "difference "+state+": "+kind, nil, "difference", strconv.FormatInt(difference, 10),
			"ours", ours.String(), "theirs", theirs.String(), "lines", lines, "as", way)
		return nil
	})
	return err
}
