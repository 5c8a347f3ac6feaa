package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"
	"github.com/segmentio/kafka-go"

	"mobileid/cmd/mobileid/app/apptest"
	"mobileid/cmd/mobileid/config/sandbox"
	"mobileid/internal/mobileid"
)

// piece is some bytes of a store, and what may be in them.
type piece struct {
	where string
	data  []byte
	may   []kind
}

// mayHold is the written list of columns that hold clear personal data.
// Everything else is a pseudonym, a state, or sealed.
var mayHold = map[string]kind{
	"bindings.pinfl":  aPINFL,
	"bindings.msisdn": aNumber,
}

// safeBuffer is a log that is written and read at the same time.
type safeBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// column is the values of one column of one table.
func column(table, name string) string { return monthSuffix.ReplaceAllString(table, "") + "." + name }

// monthSuffix ends the names of partitions.
var monthSuffix = regexp.MustCompile(`_(y?\d{4}_?m?\d{2}|default)$`)

// readDump reads what pg_dump writes: a piece for each column, and one for all
// that is no row.
func readDump(t *testing.T, dump string) []piece {
	t.Helper()
	columns := map[string]*bytes.Buffer{}
	var rest bytes.Buffer
	var table string
	var names []string
	rows := 0
	for line := range strings.Lines(dump) {
		line = strings.TrimSuffix(line, "\n")
		switch head, ok := strings.CutPrefix(line, "COPY public."); {
		case table != "" && line == `\.`:
			table = ""
		case table != "":
			rows++
			values := strings.Split(line, "\t")
			if len(values) != len(names) {
				t.Fatalf("the dump of %s has %d values for %d columns", table, len(values), len(names))
			}
			for i, v := range values {
				at := column(table, names[i])
				if columns[at] == nil {
					columns[at] = &bytes.Buffer{}
				}
				columns[at].WriteString(v + "\n")
			}
		case ok:
			var list string
			table, list, _ = strings.Cut(head, " (")
			list, _, _ = strings.Cut(list, ") ")
			names = strings.Split(strings.ReplaceAll(list, `"`, ""), ", ")
		default:
			rest.WriteString(line + "\n")
		}
	}
	if rows == 0 {
		t.Fatal("the dump has no rows")
	}
	pieces := []piece{{where: "dump outside of rows", data: rest.Bytes()}}
	for at, b := range columns {
		p := piece{where: "column " + at, data: b.Bytes()}
		if k, ok := mayHold[at]; ok {
			p.may = []kind{k}
		}
		pieces = append(pieces, p)
	}
	return pieces
}

// dumpPostgres is pg_dump's plain SQL; where there is no pg_dump it is every
// table by COPY, in the same form.
func dumpPostgres(t *testing.T, dsn string) string {
	t.Helper()
	tool := postgresTool("pg_dump")
	if tool == "" {
		t.Log("no pg_dump here: every table is read by COPY")
		return copyPostgres(t, dsn)
	}
	out, err := exec.CommandContext(t.Context(), tool, "--dbname="+dsn).Output()
	if err != nil {
		t.Fatal("pg_dump:", err)
	}
	return string(out)
}

func postgresTool(name string) string {
	if at, err := exec.LookPath(name); err == nil {
		return at
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	if len(found) == 0 {
		return ""
	}
	return found[len(found)-1]
}

func copyPostgres(t *testing.T, dsn string) string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	check(t, err)
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	rows, err := conn.Query(t.Context(), `
select c.relname::text, string_agg(quote_ident(a.attname), ', ' order by a.attnum)
from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
where c.relnamespace = 'public'::regnamespace and c.relkind = 'r' group by c.relname`)
	check(t, err)
	var out bytes.Buffer
	type table struct{ Name, Columns string }
	tables, err := pgx.CollectRows(rows, pgx.RowToStructByPos[table])
	check(t, err)
	for _, x := range tables {
		fmt.Fprintf(&out, "COPY public.%s (%s) FROM stdin;\n", x.Name, x.Columns)
		_, err = conn.PgConn().CopyTo(t.Context(), &out, fmt.Sprintf("copy %s (%s) to stdout", pgx.Identifier{x.Name}.Sanitize(), x.Columns))
		check(t, err)
		out.WriteString("\\.\n")
	}
	return out.String()
}

// exposureOf finds a topic's row in the table of topics.
func exposureOf(t *testing.T, topic string) mobileid.Exposure {
	t.Helper()
	for _, row := range mobileid.Topics() {
		pattern := "^" + regexp.QuoteMeta(row.Name) + "$"
		for _, placeholder := range []string{"<client>", "<operator>"} {
			pattern = strings.ReplaceAll(pattern, placeholder, `[a-z0-9-]+`)
		}
		pattern = strings.ReplaceAll(pattern, "<topic>", `.+`)
		if regexp.MustCompile(pattern).MatchString(topic) {
			return row.Exposure
		}
	}
	t.Fatalf("topic %s is not in the table of topics", topic)
	return ""
}

// record is a Kafka record and where it stands.
type record struct {
	kafka.Message
}

// readTopics reads everything that is on the broker.
func readTopics(t *testing.T, brokers []string) []record {
	t.Helper()
	conn, err := kafka.DialContext(t.Context(), "tcp", brokers[0])
	check(t, err)
	defer func() { _ = conn.Close() }()
	partitions, err := conn.ReadPartitions()
	check(t, err)
	var out []record
	for _, p := range partitions {
		if p.Topic != "__consumer_offsets" {
			out = append(out, readPartition(t, brokers[0], p.Topic, p.ID)...)
		}
	}
	return out
}

func readPartition(t *testing.T, broker, topic string, partition int) []record {
	t.Helper()
	leader, err := kafka.DialLeader(t.Context(), "tcp", broker, topic, partition)
	check(t, err)
	defer func() { _ = leader.Close() }()
	first, last, err := leader.ReadOffsets()
	check(t, err)
	if first == last {
		return nil
	}
	_, err = leader.Seek(first, kafka.SeekAbsolute)
	check(t, err)
	var out []record
	for next := first; next < last; {
		batch := leader.ReadBatch(1, 4<<20)
		for next < last {
			m, err := batch.ReadMessage()
			if err != nil {
				break
			}
			out, next = append(out, record{m}), m.Offset+1
		}
		check(t, batch.Close())
	}
	return out
}

// topicPieces are keys, headers and values of everything on the broker. What
// a client writes on its own topic, it writes: its keys and headers are not
// ours.
func topicPieces(t *testing.T, recs []record) []piece {
	t.Helper()
	var out []piece
	for _, r := range recs {
		where := fmt.Sprintf("%s/%d@%d", r.Topic, r.Partition, r.Offset)
		var head bytes.Buffer
		fmt.Fprintf(&head, "%s\n", r.Key)
		for _, h := range r.Headers {
			fmt.Fprintf(&head, "%s: %s\n", h.Key, h.Value)
		}
		value := piece{where: "value of " + where, data: r.Value}
		_, fromOutside := mobileid.ClientOfTopicIn(r.Topic)
		if exposureOf(t, r.Topic) == mobileid.Clear {
			value.may = []kind{aPINFL}
		}
		out = append(out, value)
		if !fromOutside {
			out = append(out, piece{where: "key and headers of " + where, data: head.Bytes()})
		}
	}
	return out
}

// redisPieces reads every key of every type.
func redisPieces(t *testing.T, addr string) []piece {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: addr}) // one node: what SCAN sees is all
	defer func() { _ = client.Close() }()
	ctx := t.Context()
	var out []piece
	for keys := client.Scan(ctx, 0, "*", 1000).Iterator(); keys.Next(ctx); {
		key := keys.Val()
		kind, err := client.Type(ctx, key).Result()
		check(t, err)
		var value any
		switch kind {
		case "string":
			value, err = client.Get(ctx, key).Result()
		case "hash":
			value, err = client.HGetAll(ctx, key).Result()
		case "list":
			value, err = client.LRange(ctx, key, 0, -1).Result()
		case "set":
			value, err = client.SMembers(ctx, key).Result()
		case "zset":
			value, err = client.ZRangeWithScores(ctx, key, 0, -1).Result()
		case "none":
			continue // expired since
		default:
			t.Fatalf("a Redis value of type %s: teach the test to read it", kind)
		}
		if errors.Is(err, redis.Nil) {
			continue
		}
		check(t, err)
		out = append(out, piece{where: "redis " + key, data: fmt.Appendf(nil, "%s\n%v", key, value)})
	}
	if len(out) == 0 {
		t.Fatal("Redis is empty: nothing was looked at")
	}
	return out
}

// postgresLog is what the server has logged from an offset on.
func postgresLog(t *testing.T, file string, from int64) []byte {
	t.Helper()
	f, err := os.Open(file)
	check(t, err)
	defer func() { _ = f.Close() }()
	_, err = f.Seek(from, io.SeekStart)
	check(t, err)
	data, err := io.ReadAll(f)
	check(t, err)
	return data
}

// markPostgresLog makes the server log a word and returns it, so that the
// reader of the log can prove that it reads.
func markPostgresLog(t *testing.T, dsn string) string {
	t.Helper()
	at, err := url.Parse(dsn)
	check(t, err)
	word := "seen_" + strings.ToLower(strings.ReplaceAll(t.Name(), "/", "_"))[:20]
	at.Path = "/" + word
	conn, err := pgx.Connect(t.Context(), at.String())
	if err == nil {
		_ = conn.Close(t.Context())
		t.Fatal("a database of that name exists")
	}
	return word
}

// caller keeps everything that the edge answers.
type caller struct {
	s       *apptest.System
	token   string
	answers []piece
}

// call asks, with further headers as name, value pairs.
func (c *caller) call(method, path, body string, headers ...string) apptest.Answer {
	c.s.T.Helper()
	req, err := http.NewRequestWithContext(c.s.T.Context(), method, c.s.URL+path, strings.NewReader(body))
	check(c.s.T, err)
	req.Header.Set("Authorization", "Bearer "+c.token)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if method == http.MethodPost {
		req.Header.Set("Idempotency-Key", c.s.NewKey())
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	check(c.s.T, err)
	defer func() { _ = res.Body.Close() }()
	raw, err := io.ReadAll(res.Body)
	check(c.s.T, err)
	seen := res.Header.Clone()
	seen.Del("X-Correlator") // an echo of the caller's own, by CAMARA's rule
	headerText, err := json.Marshal(seen)
	check(c.s.T, err)
	// The body only: a path with a PINFL is the caller's, not an answer.
	c.answers = append(c.answers, piece{
		where: fmt.Sprintf("answer %d (%d to %s)", len(c.answers), res.StatusCode, method),
		data:  append(append(headerText, '\n'), raw...),
	})
	return apptest.Answer{Status: res.StatusCode, Header: res.Header, Body: raw}
}

// produce writes records as an outside client does.
func produce(t *testing.T, brokers []string, recs ...kafka.Message) {
	t.Helper()
	w := &kafka.Writer{Addr: kafka.TCP(brokers...), RequiredAcks: kafka.RequireAll, BatchSize: 1, Transport: &kafka.Transport{}}
	defer func() { check(t, w.Close()) }()
	check(t, w.WriteMessages(t.Context(), recs...))
}

// outside is a record on the sandbox client's topic; headers are name, value
// pairs.
func outside(key, value string, headers ...string) kafka.Message {
	m := kafka.Message{Topic: mobileid.TopicIn(sandbox.Client), Value: []byte(value)}
	if key != "" {
		m.Key = []byte(key)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		m.Headers = append(m.Headers, kafka.Header{Key: headers[i], Value: []byte(headers[i+1])})
	}
	return m
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
