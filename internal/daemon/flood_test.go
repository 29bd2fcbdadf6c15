package daemon

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/autotagd/autotagd/internal/fakeaws"
	"github.com/autotagd/autotagd/pkg/checkpoint"
	"github.com/autotagd/autotagd/pkg/event"
	"github.com/autotagd/autotagd/pkg/resource"
)

// latencies keeps how long after each event's first sight its resource was tagged, by service, the backlog left out.
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
	if !o.Job.Event.Backlog && o.Kind == resource.Tagged {
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

// A State with all that may be deferred of 50 actions is loaded, retried and drained, the oldest first; new events, of the same call
// and of another, are tagged as fast as ever, while all of it is still denied and while it comes back at once.
func TestTenThousandDeferred(t *testing.T) {
	t.Parallel()
	stores := map[string]func(*world) checkpoint.Store{
		"file": func(w *world) checkpoint.Store { return checkpoint.NewFileStore(w.disk, stateDir) },
		"DynamoDB": func(w *world) checkpoint.Store {
			if err := w.table(w.cloud.HTTPClient()).Create(w.t.Context()); err != nil {
				w.t.Fatal(err)
			}
			return w.claimed(w.cloud.HTTPClient(), "one")
		},
	}
	if os.Getenv("AUTOTAGD_SLOW") == "" {
		delete(stores, "DynamoDB")
	}
	for name, store := range stores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { tenThousandDeferred(t, store) })
		})
	}
}

func tenThousandDeferred(t *testing.T, open func(*world) checkpoint.Store) {
	const actions, each = 50, 200
	w := newWorld(t, 1, "{global_region: off, poll: {lookback: 5m, sweep_interval: 1m}}", fakeaws.Config{Visibility: 30 * time.Second})
	store := open(w)
	people := make([]fakeaws.Who, 40)
	for i := range people {
		people[i] = fakeaws.IAMUser(fmt.Sprint("person", i))
	}
	var jobs []resource.Job // oldest first
	for i := range actions * each {
		who := people[w.rng.IntN(len(people))]
		made := w.cloud.Create(w.cloud.Scope(), "CreateQueue", who, fakeaws.Spec{
			Name: fmt.Sprint("q", i), Delay: -1, At: time.Now().Add(time.Duration(i)*time.Second/2 - 12*time.Hour),
		})
		r := made.Resources[0]
		jobs = append(jobs, resource.Job{
			Event: resource.EventRef{ID: made.EventID, Source: "sqs.amazonaws.com", Name: "CreateQueue", Time: made.Time, Scope: w.cloud.Scope(), Seen: made.Time},
			Resource: resource.Resource{
				ARN: r.ARN, ID: r.ID, Service: "sqs", Type: "AWS::SQS::Queue", Scope: r.Scope, TagAPI: resource.TagResources,
				IAMAction: fmt.Sprintf("service%d:TagResource", i%actions), Confidence: resource.Verified,
			},
			Tags:  []resource.Tag{{Key: "Owner", Value: who.Owner}, {Key: "PrincipalId", Value: r.PrincipalID}},
			Owner: who.Owner, FirstTried: time.Now().Add(-6 * time.Hour), LastReason: resource.AccessDenied, Attempts: 7,
		})
	}
	ledger, err := checkpoint.Open(t.Context(), store, w.cloud.Scope(), checkpoint.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := ledger.Reset(event.Marks{Floor: time.Now().Add(-time.Hour)}); err != nil {
		t.Fatal(err)
	}
	for _, j := range jobs {
		ledger.Defer(j)
	}
	if err := ledger.Save(t.Context()); err != nil {
		t.Fatal(err)
	}

	w.cloud.Deny("sqs:TagQueue")
	var seen latencies
	r := w.start(func(o *Options) { o.Store, o.OnOutcome = store, seen.observe })
	var news []fakeaws.Created
	create := func(minutes int) {
		for range 6 * minutes {
			time.Sleep(10 * time.Second)
			who := people[w.rng.IntN(len(people))]
			news = append(news, w.cloud.Create(w.cloud.Scope(), "CreateVolume", who), w.cloud.Create(w.cloud.Scope(), "CreateTopic", who))
		}
	}
	create(5)
	denied := len(news)
	s := r.daemon.fleet.all()[0]
	if n := s.ledger.DeferredCount(); n != len(jobs) {
		t.Errorf("%d are deferred while denied, want %d", n, len(jobs))
	}
	w.cloud.Allow("sqs:TagQueue")
	granted, drained := time.Now(), time.Duration(0)
	for drained == 0 && time.Since(granted) < time.Hour {
		if create(1); s.ledger.DeferredCount() == 0 {
			drained = time.Since(granted)
		}
	}
	time.Sleep(8 * time.Minute) // until a final pass has read the last ones
	r.stop()
	w.audit()
	if drained == 0 {
		t.Error("not drained within an hour of the grant")
	}

	for _, service := range []string{"ec2", "sns"} {
		if worst, n := seen.worst(service); worst > 15*time.Second || n == 0 {
			t.Errorf("%s: tagged %s after it was seen at worst, of %d", service, worst, n)
		}
	}
	// An interval, a scan, the batch. The draining calls are events themselves, which take longer to read; and one in ten may be
	// later than a head scan looks.
	before, after := w.sinceVisible(news[:denied]), w.sinceVisible(news[denied:])
	if p90 := before[len(before)*9/10]; p90 > 30*time.Second {
		t.Errorf("while all was denied, one in ten new ones was tagged %s after its event was visible", p90)
	}
	if p50 := after[len(after)/2]; p50 > 2*time.Minute {
		t.Errorf("while all came back, every other new one was tagged %s after its event was visible", p50)
	}
	last, overtaken := map[string]time.Time{}, 0 // by action and person: these travel together
	for _, j := range jobs {
		got, _ := w.cloud.Resource(j.Resource.ARN)
		if len(got.Writes) == 0 {
			continue
		}
		k, at := j.Resource.IAMAction+j.Owner, got.Writes[0].Time
		if at.Before(last[k].Add(-5 * time.Second)) {
			overtaken++
		}
		if at.After(last[k]) {
			last[k] = at
		}
	}
	if overtaken > 2*actions { // those that were tried alone, to find out
		t.Errorf("%d were tagged before an older one of their action", overtaken)
	}
	t.Logf("%d drained in %s; new ones tagged %s (one in ten %s) after their events were visible, %s (%s) meanwhile", len(jobs), drained,
		before[len(before)/2], before[len(before)*9/10], after[len(after)/2], after[len(after)*9/10])
}

// Three creates a second of one action that is denied, all day: what is kept of them stays within its bounds, another service of
// the Scope is never held up, and after the grant each of them is tagged. By default it is twenty minutes of it.
func TestDeniedAllDay(t *testing.T) { // not in parallel: it measures the process's memory
	day := 20 * time.Minute
	if os.Getenv("AUTOTAGD_SLOW") != "" {
		day = wholeDay
	}
	synctest.Test(t, func(t *testing.T) { deniedAllDay(t, day) })
}

func deniedAllDay(t *testing.T, day time.Duration) {
	// Whoever grants it after a day is too late for the first ones by default.
	w := newWorld(t, 1, "{global_region: off, poll: {interval: 1m, lookback: 5m, sweep_interval: 5m}, tagging: {give_up_after: 48h}}", fakeaws.Config{Visibility: 5 * time.Second})
	w.cloud.Deny("sqs:TagQueue")
	alice := fakeaws.IAMUser("alice")
	var seen latencies
	start := func() *running {
		return w.start(func(o *Options) { o.Log, o.OnOutcome = zap.NewNop(), seen.observe })
	}
	r := start()
	denied, most, size := 0, 0, 0
	for begin := time.Now(); time.Since(begin) < day; {
		for range 3 * 20 {
			w.cloud.Create(w.cloud.Scope(), "CreateQueue", alice)
			denied++
			time.Sleep(time.Second / 3)
		}
		w.cloud.Create(w.cloud.Scope(), "CreateVolume", alice)
		most = max(most, r.daemon.fleet.all()[0].ledger.DeferredCount())
		size = max(size, w.disk.Size())
	}
	if most != 200 {
		t.Errorf("at most %d were deferred, want 200", most)
	}
	if size > 512<<10 {
		t.Errorf("%d bytes of State", size)
	}
	alive := heap()
	r.stop()
	r = nil // what it kept is what this frees
	held := alive - heap()
	if held > 24<<20 {
		t.Errorf("%d MB of memory", held>>20)
	}

	r = start()
	time.Sleep(5 * time.Minute)
	w.cloud.Allow("sqs:TagQueue")
	granted, done := time.Now(), time.Duration(0)
	for done == 0 && time.Since(granted) < day {
		for range max(5, int(day/time.Hour)) {
			w.cloud.Create(w.cloud.Scope(), "CreateVolume", alice)
			time.Sleep(time.Minute)
		}
		if len(w.cloud.Audit(15*time.Minute)) == 0 { // which looks at each of them
			done = time.Since(granted)
		}
	}
	time.Sleep(15 * time.Minute) // until a final pass has read the last volumes
	r.stop()
	w.audit()
	w.pace(1.5)
	worst, volumes := seen.worst("ec2")
	if worst > 10*time.Second || volumes == 0 {
		t.Errorf("volumes: tagged %s after they were seen at worst, of %d", worst, volumes)
	}
	t.Logf("%d denied, %d missed at first; %d KB of State, %d KB of memory; all tagged %s after the grant; %d volumes at worst %s after they were seen",
		denied, seen.kinds[resource.Missed], size>>10, held>>10, done, volumes, worst)
}

// heap is how much memory is in use.
func heap() int {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what a finalizer held
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}
