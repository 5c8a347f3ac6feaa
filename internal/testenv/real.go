package testenv

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// services are the servers that `make services-up` started.
type services struct{ addresses map[string]string }

// turn is held by the one test of this process that uses the real servers.
var turn sync.Mutex

// takeReal waits for this test's turn on the real servers and keeps it until
// the test ends. It reads their addresses from the file that services-up wrote
// and from nowhere else: what it returns will be emptied.
func takeReal(t testing.TB) services {
	t.Helper()
	run := filepath.Join(moduleRoot(t), ".run")
	content, err := os.ReadFile(filepath.Join(run, "services.env"))
	if err != nil {
		t.Fatal("testenv: no real engines (run make services-up):", err)
	}
	turn.Lock()
	t.Cleanup(turn.Unlock)
	lock, err := os.OpenFile(filepath.Join(run, "tests.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal("testenv:", err)
	}
	t.Cleanup(func() { _ = lock.Close() })
	err = flock(lock)
	if err != nil {
		t.Fatal("testenv: turn on the real engines:", err)
	}
	return services{parseEnv(string(content))}
}

// flock waits for other test binaries; the kernel gives the lock back when the
// file is closed, or the process dies.
func flock(file *os.File) error {
	for {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX)
		if err != syscall.EINTR {
			return err
		}
	}
}

// moduleRoot returns the folder of go.mod above the test's.
func moduleRoot(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal("testenv:", err)
	}
	for {
		_, err := os.Stat(filepath.Join(dir, "go.mod"))
		if err == nil {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			t.Fatal("testenv: no go.mod above the test")
		}
		dir = parent
	}
}

// parseEnv reads lines like: export NAME='value'.
func parseEnv(content string) map[string]string {
	values := map[string]string{}
	for line := range strings.Lines(content) {
		rest, ok := strings.CutPrefix(strings.TrimSpace(line), "export ")
		if !ok {
			continue
		}
		name, value, _ := strings.Cut(rest, "=")
		values[name] = strings.Trim(value, "'")
	}
	return values
}

func (s services) postgres(t testing.TB) (dsn, logFile string) {
	t.Helper()
	server := s.addresses["MOBILEID_REAL_POSTGRES"]
	dropAbandoned(t, server)
	return newDatabase(t, server), s.addresses["MOBILEID_REAL_POSTGRES_LOG"]
}

func (s services) kafka(t testing.TB) []string {
	t.Helper()
	brokers := []string{s.addresses["MOBILEID_REAL_KAFKA"]}
	emptyKafka(t, brokers)
	return brokers
}

func (s services) redis(t testing.TB) string {
	t.Helper()
	addr := s.addresses["MOBILEID_REAL_REDIS"]
	client := redisClient(addr, false)
	defer func() { _ = client.Close() }()
	err := client.FlushAll(t.Context()).Err()
	if err != nil {
		t.Fatal("testenv: empty redis:", err)
	}
	return addr
}
