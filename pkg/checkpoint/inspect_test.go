package checkpoint_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/autotagd/autotagd/internal/fakeaws"
	"github.com/autotagd/autotagd/pkg/checkpoint"
	"github.com/autotagd/autotagd/pkg/event"
	"github.com/autotagd/autotagd/pkg/resource"
)

func TestInspect(t *testing.T) {
	for name, store := range map[string]func(t *testing.T) checkpoint.Store{
		"files": func(t *testing.T) checkpoint.Store { return openFile(t, t.TempDir()) },
		"DynamoDB": func(t *testing.T) checkpoint.Store {
			_, d := inProcess(fakeaws.Config{})
			return replica(t, d.table(t, "autotagd"), "a")
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := store(t)
			if sum, err := checkpoint.Inspect(t.Context(), s, scope); err != nil || sum.Saved || !sum.Floor.IsZero() {
				t.Errorf("never saved: %+v, %v", sum, err)
			}
			l := started(t, s)
			l.AddBacklog(span(-7200, -3600))
			l.AddBacklog(span(-90, -30, "CreateVolume"))
			for n, reason := range []resource.Reason{resource.AccessDenied, resource.Exhausted, resource.AccessDenied} {
				id := fmt.Sprint("e", n)
				begin(t, l, event.Live, id, 100-n, event.New)
				j := job(id, 100-n, n)
				l.Hold(id, []resource.Job{j})
				j.LastReason = reason
				l.Defer(j)
			}
			l.FloorRead(at(60))
			l.HeadRead(at(200))
			before := time.Now()
			save(t, l)
			sum, err := checkpoint.Inspect(t.Context(), s, scope)
			if err != nil {
				t.Fatal(err)
			}
			if age := sum.SavedAt.Sub(before); age < -time.Second || age > time.Minute {
				t.Errorf("saved %s after the save", age)
			}
			sum.SavedAt = time.Time{}
			want := checkpoint.Summary{
				Saved: true, Floor: at(60), Watermark: at(200), Spans: 2, Backlog: time.Hour + time.Minute,
				Deferred: 3, Oldest: at(98), Reasons: map[resource.Reason]int{resource.AccessDenied: 2, resource.Exhausted: 1},
			}
			if diff := cmp.Diff(want, sum); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			held := l.Summary()
			held.SavedAt = time.Time{}
			if diff := cmp.Diff(want, held); diff != "" {
				t.Errorf("as its holder has it (-want +got):\n%s", diff)
			}
		})
	}
}

// What can't be trusted is no summary.
func TestInspectOfDamage(t *testing.T) {
	dir := t.TempDir()
	s := openFile(t, dir)
	l := started(t, s)
	save(t, l)
	if err := os.WriteFile(s.Locate(scope, checkpoint.StatePart), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	sum, err := checkpoint.Inspect(t.Context(), s, scope)
	if damaged := (*checkpoint.DamagedError)(nil); !errors.As(err, &damaged) || sum.Saved {
		t.Errorf("%+v, %v", sum, err)
	}
}

// Whoever looks while the holder writes sees a whole state, and is disturbed by no file that goes.
func TestInspectBesideItsHolder(t *testing.T) {
	dir := t.TempDir()
	l := started(t, openFile(t, dir))
	save(t, l)
	looking, err := checkpoint.OpenReadOnly(dir)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		for n := range 100 {
			id := fmt.Sprint("e", n)
			l.Begin(event.Live, id, at(n*60))
			j := job(id, n*60, n)
			l.Hold(id, []resource.Job{j})
			l.Defer(j)
			if err := l.Save(t.Context()); err != nil {
				done <- err
				return
			}
			l.Finish(j)
			l.FloorRead(at(n * 60))
			l.HeadRead(at(n * 60))
		}
		done <- l.Save(t.Context())
	}()
	var last time.Time
	for looks := 0; ; looks++ {
		sum, err := checkpoint.Inspect(t.Context(), looking, scope)
		if err != nil || !sum.Saved || sum.Floor.Before(last) {
			t.Fatalf("look %d: %+v after a Floor of %s, %v", looks, sum, last, err)
		}
		last = sum.Floor
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("looked %d times", looks)
			return
		default:
		}
	}
}

// The lock's holder is seen without taking the lock.
func TestLocked(t *testing.T) {
	dir := t.TempDir()
	looking, err := checkpoint.OpenReadOnly(dir)
	if err != nil {
		t.Fatal(err)
	}
	if pid, err := looking.Locked(); pid != 0 || err != nil {
		t.Errorf("before there is a lock: %d, %v", pid, err)
	}
	held, err := checkpoint.OpenFileStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	if pid, err := looking.Locked(); pid != os.Getpid() || err != nil {
		t.Errorf("while this process has it: %d, %v; want %d", pid, err, os.Getpid())
	}
	if err := held.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat("/proc/locks"); err != nil {
		t.Skip("no /proc/locks: a process that lives is taken for the holder")
	}
	if pid, err := looking.Locked(); pid != 0 || err != nil {
		t.Errorf("after it was let go: %d, %v", pid, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "lock")); err != nil {
		t.Error(err)
	}
}
