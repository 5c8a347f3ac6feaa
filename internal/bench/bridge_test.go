package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"mobileid/cmd/mobileid/config/sandbox"
	"mobileid/cmd/smscsim/smsc"
	"mobileid/consumers"
	"mobileid/internal/mobileid"
)

const (
	bridgeWindow   = 100
	bridgeMessages = 100_000 // of each row of the table
	bridgeReceipt  = 100 * time.Millisecond
	bridgeLimit    = 2 * time.Minute
	aimBare        = 20_000 // messages a second without receipts
	aimReceipts    = 15_000
)

// bridgeRow is a row of the table of bench-bridge.
type bridgeRow struct {
	name     string
	lane     mobileid.Lane
	charged  bool
	receipts bool
	bridges  int
}

// BenchmarkBridge is `make bench-bridge`: how fast a bridge carries what
// already waits for it. Messages are in Postgres, sealed, and their ids on the
// lane, when the bridge starts; the clock runs from the first admission to the
// last settling or receipt. Nobody but the bridge runs: what it announces stays
// in the outbox.
func BenchmarkBridge(b *testing.B) {
	messages := bridgeMessages
	if set := os.Getenv("MOBILEID_BENCH_MESSAGES"); set != "" {
		_, err := fmt.Sscan(set, &messages)
		must(b, err)
	}
	for i, row := range []bridgeRow{
		{"notices, charged", mobileid.LaneBulk, true, false, 1},
		{"notices, not charged", mobileid.LaneBulk, false, false, 1},
		{"codes, charged", mobileid.LaneOTP, true, false, 1},
		{"notices, charged, with receipts", mobileid.LaneBulk, true, true, 1},
		{"notices, not charged, with receipts", mobileid.LaneBulk, false, true, 1},
		{"codes, charged, with receipts", mobileid.LaneOTP, true, true, 1},
		{"notices, charged, two bridges", mobileid.LaneBulk, true, false, 2},
		{"notices, charged, four bridges", mobileid.LaneBulk, true, false, 4},
	} {
		// An Env of its own a row: its cleanups are those of the sub-benchmark.
		b.Run(fmt.Sprint(i+1), func(b *testing.B) { row.run(b, messages, i == 0) })
	}
}

// run measures one row and prints it.
func (row bridgeRow) run(b *testing.B, messages int, first bool) {
	s := prepare(b, setup{window: bridgeWindow, receipt: bridgeReceipt, silent: true})
	if messages != bridgeMessages {
		s.unusual = append(s.unusual, fmt.Sprintf("%d messages a row instead of %d (MOBILEID_BENCH_MESSAGES)", messages, bridgeMessages))
	}
	if !row.receipts {
		s.fault(b, smsc.Fault{Kind: smsc.FaultNoReceipt})
	}
	s.preload(b, row, messages)
	if first {
		fmt.Print("\n```\n", s.describe(b), "```\n\n")
		fmt.Printf("%d messages a row; CPU in seconds a thousand messages. Aim: %d/s without receipts, %d/s with.\n\n", messages, aimBare, aimReceipts)
		fmt.Println("| what | messages/s | bridge | Postgres | Kafka | Redis | smscsim |\n|---|---|---|---|---|---|---|")
	}
	before := s.usages()
	for n := range row.bridges {
		admin := s.startRole(b, "bridge", fmt.Sprintf("bridge %d", n+1))
		if dir := os.Getenv("MOBILEID_BENCH_PROFILES"); dir != "" && n == 0 {
			path := filepath.Join(dir, strings.ReplaceAll(b.Name(), "/", "-"))
			finish := s.profile(b, admin, path)
			defer finish()
		}
	}
	s.awaitCarried(b, row, messages)
	after := s.usages()

	var took float64
	must(b, s.sql.QueryRow(b.Context(), `
select extract(epoch from (select max(at) from outbox) - (select min(admitted_at) from messages))`).Scan(&took))
	perThousand := func(names ...string) float64 {
		sum := 0.0
		for _, name := range names {
			sum += after[name].CPU - before[name].CPU
		}
		return sum * 1000 / float64(messages)
	}
	var bridges []string
	for n := range row.bridges {
		bridges = append(bridges, fmt.Sprintf("mobileid bridge %d", n+1))
	}
	fmt.Printf("| %s | %.0f | %.3f | %.3f | %.3f | %.3f | %.3f |\n", row.name, float64(messages)/took,
		perThousand(bridges...), perThousand("PostgreSQL"), perThousand("Kafka"), perThousand("Redis"), perThousand("smscsim"))
	s.checkCarried(b, row, messages)
}

// preload stores Messages as consumers would and puts their ids on the lane.
func (s *system) preload(b *testing.B, row bridgeRow, messages int) {
	b.Helper()
	type binding struct {
		id, account    int64
		version        int
		person, number []byte
		msisdn         string
	}
	rows, err := s.sql.Query(b.Context(), `select id, account_id, version, person, number, msisdn from bindings order by id`)
	must(b, err)
	bound, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (o binding, err error) {
		return o, r.Scan(&o.id, &o.account, &o.version, &o.person, &o.number, &o.msisdn)
	})
	must(b, err)
	public, err := sandbox.Secret(s.dir, "bridge.public")
	must(b, err)
	sealer, err := mobileid.NewSealer(public, nil)
	must(b, err)
	tariff := s.count(b, `select max(id) from tariffs`)

	now := time.Now()
	columns := []string{
		"id", "client", "person", "lane", "operator", "text_id", "challenge_id", "fence_kind", "fence_id", "fence_version",
		"account_id", "tariff_id", "amount", "deadline", "dest", "parts", "sealed", "seal_key", "state", "queued_at", "published_at",
	}
	challengeColumns := []string{
		"id", "client", "person", "purpose", "locale", "body_hash", "state", "binding_id", "binding_version", "nonce",
		"message_id", "tries", "issued_at", "expires_at",
	}
	var stored, challenges [][]any
	items := make([]mobileid.LaneItem, messages)
	for i := range items {
		to := bound[i%len(bound)]
		at := now.Add(time.Duration(i) * time.Second / aimBare)
		id := s.ids.Make(mobileid.KindMessage, sandbox.Client, fmt.Sprint("bench-", i), at)
		plain, err := json.Marshal(mobileid.SealedText{To: to.msisdn[1:], Text: "123456 is your code for my.gov.uz. Tell it to nobody."})
		must(b, err)
		sealed, err := sealer.Seal(id[:], plain)
		must(b, err)
		var challenge []byte
		if row.lane == mobileid.LaneOTP {
			c := s.ids.Make(mobileid.KindChallenge, sandbox.Client, fmt.Sprint("code-", i), at)
			challenge = c[:]
			challenges = append(challenges, []any{
				challenge, sandbox.Client, to.person, "sign_in", "en", "", "pending", to.id, to.version, "nonce", id[:], 3, now, now.Add(time.Hour),
			})
		}
		var account, price any
		amount := 0
		if row.charged {
			account, price, amount = to.account, tariff, 100
		}
		stored = append(stored, []any{
			id[:], sandbox.Client, to.person, string(row.lane), sandbox.Operator, "notice.bench", challenge, "binding", to.id, to.version,
			account, price, amount, now.Add(time.Hour), to.number, 1, sealed, sealer.KeyID().String(), "queued", now, now,
		})
		items[i] = mobileid.LaneItem{ID: id, Operator: sandbox.Operator, Lane: row.lane, Person: mobileid.Pseudonym(to.person)}
	}
	if len(challenges) > 0 {
		_, err = s.sql.CopyFrom(b.Context(), pgx.Identifier{"challenges"}, challengeColumns, pgx.CopyFromRows(challenges))
		must(b, err)
	}
	_, err = s.sql.CopyFrom(b.Context(), pgx.Identifier{"messages"}, columns, pgx.CopyFromRows(stored))
	must(b, err)
	s.exec(b, `analyze`)

	publisher := consumers.NewPublisher(consumers.KafkaConfig{Brokers: s.env.Kafka()}, consumers.PublisherConfig{})
	defer func() { must(b, publisher.Close()) }()
	for from := 0; from < messages; from += 1000 {
		left, err := publisher.PublishLane(b.Context(), items[from:min(from+1000, messages)])
		must(b, err)
		if len(left) > 0 {
			b.Fatalf("%d ids could not be put on the lane", len(left))
		}
	}
}

// awaitCarried waits until every Message was settled, or has its receipt. It
// asks Postgres only when the operator has everything, because asking costs.
func (s *system) awaitCarried(b *testing.B, row bridgeRow, messages int) {
	b.Helper()
	until(b, "every submit_sm has come", bridgeLimit, func() bool { return s.smsc(b)["submits"] >= messages })
	open := `select exists (select from messages where state in ('queued', 'admitted', 'retry'))`
	if row.receipts {
		open = `select exists (select from messages where ended_at is null)`
	}
	for end := time.Now().Add(bridgeLimit); ; time.Sleep(100 * time.Millisecond) {
		var still bool
		must(b, s.sql.QueryRow(b.Context(), open).Scan(&still))
		if !still {
			return
		}
		if time.Now().After(end) {
			b.Fatalf("%s have passed and Messages are open: %d", bridgeLimit, s.count(b, `select count(*) from messages where ended_at is null`))
		}
	}
}

// checkCarried fails the row when a Message was lost, doubled or not charged
// as it should be.
func (s *system) checkCarried(b *testing.B, row bridgeRow, messages int) {
	b.Helper()
	state, posted := "sent", 0
	if row.receipts {
		state = "delivered"
	}
	if row.charged {
		posted = messages
	}
	if n := s.smsc(b)["submits"]; n != messages {
		b.Errorf("%d submit_sm of %d Messages", n, messages)
	}
	if n := s.count(b, `select count(*) from messages where state = '`+state+`'`); n != messages {
		b.Errorf("%d of %d Messages are %s", n, messages, state)
	}
	if n := s.count(b, `select count(*) from charges where state = 'posted'`); n != posted {
		b.Errorf("%d Charges are posted, want %d", n, posted)
	}
	report, err := s.db.CheckLedger(b.Context())
	if err != nil || !report.Balanced() {
		b.Errorf("ledger: %+v %v", report, err)
	}
	if n := s.count(b, `select deadlocks from pg_stat_database where datname = current_database()`); n > 0 {
		b.Errorf("%d deadlocks", n)
	}
}

// profile keeps a CPU profile of a process's next seconds, and its metrics when
// finish is called, for who works on the bench.
func (s *system) profile(b *testing.B, admin, path string) (finish func()) {
	b.Helper()
	must(b, os.MkdirAll(filepath.Dir(path), 0o755))
	keep := func(url, path string) error {
		res, err := http.Get(url)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		raw, err := io.ReadAll(res.Body)
		return errors.Join(err, os.WriteFile(path, raw, 0o600))
	}
	done := make(chan error, 1)
	go func() { done <- keep(admin+"/debug/pprof/profile?seconds=8", path+".pprof") }()
	return func() {
		must(b, keep(admin+"/metrics", path+".metrics"))
		must(b, <-done)
	}
}
