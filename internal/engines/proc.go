package engines

import (
	"bufio"
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// capabilities reads one capability mask of a /proc/<pid>/status file.
func capabilities(status []byte, field string) uint64 {
	lines := bufio.NewScanner(bytes.NewReader(status))
	for lines.Scan() {
		rest, ok := strings.CutPrefix(lines.Text(), field)
		if !ok {
			continue
		}
		mask, err := strconv.ParseUint(strings.TrimSpace(rest), 16, 64)
		if err != nil {
			return 0
		}
		return mask
	}
	return 0
}

// pidFile is what a running server writes into its data folder
// (postmaster.pid): line 1 the process id, line 2 the data folder, line 8 the
// state.
type pidFile struct {
	pid   int
	ready bool
}

func readPidFile(dataDir string) (pidFile, bool) {
	content, err := os.ReadFile(filepath.Join(dataDir, "postmaster.pid"))
	if err != nil {
		return pidFile{}, false
	}
	lines := strings.Split(string(content), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(lines[0]))
	if err != nil || pid <= 1 {
		return pidFile{}, false
	}
	const stateLine = 7
	ready := len(lines) > stateLine && strings.TrimSpace(lines[stateLine]) == "ready"
	return pidFile{pid, ready}, true
}

// servesFolder reports whether pid is a live PostgreSQL server on dataDir.
// Both its program and its working folder (a server changes into its data
// folder) must say so: a pid file outlives its process, and the number may by
// now belong to anybody.
func servesFolder(pid int, dataDir string) bool {
	proc := filepath.Join("/proc", strconv.Itoa(pid))
	program, err := os.Readlink(filepath.Join(proc, "exe"))
	if err != nil || filepath.Base(strings.TrimSuffix(program, " (deleted)")) != "postgres" {
		return false
	}
	cwd, err := os.Stat(filepath.Join(proc, "cwd"))
	if err != nil {
		return false
	}
	data, err := os.Stat(dataDir)
	return err == nil && os.SameFile(cwd, data)
}
