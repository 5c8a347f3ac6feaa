package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"mobileid/consumers/texts"
	"mobileid/gateway/receipt"
	"mobileid/internal/mobileid"
)

func sample(t *testing.T) []byte {
	t.Helper()
	raw, err := beside("config.sample.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// beside reads what lies beside the sample.
func beside(name string) ([]byte, error) {
	return os.ReadFile(filepath.Join("..", "..", "..", name))
}

// withSecrets sets what the sample points to.
func withSecrets(t *testing.T) {
	t.Helper()
	signing, err := receipt.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range map[string]string{
		"MOBILEID_KEY_RECEIPT":  signing,
		"MOBILEID_POSTGRES_DSN": "postgres://127.0.0.1/x", "MOBILEID_KEY_ID": strings.Repeat("i", 32),
		"MOBILEID_KEY_PSEUDONYM": strings.Repeat("p", 32), "MOBILEID_KEY_OTP": strings.Repeat("o", 32),
		"MOBILEID_SMPP_BEELINE": "secret",
	} {
		t.Setenv(name, v)
	}
}

func TestSampleIsAValidManual(t *testing.T) {
	withSecrets(t)
	cfg, err := parse(sample(t), nil, texts.Default(), beside)
	if err != nil {
		t.Fatal(err)
	}
	if got := cfg.ClientSet()["oneid"]; got.Quota.Rate != 500 || got.Quota.Per != time.Second || !got.Kafka {
		t.Errorf("client oneid = %+v", got)
	}
	if got := cfg.ClientSet()["beeline-billing"]; got.Operator != "beeline" || !got.Has(mobileid.ScopeBalance) {
		t.Errorf("client beeline-billing = %+v", got)
	}
	if want := defaults().Charging; cfg.Charging != want {
		t.Errorf("charging = %+v, the defaults are %+v", cfg.Charging, want)
	}
	if want := defaults().NumberInfo; cfg.NumberInfo != want {
		t.Errorf("number_info = %+v, the defaults are %+v", cfg.NumberInfo, want)
	}
	if want := defaults().SIMSwap; cfg.SIMSwap != want {
		t.Errorf("sim_swap = %+v, the defaults are %+v", cfg.SIMSwap, want)
	}
	for id, want := range map[string]mobileid.Purpose{
		"sign_in": {SIMMaxAge: 72 * time.Hour, SIMUnknown: mobileid.SIMUnknownAllow}, "verify": {},
		"confirm_application": {SIMMaxAge: 240 * time.Hour, SIMUnknown: mobileid.SIMUnknownStepUp},
		"permit_access":       {SIMMaxAge: 240 * time.Hour, SIMUnknown: mobileid.SIMUnknownStepUp},
	} {
		if got := cfg.PurposeSet()[id]; got.SIMMaxAge != want.SIMMaxAge || got.SIMUnknown != want.SIMUnknown {
			t.Errorf("purpose %s looks back %s, unknown %q", id, got.SIMMaxAge, got.SIMUnknown)
		}
	}
	if got := cfg.PurposeSet()["sign_in"]; got.Life != 3*time.Minute || got.Digits != 6 {
		t.Errorf("purpose sign_in = %+v", got)
	}
}

func TestEveryMistakeComesAtOnceWithItsPath(t *testing.T) {
	withSecrets(t)
	text := string(sample(t))
	for old, wrong := range map[string]string{
		"max_conns: 20":                       "max_conns: many",
		"jwks_url: https":                     "jwks_url: ftp",
		"life: 3m, digits: 6, tries: 3,":      "life: 3 minutes, digits: 4, tries: 3,",
		"scopes: [challenges]":                "scopes: [everything]",
		"check_every: 1h":                     "check_every: 1s",
		"scopes: [challenges, notifications]": "scopes: [challenges, charges:read]", // of a blind one
		"grace: 10s":                          "grace: 10s\n  mercy: 1h",
		"dsn: env:MOBILEID_POSTGRES_DSN":      "dsn: postgres://user:hunter2@db/x",
		`{code: "91", operator: beeline`:      `{code: "90", operator: nobody`,
		`url: ""  `:                           "url: http://number-info.example.uz/  ",
		"budget: 500ms":                       "budget: 10s",
		"cache: 10000":                        "cache: 0",
		"cache_age: 1h":                       "cache_age: 0s",
		"statuses: []":                        "statuses: [{status: 0x400, class: fatal}, {status: 0x08, class: pace}, {status: 0x08, class: pace}, {status: 0x401, class: retry}]",
		"[operator.sample.yaml]":              "[operator.sample.yaml, nowhere.yaml, operator.sample.yaml]",
		"warn_below: 5":                       "warn_below: -1",
		"    operator: beeline ":              "    operator: ucell ",
	} {
		if !strings.Contains(text, old) {
			t.Fatalf("the sample has no %q", old)
		}
		text = strings.Replace(text, old, wrong, 1)
	}
	_, err := parse([]byte(text), nil, texts.Default(), beside)
	var wrong Mistakes
	if !errors.As(err, &wrong) {
		t.Fatalf("err = %v, want Mistakes", err)
	}
	for _, path := range []string{
		"postgres.max_conns:", "postgres.dsn:", "auth.jwks_url:", "purposes[0].life:", "purposes[0].digits:",
		"clients[0].scopes:", "clients[1].disclosure:", "ledger.check_every:", "deadlines.mercy:", "operators[1]:", "operators[2]:", "numbers[1]", "numbers[1].operator:",
		"number_info.url:", "number_info.token:", "number_info.budget:", "number_info.cache:", "charging.warn_below:", "clients[2].operator:", "number_info.cache_age:",
		"statuses[0x400].class:", "statuses[2].status:", "statuses[0x401].after:",
	} {
		if !slices.ContainsFunc(wrong, func(m string) bool { return strings.HasPrefix(m, path) }) {
			t.Errorf("no mistake at %s in:\n%v", path, err)
		}
	}
	if strings.Contains(err.Error(), "yaml: statuses[0x400]") {
		t.Error("a row for all operators is told again for one of them")
	}
	if strings.Contains(err.Error(), "hunter2") {
		t.Error("a mistake repeats the secret that was written into the file")
	}
}

func TestAMistakeThatServeWouldMeetIsFoundInTheFile(t *testing.T) {
	withSecrets(t)
	public, private, err := mobileid.NewSealKey()
	if err != nil {
		t.Fatal(err)
	}
	_, other, err := mobileid.NewSealKey()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("OUR_KEY", private)
	t.Setenv("OTHER_KEY", other)
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	text := string(sample(t))
	withPair := regexp.MustCompile(`bridge_public: \S+`).ReplaceAllString(text, `bridge_public: "`+public+`"`)
	withPair = regexp.MustCompile(`bridge_private: \S+`).ReplaceAllString(withPair, "bridge_private: [PRIVATE]")
	for name, c := range map[string]struct {
		text string
		dsn  string
		env  []string
		path string // "" = nothing is wrong
	}{
		"a port of the DSN":    {text: text, dsn: "postgres://user:hunter2@db:54x32/x", path: "postgres.dsn:"},
		"words of the DSN":     {text: text, dsn: "hunter2", path: "postgres.dsn:"},
		"a mode of the DSN":    {text: text, dsn: "postgres://user:hunter2@db/x?sslmode=hunter2", path: "postgres.dsn:"},
		"a DSN of words":       {text: text, dsn: "host=db user=mobileid password=hunter2 pool_min_conns=3"},
		"a missing authority":  {text: text, env: []string{"MOBILEID_KAFKA__CA_FILE=/nonexistent/ca.pem"}, path: "kafka.ca_file:"},
		"no authority in it":   {text: text, env: []string{"MOBILEID_KAFKA__CA_FILE=" + empty}, path: "kafka.ca_file:"},
		"a port in words":      {text: text, env: []string{"MOBILEID_HTTP__LISTEN=127.0.0.1:web"}, path: "http.listen:"},
		"a port too high":      {text: text, env: []string{"MOBILEID_HTTP__ADMIN=127.0.0.1:65536"}, path: "http.admin:"},
		"a broker's port":      {text: text, env: []string{"MOBILEID_KAFKA__BROKERS=a:1,b:99999"}, path: "kafka.brokers[1]:"},
		"a key of another":     {text: strings.Replace(withPair, "PRIVATE", "env:OTHER_KEY", 1), path: "keys.bridge_private:"},
		"balances of nobody":   {text: strings.Replace(text, "    operator: beeline ", "    operator: \"\" ", 1), path: "clients[2].operator: missing"},
		"an operator unasked":  {text: strings.Replace(text, `"balance:write", "statements:read"`, "challenges", 1), path: "clients[2].operator: says nothing"},
		"statements alone":     {text: strings.Replace(text, `"balance:write", "statements:read"`, `"statements:read"`, 1)},
		"statements of nobody": {text: strings.NewReplacer(`"balance:write", "statements:read"`, `"statements:read"`, "    operator: beeline ", "    operator: \"\" ").Replace(text), path: "clients[2].operator: missing"},
		"a file that is gone":  {text: strings.Replace(text, "    operator: beeline ", "    operator: mobiuz ", 1), path: "clients[2].operator: no operator"},
		"a warning never":      {text: text, env: []string{"MOBILEID_CHARGING__WARN_BELOW=0"}},
		"a warning for ever":   {text: text, env: []string{"MOBILEID_CHARGING__WARN_BELOW=1001"}, path: "charging.warn_below:"},
		"the key and an older": {text: strings.Replace(withPair, "PRIVATE", "env:OTHER_KEY, env:OUR_KEY", 1)},
	} {
		if c.dsn == "" {
			c.dsn = "postgres://127.0.0.1/x"
		}
		t.Setenv("MOBILEID_POSTGRES_DSN", c.dsn)
		_, err := parse([]byte(c.text), c.env, texts.Default(), beside)
		if c.path == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		var wrong Mistakes
		if !errors.As(err, &wrong) || len(wrong) != 1 || !strings.HasPrefix(wrong[0], c.path) {
			t.Errorf("%s: %v, want one mistake at %s", name, err, c.path)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the mistake repeats a part of the DSN", name)
		}
	}
}

func TestNumbersGoOverALineThatNobodyReads(t *testing.T) {
	withSecrets(t)
	t.Setenv("NUMBER_INFO", "token")
	for url, right := range map[string]bool{
		"https://numbers.example.uz/v1": true, "http://127.0.0.1:8090/v1": true, "http://localhost/v1": true, "http://[::1]:1/": true,
		"http://numbers.example.uz/v1": false, "http://10.0.0.1/": false, "ftp://127.0.0.1/": false, "https:///v1": false, "numbers": false,
	} {
		_, err := parse(sample(t), []string{"MOBILEID_NUMBER_INFO__URL=" + url, "MOBILEID_NUMBER_INFO__TOKEN=env:NUMBER_INFO"}, texts.Default(), beside)
		if (err == nil) != right || err != nil && !strings.Contains(err.Error(), "number_info.url:") {
			t.Errorf("%s: %v", url, err)
		}
	}
}

func TestWhatAPurposeMayWantToKnowOfASIM(t *testing.T) {
	withSecrets(t)
	const was = "tries: 3, sim_max_age: 72h, sim_unknown: allow}"
	for now, path := range map[string]string{
		"tries: 3}":                                       "",
		"tries: 3, sim_max_age: 1h}":                      "",
		"tries: 3, sim_max_age: 2400h}":                   "",
		"tries: 3, sim_max_age: 0s}":                      "",
		"tries: 3, sim_max_age: 2401h}":                   "purposes[0].sim_max_age:",
		"tries: 3, sim_max_age: 90m}":                     "purposes[0].sim_max_age:",
		"tries: 3, sim_max_age: -1h}":                     "purposes[0].sim_max_age:",
		"tries: 3, sim_unknown: step_up}":                 "purposes[0].sim_unknown:",
		"tries: 3, sim_max_age: 1h, sim_unknown: refuse}": "purposes[0].sim_unknown:",
	} {
		text := strings.Replace(string(sample(t)), was, now, 1)
		if text == string(sample(t)) {
			t.Fatalf("the sample has no %q", was)
		}
		_, err := parse([]byte(text), nil, texts.Default(), beside)
		if (err == nil) != (path == "") || err != nil && !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", now, err)
		}
	}
	text := strings.Replace(string(sample(t)), "{id: sign_in, use: sign_in,", "{id: sign_in, use: enrollment,", 1)
	if _, err := parse([]byte(text), nil, texts.Default(), beside); err == nil || !strings.Contains(err.Error(), "purposes[0].sim_max_age: not for an enrollment") {
		t.Errorf("an enrollment: %v", err)
	}
}

func TestASIMIsAskedOfOverALineThatNobodyReads(t *testing.T) {
	withSecrets(t)
	t.Setenv("SIM_SWAP", "token")
	for url, right := range map[string]bool{
		"https://api.example.uz/sim-swap/v2": true, "http://127.0.0.1:8090/sim-swap/v2": true,
		"https://api.example.uz/sim-swap/v2/": false, "http://api.example.uz/sim-swap/v2": false,
	} {
		_, err := parse(sample(t), []string{"MOBILEID_SIM_SWAP__URL=" + url, "MOBILEID_SIM_SWAP__TOKEN=env:SIM_SWAP"}, texts.Default(), beside)
		if (err == nil) != right || err != nil && !strings.Contains(err.Error(), "sim_swap.url:") {
			t.Errorf("%s: %v", url, err)
		}
	}
	for set, path := range map[string]string{
		"MOBILEID_SIM_SWAP__URL=https://api.example.uz/v2": "sim_swap.token:", "MOBILEID_SIM_SWAP__BUDGET=6s": "sim_swap.budget:",
	} {
		if _, err := parse(sample(t), []string{set}, texts.Default(), beside); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", set, err)
		}
	}
}

func TestEnvironmentLaysOverTheFile(t *testing.T) {
	withSecrets(t)
	cfg, err := parse(sample(t), []string{
		"MOBILEID_HTTP__LISTEN=127.0.0.1:9999", "MOBILEID_KAFKA__BROKERS=a:1,b:2", "MOBILEID_KAFKA__PARTITIONS=3",
		"MOBILEID_KAFKA__ACLS=false", "MOBILEID_DEADLINES__CODE_ACCEPT=20s", "MOBILEID_KEY_ID=no section, not ours",
	}, texts.Default(), beside)
	if err != nil {
		t.Fatal(err)
	}
	if cfg.HTTP.Listen != "127.0.0.1:9999" || !slices.Equal(cfg.Kafka.Brokers, []string{"a:1", "b:2"}) ||
		cfg.Kafka.Partitions != 3 || cfg.Kafka.ACLs || cfg.Deadlines.CodeAccept != 20*time.Second {
		t.Errorf("http %+v kafka %+v deadlines %+v", cfg.HTTP, cfg.Kafka, cfg.Deadlines)
	}
	_, err = parse(sample(t), []string{"MOBILEID_HTTP__LISTNE=x"}, texts.Default(), beside)
	if err == nil || !strings.Contains(err.Error(), "http.listne: unknown key") {
		t.Errorf("err = %v, want the unknown key named", err)
	}
}

func TestSecretsPrintMasked(t *testing.T) {
	s := struct{ S Secret }{Secret{"hunter2"}}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		if out := fmt.Sprintf(verb, s); strings.Contains(out, "hunter2") || strings.Contains(out, "68756e74657232") {
			t.Errorf("%s prints %s", verb, out)
		}
	}
}

func TestLessThanThreeReplicasAreRefusedUnlessSaidByName(t *testing.T) {
	withSecrets(t)
	env := []string{"MOBILEID_KAFKA__REPLICATION=1", "MOBILEID_KAFKA__MIN_INSYNC=1"}
	if _, err := parse(sample(t), env, texts.Default(), beside); err == nil || !strings.Contains(err.Error(), "kafka.replication") {
		t.Errorf("err = %v", err)
	}
	if _, err := parse(sample(t), append(env, "MOBILEID_KAFKA__ALLOW_LESS_DURABLE=true"), texts.Default(), beside); err != nil {
		t.Errorf("said by name: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("http: {listen: x}\nkeys: [1, {a: b}]\n"))
	f.Add([]byte("a: &a [*a]"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		cfg, err := parse(raw, nil, texts.Default(), func(string) ([]byte, error) { return nil, fs.ErrNotExist })
		if (cfg == nil) == (err == nil) {
			t.Errorf("cfg %v, err %v", cfg, err)
		}
	})
}
