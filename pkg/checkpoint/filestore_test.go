package checkpoint_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/autotagd/autotagd/pkg/checkpoint"
	"github.com/autotagd/autotagd/pkg/checkpoint/storetest"
	"github.com/autotagd/autotagd/pkg/event"
)

var scope = event.Scope{AccountID: "123456789012", Region: "eu-west-1"}

const seenPart = "seen#20261122T2336Z"

func TestStores(t *testing.T) {
	t.Run("memory", func(t *testing.T) {
		storetest.RunStoreTests(t, func(*testing.T) func() checkpoint.Store {
			m := checkpoint.NewMemory()
			return func() checkpoint.Store { return m }
		})
	})
	t.Run("file on a simulated disk", func(t *testing.T) {
		storetest.RunStoreTests(t, func(*testing.T) func() checkpoint.Store {
			d := storetest.NewDisk("/ck")
			return func() checkpoint.Store {
				d.Reboot(nil) // nothing that a call has confirmed hangs on luck
				return checkpoint.NewFileStore(d, "/ck")
			}
		})
	})
	t.Run("file", func(t *testing.T) {
		storetest.RunStoreTests(t, func(t *testing.T) func() checkpoint.Store {
			dir := t.TempDir()
			var open *checkpoint.FileStore
			t.Cleanup(func() { open.Close() })
			return func() checkpoint.Store {
				if open != nil {
					open.Close()
				}
				var err error
				if open, err = checkpoint.OpenFileStore(dir); err != nil {
					t.Fatal(err)
				}
				return open
			}
		})
	})
}

func TestFileModes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	s := openFile(t, dir)
	if _, err := s.Swap(t.Context(), scope, "", []byte("{}")); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		want := os.FileMode(0o600)
		if d.IsDir() {
			want = 0o700
		}
		if info.Mode().Perm() != want {
			t.Errorf("%s has mode %v, want %v", path, info.Mode().Perm(), want)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// holdEnv makes the test binary hold a directory's lock until its stdin closes.
const holdEnv = "CHECKPOINT_TEST_HOLD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(holdEnv); dir != "" {
		if _, err := checkpoint.OpenFileStore(dir); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("held")
		_, _ = os.Stdin.Read(make([]byte, 1))
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestSecondHolderIsRefusedAndToldThePid(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), holdEnv+"="+dir)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 5)
	if _, err := out.Read(line); err != nil || string(line[:4]) != "held" {
		t.Fatalf("the holder says %q, %v", line, err)
	}

	_, err = checkpoint.OpenFileStore(dir)
	var locked *checkpoint.LockedError
	if !errors.As(err, &locked) || locked.PID != cmd.Process.Pid {
		t.Fatalf("OpenFileStore: %v, want a LockedError with pid %d", err, cmd.Process.Pid)
	}
	for _, want := range []string{dir, fmt.Sprint(cmd.Process.Pid), "checkpoint.file.path"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("message %q lacks %q", err, want)
		}
	}
	if r, err := checkpoint.OpenReadOnly(dir); err != nil {
		t.Errorf("OpenReadOnly beside a holder: %v", err)
	} else if r.Holder() != cmd.Process.Pid {
		t.Errorf("Holder = %d, want %d", r.Holder(), cmd.Process.Pid)
	}

	in.Close()
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	openFile(t, dir) // a lock dies with its process, also one that left its pid behind
}

func TestDirectoryThatCannotBeWritten(t *testing.T) {
	parent := t.TempDir()
	blocked := filepath.Join(parent, "file")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	dirs := []string{blocked, filepath.Join(blocked, "below"), "/proc/autotagd"}
	if os.Getuid() != 0 {
		sealed := filepath.Join(parent, "sealed")
		if err := os.Mkdir(sealed, 0o500); err != nil {
			t.Fatal(err)
		}
		dirs = append(dirs, sealed)
	}
	for _, dir := range dirs {
		_, err := checkpoint.OpenFileStore(dir)
		if err == nil || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "checkpoint.file.path") {
			t.Errorf("OpenFileStore(%s): %v, want an error with the directory and the key", dir, err)
		}
	}
}

func TestReadOnlyWritesNothing(t *testing.T) {
	dir := t.TempDir()
	s := openFile(t, dir)
	if _, err := s.Swap(t.Context(), scope, "", []byte("{}")); err != nil {
		t.Fatal(err)
	}
	r, err := checkpoint.OpenReadOnly(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Put(t.Context(), scope, []checkpoint.Part{{Name: seenPart}}); err == nil {
		t.Error("Put worked")
	}
	if err := r.Delete(t.Context(), scope, []string{checkpoint.StatePart}); err == nil {
		t.Error("Delete worked")
	}
	if l, err := r.Load(t.Context(), scope); err != nil || l.Version == "" {
		t.Errorf("Load = %+v, %v", l, err)
	}
	if got, err := r.Scopes(t.Context()); err != nil || !slices.Equal(got, []event.Scope{scope}) {
		t.Errorf("Scopes = %v, %v", got, err)
	}
	if _, err := checkpoint.OpenReadOnly(filepath.Join(dir, "absent")); err == nil {
		t.Error("OpenReadOnly of nothing worked")
	}
	if _, err := os.Stat(filepath.Join(dir, "absent")); err == nil {
		t.Error("OpenReadOnly made a directory")
	}
}

func TestScopesThatWouldLeaveTheDirectory(t *testing.T) {
	s := checkpoint.NewFileStore(storetest.NewDisk("/ck"), "/ck")
	for _, bad := range []event.Scope{{}, {AccountID: "..", Region: "eu-west-1"}, {AccountID: "123456789012", Region: "../../etc"}, {AccountID: "123456789012", Region: ".."}} {
		if err := s.Put(t.Context(), bad, []checkpoint.Part{{Name: seenPart}}); err == nil {
			t.Errorf("Put for %q worked", bad)
		}
		if _, err := s.Load(t.Context(), bad); err == nil {
			t.Errorf("Load for %q worked", bad)
		}
	}
}

func TestDamage(t *testing.T) {
	const state = "/ck/123456789012/eu-west-1/state"
	const seen = "/ck/123456789012/eu-west-1/" + seenPart
	store := func(t *testing.T) (*storetest.Disk, *checkpoint.FileStore) {
		d := storetest.NewDisk("/ck")
		s := checkpoint.NewFileStore(d, "/ck")
		if err := s.Put(t.Context(), scope, []checkpoint.Part{{Name: seenPart, Data: []byte("0123456789abcdef")}}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Swap(t.Context(), scope, "", []byte("{\n \"format\": 1\n}\n")); err != nil {
			t.Fatal(err)
		}
		return d, s
	}
	mustDetect := func(t *testing.T, s *checkpoint.FileStore, file, how string) {
		t.Helper()
		_, err := s.Load(t.Context(), scope)
		var damaged *checkpoint.DamagedError
		if !errors.As(err, &damaged) {
			t.Fatalf("%s: Load: %v, want a DamagedError", how, err)
		}
		for _, want := range []string{"damaged", file, "move it away"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: message %q lacks %q", how, err, want)
			}
		}
	}
	for _, file := range []string{state, seen} {
		d, s := store(t)
		whole, err := d.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for i := range whole {
			d.Damage(file, func([]byte) []byte { return slices.Clone(whole[:i]) })
			mustDetect(t, s, file, fmt.Sprintf("cut to %d bytes", i))
			for bit := range 8 {
				d.Damage(file, func([]byte) []byte {
					b := slices.Clone(whole)
					b[i] ^= 1 << bit
					return b
				})
				mustDetect(t, s, file, fmt.Sprintf("bit %d of byte %d", bit, i))
			}
		}
		for how, content := range map[string][]byte{
			"foreign": []byte("{\"format\": 1}\n"), "zeros": make([]byte, len(whole)), "longer": append(slices.Clone(whole), 0),
			"binary": bytes.Repeat([]byte{0xff}, 300),
		} {
			d.Damage(file, func([]byte) []byte { return content })
			mustDetect(t, s, file, how)
		}
		d.Damage(file, func([]byte) []byte { return whole })
		if _, err := s.Load(t.Context(), scope); err != nil {
			t.Fatalf("restored: %v", err)
		}
	}

	t.Run("a file of another Region or another name", func(t *testing.T) {
		d, s := store(t)
		b, _ := d.ReadFile(state)
		d.Damage(seen, func([]byte) []byte { return b })
		mustDetect(t, s, seen, "state in place of seen#")
		if _, err := s.Load(t.Context(), scope); !strings.Contains(err.Error(), "it is the part state of "+scope.String()) {
			t.Errorf("message %q does not say what it is", err)
		}
		d, s = store(t)
		b, _ = d.ReadFile(state)
		b = bytes.Replace(b, []byte("eu-west-1"), []byte("us-east-1"), 1)
		d.Damage(state, func([]byte) []byte { return b })
		mustDetect(t, s, state, "another Region")
	})
	t.Run("a file that no part is called", func(t *testing.T) {
		for _, name := range []string{"state.bak", "seen#now", "job#x#y", "lost+found", "seen#20261122T2336"} {
			d, s := store(t)
			path := "/ck/123456789012/eu-west-1/" + name
			d.Damage(path, func([]byte) []byte { return []byte("x") })
			mustDetect(t, s, path, name)
		}
	})
	t.Run("what a crash left beside is removed", func(t *testing.T) {
		d, s := store(t)
		d.Damage("/ck/123456789012/eu-west-1/.new-state", func([]byte) []byte { return []byte("half") })
		if _, err := s.Load(t.Context(), scope); err != nil {
			t.Fatal(err)
		}
		if got := d.Files(); len(got) != 2 {
			t.Errorf("files = %q", got)
		}
	})
	t.Run("damage is never overwritten", func(t *testing.T) {
		d, s := store(t)
		d.Damage(state, func(b []byte) []byte { return b[:10] })
		var damaged *checkpoint.DamagedError
		if _, err := s.Swap(t.Context(), scope, "", []byte("new")); !errors.As(err, &damaged) {
			t.Errorf("Swap: %v, want a DamagedError", err)
		}
	})
}

// Whatever fails or crashes during a write, a later Load gives the old content or the new, and the new if the write
// was confirmed, also when it was confirmed only at a second try.
func TestWritesAreAtomicAndDurable(t *testing.T) {
	content := func(n int) []byte { return bytes.Repeat([]byte{byte('0' + n)}, 100) }
	for _, fault := range []storetest.Fault{storetest.Lost, storetest.Kept, storetest.Cut} {
		for step := 1; step < 40; step++ {
			for seed := range uint64(10) {
				d := storetest.NewDisk("/ck")
				ops := 0
				d.Inject = func(string, string) storetest.Fault {
					if ops++; ops == step {
						return fault
					}
					return storetest.None
				}
				s := checkpoint.NewFileStore(d, "/ck")
				var confirmed, tried [2]int // of the part and the state: the last content
				var version checkpoint.Version
				for n := 1; n <= 3; n++ {
					err := s.Put(t.Context(), scope, []checkpoint.Part{{Name: seenPart, Data: content(n)}})
					if tried[0] = n; err == nil {
						confirmed[0] = n
					}
					v, err := s.Swap(t.Context(), scope, version, content(n))
					if tried[1] = n; err == nil {
						confirmed[1], version = n, v
					} else if l, err := s.Load(t.Context(), scope); err == nil {
						version = l.Version // as a Ledger does
					}
				}
				d.Inject = nil
				d.Reboot(rand.New(rand.NewPCG(seed, 1)))
				l, err := checkpoint.NewFileStore(d, "/ck").Load(t.Context(), scope)
				if err != nil {
					t.Fatalf("fault %v at operation %d, seed %d: Load: %v", fault, step, seed, err)
				}
				got := [2]int{0, number(l.State)}
				for _, p := range l.Parts {
					got[0] = number(p.Data)
				}
				for i := range got {
					if got[i] < confirmed[i] || got[i] > tried[i] {
						t.Fatalf("fault %v at operation %d, seed %d: content %d of %d, want %d to %d", fault, step, seed, got[i], i, confirmed[i], tried[i])
					}
				}
			}
		}
	}
}

// number tells which content this is; 0 for none, 99 for a mixture.
func number(b []byte) int {
	if len(b) == 0 {
		return 0
	}
	if len(b) != 100 || len(slices.Compact(slices.Clone(b))) != 1 {
		return 99
	}
	return int(b[0] - '0')
}

func TestFullDisk(t *testing.T) {
	d := storetest.NewDisk("/ck")
	s := checkpoint.NewFileStore(d, "/ck")
	v, err := s.Swap(t.Context(), scope, "", []byte("old"))
	if err != nil {
		t.Fatal(err)
	}
	d.Capacity = 300
	if _, err := s.Swap(t.Context(), scope, v, make([]byte, 1000)); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("Swap on a full disk: %v", err)
	}
	if l, err := s.Load(t.Context(), scope); err != nil || string(l.State) != "old" {
		t.Errorf("Load = %q, %v", l.State, err)
	}
	d.Capacity = 0
	if _, err := s.Swap(t.Context(), scope, v, []byte("new")); err != nil {
		t.Errorf("Swap with room again: %v", err)
	}
}

func openFile(t *testing.T, dir string) *checkpoint.FileStore {
	t.Helper()
	s, err := checkpoint.OpenFileStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}
