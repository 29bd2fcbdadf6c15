package daemon

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/autotagd/autotagd/internal/fakeaws"
)

// A Scope that writes much, in virtual time. What is read how, and how late, is the schedule's business and is tested in
// pkg/poller for days; here it is the whole daemon that has to keep up, and to lose nothing. What its process takes is measured in
// cmd/autotagd.

// samples are what a loaded Scope was like each minute.
type samples struct {
	r         *running
	lag       []time.Duration // of the Watermark
	floor     []time.Duration // of the Floor
	unsettled int             // events in hand, at most
	deferred  int             // likewise
	state     int             // bytes on the disk, at most
}

// watch takes a sample each minute until d has passed.
func (s *samples) watch(d time.Duration) {
	for range int(d / time.Minute) {
		time.Sleep(time.Minute)
		scope := s.r.daemon.fleet.all()[0]
		m := scope.ledger.Marks()
		now := s.r.world.cloud.Now()
		s.lag, s.floor = append(s.lag, now.Sub(m.Watermark)), append(s.floor, now.Sub(m.Floor))
		n, _ := scope.ledger.Unsettled()
		s.unsettled, s.deferred = max(s.unsettled, n), max(s.deferred, scope.ledger.DeferredCount())
		s.state = max(s.state, s.r.world.disk.Size())
	}
}

// late returns how long after their events the last of their resources got its Owner from us: of the events between from and to.
func (w *world) late(from, to time.Time) []time.Duration {
	events := map[string]time.Duration{}
	for _, r := range w.cloud.Resources() {
		if r.CreatedAt.Before(from) || r.CreatedAt.After(to) {
			continue
		}
		if i := slices.IndexFunc(r.Writes, func(t fakeaws.TagWrite) bool { return t.Ours && t.Key == "Owner" }); i >= 0 {
			events[r.EventID] = max(events[r.EventID], r.Writes[i].Time.Sub(r.CreatedAt))
		}
	}
	var all []time.Duration
	for _, d := range events {
		all = append(all, d.Round(time.Second))
	}
	slices.Sort(all)
	return all
}

// pages is how many pages were read so far, by all writes and by name.
type pages struct{ writes, name float64 }

func (w *world) pages(r *running) (p pages) {
	w.t.Helper()
	for line := range strings.Lines(gather(w.t, r)) {
		if !strings.HasPrefix(line, "autotagd_lookup_pages_total") {
			continue
		}
		var v float64
		if _, err := fmt.Sscan(line[strings.LastIndexByte(line, ' ')+1:], &v); err != nil {
			w.t.Fatal(err)
		}
		if strings.Contains(line, `by="name"`) {
			p.name += v
		} else {
			p.writes += v
		}
	}
	return p
}

// saturated reports whether the metric says that the Scope has more events than can be read.
func (w *world) saturated(r *running) bool {
	w.t.Helper()
	name := fmt.Sprintf("autotagd_lookup_saturated{account_id=%q,region=%q} ", fakeaws.DefaultAccount, fakeaws.DefaultRegion)
	got := gather(w.t, r)
	if !strings.Contains(got, name) {
		w.t.Fatalf("no %s", name)
	}
	return strings.Contains(got, name+"1")
}

// since is what was read after before.
func (p pages) since(before pages) pages {
	return pages{p.writes - before.writes, p.name - before.name}
}

func loadTest(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	if os.Getenv("AUTOTAGD_LOAD") == "" {
		t.Skip("takes a minute or two: make load")
	}
	t.Parallel()
	synctest.Test(t, test)
}

// atWork starts the account's work, with half an hour of it before the daemon starts.
func (w *world) atWork(work fakeaws.Traffic) (stop func()) {
	work.Beat, work.Quiet, work.Plain = time.Second, true, true
	w.cloud.Past(time.Now().Add(-35*time.Minute), time.Now(), work)
	working, stop := context.WithCancel(w.t.Context())
	go func() { _ = w.cloud.Live(working, work) }() // it returns nil
	return stop
}

// One Scope at 30 and at 500 writing events a second, 6 and 10 of them creates: lag and what is remembered stay where they are.
func TestLoad(t *testing.T) {
	for _, c := range []struct {
		writes, creates float64
		warm            time.Duration
		p50, p98        time.Duration // event to tag, at most: CloudTrail's part of it is 150 s on average and 15 minutes at most
		lag             time.Duration // of the Watermark
	}{
		{30, 6, time.Hour, 5 * time.Minute, 15 * time.Minute, 10 * time.Minute},
		{500, 10, 2 * time.Hour, 7 * time.Minute, 20 * time.Minute, 15 * time.Minute},
	} {
		t.Run(fmt.Sprintf("%g writes %g creates", c.writes, c.creates), func(t *testing.T) {
			loadTest(t, func(t *testing.T) {
				const measured = time.Hour
				w := newWorld(t, 1, "{global_region: off, log: {level: warn}}", fakeaws.Config{Retention: 4 * time.Hour, Duplicates: 0.01})
				stop := w.atWork(fakeaws.Traffic{Creates: c.creates, Writes: c.writes - c.creates})
				defer stop()
				s := &samples{r: w.start()}
				time.Sleep(c.warm)
				from, before := time.Now(), w.pages(s.r)
				s.watch(measured)
				read := w.pages(s.r).since(before)
				to := time.Now()
				if w.saturated(s.r) {
					t.Error("autotagd_lookup_saturated is 1")
				}
				stop()
				time.Sleep(3 * time.Hour) // a final pass by name strides an hour
				s.r.stop()

				events := w.late(from, to)
				p50, p98, most := events[len(events)/2], events[len(events)*98/100], events[len(events)-1]
				t.Logf("%d events tagged in %s, after %s (median), %s (98 %%) and at most %s; Watermark at most %s behind, Floor %s; at most %d events in hand, %d Jobs deferred, %d KiB of State; %.0f pages by all writes, %.0f by name",
					len(events), measured, p50, p98, most, slices.Max(s.lag).Round(time.Second), slices.Max(s.floor).Round(time.Second), s.unsettled, s.deferred, s.state>>10,
					read.writes, read.name)
				if p50 > c.p50 || p98 > c.p98 || slices.Max(s.lag) > c.lag {
					t.Errorf("want half of all tagged within %s, 98 %% within %s, the Watermark at most %s behind", c.p50, c.p98, c.lag)
				}
				// What head scans miss waits for a final pass, which has an hour for its window, after the lookback.
				if bound := 3 * time.Hour; most > bound || slices.Max(s.floor) > bound {
					t.Errorf("want each tagged within %s, and the Floor no further behind", bound)
				}
				if most := int(c.creates * 60); s.unsettled > most {
					t.Errorf("%d events in hand, want at most %d, a minute's", s.unsettled, most)
				}
				if most := int(c.creates*3*3600)*40 + 1<<20; s.state > most {
					t.Errorf("%d bytes of State, want at most %d: of three hours", s.state, most)
				}
				if read.name < read.writes {
					t.Error("it was read by all writes, though that costs more")
				}
				w.audit()
				w.pace(1.5)
			})
		})
	}
}

// kinds of creates of one resource each, where there would be too many.
func singles() []string {
	return []string{"CreateVolume", "CreateSecurityGroup", "CreateQueue", "CreateTopic", "CreateLogGroup", "CreateSecret", "CreateKeyPair", "AllocateAddress"}
}

// A Scope whose work comes and goes is read by name and by all writes in turn, and nothing is lost between the two.
func TestLoadComesAndGoes(t *testing.T) {
	loadTest(t, func(t *testing.T) {
		const phase, last = 3 * time.Hour, 30 * time.Minute
		w := newWorld(t, 1, "{global_region: off, log: {level: warn}}", fakeaws.Config{Duplicates: 0.01})
		busy := func(since time.Duration) bool { return since/phase%2 == 0 }
		stop := w.atWork(fakeaws.Traffic{Creates: 3, Writes: 57, Only: singles(), Level: func(since time.Duration) float64 {
			if busy(since) {
				return 1
			}
			return 0.01
		}})
		defer stop()
		r := w.start()
		for i := range 4 {
			time.Sleep(phase - last)
			before := w.pages(r)
			time.Sleep(last)
			read := w.pages(r).since(before)
			m := r.daemon.fleet.all()[0].ledger.Marks()
			t.Logf("phase %d: %.0f pages by all writes, %.0f by name, Watermark %s behind, Floor %s", i, read.writes, read.name,
				w.cloud.Now().Sub(m.Watermark).Round(time.Second), w.cloud.Now().Sub(m.Floor).Round(time.Second))
			if byName := read.name > read.writes; byName != busy(time.Duration(i)*phase) {
				t.Errorf("phase %d: %.0f pages by all writes, %.0f by name: want the other way", i, read.writes, read.name)
			}
		}
		stop()
		time.Sleep(3 * time.Hour)
		r.stop()
		w.audit()
		w.pace(1.5)
	})
}

// 40 creates a second are more than 1.5 calls a second can read: lag grows, the metric and a log line say so and what helps, and
// in the end nothing is lost.
func TestLoadBeyondTheRate(t *testing.T) {
	loadTest(t, func(t *testing.T) {
		const hint = "more events than can be read at this rate: tags come late"
		w := newWorld(t, 1, "{global_region: off}", fakeaws.Config{})
		stop := w.atWork(fakeaws.Traffic{Creates: 40, Writes: 40, Only: singles()})
		defer stop()
		s := &samples{r: w.start()}
		s.watch(90 * time.Minute)
		third := len(s.floor) / 3
		t.Logf("Watermark behind after 30, 60 and 90 minutes %s %s %s, Floor %s %s %s; at most %d events in hand", s.lag[third], s.lag[2*third], s.lag[3*third-1],
			s.floor[third], s.floor[2*third], s.floor[3*third-1], s.unsettled)
		if grown := s.floor[3*third-1] - s.floor[third]; grown < 30*time.Minute {
			t.Errorf("the Floor has fallen behind by %s in an hour: the test shows little", grown)
		}
		if !w.saturated(s.r) {
			t.Error("autotagd_lookup_saturated is not 1")
		}
		said := w.logs.FilterMessage(hint).All()
		if len(said) == 0 || len(said) > 3 {
			t.Fatalf("%d lines %q, want one, or a few", len(said), hint)
		}
		if got := fmt.Sprint(said[0].ContextMap()["hint"]); !strings.Contains(got, "poll.rate") || !strings.Contains(got, "services") {
			t.Errorf("hint %q, want what can be set", got)
		}
		if most := 40 * 60; s.unsettled > most {
			t.Errorf("%d events in hand, want at most %d, a minute's: what can't be read is not in hand", s.unsettled, most)
		}
		stop()
		time.Sleep(6 * time.Hour)
		if w.saturated(s.r) {
			t.Error("autotagd_lookup_saturated is not 0 hours after")
		}
		s.r.stop()
		w.audit()
		w.pace(1.5)
	})
}
