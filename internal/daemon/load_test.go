package daemon

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/autotagd/autotagd/internal/fakeaws"
	"github.com/autotagd/autotagd/pkg/resource"
)

// latencies keeps how long after each event's first sight its Job ended, by service, the backlog left out.
type latencies struct {
	mu    sync.Mutex
	by    map[string][]time.Duration
	kinds map[resource.OutcomeKind]int
}

func (l *latencies) observe(o resource.Outcome) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.by == nil {
		l.by, l.kinds = map[string][]time.Duration{}, map[resource.OutcomeKind]int{}
	}
	l.kinds[o.Kind]++
	if !o.Job.Event.Backlog {
		s := o.Job.Resource.Service
		l.by[s] = append(l.by[s], o.At.Sub(o.Job.Event.Seen))
	}
}

// worst returns the greatest of a service, and how many there are.
func (l *latencies) worst(service string) (time.Duration, int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.by[service]) == 0 {
		return 0, 0
	}
	return slices.Max(l.by[service]), len(l.by[service])
}

// sinceVisible returns how long after its event was visible each was tagged, sorted.
func (w *world) sinceVisible(all []fakeaws.Created) []time.Duration {
	w.t.Helper()
	var late []time.Duration
	for _, made := range all {
		got, _ := w.cloud.Resource(made.Resources[0].ARN)
		if len(got.Writes) == 0 {
			w.t.Errorf("%s was not tagged", got.ARN)
			continue
		}
		late = append(late, got.Writes[0].Time.Sub(made.Visible))
	}
	slices.Sort(late)
	return late
}

// A kind of which more is made than its own call tags: other services of the Scope are tagged as ever, all of it is tagged in
// the end, though the process crashes meanwhile, and the State says so in one line.
func TestFloodOfOneKind(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, "{global_region: off, tagging: {rate: 1}}", fakeaws.Config{Visibility: 30 * time.Second})
		var seen latencies
		observe := func(o *Options) { o.OnOutcome = seen.observe }
		r := w.start(observe)
		time.Sleep(2 * time.Minute)
		alice := fakeaws.IAMUser("alice")
		const flood = 2700
		begin := time.Now()
		var others []fakeaws.Created
		for i := range flood { // twenty a second, where one is tagged
			w.cloud.Create(w.cloud.Scope(), "CreateRestApi", alice)
			if i%100 == 0 {
				others = append(others, w.cloud.Create(w.cloud.Scope(), "CreateVolume", alice), w.cloud.Create(w.cloud.Scope(), "CreateTopic", alice))
			}
			time.Sleep(50 * time.Millisecond)
		}
		time.Sleep(5 * time.Minute)
		lines := len(w.logs.FilterMessage("deferred").All())
		r.crash()
		crashed := len(w.logs.FilterMessage("deferred").All()) - lines // what was in hand, and never reached the disk
		r = w.start(observe)
		done, most := time.Duration(0), 0
		for done == 0 && time.Since(begin) < 3*time.Hour {
			time.Sleep(5 * time.Minute)
			most = max(most, w.disk.Size())
			if len(w.cloud.Audit(0)) == 0 {
				done = time.Since(begin)
			}
		}
		missed, deferred := len(w.logs.FilterMessage("missed").All()), len(w.logs.FilterMessage("deferred").All())-crashed
		r.stop()
		w.audit()
		w.pace(1.5)
		for _, service := range []string{"ec2", "sns"} {
			worst, n := seen.worst(service)
			if worst > 10*time.Second || n == 0 {
				t.Errorf("%s: tagged %s after it was seen at worst, of %d", service, worst, n)
			}
		}
		late := w.sinceVisible(others)
		if p90 := late[len(late)*9/10]; p90 > time.Minute { // the others' events may be later than a head scan looks
			t.Errorf("one in ten of another service was tagged %s after its event was visible", p90)
		}
		if missed > 0 || deferred > 0 {
			t.Errorf("%d lines of missed and %d of deferred Jobs, want none from a call that works", missed, deferred)
		}
		if most > 1<<20 {
			t.Errorf("%d bytes of State", most)
		}
		t.Logf("%d tagged in %s; others %s after their events are visible, one in ten later than %s; State at most %d KB",
			flood, done, late[len(late)/2], late[len(late)*9/10], most>>10)
	})
}
