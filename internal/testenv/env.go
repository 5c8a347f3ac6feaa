package testenv

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"

	"mobileid/internal/engines"
)

// Set names a set of engines.
type Set string

// The sets.
const (
	Embedded Set = "embedded"
	Real     Set = "real"
)

// Variable is the environment variable that chooses the set; unset means
// Embedded.
const Variable = "MOBILEID_TEST_ENGINES"

// source is one set, seen by one Env. Its methods start or clean what they
// return and are called at most once each.
type source interface {
	postgres(t testing.TB) (dsn, logFile string)
	kafka(t testing.TB) []string
	redis(t testing.TB) string
}

// Env is the engines of one test.
type Env struct {
	// Set is where the engines come from.
	Set Set

	t   testing.TB
	set source

	mu      sync.Mutex
	dsn     string
	pgLog   string
	brokers []string
	redis   string
	proxies int
}

// mainRuns is set by Main: without it nobody would stop the shared server.
var mainRuns atomic.Bool

// ends is what to do when all tests have run.
var ends struct {
	mu   sync.Mutex
	list []func()
}

// AtEnd has Main call end when all tests of the package have run, for what
// they share.
func AtEnd(end func()) {
	ends.mu.Lock()
	defer ends.mu.Unlock()
	ends.list = append(ends.list, end)
}

// Main runs the tests of a package and then stops what they shared.
func Main(m *testing.M) {
	mainRuns.Store(true)
	logging.Disable() // go-redis prints each dial that fails: engines are taken away on purpose
	status := m.Run()
	ends.mu.Lock()
	for _, end := range ends.list {
		end()
	}
	ends.mu.Unlock()
	err := stopShared()
	if err != nil {
		fmt.Fprintln(os.Stderr, "testenv:", err)
		status = 1
	}
	os.Exit(status)
}

// New returns the engines for a test; each starts when it is asked for. The
// test's log says which set it runs on.
func New(t testing.TB) *Env {
	t.Helper()
	if !mainRuns.Load() {
		t.Fatal("testenv: give this package func TestMain(m *testing.M) { testenv.Main(m) }")
	}
	e := &Env{t: t}
	switch set := Set(os.Getenv(Variable)); set {
	case "", Embedded:
		e.Set, e.set = Embedded, embedded{}
	case Real:
		e.Set, e.set = Real, takeReal(t)
	default:
		t.Fatalf("testenv: %s=%q, want %s or %s", Variable, set, Embedded, Real)
	}
	t.Logf("testenv: %s engines", e.Set)
	return e
}

// FreeAddr is an address of 127.0.0.1 that nobody listens on at the moment.
func FreeAddr(t testing.TB) string {
	t.Helper()
	addr, err := engines.FreeAddr(t.Context())
	if err != nil {
		t.Fatal("testenv:", err)
	}
	return addr.String()
}

// Postgres returns the connection string of a fresh database, dropped at the
// end of the test. Calling it again returns the same one.
func (e *Env) Postgres() string {
	e.t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.dsn == "" {
		e.dsn, e.pgLog = e.set.postgres(e.t)
	}
	return e.dsn
}

// PostgresLog returns the file the PostgreSQL server logs to.
func (e *Env) PostgresLog() string {
	e.t.Helper()
	e.Postgres()
	return e.pgLog
}

// Kafka returns the addresses of a broker without topics and groups.
func (e *Env) Kafka() []string {
	e.t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.brokers == nil {
		e.brokers = e.set.kafka(e.t)
	}
	return e.brokers
}

// RedisAddr returns the address of an empty Redis.
func (e *Env) RedisAddr() string {
	e.t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.redis == "" {
		e.redis = e.set.redis(e.t)
	}
	return e.redis
}

// Redis returns a new client of an empty Redis, closed at the end of the test.
// On the real set it is a cluster client.
func (e *Env) Redis() redis.UniversalClient {
	e.t.Helper()
	client := redisClient(e.RedisAddr(), e.Set == Real)
	e.t.Cleanup(func() { _ = client.Close() })
	return client
}

func redisClient(addr string, cluster bool) redis.UniversalClient {
	return redis.NewUniversalClient(&redis.UniversalOptions{
		Addrs: []string{addr}, IsClusterMode: cluster, DialTimeout: time.Second,
	})
}
