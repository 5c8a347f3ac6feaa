package engines

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"time"
)

// temporaryPrefix begins the names of temporary clusters.
const temporaryPrefix = "mobileid-postgres-"

// youngest is the age from which a temporary folder without a living owner is
// taken for abandoned; a younger one may be just before its lock.
const youngest = time.Minute

// Temporary is a folder for as long as this process lives.
type Temporary struct {
	Dir  string
	lock *folderLock
}

// NewTemporary makes a folder whose name begins with prefix, and removes the
// folders of that prefix whose owners were killed before they could.
func NewTemporary(prefix string, log *slog.Logger) (*Temporary, error) {
	sweepTemporary(prefix, log)
	dir, err := os.MkdirTemp("", prefix)
	if err != nil {
		return nil, err
	}
	lock, err := lockFolder(dir)
	if err != nil {
		_ = os.RemoveAll(dir)
		return nil, err
	}
	return &Temporary{Dir: dir, lock: lock}, nil
}

// Remove removes the folder with all that is in it.
func (t *Temporary) Remove() error {
	defer t.lock.release()
	return os.RemoveAll(t.Dir)
}

// sweepTemporary removes the folders of a prefix whose owner was killed, and
// stops the server of a cluster that was left in one.
func sweepTemporary(prefix string, log *slog.Logger) {
	dirs, err := filepath.Glob(filepath.Join(os.TempDir(), prefix+"*"))
	if err != nil {
		return
	}
	for _, dir := range dirs {
		info, err := os.Lstat(dir)
		if err != nil || !info.IsDir() || time.Since(info.ModTime()) < youngest {
			continue
		}
		lock, err := lockFolder(dir)
		if err != nil {
			continue // alive, or not ours to touch
		}
		ctx, cancel := context.WithTimeout(context.Background(), fastLimit)
		err = stopOrphan(ctx, filepath.Join(dir, "pgdata"), func(string) {})
		cancel()
		if err == nil {
			err = os.RemoveAll(dir)
		}
		lock.release()
		if err != nil {
			log.Warn("an abandoned temporary folder stays", "dir", dir, "error", err)
		}
	}
}
