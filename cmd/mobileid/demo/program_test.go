package demo

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// program is the built mobileid, as a person runs it.
var program string

func TestMain(m *testing.M) { os.Exit(withProgram(m)) }

func withProgram(m *testing.M) int {
	dir, err := os.MkdirTemp("", "mobileid-program-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	program = filepath.Join(dir, "mobileid")
	if out, err := exec.Command("go", "build", "-trimpath", "-o", program, "mobileid/cmd/mobileid").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the program: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// process is a `mobileid demo` of its own: a process group, as in a terminal,
// and a folder for temporary files that nobody else uses.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	began  time.Time
	temp   string
	stdout io.Closer
	lines  chan string // closed at the end of standard output
	seen   []string    // what was taken from lines
	errs   bytes.Buffer
}

// launch starts the program. It is killed with the test.
func launch(t *testing.T, args ...string) *process {
	t.Helper()
	p := &process{
		t: t, temp: t.TempDir(), lines: make(chan string, 1000),
		cmd: exec.Command(program, append([]string{"demo", "--listen", "127.0.0.1:0"}, args...)...),
	}
	p.cmd.Env = append(os.Environ(), "TMPDIR="+p.temp)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p.cmd.Stderr = &p.errs
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.stdout = stdout
	p.began = time.Now()
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.lines)
		for s := bufio.NewScanner(stdout); s.Scan(); {
			p.lines <- s.Text()
		}
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("%v printed\n%s\n%s", args, strings.Join(p.seen, "\n"), &p.errs)
		}
	})
	return p
}

// await returns the next line with that in it.
func (p *process) await(what string) string {
	p.t.Helper()
	for limit := time.After(time.Minute); ; {
		select {
		case line, open := <-p.lines:
			if !open {
				p.t.Fatalf("the program ended without %q", what)
			}
			p.seen = append(p.seen, line)
			if strings.Contains(line, what) {
				return line
			}
		case <-limit:
			p.t.Fatalf("the program has not written %q in a minute", what)
		}
	}
}

// ready waits for the page and returns its address.
func (p *process) ready() string {
	p.t.Helper()
	return readyLine.FindStringSubmatch(p.await("ready: open"))[1]
}

// signal reaches the whole group, as Ctrl-C in a terminal does.
func (p *process) signal(s syscall.Signal) {
	_ = syscall.Kill(-p.cmd.Process.Pid, s) // an error says that it has ended
}

// end waits for the end and returns the exit code, -1 after a signal.
func (p *process) end() int {
	for line := range p.lines {
		p.seen = append(p.seen, line)
	}
	_ = p.cmd.Wait() // the exit code says the same
	return p.cmd.ProcessState.ExitCode()
}

// kill is kill -9; it returns when the process is gone.
func (p *process) kill() {
	if p.cmd.ProcessState == nil {
		_ = p.cmd.Process.Kill()
		p.end()
	}
}

// left lists the files in the temporary folder and the processes that live in
// it.
func (p *process) left() []string {
	p.t.Helper()
	files, err := os.ReadDir(p.temp)
	if err != nil {
		p.t.Fatal(err)
	}
	var left []string
	for _, f := range files {
		left = append(left, f.Name())
	}
	commands, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		p.t.Fatal(err)
	}
	for _, c := range commands {
		if line, err := os.ReadFile(c); err == nil && bytes.Contains(line, []byte(p.temp)) {
			left = append(left, string(bytes.ReplaceAll(line, []byte{0}, []byte(" "))))
		}
	}
	return left
}
