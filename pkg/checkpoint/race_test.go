package checkpoint_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/autotagd/autotagd/pkg/checkpoint"
	"github.com/autotagd/autotagd/pkg/event"
	"github.com/autotagd/autotagd/pkg/resource"
)

// meanwhile is a Store during whose calls something else happens, before or after their effect.
type meanwhile struct {
	checkpoint.Store
	put, swapped, deleted func()
	swapErr               error // what Swap says after it has done its work
}

func (m *meanwhile) Put(ctx context.Context, s event.Scope, parts []checkpoint.Part) error {
	err := m.Store.Put(ctx, s, parts)
	run(&m.put)
	return err
}

func (m *meanwhile) Swap(ctx context.Context, s event.Scope, old checkpoint.Version, state []byte) (checkpoint.Version, error) {
	v, err := m.Store.Swap(ctx, s, old, state)
	run(&m.swapped)
	if err == nil && m.swapErr != nil {
		err, m.swapErr = m.swapErr, nil
		return "", err
	}
	return v, err
}

func (m *meanwhile) Delete(ctx context.Context, s event.Scope, names []string) error {
	err := m.Store.Delete(ctx, s, names)
	run(&m.deleted)
	return err
}

// run calls *f, once.
func run(f *func()) {
	if g := *f; g != nil {
		*f = nil
		g()
	}
}

func attempt(n int) resource.Job {
	j := job("a", 70, 1)
	j.Attempts = n
	return j
}

// wantStored checks what a crash would leave of the Job.
func wantStored(t *testing.T, store checkpoint.Store, attempts int) {
	t.Helper()
	got := openLedger(t, store).Deferred()
	if len(got) != 1 || got[0].Attempts != attempts {
		t.Fatalf("stored %+v, want one Job with %d attempts", got, attempts)
	}
}

func TestJobDeferredAgainDuringASave(t *testing.T) {
	store := &meanwhile{Store: checkpoint.NewMemory()}
	l := started(t, store)
	begin(t, l, event.Live, "a", 70, event.New)
	l.Hold("a", []resource.Job{attempt(0)})
	l.Defer(attempt(1))
	store.put = func() { l.Defer(attempt(2)) }
	save(t, l)
	wantStored(t, store, 1)
	save(t, l)
	wantStored(t, store, 2)

	l.Finish(attempt(2)) // by one copy of it; another is deferred while the part is being deleted
	store.deleted = func() { l.Defer(attempt(3)) }
	save(t, l)
	save(t, l)
	wantStored(t, store, 3)
	l.Finish(attempt(3))
	save(t, l)
	if got := openLedger(t, store).Deferred(); len(got) != 0 {
		t.Errorf("stored %+v, want nothing", got)
	}
}

// A finished Job's part goes only when its event is in seen#, or can't be read again.
func TestFinishedPartWaitsForItsEvent(t *testing.T) {
	for name, passed := range map[string]func(l *checkpoint.Ledger){
		"until the event is seen": func(l *checkpoint.Ledger) {
			begin(t, l, event.Live, "a", 70, event.New)
			l.Done("a")
		},
		"until the Floor has passed it": func(l *checkpoint.Ledger) { l.FloorRead(at(71)) },
	} {
		store := checkpoint.NewMemory()
		save(t, started(t, store))
		l := openLedger(t, store)
		l.Defer(attempt(1)) // as a crash between job# and seen# leaves it
		save(t, l)
		l.Finish(attempt(1))
		save(t, l)
		if openLedger(t, store).DeferredCount() != 1 {
			t.Errorf("%s: gone before", name)
		}
		passed(l)
		save(t, l)
		if openLedger(t, store).DeferredCount() != 0 {
			t.Errorf("%s: not gone after", name)
		}
	}
}

func TestEventsSettledDuringASaveAreSavedNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &meanwhile{Store: checkpoint.NewMemory()}
		l := started(t, store)
		begin(t, l, event.Live, "a", 70, event.New)
		l.Done("a")
		settle := func(id string, seconds int) func() {
			return func() {
				begin(t, l, event.Live, id, seconds, event.New)
				l.Done(id)
			}
		}
		store.put = settle("b", 71) // of the same minute, whose part is being written
		store.swapped = settle("c", 130)
		save(t, l)
		if l.Due(time.Now()) {
			t.Error("due at once")
		}
		time.Sleep(15 * time.Second)
		if !l.Due(time.Now()) {
			t.Error("not due, although something was settled during the save")
		}
		save(t, l)
		l = openLedger(t, store)
		begin(t, l, event.Live, "a", 70, event.Settled)
		begin(t, l, event.Live, "b", 71, event.Settled)
		begin(t, l, event.Live, "c", 130, event.Settled)
	})
}

func TestUnclearSwap(t *testing.T) {
	lost := errors.New("the answer is lost")
	setUp := func(t *testing.T) (*meanwhile, *checkpoint.Ledger) {
		store := &meanwhile{Store: checkpoint.NewMemory()}
		l := started(t, store)
		save(t, l)
		begin(t, l, event.Live, "a", 70, event.New)
		l.Done("a")
		store.swapErr = lost
		return store, l
	}
	t.Run("it has happened", func(t *testing.T) {
		store, l := setUp(t)
		if err := l.Save(t.Context()); !errors.Is(err, lost) {
			t.Fatalf("Save: %v", err)
		}
		save(t, l)
		save(t, l)
		begin(t, openLedger(t, store), event.Live, "a", 70, event.Settled)
	})
	t.Run("and then another holder came", func(t *testing.T) {
		store, l := setUp(t)
		store.swapped = func() {
			other := openLedger(t, store.Store)
			other.AddBacklog(span(-10, -5))
			save(t, other)
		}
		if err := l.Save(t.Context()); !errors.Is(err, lost) {
			t.Fatalf("Save: %v", err)
		}
		for range 2 {
			if err := l.Save(t.Context()); !errors.Is(err, checkpoint.ErrFenced) {
				t.Fatalf("Save: %v, want ErrFenced", err)
			}
		}
		wantBacklog(t, openLedger(t, store), span(-10, -5))
	})
}

// An event some of whose Jobs wait, and one was not stored: the replay comes by while it is in hand, and can't hand it on.
func TestReplayMeetsAnEventInHand(t *testing.T) {
	l := openLedger(t, checkpoint.NewMemory())
	if err := l.Reset(event.Marks{Floor: at(0)}); err != nil {
		t.Fatal(err)
	}
	begin(t, l, event.Live, "a", 70, event.New)
	l.Hold("a", []resource.Job{job("a", 70, 1), job("a", 70, 2)})
	l.Unstored(job("a", 70, 1), resource.EC2CreateTags, "ec2:CreateTags")
	l.Replay(resource.EC2CreateTags, "ec2:CreateTags", time.Now())
	wantBacklog(t, l, span(70, 70, "RunInstances"))
	begin(t, l, event.Backlog, "a", 70, event.InHand)
	l.BacklogRead(span(70, 70, "RunInstances"))
	l.Finish(job("a", 70, 2))
	wantBacklog(t, l, span(70, 70))
	begin(t, l, event.Backlog, "a", 70, event.New)
}

func TestReplayWaitsForAPartReadTwice(t *testing.T) {
	l := openLedger(t, checkpoint.NewMemory())
	names := []string{"RunInstances"}
	if err := l.Reset(event.Marks{Floor: at(100), Backlog: []event.Span{span(0, 50, names...)}}); err != nil {
		t.Fatal(err)
	}
	begin(t, l, event.Backlog, "a", 10, event.New)
	l.BacklogRead(span(0, 50, names...))
	l.Hold("a", []resource.Job{job("a", 10, 1)})
	l.Unstored(job("a", 10, 1), resource.EC2CreateTags, "ec2:CreateTags")
	wantBacklog(t, l)
	begin(t, l, event.Backlog, "b", 20, event.New)
	l.BacklogRead(span(0, 50, names...))
	l.Replay(resource.EC2CreateTags, "ec2:CreateTags", time.Now())
	wantBacklog(t, l)
	l.Done("b")
	wantBacklog(t, l)
	wantBacklog(t, l, span(10, 10, names...))
}

// A span like one that was just read and settled does not appear before the poller has seen that one gone, whoever adds it.
func TestASpanIsSeenGoneFirst(t *testing.T) {
	l := openLedger(t, checkpoint.NewMemory())
	same := span(0, 50, "RunInstances")
	if err := l.Reset(event.Marks{Floor: at(100), Backlog: []event.Span{same}}); err != nil {
		t.Fatal(err)
	}
	wantBacklog(t, l, same)
	begin(t, l, event.Backlog, "a", 10, event.New)
	l.BacklogRead(same)
	l.Done("a")
	l.AddBacklog(same)
	wantBacklog(t, l)
	wantBacklog(t, l, same)
}

// The status page looks while a save ends, for the race detector.
func TestSummaryDuringASave(t *testing.T) {
	store := &meanwhile{Store: checkpoint.NewMemory()}
	l := started(t, store)
	var looks sync.WaitGroup
	for i := range 200 {
		l.FloorRead(at(i))
		store.swapped = func() { looks.Go(func() { l.Summary() }) }
		save(t, l)
	}
	looks.Wait()
	if !l.Summary().Saved {
		t.Error("it was saved, and says it wasn't")
	}
}

// Who has no more time does not wait for a save that takes long.
func TestSaveDuringASave(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &meanwhile{Store: checkpoint.NewMemory()}
		l := started(t, store)
		store.swapped = func() { time.Sleep(20 * time.Second) }
		var first sync.WaitGroup
		first.Go(func() { save(t, l) })
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		if err := l.Save(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("while another save took 20 s: %v, want that its time is over", err)
		}
		save(t, l)
		if took := time.Since(began); took != 20*time.Second {
			t.Errorf("two saves were waited for %s, want 20 s", took)
		}
		first.Wait()
	})
}

// Poller, tagger and saver at once, for the race detector; what they leave is whole.
func TestAllAtOnce(t *testing.T) {
	store := checkpoint.NewMemory()
	l := started(t, store)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 200 {
				id := fmt.Sprintf("%d-%d", g, i)
				l.Begin(event.Live, id, at(i))
				j := job(id, i, 1)
				l.Hold(id, []resource.Job{j})
				if i%3 == 0 {
					l.Defer(j)
				}
				l.Finish(j)
				l.Marks()
			}
		})
	}
	wg.Go(func() {
		for range 50 {
			if err := l.Save(t.Context()); err != nil {
				t.Error(err)
			}
			l.Due(time.Now())
			l.DeferredCount()
		}
	})
	wg.Wait()
	l.FloorRead(at(150))
	save(t, l)
	wantFloor(t, openLedger(t, store), 150)
	l = openLedger(t, store)
	for i := 150; i < 200; i++ {
		begin(t, l, event.Live, fmt.Sprintf("2-%d", i), i, event.Settled)
	}
}
