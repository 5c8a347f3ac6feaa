package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"mobileid/cmd/mobileid/app"
	"mobileid/cmd/mobileid/app/apptest"
	"mobileid/cmd/mobileid/config/sandbox"
	"mobileid/internal/mobileid"
	"mobileid/internal/testenv"
	"mobileid/registry"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// succeeds runs a command line that must exit with 0 and say nothing on
// standard error, and returns what it printed.
func succeeds(t *testing.T, args ...string) string {
	t.Helper()
	code, out, errOut := output(t, args...)
	if code != 0 || errOut != "" {
		t.Fatalf("%v: exit %d: %s%s", args, code, out, errOut)
	}
	return out
}

// fails runs a command line that must exit with 1, and returns the reason.
func fails(t *testing.T, args ...string) string {
	t.Helper()
	code, out, errOut := output(t, args...)
	if code != exitFailed || out != "" || !strings.HasPrefix(errOut, "mobileid: ") {
		t.Errorf("%v: exit %d, want %d and a reason: %s%s", args, code, exitFailed, out, errOut)
	}
	return errOut
}

// fresh is a configuration for engines on which nothing was made yet.
func fresh(t *testing.T) (env *testenv.Env, file string) {
	t.Helper()
	env, dir := testenv.New(t), t.TempDir()
	if err := sandbox.WriteSecrets(dir); err != nil {
		t.Fatal(err)
	}
	file, err := sandbox.WriteConfig(dir, sandbox.Addresses{
		Listen: testenv.FreeAddr(t), Admin: testenv.FreeAddr(t), DSN: env.Postgres(), Redis: env.RedisAddr(),
		RedisCluster: env.Set == testenv.Real, Kafka: env.Kafka(), SMSC: "127.0.0.1:6", Issuer: "http://127.0.0.1:7",
	})
	if err != nil {
		t.Fatal(err)
	}
	return env, file
}

// lines are what a command printed, in the order of the alphabet.
func lines(out string) []string {
	got := strings.Split(strings.TrimSpace(out), "\n")
	slices.Sort(got)
	return got
}

func TestTopicsSaysWhatItMadeAndChangesNothingTheSecondTime(t *testing.T) {
	_, file := fresh(t)
	var names []string
	for _, name := range []string{
		mobileid.TopicIn(sandbox.Client), mobileid.TopicOTPRequests, mobileid.TopicNotificationRequests, mobileid.TopicBalanceEvents,
		mobileid.TopicSMS(sandbox.Operator, mobileid.LaneOTP), mobileid.TopicSMS(sandbox.Operator, mobileid.LaneBulk),
	} {
		names = append(names, name, mobileid.TopicDLQ(name))
	}
	names = append(names, mobileid.TopicOut(sandbox.Client), mobileid.TopicMessageStatus, mobileid.TopicSMSInbound, mobileid.TopicRegistryEvents)
	slices.Sort(names)
	every := func(action string) string { return action + " " + strings.Join(names, "\n"+action+" ") }
	if got := strings.Join(lines(succeeds(t, "topics", "--config", file)), "\n"); got != every("created") {
		t.Errorf("the first time:\n%s\nwant\n%s", got, every("created"))
	}
	if got := strings.Join(lines(succeeds(t, "topics", "--config", file)), "\n"); got != every("unchanged") {
		t.Errorf("the second time:\n%s\nwant\n%s", got, every("unchanged"))
	}
	// What differs is told and left alone.
	t.Setenv("MOBILEID_KAFKA__PARTITIONS", "6")
	for range 2 {
		got := lines(succeeds(t, "topics", "--config", file))
		if want := "differs " + mobileid.TopicOTPRequests + " (partitions: 4, want 6)"; !slices.Contains(got, want) {
			t.Errorf("with more partitions in the file: no %q in\n%s", want, strings.Join(got, "\n"))
		}
	}
}

func TestMigrateMakesTheSchemaAndMayBeRunAgain(t *testing.T) {
	env, file := fresh(t)
	db, err := registry.Open(t.Context(), registry.Config{DSN: env.Postgres(), MaxConns: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.CheckSchema(t.Context()); err == nil {
		t.Fatal("there is a schema already")
	}
	if code, _, errOut := output(t, "serve", "--config", file); code != exitFailed || !strings.Contains(errOut, "mobileid migrate") {
		t.Errorf("serve without a schema: exit %d: %s", code, errOut)
	}
	for range 2 {
		if out := succeeds(t, "migrate", "--config", file); out != "the schema is current\n" {
			t.Errorf("migrate: %q", out)
		}
		if err := db.CheckSchema(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// TestExplainTellsOneMaskedTimeline sends a code through the whole system and
// has its life told, by either id.
func TestExplainTellsOneMaskedTimeline(t *testing.T) {
	s := apptest.Start(t, apptest.Options{})
	p := s.Bind(471181, 1000_00)
	id := s.Ask(p, "sign_in")
	code := s.Code(p.Number, 1)
	s.Until("the receipt is in", func() bool {
		return s.Call(http.MethodGet, "/v1/challenges/"+id, "", "").JSON("message.state") == "delivered"
	})
	if a := s.Verify(id, "v1", code); a.Status != http.StatusOK {
		t.Fatalf("verify: %d %s", a.Status, a.Body)
	}
	told := succeeds(t, "explain", id, "--config", s.ConfigFile)
	at := 0
	for _, want := range []string{
		`\+0\.0 ms  edge  .*id=` + id,
		`kafka  .*\[` + regexp.QuoteMeta(mobileid.TopicOTPRequests) + `/\d+@\d+\]`,
		`registry  .*number=\+998 90 \*\*\* \*\* 81 `,
		`kafka  .*\[` + regexp.QuoteMeta(mobileid.TopicSMS(sandbox.Operator, mobileid.LaneOTP)) + `/\d+@\d+\]`,
		`bridge  +admitted`, `charge  +pending: admitted  .*held=120\.00`, `bridge  +submit_sm written`,
		`operator  +submit_sm_resp .*command_status=0x0`, `charge  +posted: answer  .*taken=120\.00`,
		`receipt  .*DELIVRD`, `confirmation  `,
	} {
		found := regexp.MustCompile(want).FindStringIndex(told[at:])
		if found == nil {
			t.Fatalf("no %s after what stands before it in\n%s", want, told)
		}
		at += found[1]
	}
	var last time.Time
	for line := range strings.Lines(told) {
		when, err := time.Parse("2006-01-02 15:04:05.000", line[:len("2006-01-02 15:04:05.000")])
		if err != nil || when.Before(last) {
			t.Errorf("out of order (%v): %s", err, line)
		}
		last = when
	}
	personal := []string{p.PINFL, p.Number, strings.TrimPrefix(p.Number, "998"), s.SMS(p.Number)[0]}
	for _, secret := range personal {
		if strings.Contains(told, secret) {
			t.Errorf("%q is told in\n%s", secret, told)
		}
	}
	if regexp.MustCompile(`\b` + code + `\b`).MatchString(told) {
		t.Errorf("the code is told in\n%s", told)
	}
	message := regexp.MustCompile(`\bms_[a-z0-9]+`).FindString(told)
	if same := succeeds(t, "explain", message, "--config", s.ConfigFile); same != told {
		t.Errorf("by the Message's id:\n%s\nby the challenge's:\n%s", same, told)
	}
}

// TestAPoisonousRecordIsListedShownAndPutBack parks a record and goes after it
// with the commands alone.
func TestAPoisonousRecordIsListedShownAndPutBack(t *testing.T) {
	s := apptest.Start(t, apptest.Options{Roles: []string{app.RoleConsumers}})
	const topic = mobileid.TopicOTPRequests
	const plain = "31231456789012 of a careless producer\n"
	conn, err := kafka.DialLeader(t.Context(), "tcp", s.Env.Kafka()[0], topic, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_, err = conn.WriteMessages(kafka.Message{
		Key: []byte("k"), Value: []byte(plain), Headers: []kafka.Header{{Key: "ce_id", Value: []byte("careless")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	list := func(args ...string) [][]string {
		var rows [][]string
		for line := range strings.Lines(succeeds(t, append([]string{"dlq", "list", "--config", s.ConfigFile}, args...)...)) {
			rows = append(rows, strings.Fields(line))
		}
		return rows[1:] // without the names of the columns
	}
	s.Until("it is parked", func() bool { return len(list()) == 1 })
	row := list(topic)[0]
	if len(row) != 7 || row[0] != topic || row[4] != "2@0" || row[6] != "-" {
		t.Fatalf("listed as %q", row)
	}
	if strings.Contains(strings.Join(row, " "), "careless") {
		t.Errorf("the list opens it: %q", row)
	}
	if other := list(mobileid.TopicNotificationRequests); len(other) != 0 {
		t.Errorf("in another topic: %q", other)
	}
	place := row[:3]

	shown := succeeds(t, append([]string{"dlq", "show", "--config", s.ConfigFile}, place...)...)
	for _, want := range []string{"reason:  " + row[5] + "\n", "key:     \"k\"\n", "header:  ce_id: \"careless\"\n", fmt.Sprintf("value:   %q\n", plain)} {
		if !strings.Contains(shown, want) {
			t.Errorf("no %q in\n%s", want, shown)
		}
	}

	out := succeeds(t, append([]string{"dlq", "replay", "--config", s.ConfigFile}, place...)...)
	if !strings.Contains(out, topic) {
		t.Errorf("replay does not say where it wrote: %s", out)
	}
	// As poisonous as before, and parked again; the first one stays.
	s.Until("it is parked again", func() bool { return len(list(topic)) == 2 })
	again := list(topic)[1]
	if again[5] != row[5] {
		t.Errorf("the second time the reason is %q, was %q", again[5], row[5])
	}
	if m := recordAt(t, s.Env.Kafka()[0], topic, again[4]); string(m.Value) != plain || string(m.Key) != "k" {
		t.Errorf("written back as %q: %q", m.Key, m.Value)
	}

	if reason := fails(t, "dlq", "show", topic, "0", "77", "--config", s.ConfigFile); !strings.Contains(reason, mobileid.TopicDLQ(topic)+"/0/77") {
		t.Errorf("where nothing is: %s", reason)
	}
	if reason := fails(t, append([]string{"dlq", "replay", "--config", withoutDLQKey(t, s.ConfigFile)}, place...)...); !strings.Contains(reason, "keys.dlq_private") {
		t.Errorf("without the private key: %s", reason)
	}
	fails(t, "dlq", "list", "nothing", "--config", s.ConfigFile)
}

// TestReceiptsThatCannotBeReadAreShownToWhoHasTheKey keeps one as the bridge
// does and reads it by command.
func TestReceiptsThatCannotBeReadAreShownToWhoHasTheKey(t *testing.T) {
	s := apptest.Start(t, apptest.Options{Roles: []string{app.RoleConsumers}})
	sealer, err := mobileid.NewSealer(s.Config.Keys.DLQPublic, nil)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := sealer.Seal([]byte("beeline/mobileid"), []byte("00,0210021543,kod\x00"))
	if err != nil {
		t.Fatal(err)
	}
	kept := mobileid.UnreadReceipt{Account: "beeline/mobileid", Why: "unparseable", Sealed: sealed, At: time.Now()}
	if err := s.Registry.KeepUnread(t.Context(), []mobileid.UnreadReceipt{kept}); err != nil {
		t.Fatal(err)
	}
	want := "beeline/mobileid  unparseable  " + fmt.Sprintf("%q", "00,0210021543,kod\x00") + "\n"
	for operator, ends := range map[string]string{"": want, "beeline": want, "ucell": ""} {
		args := []string{"dlq", "receipts", "--config", s.ConfigFile}
		if operator != "" {
			args = append(args, operator)
		}
		if shown := succeeds(t, args...); !strings.HasSuffix(shown, ends) || (ends == "") != (shown == "") {
			t.Errorf("of operator %q: %q", operator, shown)
		}
	}
	if reason := fails(t, "dlq", "receipts", "--config", withoutDLQKey(t, s.ConfigFile)); !strings.Contains(reason, "keys.dlq_private") {
		t.Errorf("without the private key: %s", reason)
	}
}

// recordAt reads one record at a place as dlq list prints it.
func recordAt(t *testing.T, broker, topic, place string) kafka.Message {
	t.Helper()
	var partition int
	var offset int64
	if _, err := fmt.Sscanf(place, "%d@%d", &partition, &offset); err != nil {
		t.Fatal(err)
	}
	conn, err := kafka.DialLeader(t.Context(), "tcp", broker, topic, partition)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err = conn.Seek(offset, kafka.SeekAbsolute); err != nil {
		t.Fatal(err)
	}
	m, err := conn.ReadMessage(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// withoutDLQKey is the file of a person who may list dead letters only.
func withoutDLQKey(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(filepath.Dir(file), "no-dlq-key.yaml") // its operator's file is beside it
	less := regexp.MustCompile(`dlq_private: .*`).ReplaceAllString(string(text), "dlq_private: []")
	if err := os.WriteFile(path, []byte(less), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
