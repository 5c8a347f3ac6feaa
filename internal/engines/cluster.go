package engines

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// cluster is the folder of a private PostgreSQL:
//
//	DIR/pgdata      the data folder
//	DIR/password    of the one user
//	DIR/server.log  what the server says
//	DIR/owner.lock  held by the process that uses it
type cluster struct {
	dir      string // absolute, no symbolic links
	durable  bool   // false = temporary: nothing is flushed to disk
	orphan   bool   // see PostgresConfig
	binaries binaries
	account  account
	progress func(string)
}

func (c cluster) data() string         { return filepath.Join(c.dir, "pgdata") }
func (c cluster) passwordFile() string { return filepath.Join(c.dir, "password") }

// major returns the version that the existing data folder was made with, ""
// if there is none yet.
func (c cluster) major() string {
	content, err := os.ReadFile(filepath.Join(c.data(), "PG_VERSION"))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(content))
}

func (c cluster) password() (string, error) {
	content, err := os.ReadFile(c.passwordFile())
	return strings.TrimSpace(string(content)), err
}

// prepare leaves a data folder that no server runs on.
func (c cluster) prepare(ctx context.Context) error {
	if cred := c.account.credential; cred != nil {
		err := os.Chown(c.dir, int(cred.Uid), int(cred.Gid))
		if err != nil {
			return err
		}
	}
	if c.major() != "" {
		return stopOrphan(ctx, c.data(), c.progress)
	}
	return c.create(ctx)
}

// create makes the data folder beside its place and renames it, so that an
// interrupted start is not mistaken for a cluster.
func (c cluster) create(ctx context.Context) error {
	c.progress("making a PostgreSQL cluster (" + c.binaries.from + ")")
	fresh := c.data() + ".new"
	err := os.RemoveAll(fresh)
	if err != nil {
		return err
	}
	err = os.Mkdir(fresh, 0o700)
	if err != nil {
		return err
	}
	err = os.WriteFile(c.passwordFile(), []byte(rand.Text()+"\n"), 0o600)
	if err != nil {
		return err
	}
	for _, name := range []string{fresh, c.passwordFile()} {
		err = c.account.own(name)
		if err != nil {
			return err
		}
	}
	args := []string{
		"-D", fresh, "-U", databaseName, "--pwfile", c.passwordFile(), "-A", "scram-sha-256",
		"-E", "UTF8", "--locale=C", "--no-instructions",
	}
	if !c.durable {
		args = append(args, "--no-sync")
	}
	err = c.run(ctx, "", c.binaries.initdb(), args...)
	if err != nil {
		return err
	}
	err = c.run(ctx, "CREATE DATABASE "+databaseName+"\n",
		c.binaries.postgres(), "--single", "-D", fresh, "-c", "fsync=off", "postgres")
	if err != nil {
		return err
	}
	return os.Rename(fresh, c.data())
}

// run runs one of the server programs to its end.
func (c cluster) run(ctx context.Context, input, program string, args ...string) error {
	cmd := exec.CommandContext(ctx, program, args...)
	var said bytes.Buffer
	cmd.Stdin, cmd.Stderr = strings.NewReader(input), &said
	c.dress(cmd)
	err := cmd.Run()
	if err != nil {
		return fmt.Errorf("%s: %w: %s%s", filepath.Base(program), err, strings.TrimSpace(said.String()), c.hint(cmd))
	}
	return nil
}

// dress gives a program the account, a neutral folder and an environment
// without anybody's PG* settings.
func (c cluster) dress(cmd *exec.Cmd) {
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/usr/bin:/bin", "LC_ALL=C", "TZ=UTC"}
	cmd.SysProcAttr = c.account.attributes(c.data(), cmd.Path)
}

// hint says what to do when root's folder is closed to the server's user.
func (c cluster) hint(cmd *exec.Cmd) string {
	if c.account.credential == nil || cmd.SysProcAttr.AmbientCaps != nil ||
		c.account.canReach(c.data()) && c.account.canReach(cmd.Path) {
		return ""
	}
	return fmt.Sprintf(" (user %s may not enter a folder above %s; choose another folder)", c.account.name, c.dir)
}

// launch starts the server and waits until it answers.
func (c cluster) launch(ctx context.Context, logFile string) (*server, int, error) {
	log, err := os.OpenFile(logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = log.Close() }()
	// The server ends at once if somebody took the free port between our look
	// and its own, or if children of a killed server have not noticed yet; both
	// pass.
	const (
		starts = 10
		pause  = 200 * time.Millisecond
	)
	for start := 1; ; start++ {
		addr, err := FreeAddr(ctx)
		if err != nil {
			return nil, 0, err
		}
		port := int(addr.Port())
		args := append([]string{"-D", c.data()}, serverSettings(port, c.durable)...)
		cmd := exec.Command(c.binaries.postgres(), args...) //nolint:noctx // it outlives the start; stop ends it
		cmd.Stdout, cmd.Stderr = log, log
		c.dress(cmd)
		if !c.orphan {
			// Fast shutdown for data that stays, immediate for data that goes.
			cmd.SysProcAttr.Pdeathsig = syscall.SIGQUIT
			if c.durable {
				cmd.SysProcAttr.Pdeathsig = syscall.SIGINT
			}
		}
		s, err := launch(cmd)
		if err != nil {
			return nil, 0, err
		}
		err = s.ready(ctx, c.data())
		if err == nil {
			return s, port, nil
		}
		if start == starts || ctx.Err() != nil {
			return nil, 0, fmt.Errorf("%w: %s%s", err, tail(logFile), c.hint(cmd))
		}
		select {
		case <-ctx.Done(): // the next try tells
		case <-time.After(pause):
		}
	}
}
