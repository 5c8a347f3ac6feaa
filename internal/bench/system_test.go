package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"mobileid/cmd/mobileid/app/apptest"
	"mobileid/cmd/mobileid/config/sandbox"
	"mobileid/internal/mobileid"
	"mobileid/internal/testenv"
	"mobileid/registry"
)

// system is the whole, each part in a process of its own.
type system struct {
	env        *testenv.Env
	dir        string
	loadBefore string
	gateway    string // URL
	smscURL    string // control
	tokenURL   string
	operator   operatorLog
	watched    []watched
	kafkaPID   int
	db         *registry.DB

	asked   int // requests of all runs
	runs    int
	pending []asked // of the run that is not analyzed yet
	genCPU  float64 // of the load generator, in the last run
}

func startSystem(b *testing.B) *system {
	b.Helper()
	s := &system{env: testenv.New(b), dir: b.TempDir()}
	if s.env.Set != testenv.Real {
		b.Fatal("this bench is about the real engines: run make bench-e2e")
	}
	must(b, sandbox.WriteSecrets(s.dir))
	secret := func(name string) string {
		v, err := sandbox.Secret(s.dir, name)
		must(b, err)
		return v
	}
	smpp, control, gov := freeAddr(b), freeAddr(b), freeAddr(b)
	s.smscURL, s.tokenURL = "http://"+control, "http://"+gov+"/oauth2/token"
	s.operator.path = filepath.Join(s.dir, "submits.jsonl")
	smscsim := start(b, s.dir, "smscsim", []string{"SMSCSIM_PASSWORD=" + secret("smpp")}, "smscsim",
		"--listen", smpp, "--control", control, "--system-id", sandbox.SystemID,
		"--receipt-delay", receiptDelay.String(), "--log", s.operator.path, "--quiet")
	start(b, s.dir, "govsim", []string{"GOVSIM_SECRET_PORTAL=" + secret("client")}, "govsim", "--listen", gov, "--client", sandbox.Client)
	awaitOK(b, s.smscURL+"/healthz")
	awaitOK(b, "http://"+gov+"/.well-known/jwks.json")

	listen := freeAddr(b)
	s.gateway = "http://" + listen
	file, err := sandbox.WriteConfig(s.dir, sandbox.Addresses{
		Listen: listen, Admin: freeAddr(b), DSN: s.env.Postgres(), Kafka: s.env.Kafka(), Redis: s.env.RedisAddr(),
		RedisCluster: true, SMSC: smpp, Issuer: "http://" + gov, Window: window, Quota: 100_000,
	})
	must(b, err)
	runProgram(b, "mobileid", "migrate", "--config", file)
	runProgram(b, "mobileid", "topics", "--config", file)
	s.bind(b)
	for _, role := range []string{"gateway", "consumers", "bridge"} {
		admin := freeAddr(b)
		c := start(b, s.dir, role, []string{"MOBILEID_HTTP__ADMIN=" + admin}, "mobileid", "serve", "--config", file, "--roles", role)
		awaitOK(b, "http://"+admin+"/metrics")
		s.watched = append(s.watched, watched{name: "mobileid " + role, pid: c.cmd.Process.Pid})
		if os.Getenv("MOBILEID_BENCH_VERBOSE") != "" {
			fmt.Fprintln(os.Stderr, role, "http://"+admin)
		}
	}
	s.kafkaPID = pidFile(b, servicesFile("kafka/kafka.pid"))
	s.watched = append(s.watched,
		watched{name: "Kafka", pid: s.kafkaPID},
		watched{name: "PostgreSQL", pid: pidFile(b, servicesFile("postgres/data/postmaster.pid")), tree: true},
		watched{name: "Redis", pid: pidFile(b, servicesFile("redis/redis.pid"))},
		watched{name: "smscsim", pid: smscsim.cmd.Process.Pid})
	awaitOK(b, s.gateway+"/readyz")
	until(b, "the bridge is bound", 20*time.Second, func() bool { return s.smsc(b)["bound"] == 1 })
	return s
}

func servicesFile(name string) string { return filepath.Join("..", "..", ".run", "services", name) }

// bind makes the persons, each with money for more than all runs.
func (s *system) bind(b *testing.B) {
	b.Helper()
	var err error
	s.db, err = registry.Open(b.Context(), registry.Config{DSN: s.env.Postgres(), MaxConns: 8})
	must(b, err)
	b.Cleanup(s.db.Close)
	raw, err := sandbox.Secret(s.dir, "pseudonym")
	must(b, err)
	key, err := mobileid.NewPseudonymKey([]byte(raw))
	must(b, err)
	var list bytes.Buffer
	var wg sync.WaitGroup
	free := make(chan struct{}, 8)
	for n := range persons {
		pinfl, err := mobileid.ParsePINFL(apptest.PINFL(n))
		must(b, err)
		msisdn, err := mobileid.ParseMSISDN(fmt.Sprintf("+99890%07d", n))
		must(b, err)
		fmt.Fprintln(&list, pinfl.Reveal(), msisdn.RevealDigits())
		free <- struct{}{}
		wg.Go(func() {
			defer func() { <-free }()
			_, err := s.db.Bind(b.Context(), mobileid.NewBinding{
				PINFL: pinfl, MSISDN: msisdn, Person: key.Person(pinfl), Number: key.Number(msisdn),
				Operator: sandbox.Operator, Locale: mobileid.LocaleUzLatn,
			})
			if err != nil {
				b.Error(err)
			}
		})
	}
	wg.Wait()
	s.exec(b, `with c as (
		insert into credits (source, seq, account_id, amount, at)
		select 'bench', id::text, id, 10000000, now() from accounts returning account_id, amount)
	update accounts a set granted = granted + c.amount from c where a.id = c.account_id`)
	s.exec(b, `analyze`)
	must(b, os.WriteFile(s.personsFile(), list.Bytes(), 0o600))
}

func (s *system) personsFile() string { return filepath.Join(s.dir, "persons") }

func (s *system) exec(b *testing.B, sql string) {
	b.Helper()
	conn, err := pgx.Connect(b.Context(), s.env.Postgres())
	must(b, err)
	defer conn.Close(context.WithoutCancel(b.Context()))
	_, err = conn.Exec(b.Context(), sql)
	must(b, err)
}

func (s *system) count(b *testing.B, sql string) (n int) {
	b.Helper()
	conn, err := pgx.Connect(b.Context(), s.env.Postgres())
	must(b, err)
	defer conn.Close(context.WithoutCancel(b.Context()))
	must(b, conn.QueryRow(b.Context(), sql).Scan(&n))
	return n
}

func (s *system) smsc(b *testing.B) map[string]int {
	b.Helper()
	res, err := http.Get(s.smscURL + "/healthz")
	must(b, err)
	defer res.Body.Close()
	var got map[string]int
	must(b, json.NewDecoder(res.Body).Decode(&got))
	return got
}

func (s *system) token(b *testing.B) string {
	b.Helper()
	secret, err := sandbox.Secret(s.dir, "client")
	must(b, err)
	res, err := http.PostForm(s.tokenURL, url.Values{
		"grant_type": {"client_credentials"}, "scope": {"challenges notifications"},
		"client_id": {sandbox.Client}, "client_secret": {secret},
	})
	must(b, err)
	defer res.Body.Close()
	var got struct {
		Token string `json:"access_token"`
	}
	must(b, json.NewDecoder(res.Body).Decode(&got))
	return got.Token
}

// load runs the generator to its end.
func (s *system) load(b *testing.B, rate int, d time.Duration) {
	b.Helper()
	s.runs++
	out := filepath.Join(s.dir, "load-"+strconv.Itoa(s.runs))
	cmd := exec.Command(binary(b, "load"), "--url", s.gateway, "--persons", s.personsFile(), "--rate", strconv.Itoa(rate),
		"--for", d.String(), "--from", strconv.Itoa(s.asked), "--run", "bench", "--out", out)
	cmd.Env = append(os.Environ(), "LOAD_TOKEN="+s.token(b))
	said, err := cmd.CombinedOutput()
	if err != nil {
		b.Fatalf("load: %v: %s", err, said)
	}
	s.genCPU = (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
	s.pending, err = readAsked(out)
	must(b, err)
	s.asked += len(s.pending)
}

func (s *system) usages() map[string]usage {
	out := map[string]usage{}
	for _, w := range s.watched {
		out[w.name] = w.usage()
	}
	return out
}

func (s *system) printUsages(before, after map[string]usage, messages int) {
	fmt.Println("| process | processor, s | us a message | peak resident, MB |")
	fmt.Println("|---|---|---|---|")
	total := 0.0
	row := func(name string, cpu, peak float64) {
		total += cpu
		fmt.Printf("| %s | %.2f | %.0f | %.0f |\n", name, cpu, cpu*1e6/float64(max(messages, 1)), peak)
	}
	for _, w := range s.watched {
		name := w.name
		if w.tree {
			name += " (all processes; proportional size at the end)"
		}
		row(name, after[w.name].CPU-before[w.name].CPU, after[w.name].Peak)
	}
	row("load generator", s.genCPU, 0)
	fmt.Printf("| together | %.2f | %.0f | |\n", total, total*1e6/float64(max(messages, 1)))
}

func loadAverage() string {
	raw, _ := os.ReadFile("/proc/loadavg")
	first, _, _ := strings.Cut(string(raw), " ")
	return first
}
