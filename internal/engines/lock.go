package engines

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// lockName is the file whose lock says that a live process owns a folder.
const lockName = "owner.lock"

// errInUse means that a live process holds the folder's lock.
var errInUse = errors.New("in use by another running process")

// folderLock is an advisory lock on a folder. The kernel drops it when the
// process ends in any way, kill -9 included, so a folder that can be locked
// has no living owner.
type folderLock struct{ file *os.File }

// lockFolder takes the lock without waiting. It returns errInUse if another
// live process has it.
func lockFolder(dir string) (*folderLock, error) {
	name := filepath.Join(dir, lockName)
	file, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err != nil {
		_ = file.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("%s is %w", dir, errInUse)
		}
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	return &folderLock{file}, nil
}

// release gives the folder up.
func (l *folderLock) release() { _ = l.file.Close() }
