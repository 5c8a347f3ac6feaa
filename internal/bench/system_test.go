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

	"mobileid/cmd/mobileid/app"
	"mobileid/cmd/mobileid/app/apptest"
	"mobileid/cmd/mobileid/config"
	"mobileid/cmd/mobileid/config/sandbox"
	"mobileid/internal/mobileid"
	"mobileid/internal/testenv"
	"mobileid/registry"
)

// system is the whole, each part in a process of its own.
type system struct {
	setup
	simulator
	env        *testenv.Env
	dir        string
	evidence   *evidence
	loadBefore string
	unusual    []string // what makes the figures other than the standard ones
	gateway    string   // URL
	config     string   // file
	tokenURL   string
	operator   operatorLog
	watched    []watched
	kafkaPID   int
	db         *registry.DB
	sql        *pgx.Conn // to look into the registry
	ids        mobileid.IDKey
	deadlines  config.Deadlines

	asked   int // requests of all runs
	runs    int
	pending []asked // of the runs that are not analyzed yet
	genCPU  float64 // of the load generator, in the last run
}

// setup is what differs between the benchmarks.
type setup struct {
	window  int           // of the SMPP bind
	receipt time.Duration // until the operator's receipt; zero means receiptDelay
	silent  bool          // the operator writes no log of what it received
	pace    int           // submit_sm a second that the operator has named to us; zero means that it has not
	environ []string      // over the configuration of each process
}

// startSystem starts everything.
func startSystem(b *testing.B, set setup) *system {
	b.Helper()
	s := prepare(b, set)
	for _, role := range []string{"gateway", "consumers", "bridge"} {
		s.startRole(b, role, role)
	}
	awaitOK(b, s.gateway+"/readyz")
	until(b, "the bridge is bound", 20*time.Second, func() bool { return s.smsc(b)["bound"] == 1 })
	return s
}

// prepare starts what is around the program: the simulators, an empty schema
// and topics, persons with money.
func prepare(b *testing.B, set setup) *system {
	b.Helper()
	if set.receipt == 0 {
		set.receipt = receiptDelay
	}
	s := &system{setup: set, env: testenv.New(b), dir: b.TempDir(), evidence: newEvidence(time.Now()), loadBefore: loadAverage()}
	b.Cleanup(func() { // when all processes have ended
		if !b.Failed() && !s.evidence.made {
			return
		}
		if err := s.evidence.copyLogs(s.dir); err != nil {
			b.Error(err)
		}
		fmt.Printf("\nEvidence (what became of the requests that are not in order, the logs of the processes): %s\n", s.evidence)
	})
	if s.env.Set != testenv.Real {
		b.Fatal("this bench is about the real engines: run one of make bench-*")
	}
	must(b, sandbox.WriteSecrets(s.dir))
	secret := func(name string) string {
		v, err := sandbox.Secret(s.dir, name)
		must(b, err)
		return v
	}
	smpp, gov := testenv.FreeAddr(b), testenv.FreeAddr(b)
	s.tokenURL = "http://" + gov + "/oauth2/token"
	s.operator.path = filepath.Join(s.dir, "submits.jsonl")
	var flags []string
	if !set.silent {
		flags = append(flags, "--log", s.operator.path)
	}
	s.simulator = startSimulator(b, s.dir, smpp, secret("smpp"), set.receipt, flags...)
	start(b, s.dir, "govsim", []string{"GOVSIM_SECRET_PORTAL=" + secret("client")}, "govsim", "--listen", gov, "--client", sandbox.Client)
	awaitOK(b, "http://"+gov+"/.well-known/jwks.json")

	listen := testenv.FreeAddr(b)
	s.gateway = "http://" + listen
	file, err := sandbox.WriteConfig(s.dir, sandbox.Addresses{
		Listen: listen, Admin: testenv.FreeAddr(b), DSN: s.env.Postgres(), Kafka: s.env.Kafka(), Redis: s.env.RedisAddr(),
		RedisCluster: true, SMSC: smpp, Issuer: "http://" + gov, Window: s.window, Pace: s.pace, Quota: 100_000,
	})
	must(b, err)
	cfg, err := config.Load(file, append(os.Environ(), s.environ...))
	must(b, err)
	s.deadlines = cfg.Deadlines
	runProgram(b, "mobileid", "migrate", "--config", file)
	runProgram(b, "mobileid", "topics", "--config", file)
	s.sql, err = pgx.Connect(b.Context(), s.env.Postgres())
	must(b, err)
	b.Cleanup(func() { _ = s.sql.Close(context.WithoutCancel(b.Context())) })
	s.ids, err = mobileid.NewIDKey([]byte(secret("id")))
	must(b, err)
	s.bind(b, cfg)
	s.kafkaPID = pidFile(b, servicesFile("kafka/kafka.pid"))
	s.watched = append(s.watched,
		watched{name: "Kafka", pid: s.kafkaPID},
		watched{name: "PostgreSQL", pid: pidFile(b, servicesFile("postgres/data/postmaster.pid")), tree: true},
		watched{name: "Redis", pid: pidFile(b, servicesFile("redis/redis.pid"))},
		watched{name: "smscsim", pid: s.smscPID})
	s.config = file
	return s
}

// startRole starts a process with one role and returns its admin URL; name is
// its own.
func (s *system) startRole(b *testing.B, role, name string) string {
	b.Helper()
	admin := testenv.FreeAddr(b)
	c := start(b, s.dir, name, append([]string{"MOBILEID_HTTP__ADMIN=" + admin}, s.environ...), "mobileid", "serve", "--config", s.config, "--roles", role)
	awaitOK(b, "http://"+admin+"/metrics")
	s.watched = append(s.watched, watched{name: "mobileid " + name, pid: c.cmd.Process.Pid})
	if os.Getenv("MOBILEID_BENCH_VERBOSE") != "" {
		fmt.Fprintln(os.Stderr, name, "http://"+admin)
	}
	return "http://" + admin
}

func servicesFile(name string) string { return filepath.Join("..", "..", ".run", "services", name) }

// bind makes the persons, each with money for more than all runs, with whom
// the rule says serves his number.
func (s *system) bind(b *testing.B, cfg *config.Config) {
	b.Helper()
	var err error
	s.db, err = registry.Open(b.Context(), registry.Config{DSN: s.env.Postgres(), MaxConns: 8})
	must(b, err)
	b.Cleanup(s.db.Close)
	raw, err := sandbox.Secret(s.dir, "pseudonym")
	must(b, err)
	key, err := mobileid.NewPseudonymKey([]byte(raw))
	must(b, err)
	router, err := app.NewRouter(cfg, s.db, nil)
	must(b, err)
	b.Cleanup(router.Close)
	var list bytes.Buffer
	var wg sync.WaitGroup
	free := make(chan struct{}, 8)
	for n := range persons {
		pinfl, err := mobileid.ParsePINFL(apptest.PINFL(n))
		must(b, err)
		msisdn, err := mobileid.ParseMSISDN(number(n))
		must(b, err)
		fmt.Fprintln(&list, pinfl.Reveal())
		free <- struct{}{}
		wg.Go(func() {
			defer func() { <-free }()
			route, err := router.Route(b.Context(), msisdn)
			if err == nil {
				_, err = s.db.Bind(b.Context(), mobileid.NewBinding{
					PINFL: pinfl, MSISDN: msisdn, Person: key.Person(pinfl), Number: key.Number(msisdn),
					Operator: route.Operator, Locale: mobileid.LocaleUzLatn,
				})
			}
			if err != nil {
				b.Error(err)
			}
		})
	}
	wg.Wait()
	s.exec(b, `with c as (
		insert into credits (source, seq, account_id, amount, at, told, told_at)
		select 'bench', id::text, id, 10000000, now(), 10000000, now() from accounts returning account_id, amount)
	update accounts a set granted = granted + c.amount, told_at = now() from c where a.id = c.account_id`)
	s.exec(b, `analyze`)
	must(b, os.WriteFile(s.personsFile(), list.Bytes(), 0o600))
}

// number is that of the n-th person.
func number(n int) string { return fmt.Sprintf("+99890%07d", n) }

func (s *system) personsFile() string { return filepath.Join(s.dir, "persons") }

func (s *system) exec(b *testing.B, sql string) {
	b.Helper()
	_, err := s.sql.Exec(b.Context(), sql)
	must(b, err)
}

func (s *system) count(b *testing.B, sql string) (n int) {
	b.Helper()
	must(b, s.sql.QueryRow(b.Context(), sql).Scan(&n))
	return n
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

// load runs the generator to its end; run is its name in what is printed,
// flags are further ones of the generator.
func (s *system) load(b *testing.B, run string, rate int, d time.Duration, flags ...string) {
	b.Helper()
	s.runs++
	out := filepath.Join(s.dir, "load-"+strconv.Itoa(s.runs))
	cmd := exec.Command(binary(b, "load"), append([]string{
		"--url", s.gateway, "--persons", s.personsFile(), "--rate", strconv.Itoa(rate),
		"--for", d.String(), "--from", strconv.Itoa(s.asked), "--run", "bench", "--out", out,
	}, flags...)...)
	cmd.Env = append(os.Environ(), "LOAD_TOKEN="+s.token(b))
	said, err := cmd.CombinedOutput()
	if err != nil {
		b.Fatalf("load: %v: %s", err, said)
	}
	s.genCPU = (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
	list, err := readAsked(out, run, func(key string) mobileid.KeyPart { return s.ids.KeyPart(sandbox.Client, key) })
	must(b, err)
	s.pending = append(s.pending, list...)
	s.asked += len(list)
}

// analyze waits until nothing more comes, accounts for every request that was
// asked since the last analysis, and fails the bench when a promise was
// broken. While a request is open it waits until its deadline and grace are
// over, and some more.
func (s *system) analyze(b *testing.B) analysis {
	b.Helper()
	requests, ended := s.pending, time.Now()
	lastWord := max(s.deadlines.CodeAccept, s.deadlines.Notice) + s.deadlines.Grace + 2*sweepSlack
	s.pending = nil
	arrivals := s.arrivals(b)
	a := s.account(b, requests, arrivals)
	for !a.settled() && time.Since(ended) < lastWord {
		time.Sleep(time.Second)
		arrivals = append(arrivals, s.arrivals(b)...)
		a = s.account(b, requests, arrivals)
	}
	if !a.clean() {
		run := requests[len(requests)-1].run
		must(b, s.evidence.keep(run, s.describe(b), a))
		fmt.Fprintf(os.Stderr, "%s: not everything is in order, see %s\n", run, s.evidence)
	}
	for _, line := range a.broken() {
		b.Error(line)
		fmt.Fprintln(os.Stderr, line) // now; the bench prints its errors at its end
	}
	return a
}

// arrivals waits until nothing more comes for a while. A request whose 503
// said "outcome unknown" may be sent as well, so a run is not over when as many
// came as were accepted. In that while receipts and statuses come to their
// end, too.
func (s *system) arrivals(b *testing.B) (out []received) {
	b.Helper()
	for last := time.Now(); time.Since(last) < 2*receiptDelay; time.Sleep(50 * time.Millisecond) {
		more, err := s.operator.more()
		must(b, err)
		if len(more) > 0 {
			out, last = append(out, more...), time.Now()
		}
	}
	return out
}

// account reads what the registry says of these requests and SMS.
func (s *system) account(b *testing.B, requests []asked, arrivals []received) analysis {
	b.Helper()
	for end := time.Now().Add(10 * time.Second); s.outbox(b) > 0 && time.Now().Before(end); {
		time.Sleep(20 * time.Millisecond)
	}
	usage := s.usages() // without what the reading costs
	began := time.Unix(0, requests[0].started)
	rows, err := readStored(b.Context(), s.sql, began.Add(-time.Second)) // an id has milliseconds
	must(b, err)
	var operatorIDs []string
	for _, m := range arrivals {
		operatorIDs = append(operatorIDs, m.OperatorID)
	}
	owners, err := readOwners(b.Context(), s.sql, sandbox.Operator+"/"+sandbox.SystemID, operatorIDs)
	must(b, err)
	a := account(requests, rows, owners, arrivals)
	a.at, a.grace, a.outbox, a.usage = time.Now(), s.deadlines.Grace, s.outbox(b), usage
	return a
}

func (s *system) outbox(b *testing.B) int {
	b.Helper()
	return s.count(b, `select count(*) from outbox`)
}

// shorter is how long a part of the standard length lasts. When that is not the
// standard, the header says so.
func (s *system) shorter(b *testing.B, part string, standard time.Duration) time.Duration {
	b.Helper()
	d := shortened(b, standard)
	if d < standard {
		s.unusual = append(s.unusual, fmt.Sprintf("%s for %s instead of %s (MOBILEID_BENCH_PACED)", part, d, standard))
	}
	return d
}

// shortened is the standard length, or what MOBILEID_BENCH_PACED says, for who
// works on the bench, when that is shorter.
func shortened(b *testing.B, standard time.Duration) time.Duration {
	b.Helper()
	set := os.Getenv("MOBILEID_BENCH_PACED")
	if set == "" {
		return standard
	}
	d, err := time.ParseDuration(set)
	if err != nil || d < time.Second {
		b.Fatalf("MOBILEID_BENCH_PACED=%q: want a duration of a second or more, for example 20s", set)
	}
	return min(d, standard)
}

// warmUp makes connections, caches and plans. Nothing of it is counted.
func (s *system) warmUp(b *testing.B) {
	b.Helper()
	s.load(b, "warm-up", pacedRate, warmUp)
	if err := s.analyze(b).err(); err != nil {
		fmt.Fprintln(os.Stderr, "warm-up, not counted:", err)
	}
	// The tables were empty a moment ago, and plans made then walk them whole.
	// Autovacuum would look within a minute; a system in use has long been there.
	s.exec(b, `analyze`)
	s.load(b, "warm-up", pacedRate, warmUp/2)
	_ = s.analyze(b) // new plans
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
