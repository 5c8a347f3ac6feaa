package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mobileid/cmd/mobileid/config/sandbox"
	"mobileid/consumers"
	"mobileid/internal/mobileid"
)

// output runs a command line and returns its exit code and what it printed.
func output(t *testing.T, args ...string) (code int, out, errOut string) {
	t.Helper()
	stdout, stderr := os.Stdout, os.Stderr
	files := map[string]*os.File{}
	for _, name := range []string{"out", "err"} {
		f, err := os.Create(filepath.Join(t.TempDir(), name))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = f.Close() }()
		files[name] = f
	}
	os.Stdout, os.Stderr = files["out"], files["err"]
	defer func() { os.Stdout, os.Stderr = stdout, stderr }()
	code = run(t.Context(), args)
	read := func(name string) string {
		raw, err := os.ReadFile(files[name].Name())
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	return code, read("out"), read("err")
}

func TestAWrongCommandLineExitsWith2AndSaysWhatToDo(t *testing.T) {
	wrong := filepath.Join(t.TempDir(), "wrong.yaml")
	if err := os.WriteFile(wrong, []byte("http: {listen: nowhere}\nmercy: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		args []string
		want []string
	}{
		"no such command":      {[]string{"fly"}, []string{"fly"}},
		"no such flag":         {[]string{"serve", "--fast"}, []string{"--fast", "mobileid serve --help"}},
		"a word too many":      {[]string{"migrate", "now"}, []string{`"now"`, "mobileid migrate --help"}},
		"no file":              {[]string{"check-config", "--config", "none.yaml"}, []string{"none.yaml", "config.sample.yaml"}},
		"every mistake":        {[]string{"check-config", "--config", wrong}, []string{"http.listen:", "mercy: unknown key", "operators:", "keys.id:"}},
		"before it opens":      {[]string{"serve", "--config", wrong}, []string{"http.listen:"}},
		"explain what":         {[]string{"explain"}, []string{"id of a challenge"}},
		"explain two":          {[]string{"explain", "ch_1", "ch_2"}, []string{"want one id"}},
		"explain nonsense":     {[]string{"explain", "ch_1"}, []string{"42 characters"}},
		"dlq without place":    {[]string{"dlq", "show", "topic"}, []string{"TOPIC PARTITION OFFSET"}},
		"dlq of no place":      {[]string{"dlq", "replay", "topic", "0", "first"}, []string{"TOPIC PARTITION OFFSET", "mobileid dlq replay --help"}},
		"dlq below zero":       {[]string{"dlq", "show", "topic", "--", "-1", "0"}, []string{"TOPIC PARTITION OFFSET"}},
		"dlq what":             {[]string{"dlq", "fly"}, []string{`"fly"`, "mobileid dlq --help"}},
		"dlq of two operators": {[]string{"dlq", "receipts", "one", "two"}, []string{`"two"`, "mobileid dlq receipts --help"}},
		"dlq of two topics":    {[]string{"dlq", "list", "one", "two"}, []string{`"two"`, "mobileid dlq list --help"}},
		"keys what":            {[]string{"keys", "old"}, []string{`"old"`, "mobileid keys --help"}},
		"topics of what":       {[]string{"topics", "mine"}, []string{`"mine"`, "mobileid topics --help"}},
		"whose operator":       {[]string{"demo", "--system-id", "us"}, []string{"--smsc HOST:PORT"}},
		"no password":          {[]string{"demo", "--smsc", "127.0.0.1:2775", "--system-id", "us"}, []string{"MOBILEID_SMPP_PASSWORD"}},
		"operator where":       {[]string{"demo", "--smsc", "smsc"}, []string{"want HOST:PORT"}},
		"no value":             {[]string{"migrate", "--config"}, []string{"--config", "mobileid migrate --help"}},
	} {
		code, out, errOut := output(t, c.args...)
		if code != exitUsage || out != "" {
			t.Errorf("%s: exit %d, want %d, and nothing on standard output: %s%s", name, code, exitUsage, out, errOut)
		}
		for _, want := range c.want {
			if !strings.Contains(errOut, want) {
				t.Errorf("%s: no %q in %s", name, want, errOut)
			}
		}
	}
}

func TestARightConfigurationExitsWith0(t *testing.T) {
	dir := t.TempDir()
	if err := sandbox.WriteSecrets(dir); err != nil {
		t.Fatal(err)
	}
	path, err := sandbox.WriteConfig(dir, sandbox.Addresses{
		Listen: "127.0.0.1:1", Admin: "127.0.0.1:2", DSN: "postgres://127.0.0.1:3/x", Redis: "127.0.0.1:4",
		Kafka: []string{"127.0.0.1:5"}, SMSC: "127.0.0.1:6", Issuer: "http://127.0.0.1:7",
	})
	if err != nil {
		t.Fatal(err)
	}
	code, out, errOut := output(t, "check-config", "--config", path)
	if code != 0 || !strings.Contains(out, "is right") {
		t.Errorf("exit %d: %s%s", code, out, errOut)
	}
	// Nothing answers at these addresses: the command fails, it is not misused.
	if code, _, errOut := output(t, "migrate", "--config", path); code != exitFailed {
		t.Errorf("migrate without Postgres: exit %d: %s", code, errOut)
	}
}

func TestKeysNewPrintsAPairThatFits(t *testing.T) {
	code, out, _ := output(t, "keys", "new")
	var public, private string
	for line := range strings.Lines(out) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		switch name {
		case "public":
			public = strings.TrimSpace(value)
		case "private":
			private = strings.TrimSpace(value)
		}
	}
	sealer, err := mobileid.NewSealer(public, nil)
	if code != 0 || err != nil {
		t.Fatal(code, err)
	}
	opener, err := mobileid.NewOpener(private)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := sealer.Seal(nil, []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	if plain, err := opener.Open(nil, sealed); err != nil || !bytes.Equal(plain, []byte("x")) {
		t.Error("the pair does not fit")
	}
}

func TestTheTimelineTellsTimesPlacesAndFacts(t *testing.T) {
	at := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	got := timeline([]mobileid.Step{
		{At: at, Hop: "edge", What: "accepted"},
		{
			At: at.Add(1500 * time.Microsecond), Hop: "charge", What: "reserved", Facts: map[string]string{"b": "2", "a": "1"},
			Record: &mobileid.RecordRef{Topic: "t", Partition: 3, Offset: 7},
		},
	})
	want := "2026-11-23 09:00:00.000       +0.0 ms  edge          accepted\n" +
		"2026-11-23 09:00:00.001       +1.5 ms  charge        reserved  [t/3@7]  a=1  b=2\n"
	if got != want {
		t.Errorf("have\n%swant\n%s", got, want)
	}
}

func TestADeadLetterThatIsNotWholeSaysSo(t *testing.T) {
	at := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	topic := mobileid.TopicOTPRequests
	letter := func(offset int64, reason, cut string, length int64) consumers.ParkedRecord {
		return consumers.ParkedRecord{
			At:     mobileid.RecordRef{Topic: mobileid.TopicDLQ(topic), Partition: 2, Offset: offset},
			From:   mobileid.RecordRef{Topic: topic, Partition: 1, Offset: 10 + offset},
			Reason: reason, Parked: at, Cut: cut, Length: length,
		}
	}
	whole := letter(1, "envelope_value", "", 0)
	large := letter(2, "envelope_value", "too_large", 900_000)
	unread := letter(3, "batch_unreadable", "batch_unreadable", 0)

	var out bytes.Buffer
	if err := listParked(&out, []consumers.ParkedRecord{whole, large, unread}); err != nil {
		t.Fatal(err)
	}
	want := "" +
		"TOPIC                     PARTITION  OFFSET  PARKED                FROM  REASON            CUT\n" +
		"mobileid.otp.requests.v1  2          1       2026-11-23T09:00:00Z  1@11  envelope_value    -\n" +
		"mobileid.otp.requests.v1  2          2       2026-11-23T09:00:00Z  1@12  envelope_value    too_large\n" +
		"mobileid.otp.requests.v1  2          3       2026-11-23T09:00:00Z  1@13  batch_unreadable  " + unread.Cut + "\n"
	if out.String() != want {
		t.Errorf("list: have\n%swant\n%s", &out, want)
	}
	for name, c := range map[string]struct {
		rec  consumers.OpenedRecord
		want string
	}{
		"whole": {
			consumers.OpenedRecord{
				ParkedRecord: whole, Key: []byte("k"), Value: []byte("{"), Time: at, Headers: map[string]string{"ce_type": "t", "ce_id": "i"},
			},
			"reason:  envelope_value\nwritten: 2026-11-23T09:00:00Z\nkey:     \"k\"\nheader:  ce_id: \"i\"\nheader:  ce_type: \"t\"\nvalue:   \"{\"\n",
		},
		"too large": {
			consumers.OpenedRecord{ParkedRecord: large, Value: []byte("not"), Time: at, SHA256: []byte{0xab, 0x01}},
			"reason:  envelope_value\ncut:     too_large: 3 of 900000 bytes of the value are kept; it cannot be replayed\n" +
				"sha256:  ab01 (of the whole value)\nwritten: 2026-11-23T09:00:00Z\nkey:     \"\"\nvalue:   \"not\"\n",
		},
		"unreadable": {
			consumers.OpenedRecord{ParkedRecord: unread, Time: at},
			"reason:  batch_unreadable\ncut:     batch_unreadable: 0 of an unknown number of bytes of the value are kept; it cannot be replayed\n" +
				"written: 2026-11-23T09:00:00Z\nkey:     \"\"\nvalue:   \"\"\n",
		},
	} {
		out.Reset()
		if showParked(&out, c.rec); out.String() != c.want {
			t.Errorf("%s: have\n%swant\n%s", name, &out, c.want)
		}
	}
}
