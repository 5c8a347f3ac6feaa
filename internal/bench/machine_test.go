package bench

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
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
	jvm := commandLine(s.kafkaPID)
	var flags []string
	for _, arg := range jvm {
		if strings.HasPrefix(arg, "-X") {
			flags = append(flags, arg)
		}
	}
	fmt.Fprintf(&w, "Kafka      %s, KRaft, one broker: replication 1, min.insync.replicas 1, acks=all, %d partitions, %s\n",
		strings.TrimPrefix(filepath.Base(os.Getenv("MOBILEID_REAL_KAFKA_LIBS")), "libs-"), partitions, strings.Join(flags, " "))
	fmt.Fprintf(&w, "system     gateway, consumers and bridge in a process each; one SMPP bind, window %d; receipts after %s; %d persons\n",
		window, receiptDelay, persons)
	return w.String()
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

func commandLine(pid int) []string {
	raw, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return strings.Split(string(raw), "\x00")
}
