package checkpoint_test

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/autotagd/autotagd/pkg/checkpoint"
	"github.com/autotagd/autotagd/pkg/event"
	"github.com/autotagd/autotagd/pkg/resource"
)

// BenchmarkEvent is the bookkeeping of one event with one Job, from Begin to settled.
func BenchmarkEvent(b *testing.B) {
	l := benchLedger(b, checkpoint.NewMemory())
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		id := fmt.Sprintf("c7f8a9d0-0000-4000-8000-%012d", i)
		l.Begin(event.Live, id, at(i%600))
		j := job(id, i%600, 1)
		l.Hold(id, []resource.Job{j})
		l.Finish(j)
		i++
	}
}

// BenchmarkSave is one save of a very busy Scope on a real disk: 10,000 events a minute settle, those of one interval (2,500)
// spread over the last ten minutes of event time as CloudTrail's delays do, an hour of ids in hand.
func BenchmarkSave(b *testing.B) {
	store, err := checkpoint.OpenFileStore(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close()
	l := benchLedger(b, store)
	n := 0
	settle := func(seconds int) {
		id := fmt.Sprintf("c7f8a9d0-0000-4000-8000-%012d", n)
		n++
		l.Begin(event.Live, id, at(seconds))
		l.Done(id)
	}
	const perMinute = 10_000
	for minute := range 60 {
		for range perMinute {
			settle(minute * 60)
		}
	}
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	perID := float64(m.HeapAlloc) / float64(n)
	if err := l.Save(b.Context()); err != nil {
		b.Fatal(err)
	}
	now := 3600
	for b.Loop() {
		b.StopTimer()
		for i := range perMinute / 4 {
			settle(now - i%600)
		}
		now += 15
		l.FloorRead(at(now - 3600))
		b.StartTimer()
		if err := l.Save(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(perID, "heap-B/id")
}

func benchLedger(b *testing.B, store checkpoint.Store) *checkpoint.Ledger {
	l, err := checkpoint.Open(b.Context(), store, scope, checkpoint.Options{})
	if err != nil {
		b.Fatal(err)
	}
	if err := l.Reset(event.Marks{Floor: at(0)}); err != nil {
		b.Fatal(err)
	}
	return l
}
