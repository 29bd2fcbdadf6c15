package poller

import (
	"context"
	"fmt"
	"math"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/autotagd/autotagd/pkg/event"
)

var epoch = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

func defaults() Config {
	return Config{Interval: 15 * time.Second, SweepInterval: 5 * time.Minute, Lookback: 30 * time.Minute, Start: time.Hour, Rate: 1.5}
}

type nowhere struct{}

func (nowhere) Handle(context.Context, []Event) error { return nil }

// simulation runs the schedule and the reader against an account in virtual time: no SDK, no goroutine, no clock.
type simulation struct {
	p       *Poller
	a       *account
	b       *book
	now     time.Time
	latency func(n int) time.Duration
	fault   func(c *call) answer
	onCall  func(c *call)
	calls   [kinds][2]int
	handed  []time.Duration // visible to handed on
	periods []time.Duration
	lastGo  time.Time
	n       int
	sat     bool

	measured time.Duration
}

func newSimulation(t testing.TB, a *account, cfg Config) *simulation {
	catalog, common := catalogNames()
	b := newBook(t, a)
	s := &simulation{a: a, b: b, now: a.from.Add(2 * time.Hour)}
	s.latency = func(n int) time.Duration { return time.Duration(100+a.rnd(9, n)*400) * time.Millisecond }
	s.p = New(Options{
		Scope: event.Scope{AccountID: "123456789012", Region: "eu-west-1"}, Ledger: b, Sink: nowhere{}, Config: cfg,
		Names: Names{Catalog: catalog, Common: common, Known: known}, Metrics: NewMetrics(prometheus.NewRegistry()),
	})
	return s
}

func (s *simulation) start() {
	look := func(end time.Time) (pg page, more bool) {
		events, next, _ := s.a.lookup(s.now, "", s.now.Add(-retention), end, "")
		pg.events = len(events)
		for _, e := range events {
			if known(e.Source, e.Name) {
				pg.creates++
			}
			pg.oldest = e.Time
		}
		return pg, next != ""
	}
	pg, more := look(s.now)
	writes, creates := pg.density(s.now, more)
	if end, young := s.p.reader.young(s.now, pg, more); young {
		pg, more = look(end)
		writes, creates = pg.density(end, more)
	}
	if err := s.p.reader.start(context.Background(), s.now, writes, creates); err != nil {
		panic(err)
	}
}

// run goes on until the account's time is end; what happens after measure is measured.
func (s *simulation) run(measure, end time.Time) {
	type reply struct {
		at time.Time
		c  *call
		a  answer
	}
	var replies []reply
	var token time.Time
	gap := time.Duration(float64(time.Second) / s.p.Config.Rate)
	for s.now.Before(end) {
		for len(replies) > 0 && !replies[0].at.After(s.now) {
			r := replies[0]
			replies = replies[1:]
			s.p.reader.answered(r.c, r.a, s.now)
		}
		s.sat = s.p.reader.saturated
		wake := s.now.Add(time.Hour)
		if len(replies) > 0 {
			wake = replies[0].at
		}
		if s.now.Before(token) {
			s.now = earliest(wake, token)
			continue
		}
		c, wait := s.p.reader.next(s.now, s.p.Config.Rate)
		if c == nil {
			s.now = earliest(wake, s.now.Add(wait))
			continue
		}
		token = s.now.Add(gap)
		if s.onCall != nil {
			s.onCall(c)
		}
		s.n++
		measured := !s.now.Before(measure)
		if measured {
			s.calls[c.pass.kind][c.pass.by]++
		}
		if b := s.p.reader.headBegan; !b.Equal(s.lastGo) {
			if measured && !s.lastGo.IsZero() && !b.IsZero() {
				s.periods = append(s.periods, b.Sub(s.lastGo))
			}
			s.lastGo = b
		}
		if s.fault != nil {
			if a := s.fault(c); a.outcome != ok {
				replies = append(replies, reply{s.now.Add(s.latency(s.n)), c, a})
				slices.SortStableFunc(replies, func(x, y reply) int { return x.at.Compare(y.at) })
				continue
			}
		}
		events, next, valid := s.a.lookup(s.now, c.slice.name, c.start, c.end, c.token)
		at := s.now.Add(s.latency(s.n))
		a := answer{outcome: ok, token: next}
		if !valid {
			a.outcome = badToken
		}
		records := make([]Event, len(events))
		visible := map[string]time.Time{}
		for i, e := range events {
			records[i] = e.Event
			visible[e.ID] = e.visible
		}
		var wanted []Event
		wanted, a.page = s.p.take(c, records, at)
		for _, e := range wanted {
			if !e.Backlog && !visible[e.ID].Before(measure) {
				s.handed = append(s.handed, at.Sub(visible[e.ID]))
			}
		}
		i := len(replies)
		for i > 0 && replies[i-1].at.After(at) {
			i--
		}
		replies = slices.Insert(replies, i, reply{at, c, a})
	}
}

func earliest(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func quantile(d []time.Duration, q float64) time.Duration {
	if len(d) == 0 {
		return 0
	}
	d = slices.Clone(d)
	slices.Sort(d)
	return d[min(int(math.Ceil(q*float64(len(d))))-1, len(d)-1)]
}

var ratesTable = []struct {
	writes, creates float64
	warm, length    time.Duration // of the test; the benchmark goes on for days
	within          time.Duration // visible to handed on, 99 %
	period          time.Duration // of head scans, median at most
	saturated       bool
}{
	{0.1, 0.02, 2 * time.Hour, 12 * time.Hour, 25 * time.Second, 15 * time.Second, false},
	{1, 0.2, 2 * time.Hour, 2 * time.Hour, 25 * time.Second, 15 * time.Second, false},
	{10, 2, 2 * time.Hour, 3 * time.Hour, 3 * time.Minute, 2 * time.Minute, false},
	{50, 10, 3 * time.Hour, 2 * time.Hour, 10 * time.Minute, 5 * time.Minute, false},
	{500, 10, 3 * time.Hour, 2 * time.Hour, 10 * time.Minute, 5 * time.Minute, false},
	{200, 40, time.Hour, time.Hour, 0, 0, true},
}

// measure runs an account for warm and length and measures the latter.
func measure(t testing.TB, writes, creates float64, warm, length time.Duration) *simulation {
	a := newAccount(1, epoch, writes, creates, warm+length+3*time.Hour)
	s := newSimulation(t, a, defaults())
	s.start()
	from := s.now.Add(warm)
	s.run(from, from.Add(length))
	s.measured = length
	return s
}

func TestRates(t *testing.T) {
	for _, r := range ratesTable {
		t.Run(fmt.Sprintf("%g writes %g creates", r.writes, r.creates), func(t *testing.T) {
			t.Parallel()
			if r.writes == 50 && os.Getenv("AUTOTAGD_SLOW") == "" {
				t.Skip("read by name like 500 a second: make check runs it")
			}
			s := measure(t, r.writes, r.creates, r.warm, r.length)
			p99 := quantile(s.handed, 0.99)
			t.Logf("median %v, 99%% %v, period %v, floor %v behind, age %v, calls %v, %d events, late %v, saturated %v",
				quantile(s.handed, 0.5), p99, quantile(s.periods, 0.5), s.now.Sub(s.b.marks.Floor), s.p.reader.learned.delays.age(), s.calls, len(s.handed),
				testutil.ToFloat64(s.p.metrics.lateEvents), s.sat)
			if s.sat != r.saturated {
				t.Errorf("saturated = %v, want %v", s.sat, r.saturated)
			}
			if r.saturated {
				return
			}
			if p99 > r.within {
				t.Errorf("99 %% handed on within %v, want %v", p99, r.within)
			}
			if p := quantile(s.periods, 0.5); p > r.period+time.Second {
				t.Errorf("head scans every %v, want %v", p, r.period)
			}
			if behind := s.now.Sub(s.b.marks.Floor); behind > 30*time.Minute+2*nameStride+10*time.Minute {
				t.Errorf("Floor is %v behind", behind)
			}
		})
	}
}

// BenchmarkRates gives the figures of the README: virtual time, rate 1.5, mean visibility 150 s.
func BenchmarkRates(b *testing.B) {
	for _, r := range ratesTable {
		b.Run(fmt.Sprintf("writes=%g/creates=%g", r.writes, r.creates), func(b *testing.B) {
			for b.Loop() {
				s := measure(b, r.writes, r.creates, 12*time.Hour, 36*time.Hour)
				for k := range kinds {
					b.ReportMetric(float64(s.calls[k][byWrites]+s.calls[k][byName])/s.measured.Seconds(), k.String()+"-calls/s")
				}
				b.ReportMetric(quantile(s.periods, 0.5).Seconds(), "scan-period-s")
				b.ReportMetric(quantile(s.handed, 0.5).Seconds(), "handed-p50-s")
				b.ReportMetric(quantile(s.handed, 0.99).Seconds(), "handed-p99-s")
				b.ReportMetric(s.now.Sub(s.b.marks.Floor).Minutes(), "floor-behind-min")
				b.ReportMetric(0, "saturated")
				if s.sat {
					b.ReportMetric(1, "saturated")
				}
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}
