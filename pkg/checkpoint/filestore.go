package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gofrs/flock"

	"github.com/autotagd/autotagd/pkg/event"
)

// FileStore keeps States in a directory: DIR/ACCOUNT/REGION/PART, a file for each part. Every file is written beside,
// synced and renamed, so that a crash leaves the old one or the new one.
type FileStore struct {
	dir      string
	disk     Disk
	lock     *flock.Flock // nil without one
	readOnly bool

	mu   sync.Mutex // guards made
	made map[event.Scope]bool
}

const (
	lockName   = "lock"
	tempPrefix = ".new-"
)

// LockedError says that another process uses the directory.
type LockedError struct {
	Dir string
	PID int // 0 when it isn't known
}

// Error names the other process.
func (e *LockedError) Error() string {
	who := "another autotagd"
	if e.PID > 0 {
		who = fmt.Sprintf("another autotagd (pid %d)", e.PID)
	}
	return fmt.Sprintf("checkpoint directory %s is in use by %s: stop that one, or give this one a directory of its own in checkpoint.file.path", e.Dir, who)
}

// OpenFileStore makes the directory (0700) if need be, and locks it until Close or the end of the process. It fails with
// a *LockedError while another process has it.
func OpenFileStore(dir string) (*FileStore, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("checkpoint directory: %w", err)
	}
	if err := makeAll(dir); err != nil {
		return nil, unusable(dir, err)
	}
	path := filepath.Join(dir, lockName)
	lock := flock.New(path, flock.SetFlag(os.O_CREATE|os.O_RDWR), flock.SetPermissions(0o600))
	ok, err := lock.TryLock()
	if err != nil {
		return nil, unusable(dir, err)
	}
	if !ok {
		return nil, &LockedError{Dir: dir, PID: holder(path)}
	}
	s := NewFileStore(osDisk{}, dir)
	s.lock = lock
	if err := s.probe(path); err != nil {
		return nil, errors.Join(unusable(dir, err), lock.Close())
	}
	return s, nil
}

// makeAll makes a directory and those above it that are missing, durably.
func makeAll(dir string) error {
	if _, err := os.Stat(dir); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err // what is there but is no directory shows when the lock is made
	}
	parent := filepath.Dir(dir)
	if err := makeAll(parent); err != nil {
		return err
	}
	if err := (osDisk{}).Mkdir(dir); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return osDisk{}.SyncDir(parent)
}

// probe notes our pid for others to name, and finds out at the start, not at the first save, whether files can be made.
func (s *FileStore) probe(lock string) error {
	if err := os.WriteFile(lock, fmt.Appendf(nil, "%d\n", os.Getpid()), 0o600); err != nil {
		return err
	}
	name := filepath.Join(s.dir, tempPrefix+"probe")
	f, err := s.disk.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), s.disk.Remove(name))
}

func unusable(dir string, err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	return fmt.Errorf("checkpoint directory %s can't be written (%w): let user %d write there, or name another directory in checkpoint.file.path", dir, err, os.Getuid())
}

// holder reads the pid of the process that holds the lock; 0 if it has not written it yet.
func holder(lock string) int {
	text, err := os.ReadFile(lock)
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0
	}
	return pid
}

// OpenReadOnly opens a directory to look at it, beside the process that may hold it: Load and Scopes work, writing fails.
func OpenReadOnly(dir string) (*FileStore, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("checkpoint directory: %w", err)
	}
	if _, err := os.Stat(dir); err != nil {
		return nil, fmt.Errorf("checkpoint directory: %w", err)
	}
	s := NewFileStore(osDisk{}, dir)
	s.readOnly = true
	return s, nil
}

// NewFileStore returns a store over any Disk, without a lock. dir must exist on it.
func NewFileStore(disk Disk, dir string) *FileStore {
	return &FileStore{dir: dir, disk: disk, made: map[event.Scope]bool{}}
}

// Close lets the directory go.
func (s *FileStore) Close() error {
	if s.lock == nil {
		return nil
	}
	if err := s.lock.Close(); err != nil {
		return fmt.Errorf("unlock the checkpoint directory: %w", err)
	}
	return nil
}

// Holder returns the pid of the process that has locked the directory, or did last; 0 if there was none.
func (s *FileStore) Holder() int { return holder(filepath.Join(s.dir, lockName)) }

var (
	accountName = regexp.MustCompile(`^[0-9]{1,20}$`)
	regionName  = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,40}$`)
)

// Scopes lists the Scopes that have a directory, sorted.
func (s *FileStore) Scopes(ctx context.Context) ([]event.Scope, error) {
	accounts, err := s.disk.ReadDir(s.dir)
	if err != nil {
		return nil, fmt.Errorf("list the checkpoint directory: %w", err)
	}
	var scopes []event.Scope
	for _, a := range accounts {
		if !accountName.MatchString(a) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		regions, err := s.disk.ReadDir(filepath.Join(s.dir, a))
		if err != nil {
			return nil, fmt.Errorf("list the checkpoint directory: %w", err)
		}
		for _, r := range regions {
			if regionName.MatchString(r) {
				scopes = append(scopes, event.Scope{AccountID: a, Region: r})
			}
		}
	}
	slices.SortFunc(scopes, func(a, b event.Scope) int { return strings.Compare(a.String(), b.String()) })
	return scopes, nil
}

// Locate implements Store: it gives the file's path.
func (s *FileStore) Locate(scope event.Scope, part string) string {
	return filepath.Join(s.scopeDir(scope), part)
}

func (s *FileStore) scopeDir(scope event.Scope) string {
	return filepath.Join(s.dir, scope.AccountID, scope.Region)
}

// check refuses what would lead out of the directory.
func (s *FileStore) check(ctx context.Context, scope event.Scope) error {
	if !accountName.MatchString(scope.AccountID) || !regionName.MatchString(scope.Region) {
		return fmt.Errorf("no directory for the Scope %.60q", scope)
	}
	return ctx.Err()
}

// Load implements Store.
func (s *FileStore) Load(ctx context.Context, scope event.Scope) (Loaded, error) {
	if err := s.check(ctx, scope); err != nil {
		return Loaded{}, err
	}
	dir := s.scopeDir(scope)
	names, err := s.disk.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return Loaded{}, nil
	} else if err != nil {
		return Loaded{}, fmt.Errorf("read the checkpoint: %w", err)
	}
	if s.readOnly && !slices.Contains(names, StatePart) {
		names = append(names, StatePart) // a listing may pass by what is replaced meanwhile
	}
	slices.Sort(names)
	var loaded Loaded
	for _, name := range names {
		path := filepath.Join(dir, name)
		if strings.HasPrefix(name, tempPrefix) { // left by a crash, or being written by the process we look at
			if !s.readOnly {
				if err := s.disk.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
					return Loaded{}, fmt.Errorf("clean the checkpoint: %w", err)
				}
			}
			continue
		}
		if !validPart(name) {
			return Loaded{}, &DamagedError{Part: name, Place: path, Problem: "no file of autotagd has such a name"}
		}
		file, err := s.disk.ReadFile(path)
		if s.readOnly && errors.Is(err, fs.ErrNotExist) {
			continue // the process that holds it has just removed it
		} else if err != nil {
			return Loaded{}, fmt.Errorf("read the checkpoint: %w", err)
		}
		version, data, err := unframe(scope, name, path, file)
		if err != nil {
			return Loaded{}, err
		}
		if name == StatePart {
			loaded.State, loaded.Version = data, fileVersion(version)
			continue
		}
		loaded.Parts = append(loaded.Parts, Part{name, data})
	}
	return loaded, nil
}

func fileVersion(n int64) Version { return Version(strconv.FormatInt(n, 10)) }

// Put implements Store.
func (s *FileStore) Put(ctx context.Context, scope event.Scope, parts []Part) error {
	if err := s.check(ctx, scope); err != nil {
		return err
	}
	files := make([]Part, 0, len(parts))
	for _, p := range parts {
		files = append(files, Part{p.Name, frame(scope, p.Name, 0, p.Data)})
	}
	return s.write(scope, files)
}

// Swap implements Store.
func (s *FileStore) Swap(ctx context.Context, scope event.Scope, old Version, state []byte) (Version, error) {
	if err := s.check(ctx, scope); err != nil {
		return "", err
	}
	path := s.Locate(scope, StatePart)
	var current Version
	var count int64
	file, err := s.disk.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return "", fmt.Errorf("read the checkpoint: %w", err)
	default:
		if count, _, err = unframe(scope, StatePart, path, file); err != nil {
			return "", err
		}
		current = fileVersion(count)
	}
	if current != old {
		return "", fmt.Errorf("%s: %w", path, ErrFenced)
	}
	// Counted from the clock at first, so that no version comes again after an operator has moved a state away.
	next := max(count+1, time.Now().Unix())
	if err := s.write(scope, []Part{{StatePart, frame(scope, StatePart, next, state)}}); err != nil {
		return "", err
	}
	return fileVersion(next), nil
}

// write makes files durable: each written beside and synced, all renamed, and their directory synced.
func (s *FileStore) write(scope event.Scope, files []Part) error {
	if s.readOnly {
		return errors.New("write the checkpoint: it is open for reading only")
	}
	dir := s.scopeDir(scope)
	if err := s.makeDir(scope); err != nil {
		return fmt.Errorf("write the checkpoint: %w", err)
	}
	for _, f := range files {
		if err := s.writeBeside(filepath.Join(dir, tempPrefix+f.Name), f.Data); err != nil {
			return fmt.Errorf("write the checkpoint: %w", err)
		}
	}
	for _, f := range files {
		if err := s.disk.Rename(filepath.Join(dir, tempPrefix+f.Name), filepath.Join(dir, f.Name)); err != nil {
			return fmt.Errorf("write the checkpoint: %w", err)
		}
	}
	if err := s.disk.SyncDir(dir); err != nil {
		return fmt.Errorf("write the checkpoint: %w", err)
	}
	return nil
}

// writeBeside writes and syncs a whole file. A file whose Sync failed is not to be trusted: it is removed, and written
// from the start when the save is tried again.
func (s *FileStore) writeBeside(path string, data []byte) (err error) {
	f, err := s.disk.Create(path)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		_ = s.disk.Remove(path) // it makes room on a full disk; if it stays, the next write or Load deals with it
	}
	return err
}

// makeDir makes a Scope's directory durable. Once in a process, also when it is there: an earlier attempt may have made
// it and failed to sync.
func (s *FileStore) makeDir(scope event.Scope) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.made[scope] {
		return nil
	}
	dir := s.scopeDir(scope)
	for _, d := range []string{filepath.Dir(dir), dir} {
		if err := s.disk.Mkdir(d); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		if err := s.disk.SyncDir(filepath.Dir(d)); err != nil {
			return err
		}
	}
	s.made[scope] = true
	return nil
}

// Delete implements Store.
func (s *FileStore) Delete(ctx context.Context, scope event.Scope, names []string) error {
	if err := s.check(ctx, scope); err != nil {
		return err
	}
	if s.readOnly {
		return errors.New("write the checkpoint: it is open for reading only")
	}
	removed := false
	for _, name := range names {
		switch err := s.disk.Remove(s.Locate(scope, name)); {
		case err == nil:
			removed = true
		case !errors.Is(err, fs.ErrNotExist):
			return fmt.Errorf("clean the checkpoint: %w", err)
		}
	}
	if !removed {
		return nil
	}
	if err := s.disk.SyncDir(s.scopeDir(scope)); err != nil {
		return fmt.Errorf("clean the checkpoint: %w", err)
	}
	return nil
}
