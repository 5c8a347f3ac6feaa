package engines

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// binaries is one set of PostgreSQL server programs.
type binaries struct {
	dir   string // holds initdb and postgres
	major string // for example "17"
	from  string // where they were found, for the progress line
}

func (b binaries) initdb() string   { return filepath.Join(b.dir, "initdb") }
func (b binaries) postgres() string { return filepath.Join(b.dir, "postgres") }

// distributionGlob is where Debian and its kin put the server programs, which
// they keep out of PATH.
const distributionGlob = "/usr/lib/postgresql/*/bin"

// finder looks for server programs; its fields are what the machine offers, so
// that a test can hide them one by one.
type finder struct {
	path     string // like $PATH
	glob     string // like distributionGlob
	cacheDir string // where a downloaded set is kept
	download downloader
	progress func(string)
}

// find returns the first usable set: PATH, the distribution's folders (newest
// first), then a download of the pinned artifact. wantMajor, when not empty,
// is the version an existing cluster was made with; only a set of that version
// can open it.
func (f finder) find(ctx context.Context, wantMajor string) (binaries, error) {
	for _, set := range f.installed(ctx) {
		if wantMajor == "" || set.major == wantMajor {
			return set, nil
		}
	}
	pinned, _, _ := strings.Cut(pinnedVersion, ".")
	if wantMajor != "" && wantMajor != pinned {
		return binaries{}, fmt.Errorf(
			"the cluster was made by PostgreSQL %s and no server of that version was found (PATH, %s)",
			wantMajor, f.glob)
	}
	dir, err := f.download.fetch(ctx, f.cacheDir, f.progress)
	if err != nil {
		return binaries{}, fmt.Errorf("no PostgreSQL server in PATH or %s, and: %w", f.glob, err)
	}
	return binaries{dir: filepath.Join(dir, "bin"), major: pinned, from: "Maven Central " + pinnedVersion}, nil
}

// installed lists the sets already on the machine, best first.
func (f finder) installed(ctx context.Context) []binaries {
	var sets []binaries
	for _, dir := range filepath.SplitList(f.path) {
		if dir != "" && filepath.IsAbs(dir) {
			sets = f.appendUsable(ctx, sets, dir, "PATH")
		}
	}
	dirs, err := filepath.Glob(f.glob)
	if err != nil {
		return sets
	}
	slices.SortFunc(dirs, func(a, b string) int {
		return majorOfFolder(b) - majorOfFolder(a)
	})
	for _, dir := range dirs {
		sets = f.appendUsable(ctx, sets, dir, dir)
	}
	return sets
}

// majorOfFolder reads the version out of /usr/lib/postgresql/15/bin.
func majorOfFolder(dir string) int {
	major, err := strconv.Atoi(filepath.Base(filepath.Dir(dir)))
	if err != nil {
		return 0
	}
	return major
}

// oldestMajor is the oldest server that understands every statement of ours.
const oldestMajor = 15

func (finder) appendUsable(ctx context.Context, sets []binaries, dir, from string) []binaries {
	set := binaries{dir: dir, from: from}
	for _, program := range []string{set.initdb(), set.postgres()} {
		info, err := os.Stat(program)
		if err != nil || info.IsDir() || info.Mode()&0o111 == 0 {
			return sets
		}
	}
	// "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)"
	out, err := exec.CommandContext(ctx, set.postgres(), "--version").Output()
	if err != nil {
		return sets
	}
	_, version, ok := strings.Cut(string(out), "(PostgreSQL) ")
	if !ok {
		return sets
	}
	end := strings.IndexFunc(version, func(r rune) bool { return r < '0' || r > '9' })
	if end < 0 {
		end = len(version)
	}
	number, err := strconv.Atoi(version[:end])
	if err != nil || number < oldestMajor {
		return sets
	}
	set.major = version[:end]
	set.from += ", version " + set.major
	return append(sets, set)
}
