package engines

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
)

// PostgresConfig says which PostgreSQL to use. Its zero value is a private
// server on a temporary cluster.
type PostgresConfig struct {
	// DSN names a database that is already there and is ours alone. It is used
	// as it is: nothing is started, created or stopped. The other fields are
	// then ignored.
	DSN string
	// Dir keeps the cluster, its password and its log over restarts, kill -9
	// included. "" means a temporary folder, removed by Stop.
	Dir string
	// CacheDir keeps downloaded server programs. "" means the user's cache
	// folder, or /var/cache/mobileid for root, whose home the unprivileged
	// server user could not enter.
	CacheDir string
	// Log gets what went wrong without harm. nil means slog.Default.
	Log *slog.Logger
	// Progress gets one line a phase, in plain words. nil means nobody asks.
	Progress func(string)

	// hide takes away the programs installed on the machine, so that a test
	// reaches the download.
	hide bool
	// orphan leaves the server running when this process dies, so that a test
	// meets one.
	orphan bool
}

// databaseName is both the database and its owner inside a private cluster.
const databaseName = "mobileid"

// Postgres is a running PostgreSQL.
type Postgres struct {
	dsn     string
	logFile string
	server  *server     // nil with a DSN of the caller's
	lock    *folderLock // nil with a DSN of the caller's
	remove  string      // temporary folder, "" to keep
	stop    sync.Once
	stopErr error
}

// StartPostgres starts a private server, or takes the one the configuration
// names. The server listens on a free port of 127.0.0.1 with a random
// password, in a process group of its own, and dies with this process. As root
// it runs as an unprivileged user. Programs come from PATH, the distribution's
// folders, or else a pinned artifact of Maven Central.
//
// On a kept folder it first stops a server that a killed owner left behind,
// and refuses a folder whose owner lives. ctx bounds the start only; Stop ends
// the server.
func StartPostgres(ctx context.Context, cfg PostgresConfig) (*Postgres, error) {
	if cfg.DSN != "" {
		return &Postgres{dsn: cfg.DSN}, nil
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Progress == nil {
		cfg.Progress = func(string) {}
	}
	p := &Postgres{}
	err := p.start(ctx, cfg)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start postgres: %w", err), p.Stop())
	}
	return p, nil
}

// DSN returns the connection string, a URL. It holds the password: do not log
// it.
func (p *Postgres) DSN() string { return p.dsn }

// LogFile returns the server's own log, "" with a DSN of the caller's.
func (p *Postgres) LogFile() string { return p.logFile }

// Stop ends the private server and returns when it has gone; a temporary
// folder goes with it. Calling it again does nothing.
func (p *Postgres) Stop() error {
	p.stop.Do(func() {
		if p.server != nil {
			p.stopErr = p.server.stop()
		}
		if p.remove != "" {
			p.stopErr = errors.Join(p.stopErr, os.RemoveAll(p.remove))
		}
		if p.lock != nil {
			p.lock.release()
		}
	})
	return p.stopErr
}

func (p *Postgres) start(ctx context.Context, cfg PostgresConfig) error {
	dir, err := p.folder(cfg)
	if err != nil {
		return err
	}
	p.logFile = filepath.Join(dir, "server.log")
	c := cluster{
		dir:      dir,
		durable:  p.remove == "",
		orphan:   cfg.orphan,
		progress: cfg.Progress,
	}
	c.binaries, err = newFinder(cfg).find(ctx, c.major())
	if err != nil {
		return err
	}
	c.account, err = serverAccount(c.data())
	if err != nil {
		return err
	}
	err = c.prepare(ctx)
	if err != nil {
		return err
	}
	var port int
	p.server, port, err = c.launch(ctx, p.logFile)
	if err != nil {
		return err
	}
	password, err := c.password()
	if err != nil {
		return err
	}
	dsn := url.URL{
		Scheme:   "postgres",
		User:     url.UserPassword(databaseName, password),
		Host:     fmt.Sprintf("127.0.0.1:%d", port),
		Path:     "/" + databaseName,
		RawQuery: "sslmode=disable",
	}
	p.dsn = dsn.String()
	cfg.Progress(fmt.Sprintf("PostgreSQL %s on 127.0.0.1:%d", c.binaries.major, port))
	return nil
}

// folder makes the cluster's folder and locks it.
func (p *Postgres) folder(cfg PostgresConfig) (string, error) {
	dir := cfg.Dir
	if dir == "" {
		sweepTemporary(temporaryPrefix, cfg.Log)
		made, err := os.MkdirTemp("", temporaryPrefix)
		if err != nil {
			return "", err
		}
		dir, p.remove = made, made
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	err = os.MkdirAll(dir, 0o700)
	if err != nil {
		return "", err
	}
	dir, err = filepath.EvalSymlinks(dir)
	if err != nil {
		return "", err
	}
	p.lock, err = lockFolder(dir)
	return dir, err
}

func newFinder(cfg PostgresConfig) finder {
	home, err := os.UserHomeDir()
	if err != nil {
		home = "/"
	}
	f := finder{
		path:     os.Getenv("PATH"),
		glob:     distributionGlob,
		cacheDir: cfg.CacheDir,
		download: downloader{
			arch:    runtime.GOARCH,
			baseURL: mavenBaseURL(os.Getenv("MAVEN_REPO_URL"), home),
			client:  http.DefaultClient,
		},
		progress: cfg.Progress,
	}
	if cfg.hide {
		f.path, f.glob = "", ""
	}
	if f.cacheDir == "" {
		f.cacheDir = defaultCacheDir()
	}
	return f
}

func defaultCacheDir() string {
	if os.Geteuid() == 0 {
		return "/var/cache/mobileid"
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		dir = os.TempDir()
	}
	return filepath.Join(dir, "mobileid")
}

// tail returns the last lines of the server's log for an error message; the
// server's settings keep row values out of it.
func tail(name string) string {
	content, err := os.ReadFile(name)
	if err != nil {
		return "no server log"
	}
	lines := strings.Split(strings.TrimSpace(string(content)), "\n")
	const last = 4
	if len(lines) > last {
		lines = lines[len(lines)-last:]
	}
	return strings.Join(lines, " | ")
}
