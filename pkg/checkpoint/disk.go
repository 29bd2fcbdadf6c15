package checkpoint

import (
	"io"
	"os"
)

// Disk is what a FileStore needs of a file system, with the promises of POSIX and no more: a file's content survives a
// crash after its Sync, and a name made, replaced or removed does after SyncDir of its directory. Errors for what isn't
// there match fs.ErrNotExist.
type Disk interface {
	// ReadDir returns the names in a directory.
	ReadDir(dir string) ([]string, error)
	ReadFile(name string) ([]byte, error)
	// Mkdir makes one directory, mode 0700. One that is there already matches fs.ErrExist.
	Mkdir(dir string) error
	// Create opens an empty file, mode 0600, over any that is there.
	Create(name string) (DiskFile, error)
	// Rename puts a file in another's place, atomically.
	Rename(from, to string) error
	Remove(name string) error
	SyncDir(dir string) error
}

// DiskFile is a file being written.
type DiskFile interface {
	io.WriteCloser
	Sync() error
}

// osDisk is the real one.
type osDisk struct{}

func (osDisk) ReadDir(dir string) ([]string, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.Readdirnames(-1)
}

func (osDisk) ReadFile(name string) ([]byte, error) { return os.ReadFile(name) }

func (osDisk) Mkdir(dir string) error { return os.Mkdir(dir, 0o700) }

func (osDisk) Create(name string) (DiskFile, error) {
	return os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
}

func (osDisk) Rename(from, to string) error { return os.Rename(from, to) }

func (osDisk) Remove(name string) error { return os.Remove(name) }

func (osDisk) SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
