package testenv

import (
	"sync"
	"testing"

	"mobileid/internal/engines"
)

// embedded starts engines inside or beside this process.
type embedded struct{}

// shared is the one PostgreSQL server of a test binary: making a cluster takes
// a second, making a database in it some milliseconds.
var shared struct {
	mu     sync.Mutex
	server *engines.Postgres
}

func stopShared() error {
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.server == nil {
		return nil
	}
	return shared.server.Stop()
}

func (embedded) postgres(t testing.TB) (dsn, logFile string) {
	t.Helper()
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.server == nil {
		server, err := engines.StartPostgres(t.Context(), engines.PostgresConfig{})
		if err != nil {
			t.Fatal("testenv:", err)
		}
		shared.server = server
	}
	return newDatabase(t, shared.server.DSN()), shared.server.LogFile()
}

func (embedded) kafka(t testing.TB) []string {
	t.Helper()
	k, err := engines.StartKafka("")
	if err != nil {
		t.Fatal("testenv:", err)
	}
	t.Cleanup(k.Stop)
	return k.Brokers()
}

func (embedded) redis(t testing.TB) string {
	t.Helper()
	r, err := engines.StartRedis()
	if err != nil {
		t.Fatal("testenv:", err)
	}
	t.Cleanup(r.Stop)
	return r.Addr()
}
