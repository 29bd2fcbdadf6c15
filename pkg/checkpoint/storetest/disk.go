package storetest

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"syscall"

	"github.com/autotagd/autotagd/pkg/checkpoint"
)

// Fault is what a Disk does with one operation.
type Fault int

// The faults.
const (
	None Fault = iota
	Lost       // it fails and has no effect, but for half of a write
	Kept       // it fails and has its effect
	Cut        // the machine stops after it: it and all later ones fail, until Reboot
)

// ErrInjected is the error of an injected fault, ErrCut that of a machine that stopped.
var (
	ErrInjected = errors.New("injected disk fault")
	ErrCut      = errors.New("the machine has stopped")
)

// Disk is a checkpoint.Disk in memory that keeps apart what is written and what is durable. Reboot loses some or all of
// what was not synced, as a crash of the machine does.
type Disk struct {
	// Inject, when set, decides on each operation: "create", "write", "sync", "rename", "remove", "mkdir", "syncdir",
	// "readdir", "readfile". It must not call the Disk.
	Inject func(op, name string) Fault
	// Capacity is how many bytes fit; 0 is no limit. Set it before the Disk is used; SetCapacity is for later.
	Capacity int

	mu      sync.Mutex // guards what follows, and what is set later
	stopped bool
	ops     int
	now     map[string]*inode // by path
	durable map[string]*inode
}

// inode is a file, or a directory when dir is set.
type inode struct {
	dir          bool
	data, synced []byte
}

// NewDisk returns a Disk with one durable directory.
func NewDisk(dir string) *Disk {
	root := &inode{dir: true}
	return &Disk{now: map[string]*inode{dir: root}, durable: map[string]*inode{dir: root}}
}

// SetCapacity replaces Capacity.
func (d *Disk) SetCapacity(bytes int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.Capacity = bytes
}

// Ops counts the operations so far.
func (d *Disk) Ops() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ops
}

// Stop stops the machine: every operation fails until Reboot.
func (d *Disk) Stop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stopped = true
}

// Reboot ends a stop. What wasn't synced is lost, wholly when rng is nil, else file by file and name by name as rng falls:
// lost, kept, or half there.
func (d *Disk) Reboot(rng *rand.Rand) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stopped = false
	var paths []string
	for p := range d.now {
		paths = append(paths, p)
	}
	for p := range d.durable {
		if d.now[p] == nil {
			paths = append(paths, p)
		}
	}
	slices.Sort(paths)
	after := map[string]*inode{}
	for _, p := range paths {
		n := d.durable[p]
		if d.now[p] != n && rng != nil && rng.IntN(2) == 0 {
			n = d.now[p]
		}
		if n != nil && (after[filepath.Dir(p)] != nil || d.durable[p] != nil) {
			after[p] = n
		}
	}
	for _, p := range paths { // content, once for each file
		if n := after[p]; n != nil && !n.dir {
			n.data = settleContent(n, rng)
			n.synced = n.data
		}
	}
	d.now, d.durable = after, map[string]*inode{}
	for p, n := range after {
		d.durable[p] = n
	}
}

func settleContent(n *inode, rng *rand.Rand) []byte {
	if slices.Equal(n.data, n.synced) || rng == nil {
		return n.synced
	}
	switch rng.IntN(4) {
	case 0:
		return n.synced
	case 1:
		return n.data
	case 2:
		return n.data[:rng.IntN(len(n.data)+1)]
	}
	zeros := slices.Clone(n.data) // a length that is durable before its blocks are
	clear(zeros[rng.IntN(len(zeros)+1):])
	return zeros
}

// Damage changes a file's content, durably, behind everyone's back.
func (d *Disk) Damage(name string, change func([]byte) []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.now[name]
	if n == nil {
		n = &inode{}
		d.now[name] = n
	}
	n.data = change(slices.Clone(n.data))
	n.synced, d.durable[name] = n.data, n
}

// Files returns the paths of all files, sorted.
func (d *Disk) Files() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var names []string
	for p, n := range d.now {
		if !n.dir {
			names = append(names, p)
		}
	}
	slices.Sort(names)
	return names
}

// Size returns how many bytes all files hold.
func (d *Disk) Size() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.used()
}

// do runs one operation with its fault. The caller holds mu.
func (d *Disk) do(op, name string, effect func() error) error {
	if d.stopped {
		return fmt.Errorf("%s %s: %w", op, name, ErrCut)
	}
	d.ops++
	fault := None
	if d.Inject != nil {
		fault = d.Inject(op, name)
	}
	if fault == Lost {
		return fmt.Errorf("%s %s: %w", op, name, ErrInjected)
	}
	err := effect()
	switch {
	case fault == Cut:
		d.stopped = true
		return fmt.Errorf("%s %s: %w", op, name, ErrCut)
	case err == nil && fault == Kept:
		return fmt.Errorf("%s %s: %w", op, name, ErrInjected)
	case err != nil:
		return fmt.Errorf("%s %s: %w", op, name, err)
	}
	return nil
}

// ReadDir implements checkpoint.Disk.
func (d *Disk) ReadDir(dir string) (names []string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	err = d.do("readdir", dir, func() error {
		if n := d.now[dir]; n == nil || !n.dir {
			return fs.ErrNotExist
		}
		for p := range d.now {
			if filepath.Dir(p) == dir && p != dir {
				names = append(names, filepath.Base(p))
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return names, nil
}

// ReadFile implements checkpoint.Disk.
func (d *Disk) ReadFile(name string) (data []byte, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	err = d.do("readfile", name, func() error {
		n := d.now[name]
		if n == nil || n.dir {
			return fs.ErrNotExist
		}
		data = slices.Clone(n.data)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return data, nil
}

// Mkdir implements checkpoint.Disk.
func (d *Disk) Mkdir(dir string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.do("mkdir", dir, func() error {
		if d.now[filepath.Dir(dir)] == nil {
			return fs.ErrNotExist
		}
		if d.now[dir] != nil {
			return fs.ErrExist
		}
		d.now[dir] = &inode{dir: true}
		return nil
	})
}

// Create implements checkpoint.Disk.
func (d *Disk) Create(name string) (checkpoint.DiskFile, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := &file{disk: d, name: name}
	err := d.do("create", name, func() error {
		if d.now[filepath.Dir(name)] == nil {
			return fs.ErrNotExist
		}
		if f.inode = d.now[name]; f.inode == nil {
			f.inode = &inode{}
			d.now[name] = f.inode
		}
		f.inode.data = nil
		return nil
	})
	if err != nil {
		return nil, err
	}
	return f, nil
}

// Rename implements checkpoint.Disk.
func (d *Disk) Rename(from, to string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.do("rename", to, func() error {
		if d.now[from] == nil {
			return fs.ErrNotExist
		}
		d.now[to] = d.now[from]
		delete(d.now, from)
		return nil
	})
}

// Remove implements checkpoint.Disk.
func (d *Disk) Remove(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.do("remove", name, func() error {
		if d.now[name] == nil {
			return fs.ErrNotExist
		}
		delete(d.now, name)
		return nil
	})
}

// SyncDir implements checkpoint.Disk.
func (d *Disk) SyncDir(dir string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.do("syncdir", dir, func() error {
		if d.now[dir] == nil {
			return fs.ErrNotExist
		}
		for p := range d.durable {
			if filepath.Dir(p) == dir && p != dir && d.now[p] == nil {
				delete(d.durable, p)
			}
		}
		for p, n := range d.now {
			if filepath.Dir(p) == dir && p != dir {
				d.durable[p] = n
			}
		}
		return nil
	})
}

type file struct {
	disk  *Disk
	name  string
	inode *inode
}

func (f *file) Write(b []byte) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	half := true
	err := f.disk.do("write", f.name, func() error {
		half = false
		if f.disk.Capacity > 0 && f.disk.used()+len(b) > f.disk.Capacity {
			half = true
			return syscall.ENOSPC
		}
		f.inode.data = append(f.inode.data, b...)
		return nil
	})
	if half && !f.disk.stopped {
		f.inode.data = append(f.inode.data, b[:len(b)/2]...)
	}
	if err != nil {
		return 0, err
	}
	return len(b), nil
}

func (f *file) Sync() error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	return f.disk.do("sync", f.name, func() error {
		f.inode.synced = slices.Clone(f.inode.data)
		return nil
	})
}

func (f *file) Close() error { return nil }

// used is how much is written. The caller holds mu.
func (d *Disk) used() int {
	n := 0
	for _, f := range d.now {
		n += len(f.data)
	}
	return n
}
