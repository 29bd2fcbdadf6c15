package directory_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/autotagd/autotagd/pkg/directory"
)

// disk is the file system, where reads can fail and something can happen during one.
type disk struct {
	reads    int
	readErr  error
	openErr  error
	onceRead func() // called before the next read
}

type diskFile struct {
	fs.File
	disk *disk
}

func (d *disk) open(path string) (fs.File, error) {
	if d.openErr != nil {
		return nil, d.openErr
	}
	f, err := directory.OnDisk(path)
	if err != nil {
		return nil, err
	}
	return diskFile{f, d}, nil
}

func (f diskFile) Read(p []byte) (int, error) {
	f.disk.reads++
	if f.disk.readErr != nil {
		return 0, f.disk.readErr
	}
	n, err := f.File.Read(p)
	if f.disk.onceRead != nil {
		f.disk.onceRead()
		f.disk.onceRead = nil
	}
	return n, err
}

// desk is a file that someone edits, and what reads it.
type desk struct {
	t    *testing.T
	disk *disk
	path string
	file *directory.File
	at   time.Time // of the next write: a file system's clock may be too coarse for a test
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	d := &desk{t: t, disk: &disk{}, path: filepath.Join(t.TempDir(), "people.csv"), at: time.Unix(1_700_000_000, 0)}
	d.write("name,department\nalice,Sales\n")
	file, err := directory.Open(d.path, d.disk.open)
	if err != nil {
		t.Fatal(err)
	}
	d.file = file
	d.department("Sales")
	return d
}

func (d *desk) write(text string) {
	d.t.Helper()
	if err := os.WriteFile(d.path, []byte(text), 0o600); err != nil {
		d.t.Fatal(err)
	}
	d.touch()
}

func (d *desk) touch() {
	d.t.Helper()
	d.at = d.at.Add(time.Second)
	if err := os.Chtimes(d.path, d.at, d.at); err != nil {
		d.t.Fatal(err)
	}
}

// look is one Look, which must end so: "" is no error.
func (d *desk) look(changed bool, wantErr string) {
	d.t.Helper()
	got, err := d.file.Look()
	if got != changed {
		d.t.Errorf("Look: changed = %t, want %t", got, changed)
	}
	if (err == nil) != (wantErr == "") || err != nil && !strings.Contains(err.Error(), wantErr) {
		d.t.Errorf("Look: error %v, want %q", err, wantErr)
	}
}

// department fails unless that is alice's by now.
func (d *desk) department(want string) {
	d.t.Helper()
	if got, _ := d.file.Current().Attributes("alice"); got["department"] != want {
		d.t.Errorf("department = %q, want %q", got["department"], want)
	}
}

func TestLookReadsWhatHasChanged(t *testing.T) {
	d := newDesk(t)
	d.disk.reads = 0
	for range 3 {
		d.look(false, "")
	}
	if d.disk.reads != 0 {
		t.Errorf("%d reads of a file that has not changed", d.disk.reads)
	}

	d.write("name,department\nalice,Board\n")
	d.look(false, "")
	d.look(true, "")
	d.department("Board")
	d.look(false, "")

	// Another file in its place, of the same size and time.
	other := d.path + ".new"
	if err := os.WriteFile(other, []byte("name,department\nalice,Labor\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Chtimes(other, d.at, d.at), os.Rename(other, d.path)); err != nil {
		t.Fatal(err)
	}
	d.look(false, "")
	d.look(true, "")
	d.department("Labor")

	d.touch()
	d.look(false, "")
	d.look(false, "")
	d.look(false, "")
}

func TestLookKeepsTheLastGoodContent(t *testing.T) {
	d := newDesk(t)
	d.write("name,department\nalice,Board\n,Nobody\n")
	d.look(false, "")
	d.look(false, d.path+":3:1: an empty name")
	d.look(false, "")
	d.touch() // the same mistakes are not told again
	d.look(false, "")
	d.look(false, "")
	d.department("Sales")

	d.write("name,department\nalice,Sales\n") // as before the mistake
	d.look(false, "")
	d.look(true, "")
	d.department("Sales")
}

func TestLookOutlivesTheFile(t *testing.T) {
	d := newDesk(t)
	if err := os.Remove(d.path); err != nil {
		t.Fatal(err)
	}
	d.look(false, "no such file")
	d.look(false, "")
	d.department("Sales")
	d.write("name,department\nalice,Sales\n")
	d.look(false, "")
	d.look(true, "")

	d.disk.openErr = fs.ErrPermission
	d.look(false, "permission denied")
	d.look(false, "")
	d.disk.openErr = nil
	d.look(false, "")
	d.look(true, "")

	d.write("name,department\nalice,Board\n")
	d.look(false, "")
	d.disk.readErr = errors.New("the disk is dying")
	d.look(false, "the disk is dying")
	d.look(false, "")
	d.look(false, "")
	d.department("Sales")
	d.disk.readErr = nil
	d.look(false, "")
	d.look(true, "")
	d.department("Board")
}

// A file that is written slowly is read when all of it is there.
func TestLookWaitsForTheWriter(t *testing.T) {
	d := newDesk(t)
	const whole = "name,department\nbob,Purchasing\ncarl,Sales\nalice,Board\n"
	for _, part := range []string{"", "name,dep", "name,department\nbob,Purchasing\n"} {
		d.write(part)
		d.look(false, "")
	}
	d.write("name,department\nbob,Purchasing\ncarl,Sales\n")
	d.look(false, "")
	d.disk.onceRead = func() { d.write(whole) } // at the last moment
	d.look(false, "")
	d.department("Sales")
	d.look(false, "")
	d.look(true, "")
	d.department("Board")
}

// Something that touches the file without end doesn't keep it from being read.
func TestLookWaitsNotForEver(t *testing.T) {
	d := newDesk(t)
	d.write("name,department\nalice,Board\n")
	for i := range 20 {
		d.touch()
		if changed, err := d.file.Look(); err != nil {
			t.Fatal(err)
		} else if changed {
			if i < 3 {
				t.Errorf("read at look %d, while it changed", i+1)
			}
			d.department("Board")
			return
		}
	}
	t.Error("never read")
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	pipe, large, broken := filepath.Join(dir, "pipe"), filepath.Join(dir, "large"), filepath.Join(dir, "broken")
	for _, err := range []error{
		syscall.Mkfifo(pipe, 0o600), os.WriteFile(large, nil, 0o600), os.Truncate(large, 1<<40), os.WriteFile(broken, []byte("alice\n"), 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]string{
		filepath.Join(dir, "gone"): "no such file",
		dir:                        "is no regular file",
		pipe:                       "is no regular file",
		large:                      ":1:1: has more than 16777216 bytes",
		broken:                     ":1:1: no header",
		"/dev/zero":                "is no regular file",
	} {
		if _, err := directory.Open(path, directory.OnDisk); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", path, err, want)
		}
	}
}

// Many ask while it changes: each answer is of one content or the other.
func TestCurrentWhileItChanges(t *testing.T) {
	d := newDesk(t)
	stop := make(chan struct{})
	var asking sync.WaitGroup
	for range 4 {
		asking.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if got, ok := d.file.Current().Attributes("Alice"); !ok || got["department"] != "Sales" && got["department"] != "Board" {
					t.Errorf("%v, %t", got, ok)
					return
				}
			}
		})
	}
	for i := range 20 {
		d.write("name,department\nali?e," + []string{"Board", "Sales"}[i%2] + "\n")
		d.look(false, "")
		d.look(true, "")
	}
	close(stop)
	asking.Wait()
}
