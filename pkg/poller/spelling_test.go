package poller

import (
	"os"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/autotagd/autotagd/pkg/event"
)

// unlisted makes one name of the account's creates a spelling that the catalog lacks.
func (s *simulation) unlisted(name string) {
	catalog, common := catalogNames()
	catalog = slices.DeleteFunc(catalog, func(n string) bool { return n == name })
	s.p.reader.names = newNames(catalog, common)
	s.p.catalog = s.p.reader.names.catalog
	s.b.unlisted = map[string]bool{name: true}
}

// A spelling that is first seen while a part of the backlog is being read by name has occurred in that part too.
func TestNewSpellingDuringABacklogByName(t *testing.T) {
	t.Parallel()
	a := newAccount(5, epoch, 150, 3, 12*time.Hour)
	cfg := defaults()
	cfg.Start = 4 * time.Hour
	s := newSimulation(t, a, cfg)
	dated := a.names[0]
	s.unlisted(dated)
	s.now = epoch.Add(5 * time.Hour)
	started := s.now
	// It was used for an hour in the past, and again a quarter of an hour after the start.
	a.quiet = func(x sample) bool {
		return x.Name == dated && (x.Time.Before(started.Add(-160*time.Minute)) ||
			x.Time.After(started.Add(-100*time.Minute)) && x.Time.Before(started.Add(15*time.Minute)))
	}
	named := false
	s.onCall = func(c *call) {
		named = named || c.pass.kind == backlog && c.pass.by == byName && len(c.pass.span.Names) == 0 && !slices.Contains(c.pass.names, dated)
	}
	s.start()
	span := s.b.marks.Backlog[0]
	s.run(s.now, s.now.Add(6*time.Hour))
	if !named {
		t.Fatal("no part of the backlog was read by name before the spelling was known: the test shows nothing")
	}
	missing, want := 0, 0
	for k := range a.made {
		e := a.create(k)
		if e.Name != dated || e.Time.Before(span.Start) || e.Time.After(span.End) || e.visible.Sub(e.Time) > time.Hour {
			continue
		}
		want++
		if _, live := s.b.ids[e.ID]; !live && !s.b.old[e.ID] {
			missing++
		}
	}
	if missing > 0 || want == 0 {
		t.Errorf("%d of %d events of the past were lost", missing, want)
	}
}

// A spelling that this Scope has shown is asked for after a restart too, when its events are too rare for a sample to show.
func TestSpellingsOutliveTheProcess(t *testing.T) {
	t.Parallel()
	a := newAccount(5, epoch, 150, 3, 15*time.Hour)
	dated := a.names[3]
	rare := epoch.Add(8 * time.Hour)
	a.quiet = func(x sample) bool {
		return x.Name == dated && x.Time.After(rare.Add(-4*time.Hour)) && (x.number%307 != 0 || x.Time.Before(rare.Add(45*time.Minute)))
	}
	long := os.Getenv("AUTOTAGD_SLOW") != ""
	s := newSimulation(t, a, defaults())
	s.unlisted(dated)
	s.start()
	if long {
		s.run(s.now, rare)
	} else {
		s.run(s.now, s.now.Add(30*time.Minute))
	}
	if !slices.Contains(s.b.marks.Spellings.Names, dated) {
		t.Fatalf("the spelling is not kept: %v", s.b.marks.Spellings)
	}
	next := newSimulation(t, a, defaults())
	next.b, next.now = s.b, s.now
	next.p.Ledger, next.p.reader.ledger = s.b, s.b
	next.unlisted(dated)
	next.start()
	if !slices.Contains(next.p.reader.names.all(), dated) {
		t.Fatal("the next process does not ask for it")
	}
	if !long {
		return // whether that suffices takes half a day to see
	}
	begun := map[string]bool{}
	next.onCall = func(*call) {
		if next.n%200 != 0 {
			return
		}
		for id := range next.b.ids {
			begun[id] = true
		}
	}
	next.run(next.now, rare.Add(5*time.Hour))
	missing, want := 0, 0
	for k := range a.made {
		e := a.create(k)
		if e.Name != dated || e.Time.Before(rare) || e.Time.After(next.b.marks.Floor) || e.visible.Sub(e.Time) > 30*time.Minute {
			continue
		}
		want++
		if !begun[e.ID] && !next.b.old[e.ID] && next.b.ids[e.ID].IsZero() {
			missing++
		}
	}
	if missing > 0 || want == 0 {
		t.Errorf("%d of %d events were lost", missing, want)
	}
}

// The past that is about to fall off the 90 days is read as far as AWS still answers: the rest of the backlog goes on.
func TestBacklogAtTheEdge(t *testing.T) {
	t.Parallel()
	rates := []float64{5}
	if os.Getenv("AUTOTAGD_SLOW") != "" {
		rates = []float64{0.5, 5, 100}
	}
	for _, writes := range rates {
		a := newAccount(5, epoch, writes, 0.05, 92*24*time.Hour)
		cfg := defaults()
		cfg.Start = retention
		s := newSimulation(t, a, cfg)
		s.now = epoch.Add(91 * 24 * time.Hour)
		s.fault = func(c *call) answer {
			if s.now.Sub(c.start) > retention { // as AWS answers
				return answer{outcome: badRange, pause: 2 * time.Second}
			}
			return answer{}
		}
		s.b.oldest = s.now // not what this test looks at
		s.start()
		s.p.reader.learned.writes = writes // as a survey teaches
		begin := s.b.marks.Backlog[0].Start
		s.run(s.now, s.now.Add(4*time.Hour))
		if len(s.b.marks.Backlog) == 0 {
			continue // all of it was read
		}
		if moved := s.b.marks.Backlog[0].Start.Sub(begin); moved < 8*time.Hour {
			t.Errorf("%v writes a second: in 4 hours the backlog's start moved by %v", writes, moved)
		}
	}
}

// Where final passes are by name and head scans by all writes, samples of all writes still show what the catalog lacks.
func TestAllWritesAreSampled(t *testing.T) {
	t.Parallel()
	a := newAccount(5, epoch, 0.5, 0.02, 12*time.Hour)
	s := newSimulation(t, a, defaults())
	catalog, _ := catalogNames()
	few := catalog[:5]
	s.p.reader.names = newNames(few, few)
	s.p.catalog = s.p.reader.names.catalog
	s.p.Names.Known = func(_, name string) bool { return slices.Contains(few, name) }
	s.b.unlisted = map[string]bool{}
	for _, name := range catalog[5:] {
		s.b.unlisted[name] = true
	}
	late := s.now.Add(3 * time.Hour) // by then it is read by name
	observed := 0
	s.p.Names.Observe = func(_, name, _ string) {
		if name == "ModifyThing" && s.now.After(late) {
			observed++
		}
	}
	s.start()
	s.run(s.now, s.now.Add(8*time.Hour))
	if s.p.reader.finalBy != byName {
		t.Fatalf("final passes are %v: the test shows nothing", s.p.reader.finalBy)
	}
	if observed == 0 {
		t.Error("nothing was observed in five hours")
	}
}

// Looking at the rate spends nothing of it.
func TestLookingAtTheRateIsFree(t *testing.T) {
	p := New(Options{Config: defaults(), Metrics: NewMetrics(prometheus.NewRegistry()), Scope: event.Scope{AccountID: "123456789012", Region: "eu-west-1"}})
	for range 3 {
		if wait := p.tokenIn(); wait != 0 {
			t.Errorf("a call has to wait %v, and none was made", wait)
		}
	}
}

// A burst in one second is no density of the hours before it.
func TestABurstCostsFewCalls(t *testing.T) {
	for kind, span := range map[kind]time.Duration{final: time.Hour, backlog: 6 * time.Hour, head: 15 * time.Minute} {
		task := newTask(plan{kind: kind, span: event.Span{Start: epoch, End: epoch.Add(span)}}, "CreateA", epoch.Add(span), 0.001)
		s := task.slices[len(task.slices)-1]
		s.events, s.pages, s.oldest = 600, 12, s.end.Add(-2*time.Second)
		task.recut(s)
		if n := len(task.slices); n > recutSlices+1 {
			t.Errorf("%v: %d slices for the rest of %v after a burst", kind, n, span)
		}
	}
}
