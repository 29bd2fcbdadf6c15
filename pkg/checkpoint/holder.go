package checkpoint

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// Locked returns the pid of the process of this host that has the directory's lock now, or 0. It looks without taking the
// lock, for an instant of that could refuse a daemon that starts. A process on another host, or in a container that this one
// can't look into, is not seen.
func (s *FileStore) Locked() (int, error) {
	path := filepath.Join(s.dir, lockName)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	} else if err != nil {
		return 0, fmt.Errorf("look at the checkpoint directory's lock: %w", err)
	}
	last := holder(path)
	table, err := os.ReadFile("/proc/locks")
	if err != nil { // no Linux: then the process that took it last, if it lives
		if last > 0 && alive(last) {
			return last, nil
		}
		return 0, nil
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, nil
	}
	return lockHolder(string(table), uint64(stat.Dev), stat.Ino, last), nil
}

// lockHolder finds a file's exclusive lock in /proc/locks, whose lines read
//
//	1: FLOCK  ADVISORY  WRITE 4711 08:01:131097 0 EOF
//
// Some file systems tell another device there than to stat: then the pid must be that of the lock's last owner.
func lockHolder(table string, dev, inode uint64, last int) int {
	major, minor := dev>>8&0xfff|dev>>32&^uint64(0xfff), dev&0xff|dev>>12&^uint64(0xff)
	device := fmt.Sprintf("%02x:%02x", major, minor)
	for line := range strings.Lines(table) {
		f := strings.Fields(line)
		if len(f) < 6 || f[1] == "->" || f[3] != "WRITE" { // an arrow: somebody who waits
			continue
		}
		i := strings.LastIndexByte(f[5], ':')
		pid, err := strconv.Atoi(f[4])
		if i < 0 || err != nil || pid <= 0 || f[5][i+1:] != strconv.FormatUint(inode, 10) {
			continue
		}
		if f[5][:i] == device || pid == last {
			return pid
		}
	}
	return 0
}

// alive reports whether there is a process with the pid.
func alive(pid int) bool {
	err := syscall.Kill(pid, 0)
	return err == nil || errors.Is(err, syscall.EPERM)
}
