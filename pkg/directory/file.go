package directory

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync/atomic"
	"syscall"
)

// maxUnrest is how many looks in a row may find the file still changing before it is read all the same.
const maxUnrest = 6

// Opener opens the file for reading, as OnDisk does. It must not wait for another process.
type Opener func(path string) (fs.File, error)

// OnDisk is the Opener of the file system. Without O_NONBLOCK a named pipe would make it wait for a writer.
func OnDisk(path string) (fs.File, error) {
	return os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
}

// File is a directory's file, which may change. Current is safe for concurrent use; Look is for one goroutine.
type File struct {
	path    string
	open    Opener
	current atomic.Pointer[Directory]

	// Of Look alone.
	read    fs.FileInfo       // the file that was read last, whether it was good or not; nil after a failure
	sum     [sha256.Size]byte // of what it held
	seen    fs.FileInfo       // what the last look found, where that was not read
	unrest  int               // looks in a row that found another file than the one before
	failure string            // why it can't be read, if it can't
}

// Open reads the file at path, relative to the working directory. What is wrong in it is an Errors.
func Open(path string, open Opener) (*File, error) {
	f := &File{path: path, open: open}
	file, info, err := f.opened()
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := readAll(file)
	if err != nil {
		return nil, err
	}
	d, err := Parse(path, data)
	if err != nil {
		return nil, err
	}
	f.current.Store(d)
	f.read, f.sum = info, sha256.Sum256(data)
	return f, nil
}

// Path is as Open was given it.
func (f *File) Path() string { return f.path }

// Current returns what was read last and had no mistake.
func (f *File) Current() *Directory { return f.current.Load() }

// Look reads the file again if it has changed, and reports whether Current is another now. An error says why it is not: an
// Errors where the new content has mistakes. Each cause is told once, not at every look.
//
// A change is read by the second look that finds it, since the first may find half of what an editor or a copy still writes:
// whoever is in the other half would be unknown for a while, and what they make meanwhile is tagged once.
func (f *File) Look() (bool, error) {
	file, info, err := f.opened()
	if err != nil {
		return false, f.failed(err)
	}
	defer file.Close()
	switch {
	case same(info, f.read):
		f.seen, f.unrest = nil, 0
		return false, nil
	case !same(info, f.seen) && f.unrest < maxUnrest:
		f.seen = info
		f.unrest++
		return false, nil
	}
	data, err := readAll(file)
	if err != nil {
		return false, f.failed(err)
	}
	if after, err := file.Stat(); (err != nil || !same(info, after)) && f.unrest < maxUnrest {
		f.seen = nil
		f.unrest++
		return false, nil
	}
	sum := sha256.Sum256(data)
	touched := sum == f.sum && f.failure == ""
	f.read, f.sum, f.seen, f.unrest, f.failure = info, sum, nil, 0, ""
	if touched {
		return false, nil
	}
	d, err := Parse(f.path, data)
	if err != nil {
		return false, err
	}
	f.current.Store(d)
	return true, nil
}

// failed returns err unless the last look failed likewise.
func (f *File) failed(err error) error {
	f.read, f.seen, f.unrest = nil, nil, 0
	if f.failure == err.Error() {
		return nil
	}
	f.failure = err.Error()
	return err
}

func (f *File) opened() (fs.File, fs.FileInfo, error) {
	file, err := f.open(f.path)
	if err != nil {
		return nil, nil, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no regular file", f.path)
	}
	if err != nil {
		return nil, nil, errors.Join(err, file.Close())
	}
	return file, info, nil
}

// readAll reads what Parse can take, and a byte more, by which it sees that there is more.
func readAll(file fs.File) ([]byte, error) {
	const mark = 3 // the bytes that Parse takes away before it counts
	return io.ReadAll(io.LimitReader(file, maxFileSize+mark+1))
}

// same reports whether a and b are of one file that was not written between. Another file of the same name is another.
func same(a, b fs.FileInfo) bool {
	return a != nil && b != nil && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size() && os.SameFile(a, b)
}
