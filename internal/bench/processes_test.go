package bench

import (
	"bufio"
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// child is a process of the measured system.
type child struct {
	name string
	cmd  *exec.Cmd
	log  string
}

// binary is where a bench target built a program.
func binary(b *testing.B, name string) string {
	b.Helper()
	dir := os.Getenv("MOBILEID_BENCH_BIN")
	if dir == "" {
		b.Fatal("MOBILEID_BENCH_BIN is not set: run one of make bench-*")
	}
	return filepath.Join(dir, name)
}

// start starts a program and ends it with the bench by SIGTERM, which it must
// obey within 20 s.
func start(b *testing.B, dir, name string, env []string, program string, args ...string) *child {
	b.Helper()
	c := &child{name: name, log: filepath.Join(dir, name+".log")}
	out, err := os.Create(c.log)
	must(b, err)
	c.cmd = exec.Command(binary(b, program), args...)
	c.cmd.Env = append(os.Environ(), env...)
	c.cmd.Stdout, c.cmd.Stderr = out, out
	must(b, c.cmd.Start())
	_ = out.Close()
	b.Cleanup(func() {
		_ = c.cmd.Process.Signal(syscall.SIGTERM)
		kill := time.AfterFunc(20*time.Second, func() { _ = c.cmd.Process.Kill() })
		err := c.cmd.Wait()
		kill.Stop()
		if err != nil {
			b.Errorf("%s: %v: %s", c.name, err, tail(c.log))
		}
	})
	return c
}

// runProgram runs a program to its end.
func runProgram(b *testing.B, program string, args ...string) {
	b.Helper()
	out, err := exec.Command(binary(b, program), args...).CombinedOutput()
	if err != nil {
		b.Fatalf("%s %v: %v: %s", program, args, err, out)
	}
}

func tail(path string) string {
	raw, _ := os.ReadFile(path)
	if len(raw) > 2000 {
		raw = raw[len(raw)-2000:]
	}
	return string(raw)
}

// awaitOK asks a URL until it answers 200.
func awaitOK(b *testing.B, url string) {
	b.Helper()
	until(b, url, 30*time.Second, func() bool {
		res, err := http.Get(url)
		if err != nil {
			return false
		}
		defer res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
}

// until looks every 20 ms until ok.
func until(b *testing.B, what string, limit time.Duration, ok func() bool) {
	b.Helper()
	for end := time.Now().Add(limit); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			b.Fatalf("%s have passed and not yet: %s", limit, what)
		}
	}
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// watched is a process, or a server of several, whose use of the machine is
// told.
type watched struct {
	name string
	pid  int
	tree bool // its children are part of it (PostgreSQL)
}

// usage is the state of a watched process. CPU is seconds since it began;
// Peak is VmHWM, the largest resident size it ever had, in MB; of a tree the
// sum of the proportional sizes now, because its processes share memory.
type usage struct {
	CPU, Peak float64
}

const clockTick = 100 // USER_HZ: fixed on Linux

func (w watched) usage() (u usage) {
	if !w.tree {
		own, _ := cpuOf(w.pid)
		return usage{own, float64(fieldKB(fmt.Sprintf("/proc/%d/status", w.pid), "VmHWM:")) / 1024}
	}
	own, reaped := cpuOf(w.pid)
	u.CPU = own + reaped
	kb := fieldKB(fmt.Sprintf("/proc/%d/smaps_rollup", w.pid), "Pss:")
	for _, pid := range childrenOf(w.pid) {
		own, _ := cpuOf(pid)
		u.CPU += own
		kb += fieldKB(fmt.Sprintf("/proc/%d/smaps_rollup", pid), "Pss:")
	}
	u.Peak = float64(kb) / 1024
	return u
}

// cpuOf reads the seconds of a process, and those of its ended children.
func cpuOf(pid int) (own, reaped float64) {
	f := statOf(pid)
	if len(f) < 15 {
		return 0, 0
	}
	ticks := func(i int) float64 {
		v, _ := strconv.ParseFloat(f[i], 64)
		return v / clockTick
	}
	return ticks(11) + ticks(12), ticks(13) + ticks(14)
}

// statOf returns the fields of /proc/PID/stat from the state on.
func statOf(pid int) []string {
	raw, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(raw[bytes.LastIndexByte(raw, ')')+1:]), " ")
	return strings.Fields(rest)
}

func childrenOf(parent int) (pids []int) {
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if f := statOf(pid); len(f) > 1 && f[1] == strconv.Itoa(parent) {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	return pids
}

// fieldKB reads "Name:  123 kB" of a file of /proc.
func fieldKB(path, name string) int {
	f, err := os.Open(path)
	if err != nil {
		return 0
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if rest, ok := strings.CutPrefix(s.Text(), name); ok {
			v, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
			kb, _ := strconv.Atoi(v)
			return kb
		}
	}
	return 0
}

// pidFile reads the first line of a pid file.
func pidFile(b *testing.B, path string) int {
	b.Helper()
	raw, err := os.ReadFile(path)
	must(b, err)
	first, _, _ := strings.Cut(string(raw), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(first))
	must(b, err)
	return pid
}
