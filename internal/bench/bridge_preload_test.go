package bench

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"mobileid/cmd/mobileid/config/sandbox"
	"mobileid/consumers"
	"mobileid/internal/mobileid"
)

// preloadAtOnce is how many Messages are made in memory before they are stored.
const preloadAtOnce = 50_000

// preload stores Messages as consumers would and puts their ids on the lane.
// Statistics are taken at the end, as a system in use has them.
func (s *system) preload(b *testing.B, row bridgeRow, messages int) {
	b.Helper()
	p := s.preloader(b, row)
	for from := 0; from < messages; from += preloadAtOnce {
		p.store(b, from, min(from+preloadAtOnce, messages))
	}
	must(b, p.publisher.Close())
	s.exec(b, `analyze`)
}

// bound is to whom a Message may go.
type bound struct {
	id, account    int64
	version        int
	person, number []byte
	msisdn         string
}

// preloader makes Messages to all persons in turn.
type preloader struct {
	*system
	row       bridgeRow
	bound     []bound
	sealer    *mobileid.Sealer
	tariff    int
	began     time.Time
	publisher *consumers.Publisher
}

func (s *system) preloader(b *testing.B, row bridgeRow) *preloader {
	b.Helper()
	p := &preloader{system: s, row: row, began: time.Now()}
	rows, err := s.sql.Query(b.Context(), `select id, account_id, version, person, number, msisdn from bindings order by id`)
	must(b, err)
	p.bound, err = pgx.CollectRows(rows, func(r pgx.CollectableRow) (o bound, err error) {
		return o, r.Scan(&o.id, &o.account, &o.version, &o.person, &o.number, &o.msisdn)
	})
	must(b, err)
	public, err := sandbox.Secret(s.dir, "bridge.public")
	must(b, err)
	p.sealer, err = mobileid.NewSealer(public, nil)
	must(b, err)
	p.tariff = s.count(b, `select max(id) from tariffs`)
	p.publisher = consumers.NewPublisher(consumers.KafkaConfig{Brokers: s.env.Kafka()}, consumers.PublisherConfig{})
	return p
}

var (
	messageColumns = []string{
		"id", "client", "person", "lane", "operator", "text_id", "challenge_id", "fence_kind", "fence_id", "fence_version",
		"account_id", "tariff_id", "amount", "deadline", "dest", "parts", "sealed", "seal_key", "state", "queued_at", "published_at",
	}
	challengeColumns = []string{
		"id", "client", "person", "purpose", "locale", "body_hash", "state", "binding_id", "binding_version", "nonce",
		"message_id", "tries", "issued_at", "expires_at",
	}
)

// store makes the Messages from one number to another.
func (p *preloader) store(b *testing.B, from, to int) {
	b.Helper()
	var stored, challenges [][]any
	var items []mobileid.LaneItem
	for i := from; i < to; i++ {
		message, challenge, item := p.message(b, i)
		stored, items = append(stored, message), append(items, item)
		if challenge != nil {
			challenges = append(challenges, challenge)
		}
	}
	_, err := p.sql.CopyFrom(b.Context(), pgx.Identifier{"challenges"}, challengeColumns, pgx.CopyFromRows(challenges))
	must(b, err)
	_, err = p.sql.CopyFrom(b.Context(), pgx.Identifier{"messages"}, messageColumns, pgx.CopyFromRows(stored))
	must(b, err)
	for len(items) > 0 {
		n := min(1000, len(items))
		p.publish(b, items[:n])
		items = items[n:]
	}
}

// publish puts ids on the lane. A broker that others keep busy may want it
// more than once; an id that is there twice is admitted once.
func (p *preloader) publish(b *testing.B, items []mobileid.LaneItem) {
	b.Helper()
	for end := time.Now().Add(time.Minute); len(items) > 0; {
		left, err := p.publisher.PublishLane(b.Context(), items)
		must(b, err)
		if len(left) > 0 && time.Now().After(end) {
			b.Fatalf("%d ids could not be put on the lane: is Kafka up (make services-up)?", len(left))
		}
		items = slices.DeleteFunc(items, func(item mobileid.LaneItem) bool { return !left[item.ID] })
	}
}

// message makes the i-th Message, its challenge if it carries a code, and its
// place on the lane.
func (p *preloader) message(b *testing.B, i int) (stored, challenge []any, item mobileid.LaneItem) {
	b.Helper()
	to, deadline := p.bound[i%len(p.bound)], p.began.Add(time.Hour)
	at := p.began.Add(time.Duration(i) * time.Second / aimBare)
	id := p.ids.Make(mobileid.KindMessage, sandbox.Client, fmt.Sprint("bench-", i), at)
	plain, err := json.Marshal(mobileid.SealedText{To: to.msisdn[1:], Text: bridgeText})
	must(b, err)
	sealed, err := p.sealer.Seal(id[:], plain)
	must(b, err)
	var challengeID []byte
	if p.row.lane == mobileid.LaneOTP {
		c := p.ids.Make(mobileid.KindChallenge, sandbox.Client, fmt.Sprint("code-", i), at)
		challengeID = c[:]
		challenge = []any{
			challengeID, sandbox.Client, to.person, "sign_in", "en", "", "pending", to.id, to.version, "nonce", id[:], 3, p.began, deadline,
		}
	}
	var account, price any
	amount := 0
	if p.row.charged {
		account, price, amount = to.account, p.tariff, 100
	}
	stored = []any{
		id[:], sandbox.Client, to.person, string(p.row.lane), sandbox.Operator, "notice.bench", challengeID, "binding", to.id, to.version,
		account, price, amount, deadline, to.number, 1, sealed, p.sealer.KeyID().String(), "queued", p.began, p.began,
	}
	return stored, challenge, mobileid.LaneItem{ID: id, Operator: sandbox.Operator, Lane: p.row.lane, Person: mobileid.Pseudonym(to.person)}
}
