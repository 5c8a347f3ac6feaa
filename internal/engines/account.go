package engines

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// account is who the server runs as. PostgreSQL refuses root, so root lends
// the server an unprivileged user; everybody else runs it as themselves.
type account struct {
	credential *syscall.Credential // nil = ourselves
	name       string
}

// Linux capabilities by number (linux/capability.h).
const (
	capDacOverride   = 1
	capDacReadSearch = 2
)

// serverAccount picks the account: the owner of an existing cluster, else the
// distribution's postgres, else nobody.
func serverAccount(dataDir string) (account, error) {
	if os.Geteuid() != 0 {
		return account{}, nil
	}
	info, err := os.Stat(dataDir)
	if err == nil {
		if stat, ok := info.Sys().(*syscall.Stat_t); ok && stat.Uid != 0 {
			return account{&syscall.Credential{Uid: stat.Uid, Gid: stat.Gid}, strconv.Itoa(int(stat.Uid))}, nil
		}
	}
	for _, name := range []string{"postgres", "nobody"} {
		found, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(found.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(found.Gid, 10, 32)
		if err := errors.Join(err1, err2); err != nil {
			return account{}, fmt.Errorf("user %s: %w", name, err)
		}
		return account{&syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, name}, nil
	}
	return account{}, errors.New("PostgreSQL refuses to run as root and there is no user postgres or nobody to lend it")
}

// own gives a folder and everything in it to the account.
func (a account) own(dir string) error {
	if a.credential == nil {
		return nil
	}
	return filepath.WalkDir(dir, func(name string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(name, int(a.credential.Uid), int(a.credential.Gid)) //nolint:gosec // our own folder, not yet anybody's
	})
}

// attributes returns how to start a program as the account, in a process group
// of its own: a Ctrl-C at the terminal must reach us alone, or the server
// would go away while we still need it.
func (a account) attributes(paths ...string) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setpgid: true, Credential: a.credential}
	if a.credential == nil {
		return attr
	}
	for _, name := range paths {
		if !a.canReach(name) {
			// A parent folder is closed to others (/root usually is). Instead
			// of opening it, the server may pass through it: the weakest
			// capability that does, of those we hold.
			attr.AmbientCaps = passingCapability()
			return attr
		}
	}
	return attr
}

// canReach reports whether every parent folder lets the account through.
func (a account) canReach(name string) bool {
	for dir := filepath.Dir(name); ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil {
			return false
		}
		stat, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			return false
		}
		mine := stat.Uid == a.credential.Uid && info.Mode()&0o100 != 0
		if !mine && info.Mode()&0o001 == 0 {
			return false
		}
		if dir == filepath.Dir(dir) {
			return true
		}
	}
}

// passingCapability returns the weakest capability in our permitted set with
// which a process passes through folders that are closed to it, nil if none.
func passingCapability() []uintptr {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return nil
	}
	permitted := capabilities(status, "CapPrm:")
	for _, number := range []uintptr{capDacReadSearch, capDacOverride} {
		if permitted&(1<<number) != 0 {
			return []uintptr{number}
		}
	}
	return nil
}
