package engines

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// How long a server may take to end: politely, then at once.
const (
	fastLimit      = 10 * time.Second
	immediateLimit = 5 * time.Second
	// pollEvery is how often we look at what only files and /proc tell.
	pollEvery = 5 * time.Millisecond
)

// server is a running postgres program.
type server struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when the program has ended
	err  error         // how it ended; read after done
}

// launch starts the program. Its goroutine waits for the program's end; it
// keeps its thread, because the kernel ties "die with the parent" to the
// thread that started the child, and the runtime ends idle threads.
func launch(cmd *exec.Cmd) (*server, error) {
	s := &server{cmd: cmd, done: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		s.err = cmd.Wait()
		close(s.done)
	}()
	err := <-started
	if err != nil {
		return nil, err
	}
	return s, nil
}

// ready returns when the server accepts connections. If it does not, the
// program has ended when ready returns.
func (s *server) ready(ctx context.Context, dataDir string) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		state, ok := readPidFile(dataDir)
		if ok && state.ready && state.pid == s.cmd.Process.Pid {
			return nil
		}
		select {
		case <-s.done:
			return fmt.Errorf("the server ended at once: %w", s.err)
		case <-ctx.Done():
			return errors.Join(ctx.Err(), s.stop())
		case <-tick.C:
		}
	}
}

// stop ends the server: rolls back what is open and checkpoints, or, if that
// takes too long, leaves the rest to the next start's recovery.
func (s *server) stop() error {
	for _, step := range shutdownSteps() {
		err := s.cmd.Process.Signal(step.signal)
		if err != nil && !errors.Is(err, os.ErrProcessDone) {
			return err
		}
		select {
		case <-s.done:
			return nil
		case <-time.After(step.limit):
		}
	}
	return fmt.Errorf("postgres process %d does not end", s.cmd.Process.Pid)
}

type shutdownStep struct {
	signal syscall.Signal
	limit  time.Duration
}

func shutdownSteps() []shutdownStep {
	return []shutdownStep{{syscall.SIGINT, fastLimit}, {syscall.SIGQUIT, immediateLimit}}
}

// stopOrphan ends a server that a killed owner left on dataDir. The caller
// holds the folder's lock, so nobody else's living server is there.
func stopOrphan(ctx context.Context, dataDir string, progress func(string)) error {
	state, ok := readPidFile(dataDir)
	if !ok || !servesFolder(state.pid, dataDir) {
		return nil
	}
	progress(fmt.Sprintf("stopping the PostgreSQL that a killed process left behind (process %d)", state.pid))
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for _, step := range shutdownSteps() {
		err := syscall.Kill(state.pid, step.signal)
		if err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("stop orphaned postgres %d: %w", state.pid, err)
		}
		limit := time.After(step.limit)
		for waiting := true; waiting; {
			if !servesFolder(state.pid, dataDir) {
				return nil
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-limit:
				waiting = false
			case <-tick.C:
			}
		}
	}
	return fmt.Errorf("orphaned postgres process %d does not end", state.pid)
}
