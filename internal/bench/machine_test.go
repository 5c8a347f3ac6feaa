package bench

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// describe prints what a figure depends on.
func (s *system) describe(b *testing.B) string {
	b.Helper()
	var w strings.Builder
	// Written when the programs were built: the tree may have moved since.
	commit, err := os.ReadFile(binary(b, "commit"))
	must(b, err)
	fmt.Fprintf(&w, "built from %s\n", strings.TrimSpace(string(commit)))
	fmt.Fprintf(&w, "machine    %s, %d cores, %.1f GB, %s; %s; load average before the start %s\n",
		cpuModel(), runtime.NumCPU(), float64(fieldKB("/proc/meminfo", "MemTotal:"))/1e6,
		strings.ReplaceAll(command("stat", "-f", "-c", "%T", "."), "ext2/ext3", "ext4"), runtime.Version(), s.loadBefore)
	fmt.Fprintf(&w, "memory     %s of what is free is in blocks of 2 MB or more\n", largeFree("/proc/buddyinfo"))
	show := func(name string) (v string) {
		must(b, s.sql.QueryRow(b.Context(), "select current_setting($1)", name).Scan(&v))
		return v
	}
	fmt.Fprintf(&w, "PostgreSQL %s, fsync=%s, synchronous_commit=%s, full_page_writes=%s, shared_buffers=%s\n",
		show("server_version"), show("fsync"), show("synchronous_commit"), show("full_page_writes"), show("shared_buffers"))
	info, err := s.env.Redis().Info(b.Context()).Result()
	must(b, err)
	fmt.Fprintf(&w, "Redis      %s, cluster of one node, aof_enabled=%s, no snapshots\n",
		infoField(info, "redis_version"), infoField(info, "aof_enabled"))
	fmt.Fprintf(&w, "Kafka      %s, KRaft, one broker: replication 1, min.insync.replicas 1, acks=all, %d partitions, %s\n",
		strings.TrimPrefix(filepath.Base(os.Getenv("MOBILEID_REAL_KAFKA_LIBS")), "libs-"), partitions, jvmFlags(s.kafkaPID))
	fmt.Fprintf(&w, "system     each role in a process of its own; one SMPP bind a bridge, window %d; receipts after %s; %d persons\n",
		s.window, s.receipt, persons)
	if len(s.unusual) > 0 {
		fmt.Fprintf(&w, "NOT THE STANDARD BENCH, not for BENCH.md: %s\n", strings.Join(s.unusual, "; "))
	}
	return w.String()
}

// largeFree is the share of the free memory that is in large blocks. On a machine
// whose memory is in pieces everything that touches much of it costs up to twice
// the processor.
func largeFree(buddyinfo string) string {
	const large = 9 // 4 KB << 9
	raw, err := os.ReadFile(buddyinfo)
	if err != nil {
		return "unknown"
	}
	var all, big float64
	for line := range strings.Lines(string(raw)) {
		// Node 0, zone Normal, then the number of free blocks of each order.
		fields := strings.Fields(line)
		for order, count := range fields[min(4, len(fields)):] {
			n, _ := strconv.Atoi(count)
			size := float64(n) * float64(int(1)<<order)
			all += size
			if order >= large {
				big += size
			}
		}
	}
	if all == 0 {
		return "unknown"
	}
	return fmt.Sprintf("%.0f %%", 100*big/all)
}

func command(name string, args ...string) string {
	out, err := exec.Command(name, args...).Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}

func cpuModel() string {
	raw, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(raw)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

func infoField(info, name string) string {
	for line := range strings.Lines(info) {
		if v, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(v)
		}
	}
	return "unknown"
}

// jvmFlags reads from the running broker what decides how fast it is.
func jvmFlags(pid int) string {
	raw, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return jvmFlagsOf(strings.Split(string(raw), "\x00"))
}

func jvmFlagsOf(args []string) string {
	var flags []string
	for _, arg := range args {
		if strings.HasPrefix(arg, "-X") {
			flags = append(flags, arg)
		}
	}
	switch {
	case !slices.Contains(args, "kafka.Kafka"): // the pid file outlived its process
		return "flags of the JVM unknown"
	case len(flags) == 0:
		return "no flags of the JVM"
	}
	return strings.Join(flags, " ")
}

func TestTheFlagsOfTheJVMAreThoseOfTheRunningBroker(t *testing.T) {
	for want, args := range map[string][]string{
		"-Xmx1g -XX:+UseParallelGC": {"java", "-Xmx1g", "-XX:+UseParallelGC", "-Dkafka.log=x", "-cp", "libs/*", "kafka.Kafka", "server.properties", ""},
		"no flags of the JVM":       {"java", "-cp", "libs/*", "kafka.Kafka", ""},
		"flags of the JVM unknown":  {"java", "-Xmx1g", "somebody.Else", ""},
	} {
		if got := jvmFlagsOf(args); got != want {
			t.Errorf("%q: %s, want %s", args, got, want)
		}
	}
	if got := jvmFlags(0); got != "flags of the JVM unknown" {
		t.Errorf("no such process: %s", got)
	}
}
