package poller

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/autotagd/autotagd/pkg/event"
)

func ago(d time.Duration) time.Time { return epoch.Add(-d) }

// steady is a Scope that has been read for a while and has nothing to do.
func steady(writes, creates float64) view {
	return view{
		Config: defaults(), now: epoch, calls: 1.5, age: defaultAge,
		traffic: traffic{writes: writes, creates: creates, names: catalogSize, lively: 80},
		floor:   ago(30 * time.Minute), everFinal: true, headBegan: epoch, headPrev: epoch, wholeRead: epoch,
	}
}

func TestFinalPlan(t *testing.T) {
	for _, c := range []struct {
		name  string
		v     func() view
		want  by
		start time.Duration // before now
		end   time.Duration
		none  bool
	}{
		{
			name: "nothing to do before a sweep interval", none: true,
			v: func() view { v := steady(1, 0.2); v.floor = ago(34*time.Minute + 59*time.Second); return v },
		},
		{
			name: "all writes after a sweep interval", want: byWrites, start: 35 * time.Minute, end: 30 * time.Minute,
			v: func() view { v := steady(1, 0.2); v.floor = ago(35 * time.Minute); return v },
		},
		{
			name: "much traffic waits for an hour to be read by name", none: true,
			v: func() view { v := steady(500, 10); v.floor = ago(89 * time.Minute); return v },
		},
		{
			name: "by name after an hour", want: byName, start: 90 * time.Minute, end: 30 * time.Minute,
			v: func() view { v := steady(500, 10); v.floor = ago(90 * time.Minute); return v },
		},
		{
			name: "the first at once", want: byWrites, start: 31 * time.Minute, end: 30 * time.Minute,
			v: func() view { v := steady(1, 0.2); v.floor = ago(31 * time.Minute); v.everFinal = false; return v },
		},
		{
			name: "the first of a small window is by all writes", want: byWrites, start: 31 * time.Minute, end: 30 * time.Minute,
			v: func() view { v := steady(500, 10); v.floor = ago(31 * time.Minute); v.everFinal = false; return v },
		},
		{
			name: "one hour at most", want: byWrites, start: 5 * time.Hour, end: 4 * time.Hour,
			v: func() view { v := steady(1, 0.2); v.floor = ago(5 * time.Hour); return v },
		},
		{
			name: "nothing younger than the lookback", none: true,
			v: func() view { v := steady(1, 0.2); v.floor = ago(10 * time.Minute); v.everFinal = false; return v },
		},
		{
			name: "never older than AWS answers for", want: byWrites, start: retention - time.Minute, end: retention - time.Minute - time.Hour,
			v: func() view { v := steady(1, 0.2); v.floor = ago(100 * 24 * time.Hour); return v },
		},
		{
			name: "no names, no reading by name", want: byWrites, start: 90 * time.Minute, end: 30 * time.Minute,
			v: func() view { v := steady(500, 10); v.floor = ago(90 * time.Minute); v.traffic.names = 0; return v },
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, found := finalPlan(c.v())
			if found == c.none {
				t.Fatalf("plan %+v, %v", p, found)
			}
			if !c.none && (p.by != c.want || !p.span.Start.Equal(ago(c.start)) || !p.span.End.Equal(ago(c.end))) {
				t.Errorf("plan by %v %v to %v, want by %v %v to %v", p.by, p.span.Start, p.span.End, c.want, ago(c.start), ago(c.end))
			}
		})
	}
}

func TestHeadPlan(t *testing.T) {
	for _, c := range []struct {
		name  string
		v     func() view
		want  by
		start time.Duration
		none  bool
	}{
		{
			name: "not before the interval", none: true,
			v: func() view { v := steady(1, 0.2); v.headBegan = ago(14 * time.Second); return v },
		},
		{
			name: "back to the age, and the time since the last", want: byWrites, start: 10*time.Minute + 15*time.Second,
			v: func() view {
				v := steady(1, 0.2)
				v.headBegan, v.headPrev = ago(15*time.Second), ago(15*time.Second)
				return v
			},
		},
		{
			name: "the time since the last complete one", want: byWrites, start: 13 * time.Minute,
			v: func() view {
				v := steady(1, 0.2)
				v.headBegan, v.headPrev = ago(15*time.Second), ago(3*time.Minute)
				return v
			},
		},
		{
			name: "at most the lookback", want: byWrites, start: 30 * time.Minute,
			v: func() view { v := steady(1, 0.2); v.headBegan, v.headPrev = ago(time.Hour), ago(time.Hour); return v },
		},
		{
			name: "the first from the Floor", want: byWrites, start: 12 * time.Minute,
			v: func() view {
				v := steady(1, 0.2)
				v.headBegan, v.headPrev, v.floor = time.Time{}, time.Time{}, ago(12*time.Minute)
				return v
			},
		},
		{
			name: "the first from now - lookback if that is later", want: byWrites, start: 30 * time.Minute,
			v: func() view {
				v := steady(1, 0.2)
				v.headBegan, v.headPrev, v.floor = time.Time{}, time.Time{}, ago(5*time.Hour)
				return v
			},
		},
		{
			name: "by name where all writes would take too long", want: byName, start: 10*time.Minute + 15*time.Second,
			v: func() view {
				v := steady(50, 10)
				v.headBegan, v.headPrev = ago(15*time.Second), ago(15*time.Second)
				return v
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, found := headPlan(c.v())
			if found == c.none {
				t.Fatalf("plan %+v, %v", p, found)
			}
			if !c.none && (p.by != c.want || !p.span.Start.Equal(ago(c.start)) || !p.span.End.Equal(epoch)) {
				t.Errorf("plan by %v %v to %v, want by %v from %v", p.by, p.span.Start, p.span.End, c.want, ago(c.start))
			}
		})
	}
}

func TestCheaperDoesNotFlap(t *testing.T) {
	for _, c := range []struct {
		writes, names float64
		last, want    by
	}{
		{1, 0.9, byWrites, byWrites},
		{1, 0.9, byName, byName},
		{0.9, 1, byName, byName},
		{1, 0.7, byWrites, byName},
		{0.7, 1, byName, byWrites},
	} {
		if got := cheaper(c.writes, c.names, c.last); got != c.want {
			t.Errorf("%g against %g after %v: %v, want %v", c.writes, c.names, c.last, got, c.want)
		}
	}
}

// TestShares counts who gets the calls when all three loops want every one.
func TestShares(t *testing.T) {
	for _, c := range []struct {
		name string
		v    func(*view)
		want [kinds]float64
	}{
		{"a final pass in a hurry gets half", func(v *view) { v.due = v.now }, [kinds]float64{0.5, 1. / 3, 1. / 6}},
		{"one with time gets what it needs", func(v *view) { v.due, v.left = v.now.Add(100*time.Second), 15 }, [kinds]float64{0.1, 0.6, 0.3}},
		{"one far behind gets all", func(v *view) { v.floor = ago(4 * time.Hour) }, [kinds]float64{1, 0, 0}},
		{"without a head scan it gets all", func(v *view) { v.running[head], v.ready[head] = false, false }, [kinds]float64{1, 0, 0}},
		{"without a final pass the backlog gets a third", func(v *view) { v.running[final], v.ready[final] = false, false }, [kinds]float64{0, 2. / 3, 1. / 3}},
		{"what it cannot use, waiting for answers, others get", func(v *view) { v.due, v.ready[final] = v.now, false }, [kinds]float64{0, 2. / 3, 1. / 3}},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := steady(1, 0.2)
			v.running, v.ready = [kinds]bool{true, true, true}, [kinds]bool{true, true, true}
			c.v(&v)
			var got [kinds]float64
			const rounds = 6000
			for range rounds {
				d := decide(v)
				if d.begin != nil || d.wait > 0 {
					t.Fatalf("decision %+v", d)
				}
				got[d.call] += 1. / rounds
				v.credit = d.credit
			}
			for k := range kinds {
				if d := got[k] - c.want[k]; d < -0.01 || d > 0.01 {
					t.Errorf("%v got %.3f of the calls, want %.3f", k, got[k], c.want[k])
				}
			}
		})
	}
}

func TestStartMarks(t *testing.T) {
	edge := ago(30 * time.Minute)
	at := func(floor time.Time) event.Marks {
		return event.Marks{Floor: floor, Watermark: floor, Cursor: &event.Cursor{}}
	}
	long, short := defaults(), defaults()
	long.Start, short.Start = 30*24*time.Hour, 10*time.Minute
	for _, c := range []struct {
		name    string
		saved   event.Marks
		fresh   bool
		cfg     Config
		writes  float64
		floor   time.Time
		backlog []event.Span
		changed bool
	}{
		{name: "first start", fresh: true, cfg: defaults(), writes: 1, floor: edge, backlog: []event.Span{{Start: ago(time.Hour), End: edge}}, changed: true},
		{name: "first start, long", fresh: true, cfg: long, writes: 1, floor: edge, backlog: []event.Span{{Start: ago(30 * 24 * time.Hour), End: edge}}, changed: true},
		{name: "first start, shorter than the lookback", fresh: true, cfg: short, writes: 1, floor: ago(10 * time.Minute), changed: true},
		{name: "restart", saved: at(ago(40 * time.Minute)), cfg: defaults(), writes: 1, floor: ago(40 * time.Minute)},
		{name: "the longest that is no outage", saved: at(ago(70 * time.Minute)), cfg: defaults(), writes: 1, floor: ago(70 * time.Minute)},
		{
			name: "outage", saved: at(ago(70*time.Minute + time.Second)), cfg: defaults(), writes: 1, floor: edge,
			backlog: []event.Span{{Start: ago(70*time.Minute + time.Second), End: edge}}, changed: true,
		},
		{name: "two strides by name are no outage", saved: at(ago(170 * time.Minute)), cfg: defaults(), writes: 500, floor: ago(170 * time.Minute)},
		{
			name: "a pass by name under way tells the stride, whatever the first page does", changed: false, writes: 1, cfg: defaults(),
			saved: event.Marks{Floor: ago(2 * time.Hour), Cursor: &event.Cursor{Span: event.Span{Start: ago(2 * time.Hour), End: ago(time.Hour)}}}, floor: ago(2 * time.Hour),
		},
		{
			name: "outage beyond 90 days", saved: at(ago(200 * 24 * time.Hour)), cfg: defaults(), writes: 1, floor: edge,
			backlog: []event.Span{{Start: ago(retention - time.Minute), End: edge}}, changed: true,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, changed := startMarks(c.saved, c.fresh, c.cfg, traffic{writes: c.writes, creates: 0.2, names: catalogSize}, epoch)
			if changed != c.changed || !m.Floor.Equal(c.floor) || fmt.Sprint(m.Backlog) != fmt.Sprint(c.backlog) {
				t.Errorf("marks %+v, changed %v; want Floor %v, backlog %v, changed %v", m, changed, c.floor, c.backlog, c.changed)
			}
			if !c.fresh && changed && (m.Cursor != nil || !m.Watermark.Equal(c.saved.Watermark)) {
				t.Errorf("after an outage: cursor %v, Watermark %v", m.Cursor, m.Watermark)
			}
		})
	}
}

// TestCutCoversEverySecond: no second of a window is outside its slices, whatever the density.
func TestCutCoversEverySecond(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		span := event.Span{Start: epoch, End: epoch.Add(time.Duration(rapid.IntRange(0, 100000).Draw(t, "seconds")) * time.Second)}
		slices := cut("", span, rapid.Float64Range(0, 1000).Draw(t, "density"), 1)
		at := span.Start
		for _, s := range slices {
			if s.start.After(at) || s.end.Before(s.start) || s.expected < 1 {
				t.Fatalf("slice %v to %v after %v, %v pages", s.start, s.end, at, s.expected)
			}
			at = s.end
		}
		if !at.Equal(span.End) {
			t.Fatalf("slices end at %v, the window at %v", at, span.End)
		}
	})
}

// TestInterleavings runs random accounts with answers that come in any order, refused tokens, failures and refused
// windows, and lets the ledger check every mark.
func TestInterleavings(t *testing.T) {
	if os.Getenv("AUTOTAGD_SLOW") == "" {
		t.Skip("a minute of processor time: make check runs it")
	}
	rapid.Check(t, func(rt *rapid.T) {
		seed := rapid.Uint64().Draw(rt, "seed")
		creates := rapid.SampledFrom([]float64{0.05, 0.5, 3}).Draw(rt, "creates")
		writes := creates * rapid.SampledFrom([]float64{1.2, 5, 60}).Draw(rt, "ratio")
		slowest := rapid.SampledFrom([]time.Duration{time.Second, 20 * time.Second}).Draw(rt, "slowest")
		trouble := rapid.SampledFrom([]float64{0, 0.05, 0.3}).Draw(rt, "trouble")
		rng := rand.New(rand.NewPCG(seed, 1))
		a := newAccount(seed, epoch, writes, creates, 5*time.Hour)
		a.coarse = rapid.SampledFrom([]time.Duration{0, 90 * time.Second}).Draw(rt, "coarse")
		told := &watched{TB: t}
		s := newSimulation(told, a, defaults())
		s.p.reader.names = newNames(a.names, a.names[:20])
		s.p.catalog = s.p.reader.names.catalog
		s.latency = func(int) time.Duration { return time.Duration(rng.Int64N(int64(slowest))) }
		s.fault = func(c *call) answer {
			if rng.Float64() >= trouble {
				return answer{}
			}
			switch rng.IntN(8) {
			case 0:
				if c.pass.kind == final && c.pass.by == byName {
					break // the pass begins anew, and its cursor with it
				}
				return answer{outcome: badRange, pause: time.Second}
			case 1:
				return answer{outcome: throttled, pause: 2 * time.Second}
			case 2, 3, 4:
				if c.token != "" {
					return answer{outcome: badToken}
				}
			}
			return answer{outcome: failed, backoff: time.Duration(rng.Int64N(int64(20 * time.Second)))}
		}
		s.start()
		s.run(s.now, s.now.Add(2*time.Hour))
		if told.failed {
			rt.Fatalf("the ledger was told of what was not read")
		}
		if trouble == 0 && !s.b.marks.Floor.After(s.b.resets[0].Floor) {
			rt.Fatalf("the Floor stands at %v", s.b.marks.Floor)
		}
	})
}

// watched notes failures, so that rapid can shrink them.
type watched struct {
	testing.TB
	failed bool
}

func (w *watched) Helper() {}

func (w *watched) Errorf(format string, args ...any) {
	w.failed = true
	w.Logf(format, args...)
}

// TestChangeOver lets traffic swell and ebb: readings change to names and back, and no mark passes an event.
func TestChangeOver(t *testing.T) {
	if os.Getenv("AUTOTAGD_SLOW") == "" {
		t.Skip("half a minute of processor time: make check runs it")
	}
	a := newAccount(3, epoch, 60, 3, 11*time.Hour)
	busy, calm := epoch.Add(3*time.Hour), epoch.Add(5*time.Hour)
	a.quiet = func(s sample) bool { return (s.Time.Before(busy) || s.Time.After(calm)) && s.number%60 != 0 }
	s := newSimulation(t, a, defaults())
	var order [kinds][]by
	s.onCall = func(c *call) {
		k := c.pass.kind
		if c.pass.survey {
			return
		}
		if o := order[k]; len(o) == 0 || o[len(o)-1] != c.pass.by {
			order[k] = append(o, c.pass.by)
		}
	}
	s.start()
	s.run(s.now, epoch.Add(9*time.Hour))
	if !slices.Equal(order[final], []by{byWrites, byName, byWrites}) {
		t.Errorf("final passes were read by %v", order[final])
	}
	// Head scans look at the newest minutes, so they may turn once more as traffic ebbs.
	if h := order[head]; len(h) < 3 || len(h) > 5 || h[0] != byWrites || h[len(h)-1] != byWrites {
		t.Errorf("head scans were read by %v", h)
	}
	if behind := s.now.Sub(s.b.marks.Floor); behind > 40*time.Minute {
		t.Errorf("Floor is %v behind after all", behind)
	}
}

func TestSaturated(t *testing.T) {
	for _, c := range []struct {
		name string
		v    func() view
		want bool
	}{
		{"one write a second", func() view { return steady(1, 0.2) }, false},
		{"ten", func() view { return steady(10, 2) }, false},
		{"five hundred, read by name", func() view { return steady(500, 10) }, false},
		{"forty creates a second", func() view { return steady(200, 40) }, true},
		{"a Floor three hours behind", func() view { v := steady(1, 0.2); v.floor = ago(3*time.Hour + v.Lookback); return v }, true},
		{"final passes need more than half", func() view { v := steady(200, 30); v.Rate, v.age = 1.9, 3*time.Minute; return v }, true},
		{"head scans too far apart", func() view { v := steady(5, 1); v.Rate, v.traffic.names, v.traffic.lively = 0.25, 0, 0; return v }, true},
	} {
		if got := saturated(c.v()); got != c.want {
			t.Errorf("%s: saturated = %v, want %v", c.name, got, c.want)
		}
	}
}

func TestDelays(t *testing.T) {
	d := newDelays(30 * time.Minute)
	if d.age() != defaultAge {
		t.Errorf("before anything is learned: %v", d.age())
	}
	for i := range 10000 {
		d.observe(time.Duration(i%200) * time.Second)
	}
	if got := d.age(); got != 210*time.Second {
		t.Errorf("events visible within 200 s: %v", got)
	}
	for range 200 {
		d.late()
	}
	if got := d.age(); got <= 210*time.Second {
		t.Errorf("two in a hundred late, and head scans go back %v as before", got)
	}
}
