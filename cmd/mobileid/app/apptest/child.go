package apptest

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"mobileid/internal/testenv"
)

// program is the built mobileid, once for a test binary.
var program struct {
	once sync.Once
	path string
	err  error
}

// Program builds mobileid and returns its path.
func Program(t testing.TB) string {
	t.Helper()
	program.once.Do(func() {
		var dir string
		dir, program.err = os.MkdirTemp("", "mobileid-apptest-") //nolint:usetesting // outlives the test that is first
		if program.err != nil {
			return
		}
		testenv.AtEnd(func() { _ = os.RemoveAll(dir) })
		program.path = filepath.Join(dir, "mobileid")
		var out []byte
		out, program.err = exec.Command("go", "build", "-o", program.path, "mobileid/cmd/mobileid").CombinedOutput()
		if program.err != nil {
			program.err = errors.New(string(out))
		}
	})
	must(t, program.err)
	return program.path
}

// Child is a mobileid in a process of its own.
type Child struct {
	Admin string // address of its admin listener; "" of one that was not started by System.Child

	t    testing.TB
	cmd  *exec.Cmd
	out  string // file of its output
	done chan struct{}
	err  error // how it ended; read after done
}

// Child starts `mobileid serve` with those roles and the system's
// configuration file (without Options.Change). It is killed with the test.
func (s *System) Child(roles ...string) *Child {
	s.T.Helper()
	admin := testenv.FreeAddr(s.T)
	env := []string{"MOBILEID_HTTP__ADMIN=" + admin}
	if s.RedisProxy != nil {
		env = append(env, "MOBILEID_REDIS__CLUSTER=false") // the cluster's own address would lead past the proxy
	}
	c := StartChild(s.T, env, "serve", "--config", s.ConfigFile, "--roles", strings.Join(roles, ","))
	c.Admin = admin
	c.AwaitOutput(`"msg":"running"`)
	return c
}

// StartChild starts mobileid with arguments and further variables.
func StartChild(t testing.TB, env []string, args ...string) *Child {
	t.Helper()
	c := &Child{t: t, cmd: exec.Command(Program(t), args...), done: make(chan struct{})}
	out, err := os.CreateTemp(t.TempDir(), "child-*.log")
	must(t, err)
	defer func() { _ = out.Close() }()
	c.out = out.Name()
	c.cmd.Env = append(os.Environ(), env...)
	c.cmd.Stdout, c.cmd.Stderr = out, out
	must(t, c.cmd.Start())
	go func() { c.err = c.cmd.Wait(); close(c.done) }()
	t.Cleanup(func() {
		c.Kill()
		if t.Failed() {
			t.Logf("output of %v:\n%s", args, c.Output())
		}
	})
	return c
}

// Command runs mobileid to its end and returns its exit code and what it
// printed.
func Command(t testing.TB, env []string, args ...string) (code int, out, errs string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), Program(t), args...)
	cmd.Env = append(os.Environ(), env...)
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()
}

// Output is what the child has written so far.
func (c *Child) Output() string {
	text, err := os.ReadFile(c.out)
	must(c.t, err)
	return string(text)
}

// AwaitOutput waits until the child has written that, for at most 30 seconds.
func (c *Child) AwaitOutput(what string) {
	c.t.Helper()
	for limit := time.Now().Add(30 * time.Second); !strings.Contains(c.Output(), what); {
		select {
		case <-c.done:
			if !strings.Contains(c.Output(), what) {
				c.t.Fatalf("the child ended: %v", c.err)
			}
		case <-time.After(5 * time.Millisecond):
		}
		if time.Now().After(limit) {
			c.t.Fatalf("the child has not written %q in 30 s", what)
		}
	}
}

// Kill is kill -9; it returns when the process is gone.
func (c *Child) Kill() {
	_ = c.cmd.Process.Signal(syscall.SIGKILL) // an error says that it has ended
	<-c.done
}

// Freeze stops the child where it is (SIGSTOP) and returns when it stands
// still; what it has sent arrives, what comes back waits. Thaw lets it go on.
func (c *Child) Freeze() {
	c.t.Helper()
	must(c.t, c.cmd.Process.Signal(syscall.SIGSTOP))
}

// Thaw ends Freeze.
func (c *Child) Thaw() {
	c.t.Helper()
	must(c.t, c.cmd.Process.Signal(syscall.SIGCONT))
}

// Terminate sends SIGTERM and returns how the child ended.
func (c *Child) Terminate() error {
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
	<-c.done
	return c.err
}

// ForgetMembers removes every member of a consumer group, as the broker does
// six seconds after a process was killed. It is for groups whose only process
// is dead.
func (s *System) ForgetMembers(groups ...string) {
	s.T.Helper()
	transport := &kafka.Transport{}
	defer transport.CloseIdleConnections()
	client := &kafka.Client{Addr: kafka.TCP(s.Env.Kafka()...), Transport: transport}
	res, err := client.DescribeGroups(s.T.Context(), &kafka.DescribeGroupsRequest{GroupIDs: groups})
	must(s.T, err)
	for _, g := range res.Groups {
		must(s.T, g.Error)
		for _, m := range g.Members {
			left, err := client.LeaveGroup(s.T.Context(), &kafka.LeaveGroupRequest{
				GroupID: g.GroupID, Members: []kafka.LeaveGroupRequestMember{{ID: m.MemberID}},
			})
			must(s.T, err)
			must(s.T, left.Error)
		}
	}
}
