package poller

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/autotagd/autotagd/pkg/event"
)

func TestFirstCallHasNoTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1, 0.2, 3*time.Hour, time.Hour)
		r.start()
		time.Sleep(10 * time.Minute)
		r.stop()
		first := r.ct.seen()[0]
		if !first.start.IsZero() || first.name != "" || first.token != "" {
			t.Errorf("first request %+v, want ReadOnly=false without times", first)
		}
		select {
		case <-r.p.FirstAnswered():
		default:
			t.Error("FirstAnswered is not closed")
		}
		if len(r.b.resets) != 1 {
			t.Fatalf("Reset %d times", len(r.b.resets))
		}
		m := r.b.resets[0]
		want := first.at.Add(-30 * time.Minute)
		if d := m.Floor.Sub(want).Abs(); d > 3*time.Second {
			t.Errorf("first Floor %v, want %v", m.Floor, want)
		}
		if len(m.Backlog) != 1 || !m.Backlog[0].End.Equal(m.Floor) || m.Backlog[0].Start.Sub(first.at.Add(-time.Hour)).Abs() > 3*time.Second {
			t.Errorf("first backlog %v", m.Backlog)
		}
		if len(r.b.parts) == 0 || len(r.b.Marks().Backlog) > 0 {
			t.Errorf("backlog is not read: parts %v, left %v", r.b.parts, r.b.Marks().Backlog)
		}
	})
}

// TestEveryEventUnderFaults is invariant 1 for the poller alone: whatever fails, no event before the Floor is missing.
func TestEveryEventUnderFaults(t *testing.T) {
	t.Parallel()
	faults := []fault{
		{code: "ThrottlingException"},
		{code: "InternalFailure"},
		{reset: true},
		{code: "InvalidNextTokenException"},
		{slow: 20 * time.Second},
		{code: "ExpiredTokenException"},
	}
	for _, c := range []struct {
		name            string
		writes, creates float64
		coarse          time.Duration
		rate            float64
		length          time.Duration
		wire, slow      bool
	}{
		{"all writes", 5, 1, 0, 1.5, 2 * time.Hour, true, false},
		{"by name", 200, 4, 0, 2, 4 * time.Hour, false, true},
		{"hundreds in one second", 8, 4, time.Minute, 2, 2 * time.Hour, false, true},
		{"hundreds in one second, by name", 100, 6, 100 * time.Second, 2, 4 * time.Hour, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.slow && os.Getenv("AUTOTAGD_SLOW") == "" {
				t.Skip("minutes of processor time: make check runs it")
			}
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, c.writes, c.creates, 3*time.Hour, c.length+time.Hour)
				r.cfg.Rate = c.rate
				r.wire = c.wire
				r.catalog = append(slices.Clone(r.ct.a.names), r.catalog[len(r.catalog)-100:]...) // a short one: passes end sooner
				r.ct.a.coarse = c.coarse
				r.ct.fault = func(n int, q request) fault {
					if i := r.ct.rng.IntN(100); i < 2*len(faults) {
						f := faults[i/2]
						if f.code == "InvalidNextTokenException" && q.token == "" {
							f = fault{}
						}
						return f
					}
					return fault{}
				}
				r.start()
				time.Sleep(c.length)
				r.stop()
				from := r.b.resets[0].Floor
				if moved := r.b.Marks().Floor.Sub(from); moved < c.length/3 {
					t.Errorf("Floor moved by %v only", moved)
				}
				t.Logf("backlog left %v, parts %v", r.b.Marks().Backlog, r.b.parts)
				if left := r.b.Marks().Backlog; len(left) == 0 {
					r.check(from.Add(-29 * time.Minute))
				}
				r.check(from)
				if r.ct.most > 4 {
					t.Errorf("%d requests under way at once", r.ct.most)
				}
				t.Logf("%d requests, at most %d at once, Floor moved %v", r.ct.n, r.ct.most, r.b.Marks().Floor.Sub(from))
			})
		})
	}
}

func TestRestartInTheMiddleOfAPassByName(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 300, 5, 2*time.Hour, 6*time.Hour)
		r.catalog = slices.DeleteFunc(slices.Clone(r.catalog), func(n string) bool { return n > "Create0700" && !slices.Contains(r.ct.a.names, n) })
		r.start()
		for r.b.Marks().Cursor == nil || r.b.Marks().Cursor.Name < "Create0300" {
			time.Sleep(time.Minute)
		}
		r.stop()
		cursor := *r.b.Marks().Cursor
		from := r.b.resets[0].Floor
		before := r.ct.count()
		r.start()
		time.Sleep(20 * time.Minute)
		if n := len(r.b.resets); n != 1 {
			t.Errorf("a restart in the middle of a pass was taken for an outage: %+v", r.b.resets[n-1])
		}
		for _, q := range r.ct.seen()[before+1:] {
			if q.end.Equal(cursor.Span.End) && q.start.Equal(cursor.Span.Start) && q.name <= cursor.Name {
				t.Fatalf("%s read again after a restart at %s", q.name, cursor.Name)
			}
		}
		time.Sleep(90 * time.Minute)
		r.stop()
		if !r.b.Marks().Floor.After(cursor.Span.End) && !r.b.Marks().Floor.Equal(cursor.Span.End) {
			t.Errorf("Floor %v, want at least %v", r.b.Marks().Floor, cursor.Span.End)
		}
		r.check(from)
		// With another catalog the pass begins anew.
		c := cursor
		c.Catalog = "another"
		c.Span = event.Span{Start: r.b.Marks().Floor, End: r.b.Marks().Floor.Add(time.Minute)}
		c.Name = r.catalog[len(r.catalog)-1]
		r.b.marks.Cursor = &c
		r.start()
		time.Sleep(10 * time.Second)
		if r.b.Marks().Floor.Equal(c.Span.End) {
			t.Error("a cursor of another catalog was taken for a pass that is done")
		}
		time.Sleep(90 * time.Minute)
		r.stop()
		r.check(from)
	})
}

func TestWrongHostClock(t *testing.T) {
	t.Parallel()
	for _, offset := range []time.Duration{-26 * time.Hour, 3 * time.Hour, 365 * 24 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, 1, 0.2, 3*time.Hour, 4*time.Hour)
			r.ct.offset = offset
			r.ct.a.from = r.ct.a.from.Add(offset)
			r.start()
			time.Sleep(time.Hour)
			r.stop()
			aws := time.Now().Add(offset)
			if behind := aws.Sub(r.b.Marks().Floor); behind < 30*time.Minute || behind > 36*time.Minute {
				t.Errorf("offset %v: Floor is %v behind AWS's time", offset, behind)
			}
			if behind := aws.Sub(r.b.Marks().Watermark); behind < -clockSlack || behind > time.Minute {
				t.Errorf("offset %v: Watermark is %v behind AWS's time", offset, behind)
			}
			r.check(r.b.resets[0].Floor)
		})
	}
}

func TestDeniedAtStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1, 0.2, 3*time.Hour, time.Hour)
		var granted atomic.Bool
		r.ct.fault = func(int, request) fault {
			if !granted.Load() {
				return fault{code: "AccessDeniedException"}
			}
			return fault{}
		}
		r.start()
		time.Sleep(10 * time.Minute)
		if pr := r.p.Progress(); pr.Err == nil || !pr.Tried || classify(pr.Err) != denied || time.Since(pr.Head) > 20*time.Second {
			t.Errorf("progress %+v", pr)
		}
		select {
		case <-r.p.FirstAnswered():
			t.Error("FirstAnswered is closed")
		default:
		}
		if n := r.ct.count(); n < 8 || n > 40 {
			t.Errorf("%d attempts in ten minutes", n)
		}
		granted.Store(true)
		time.Sleep(5 * time.Minute)
		if pr := r.p.Progress(); pr.Err != nil {
			t.Errorf("progress %+v", pr)
		}
		r.stop()
		if r.b.heads == 0 {
			t.Error("nothing was read after permission came")
		}
		if got := testutil.ToFloat64(r.p.metrics.requests[denied]); got < 8 {
			t.Errorf("denied requests = %v", got)
		}
	})
}

func TestOnceEndsOnDenial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1, 0.2, 3*time.Hour, time.Hour)
		r.ct.fault = func(int, request) fault { return fault{code: "AccessDeniedException"} }
		r.build()
		if err := r.p.Once(t.Context()); classify(err) != denied {
			t.Errorf("Once: %v", err)
		}
	})
}

func TestOnce(t *testing.T) {
	for _, c := range []struct {
		name   string
		writes float64
	}{{"all writes", 2}, {"by name", 300}} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, c.writes, 1, 5*time.Hour, 4*time.Hour)
				now := time.Now().UTC().Truncate(time.Second)
				r.b.fresh = false
				r.b.marks = event.Marks{
					Floor: now.Add(-65 * time.Minute), Watermark: now.Add(-65 * time.Minute),
					Backlog: []event.Span{{Start: now.Add(-3 * time.Hour), End: now.Add(-65 * time.Minute)}},
				}
				r.b.skipTo(r.b.marks.Floor)
				r.build()
				if err := r.p.Once(t.Context()); err != nil {
					t.Fatal(err)
				}
				if got := r.b.Marks(); got.Floor.Before(now.Add(-30*time.Minute)) || len(got.Backlog) > 0 || r.b.heads != 1 {
					t.Errorf("after Once: %+v, %d head scans", got, r.b.heads)
				}
				// What was visible when it began is handed on, whatever its name and age.
				for k := range r.ct.a.made {
					s := r.ct.a.create(k)
					if _, handed := r.in.events[s.ID]; !handed && s.visible.Before(now) && !s.Time.Before(now.Add(-3*time.Hour)) {
						t.Fatalf("%s %s of %v visible %v was not handed on", s.ID, s.Name, s.Time, s.visible)
					}
				}
			})
		})
	}
}

func TestOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 2, 0.5, 14*time.Hour, 4*time.Hour)
		now := time.Now().UTC().Truncate(time.Second)
		r.b.fresh = false
		r.b.marks = event.Marks{Floor: now.Add(-10 * time.Hour), Watermark: now.Add(-10 * time.Hour)}
		r.start()
		time.Sleep(time.Hour)
		r.stop()
		if len(r.b.resets) != 1 || len(r.b.resets[0].Backlog) != 1 {
			t.Fatalf("resets %+v", r.b.resets)
		}
		m := r.b.resets[0]
		if !m.Backlog[0].Start.Equal(now.Add(-10*time.Hour)) || !m.Backlog[0].End.Equal(m.Floor) {
			t.Errorf("span %v, Floor %v", m.Backlog[0], m.Floor)
		}
		if got := r.b.Marks().Backlog; len(got) > 0 {
			t.Errorf("backlog left %v", got)
		}
		for i, part := range r.b.parts[1:] {
			if part.Start.Before(r.b.parts[i].Start) {
				t.Errorf("parts out of order: %v after %v", part, r.b.parts[i])
			}
		}
		r.check(now.Add(-10 * time.Hour))
	})
}

func TestSinceAndAge(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 0.05, 0.01, 120*24*time.Hour, time.Hour)
		now := time.Now().UTC().Truncate(time.Second)
		r.b.fresh = false
		r.b.marks = event.Marks{
			Floor: now.Add(-31 * time.Minute), Watermark: now,
			Backlog: []event.Span{{Start: now.Add(-100 * 24 * time.Hour), End: now.Add(-95 * 24 * time.Hour)}},
		}
		r.b.skipTo(r.b.marks.Floor)
		r.b.oldest = now.Add(-90*24*time.Hour + 5*time.Minute)
		r.cfg.Since = now.Add(-92 * 24 * time.Hour)
		r.start()
		time.Sleep(2 * time.Hour) // the fake fails the test when asked for more than 90 days
		r.stop()
		if got := r.b.Marks().Backlog; len(got) > 0 {
			t.Errorf("backlog left %v", got)
		}
		r.check(now.Add(-90*24*time.Hour + 10*time.Minute))
	})
}

func TestNewSpelling(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 100, 3, 3*time.Hour, 7*time.Hour)
		dated := r.ct.a.names[0] // common: an hourly sample of a few seconds shows it soon
		r.catalog = slices.DeleteFunc(slices.Clone(r.catalog), func(n string) bool { return n == dated })
		r.common = slices.DeleteFunc(slices.Clone(r.common), func(n string) bool { return n == dated })
		r.b.unlisted = map[string]bool{dated: true}
		r.cfg.Start = 30 * time.Minute
		begins := time.Now().Add(100 * time.Minute) // long after all writes were read
		r.ct.a.quiet = func(s sample) bool { return s.Name == dated && s.Time.Before(begins) }
		r.start()
		time.Sleep(5 * time.Hour)
		r.stop()
		r.check(r.b.resets[0].Floor)
		named := slices.ContainsFunc(r.b.parts, func(s event.Span) bool { return slices.Equal(s.Names, []string{dated}) })
		if !named {
			t.Errorf("no part of the backlog under the new spelling: %v", r.b.parts)
		}
	})
}

func TestThrottlesSlowAndRecover(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 5, 1, 3*time.Hour, 8*time.Hour)
		var on atomic.Bool
		r.ct.fault = func(n int, _ request) fault {
			if on.Load() && n%2 == 0 {
				return fault{code: "ThrottlingException"}
			}
			return fault{}
		}
		count := func(d time.Duration) int {
			n := r.ct.count()
			time.Sleep(d)
			return r.ct.count() - n
		}
		r.start()
		time.Sleep(time.Hour)
		calm := count(20 * time.Minute)
		on.Store(true)
		busy := count(20 * time.Minute)
		on.Store(false)
		time.Sleep(30 * time.Minute)
		after := count(20 * time.Minute)
		r.stop()
		if busy*4 > calm || after < calm*8/10 {
			t.Errorf("attempts in 20 minutes: %d calm, %d throttled, %d after", calm, busy, after)
		}
		if got := testutil.ToFloat64(r.p.metrics.requests[throttled]); got == 0 {
			t.Error("throttles are not counted")
		}
		r.check(r.b.resets[0].Floor)
	})
}

func TestSinkHoldsBackAndFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 2, 1, 3*time.Hour, 4*time.Hour)
		r.in.block = make(chan struct{})
		r.start()
		time.Sleep(time.Hour)
		if r.ct.count() > 20 || r.b.headsRead() > 0 {
			t.Errorf("%d requests and %d head scans while the sink holds back", r.ct.count(), r.b.headsRead())
		}
		if pr := r.p.Progress(); time.Since(pr.Final) > time.Minute {
			t.Errorf("waiting for the sink counts as hanging: %+v", pr)
		}
		close(r.in.block)
		time.Sleep(time.Hour)
		r.stop()
		r.check(r.b.resets[0].Floor)
		r.in.err = errors.New("disk is full")
		r.build()
		if err := r.p.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "disk is full") {
			t.Errorf("Run: %v, want the sink's error", err)
		}
	})
}

func TestHungAttemptShows(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 2, 1, 3*time.Hour, 2*time.Hour)
		r.ct.fault = func(n int, _ request) fault {
			if n > 50 && n < 60 {
				return fault{slow: time.Hour}
			}
			return fault{}
		}
		r.start()
		time.Sleep(100 * time.Minute)
		r.stop()
		if got := testutil.ToFloat64(r.p.metrics.requests[failed]); got < 9 || got > 10 { // stopping may break one off

			t.Errorf("%v attempts failed, want the 9 that hung", got)
		}
		r.check(r.b.resets[0].Floor)
	})
}

func TestRunEndsWithContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, after := range []time.Duration{0, 100 * time.Millisecond, 700 * time.Millisecond, 90 * time.Second} {
			r := newRig(t, 2, 1, 3*time.Hour, time.Hour)
			r.build()
			ctx, cancel := context.WithTimeout(t.Context(), after)
			if err := r.p.Run(ctx); err != nil {
				t.Errorf("after %v: %v", after, err)
			}
			cancel()
		}
	})
}

func TestObserve(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 2, 1, 3*time.Hour, 3*time.Hour)
		var n atomic.Int64
		r.observe = func(source, name, raw string) {
			if name != "ModifyThing" || raw == "" {
				t.Errorf("observed %s %s", source, name)
			}
			n.Add(1)
		}
		r.start()
		time.Sleep(90 * time.Minute)
		r.stop()
		want := int64(r.b.Marks().Floor.Sub(r.b.resets[0].Backlog[0].Start).Seconds())
		if got := n.Load(); got < want*9/10 || got > want*12/10 {
			t.Errorf("%d events observed, want about %d: each once", got, want)
		}
		problems, err := testutil.GatherAndLint(r.reg)
		if err != nil || len(problems) > 0 {
			t.Errorf("lint: %v %v", problems, err)
		}
	})
}
