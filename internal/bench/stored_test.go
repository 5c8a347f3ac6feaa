package bench

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"mobileid/cmd/mobileid/app/apptest"
	"mobileid/internal/mobileid"
	"mobileid/internal/testenv"
	"mobileid/registry"
)

// readStored reads what the registry knows of the requests that were accepted
// since an instant. A challenge has at most one Message; a Message without a
// challenge is a notification.
func readStored(ctx context.Context, conn *pgx.Conn, since time.Time) (out []stored, err error) {
	floor := mobileid.IDFloor(since)
	rows, err := conn.Query(ctx, `
select c.id, c.state, c.reason, m.id, coalesce(m.state, ''), coalesce(m.reason, ''),
       m.deadline, m.queued_at, m.published_at, m.admitted_at, m.submitted_at, m.ended_at
from challenges c left join messages m on m.id = c.message_id
where c.id >= $1
union all
select id, '', '', id, state, reason, deadline, queued_at, published_at, admitted_at, submitted_at, ended_at
from messages where id >= $1 and challenge_id is null
order by 1`, floor[:])
	if err != nil {
		return nil, err
	}
	var id, message []byte
	var s stored
	_, err = pgx.ForEachRow(rows, []any{
		&id, &s.challenge, &s.challengeReason, &message, &s.state, &s.reason,
		&s.deadline, &s.queued, &s.published, &s.admitted, &s.submitted, &s.ended,
	}, func() error {
		row := s
		copy(row.id[:], id)
		copy(row.message[:], message)
		out = append(out, row)
		return nil
	})
	return out, err
}

// readOwners says which Messages the ids belong to that an operator account
// gave its SMS.
func readOwners(ctx context.Context, conn *pgx.Conn, account string, operatorIDs []string) (map[string]mobileid.ID, error) {
	rows, err := conn.Query(ctx, `
select operator_id, message_id from message_parts where account = $1 and operator_id = any($2)`, account, operatorIDs)
	if err != nil {
		return nil, err
	}
	out := make(map[string]mobileid.ID, len(operatorIDs))
	var operatorID string
	var message []byte
	_, err = pgx.ForEachRow(rows, []any{&operatorID, &message}, func() error {
		out[operatorID] = mobileid.ID(message)
		return nil
	})
	return out, err
}

// TestTheRegistryIsReadAsItIs keeps the bench's own SQL true to the schema:
// it would otherwise be found wrong in the middle of a measurement.
func TestTheRegistryIsReadAsItIs(t *testing.T) {
	const client, operator, account = "portal", "beeline", "beeline/mobileid"
	ctx := t.Context()
	dsn := testenv.New(t).Postgres()
	db, err := registry.Open(ctx, registry.Config{DSN: dsn, MaxConns: 4})
	must(t, err)
	defer db.Close()
	must(t, db.Migrate(ctx))
	conn, err := pgx.Connect(ctx, dsn)
	must(t, err)
	defer conn.Close(context.WithoutCancel(ctx))
	ids, err := mobileid.NewIDKey([]byte("0123456789abcdef"))
	must(t, err)
	pseudonyms, err := mobileid.NewPseudonymKey([]byte("fedcba9876543210"))
	must(t, err)
	pinfl, err := mobileid.ParsePINFL(apptest.PINFL(1))
	must(t, err)
	msisdn, err := mobileid.ParseMSISDN("+998900000001")
	must(t, err)
	person := pseudonyms.Person(pinfl)
	_, err = db.Bind(ctx, mobileid.NewBinding{
		PINFL: pinfl, MSISDN: msisdn, Person: person, Number: pseudonyms.Number(msisdn), Operator: operator, Locale: mobileid.LocaleEn,
	})
	must(t, err)
	bound, err := db.ActiveBindings(ctx, []mobileid.Pseudonym{person})
	must(t, err)
	binding := bound[person]

	now := time.Now()
	message := func(id mobileid.ID, lane mobileid.Lane) *mobileid.NewMessage {
		return &mobileid.NewMessage{
			ID: id, Client: client, Person: person, Lane: lane, Operator: operator, TextID: "text",
			Fence:   mobileid.Fence{Kind: "binding", ID: binding.ID, Version: binding.Version},
			Account: binding.Account, Deadline: now.Add(time.Minute), Dest: binding.Number, Sealed: []byte("sealed"), Parts: 1,
		}
	}
	challenge := func(key string, at time.Time) mobileid.NewChallenge {
		return mobileid.NewChallenge{
			Request: mobileid.ChallengeRequested{
				ID: ids.Make(mobileid.KindChallenge, client, key, at), Client: client, Purpose: key, Locale: mobileid.LocaleEn,
				BodyHash: key, Deadline: now.Add(time.Minute),
			},
			Person: person, Nonce: key, Tries: 3, ExpiresAt: now.Add(time.Minute),
		}
	}
	earlier, unbound, sent := challenge("earlier", now.Add(-time.Minute)), challenge("unbound", now), challenge("sent", now.Add(time.Millisecond))
	sent.Binding, sent.Message = &binding, message(ids.Derive(mobileid.KindMessage, client, sent.Request.ID, 1), mobileid.LaneOTP)
	_, err = db.IssueChallenges(ctx, []mobileid.NewChallenge{earlier, unbound, sent})
	must(t, err)
	notice := ids.Make(mobileid.KindMessage, client, "notice", now.Add(2*time.Millisecond))
	_, err = db.QueueNotifications(ctx, []mobileid.NewNotification{{
		Request: mobileid.NotificationRequested{
			ID: notice, Client: client, TextID: "text", Locale: mobileid.LocaleEn, BodyHash: "notice", Deadline: now.Add(time.Minute),
		},
		Person: person, Message: message(notice, mobileid.LaneBulk),
	}})
	must(t, err)
	bridge, err := db.OpenBridge(ctx, operator, "bench", time.Minute)
	must(t, err)
	_, err = db.Admit(ctx, bridge, []mobileid.AdmitItem{{ID: sent.Message.ID}})
	must(t, err)
	must(t, db.Settle(ctx, bridge, account, []mobileid.Outcome{{
		ID: sent.Message.ID, State: mobileid.MessageSent, Link: "link", SubmittedAt: now,
		Parts: []mobileid.PartOutcome{{Part: 1, Sequence: 1, OperatorID: "o1", Dest: binding.Number, AnsweredAt: now}},
	}}))

	rows, err := readStored(ctx, conn, now)
	must(t, err)
	if len(rows) != 3 {
		t.Fatalf("%d rows, want 3: %+v", len(rows), rows)
	}
	if r := rows[0]; r.id != unbound.Request.ID || r.challenge != "unbound" || r.challengeReason != "unbound" || !r.message.IsZero() || r.state != "" || r.deadline != nil {
		t.Errorf("unbound: %+v", r)
	}
	if r := rows[1]; r.id != sent.Request.ID || r.challenge != "pending" || r.message != sent.Message.ID || r.state != "sent" ||
		r.queued == nil || r.admitted == nil || r.submitted == nil || r.ended != nil {
		t.Errorf("sent: %+v", r)
	}
	if r := rows[2]; r.id != notice || r.challenge != "" || r.message != notice || r.state != "queued" || r.deadline == nil || r.admitted != nil {
		t.Errorf("notice: %+v", r)
	}
	owners, err := readOwners(ctx, conn, account, []string{"o1", "o2"})
	must(t, err)
	if len(owners) != 1 || owners["o1"] != sent.Message.ID {
		t.Errorf("owners %v", owners)
	}
}
