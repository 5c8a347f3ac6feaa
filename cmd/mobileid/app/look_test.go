package app_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/segmentio/kafka-go"

	"mobileid/cmd/mobileid/app/apptest"
	"mobileid/cmd/mobileid/config/sandbox"
	"mobileid/internal/mobileid"
)

// looker is a running system and eyes of the test's own on its engines: what a
// rule says about rows and records is looked at there, not in the answers.
type looker struct {
	*apptest.System
	t     *testing.T
	pool  *pgxpool.Pool
	kafka *kafka.Client
}

func look(t *testing.T, o apptest.Options) *looker {
	t.Helper()
	s := apptest.Start(t, o)
	pool, err := pgxpool.New(t.Context(), s.Env.Postgres())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	transport := &kafka.Transport{MetadataTTL: 100 * time.Millisecond}
	t.Cleanup(transport.CloseIdleConnections)
	return &looker{s, t, pool, &kafka.Client{Addr: kafka.TCP(s.Env.Kafka()...), Transport: transport}}
}

// number returns the one number that a query selects.
func (l *looker) number(query string, args ...any) (n int) {
	l.t.Helper()
	if err := l.pool.QueryRow(l.t.Context(), query, args...).Scan(&n); err != nil {
		l.t.Fatalf("%s: %v", query, err)
	}
	return n
}

// words returns the one text that a query selects, "" if there is no row.
func (l *looker) words(query string, args ...any) (s string) {
	l.t.Helper()
	if err := l.pool.QueryRow(l.t.Context(), "select coalesce(string_agg(x, ' ' order by x), '') from ("+query+") as t(x)", args...).Scan(&s); err != nil {
		l.t.Fatalf("%s: %v", query, err)
	}
	return s
}

// rawID is an id as the registry stores it.
func (l *looker) rawID(id string) []byte {
	l.t.Helper()
	got, err := mobileid.ParseID(id)
	if err != nil {
		l.t.Fatal(err)
	}
	return got[:]
}

// charge returns the states of the Charges of a challenge's or Message's
// Messages.
func (l *looker) charge(id string) string {
	l.t.Helper()
	return l.words(`select charge from messages where charge is not null and (id = $1 or challenge_id = $1)`, l.rawID(id))
}

// messageState returns the stored state of the Message of a challenge, or of
// the Message itself.
func (l *looker) messageState(id string) string {
	l.t.Helper()
	return l.words(`select state from messages where id = $1 or challenge_id = $1`, l.rawID(id))
}

func (l *looker) challengeState(id string) string {
	l.t.Helper()
	return l.words(`select state from challenges where id = $1`, l.rawID(id))
}

// balanced fails if the ledger does not add up (promise P4).
func (l *looker) balanced() {
	l.t.Helper()
	report, err := l.Registry.CheckLedger(l.t.Context())
	if err != nil || !report.Balanced() {
		l.t.Errorf("ledger: %+v %v", report, err)
	}
}

// partitions lists every partition of every topic of ours.
func (l *looker) partitions() map[string][]int {
	l.t.Helper()
	meta, err := l.kafka.Metadata(l.t.Context(), &kafka.MetadataRequest{})
	if err != nil {
		l.t.Fatal(err)
	}
	out := map[string][]int{}
	for _, topic := range meta.Topics {
		for _, p := range topic.Partitions {
			if !topic.Internal && strings.HasPrefix(topic.Name, mobileid.TopicPrefix) {
				out[topic.Name] = append(out[topic.Name], p.ID)
			}
		}
	}
	return out
}

// ends returns how many records each topic has ever had.
func (l *looker) ends() map[string]int64 {
	l.t.Helper()
	ask := map[string][]kafka.OffsetRequest{}
	for topic, ids := range l.partitions() {
		for _, id := range ids {
			ask[topic] = append(ask[topic], kafka.LastOffsetOf(id))
		}
	}
	res, err := l.kafka.ListOffsets(l.t.Context(), &kafka.ListOffsetsRequest{Topics: ask})
	if err != nil {
		l.t.Fatal(err)
	}
	out := map[string]int64{}
	for topic, offsets := range res.Topics {
		for _, o := range offsets {
			if o.Error != nil {
				l.t.Fatalf("%s/%d: %v", topic, o.Partition, o.Error)
			}
			out[topic] += o.LastOffset
		}
	}
	return out
}

// kafkaRecord is a record with its headers as a map.
type kafkaRecord struct {
	key, value string
	headers    map[string]string
}

// records reads everything that stands in a topic now.
func (l *looker) records(topic string) []kafkaRecord {
	l.t.Helper()
	var out []kafkaRecord
	for _, p := range l.partitions()[topic] {
		for _, m := range readPartition(l.t, l.Env.Kafka()[0], topic, p) {
			rec := kafkaRecord{key: string(m.Key), value: string(m.Value), headers: map[string]string{}}
			for _, h := range m.Headers {
				rec.headers[h.Key] = string(h.Value)
			}
			out = append(out, rec)
		}
	}
	return out
}

// put writes a record to a partition as somebody else's producer does; headers
// are name, value pairs.
func (l *looker) put(topic string, partition int, value string, headers ...string) {
	l.t.Helper()
	rec := kafka.Record{Value: kafka.NewBytes([]byte(value)), Time: time.Now()}
	for i := 0; i+1 < len(headers); i += 2 {
		rec.Headers = append(rec.Headers, kafka.Header{Key: headers[i], Value: []byte(headers[i+1])})
	}
	res, err := l.kafka.Produce(l.t.Context(), &kafka.ProduceRequest{
		Topic: topic, Partition: partition, RequiredAcks: kafka.RequireAll, Records: kafka.NewRecordReader(rec),
	})
	if err != nil || res.Error != nil {
		l.t.Fatal(err, res)
	}
}

// told is an answer on out.<client>.
type told struct {
	kind   string // ce_type
	Key    string `json:"request_key"`
	ID     string `json:"id"`
	Status int    `json:"status"`
	Code   string `json:"code"`
	Field  string `json:"field"`
	State  string `json:"state"`
}

// answers returns what out.<client> says about a request key or an id.
func (l *looker) answers(client, about string) []told {
	l.t.Helper()
	var out []told
	for _, r := range l.records(mobileid.TopicOut(client)) {
		a := told{kind: r.headers["ce_type"]}
		if err := json.Unmarshal([]byte(r.value), &a); err != nil {
			l.t.Fatalf("out.%s: %v", client, err)
		}
		if a.Key == about || a.Key == "" && a.ID == about {
			out = append(out, a)
		}
	}
	return out
}

// answer waits for the first of them.
func (l *looker) answer(client, about string) told {
	l.t.Helper()
	var got []told
	l.Until("out."+client+" answers "+about, func() bool {
		got = l.answers(client, about)
		return len(got) > 0
	})
	return got[0]
}

// metric adds up the samples of a metric whose labels contain all of those.
func (l *looker) metric(name string, labels ...string) (sum float64) {
	l.t.Helper()
	return metricAt(l.t, l.Config.HTTP.Admin, name, labels...)
}

// metricAt is metric of the process with that admin listener.
func metricAt(t *testing.T, admin, name string, labels ...string) (sum float64) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+admin+"/metrics", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	lines := bufio.NewScanner(res.Body)
lines:
	for lines.Scan() {
		line := lines.Text()
		if !strings.HasPrefix(line, name+"{") && !strings.HasPrefix(line, name+" ") {
			continue
		}
		for _, label := range labels {
			if !strings.Contains(line, label) {
				continue lines
			}
		}
		v, err := strconv.ParseFloat(line[strings.LastIndexByte(line, ' ')+1:], 64)
		if err != nil {
			t.Fatal(err)
		}
		sum += v
	}
	if lines.Err() != nil {
		t.Fatal(lines.Err())
	}
	return sum
}

// flushRedis empties Redis behind the program's back.
func (l *looker) flushRedis() {
	l.t.Helper()
	flush := func(ctx context.Context) error { return l.Env.Redis().FlushAll(ctx).Err() }
	if err := flush(l.t.Context()); err != nil {
		l.t.Fatal(err)
	}
}

// notify asks to tell a person something and returns the Message's id.
func (l *looker) notify(p apptest.Person) string {
	l.t.Helper()
	a := l.Call(http.MethodPost, "/v1/notifications", l.NewKey(), apptest.NoticeBody(p.PINFL))
	if a.Status != http.StatusAccepted {
		l.t.Fatalf("notification: status %d: %s", a.Status, a.Body)
	}
	return a.JSON("id")
}

// took returns how long fn took.
func took(fn func()) time.Duration {
	start := time.Now()
	fn()
	return time.Since(start)
}

// portal is the sandbox client's name, short.
const portal = sandbox.Client

// numberOf is the number of the n-th person of apptest, as the operator sees it.
func numberOf(n int) string { return fmt.Sprintf("99890%07d", n) }

// lockedBuffer collects a log that many goroutines write.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
