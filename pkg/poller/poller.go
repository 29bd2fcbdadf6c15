package poller

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"go.uber.org/zap"
	"golang.org/x/time/rate"

	"github.com/autotagd/autotagd/pkg/event"
)

// LookupEventsAPI is the one call the poller makes. It must not try a request again by itself: each attempt counts.
type LookupEventsAPI = cloudtrail.LookupEventsAPIClient

// Ledger keeps one Scope's marks and knows which events are settled. What the poller reports as read takes effect when
// every event begun in that Stream before the report is settled. It is safe for use by several goroutines.
type Ledger interface {
	// Fresh reports whether the Scope has no saved State.
	Fresh() bool
	// Marks returns a copy of the marks as they are settled.
	Marks() event.Marks
	// Reset sets the marks, at a start only: Floor and backlog in one write. It may join spans.
	Reset(context.Context, event.Marks) error
	// Begin notes that an event is handed on, if the Verdict is New; then the sink must see to it that it is settled.
	Begin(s event.Stream, id string, at time.Time) event.Verdict
	// FloorRead says that a final pass has read everything up to end.
	FloorRead(end time.Time)
	// HeadRead says that head scans have read everything visible up to end.
	HeadRead(end time.Time)
	// NameRead says how far a final pass by name is.
	NameRead(event.Cursor)
	// BacklogRead takes a part that was read from the backlog's spans: from those with the same Names that are there now.
	BacklogRead(event.Span)
	// AddBacklog adds a span that is to be read.
	AddBacklog(event.Span)
	// Spelled replaces what the marks say of spellings.
	Spelled(event.Spellings)
}

// Sink takes the create events of a page, none of which was settled when it was read. Handle may block: reading then waits.
// An error ends Run, and nothing more is reported as read.
type Sink interface {
	Handle(ctx context.Context, events []Event) error
}

// Event is one create event as LookupEvents shows it.
type Event struct {
	ID, Source, Name string
	Time             time.Time // whole seconds
	Seen             time.Time // AWS's time when it was read
	Raw              string    // the record: JSON, not looked at by the poller
	Backlog          bool      // from the past
}

// Names says which events are wanted.
type Names struct {
	// Catalog is every event name, in every spelling, that a reading by name must ask for. Pollers share it if it is sorted and
	// has none twice: nobody may change it any more.
	Catalog []string
	// Common are the commonest of them: a head scan by name always asks for these.
	Common []string
	// Known reports whether an event is a create event. It must be quick, and safe for use by several goroutines.
	Known func(source, name string) bool
	// Observe, if set, gets every event of an all-writes read that is not Known, about once each (head scans aside).
	// It must be safe for use by several goroutines.
	Observe func(source, name, raw string)
}

// Config is the configuration's `poll`.
type Config struct {
	Interval      time.Duration
	SweepInterval time.Duration
	Lookback      time.Duration
	Start         time.Duration
	Rate          float64   // LookupEvents attempts a second, at most 2
	Since         time.Time // add the time from here on to the backlog; zero: none
}

// Options are what a Poller needs. All but Limiter and Log are required.
type Options struct {
	Scope  event.Scope
	Client LookupEventsAPI
	Ledger Ledger
	Sink   Sink
	Names  Names
	Config Config
	// Limiter, if set, is the Scope's rate that an earlier Poller kept to: see NewLimiter.
	Limiter *Limiter
	Metrics *Metrics
	Log     *zap.Logger
}

// Poller reads one Scope. It knows of no other.
type Poller struct {
	Options
	metrics *metrics
	clock   *clock
	limiter *Limiter
	reader  *reader     // of the goroutine of Run
	catalog sortedNames // read only

	failures int // in a row; of the goroutine of Run

	answered     chan struct{} // closed at the first answer
	answeredOnce sync.Once

	mu       sync.Mutex // guards what follows
	progress Progress
	began    map[*call]time.Time // attempts under way
	turned   time.Time           // when the loop last went round
}

// New returns a Poller that has not started. It panics on a rate or durations that are not positive: a checked
// configuration has none.
func New(o Options) *Poller {
	c := o.Config
	if c.Rate <= 0 || c.Interval <= 0 || c.SweepInterval <= 0 || c.Lookback <= 0 || c.Start <= 0 {
		panic(fmt.Sprintf("poller: config must be positive: %+v", c))
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	o.Log = o.Log.With(zap.String("account_id", o.Scope.AccountID), zap.String("region", o.Scope.Region))
	m := newMetrics(o.Metrics, o.Scope)
	n := newNames(o.Names.Catalog, o.Names.Common)
	return &Poller{
		Options: o,
		metrics: m,
		clock:   newClock(),
		limiter: cmp.Or(o.Limiter, NewLimiter(c.Rate)),
		catalog: n.catalog,
		reader:  &reader{cfg: c, ledger: o.Ledger, names: n, metrics: m, log: o.Log},

		answered: make(chan struct{}),
		began:    map[*call]time.Time{},
	}
}

// Limiter keeps to a rate of LookupEvents attempts, evenly spaced: when they are planned, slower after throttles, and when they
// are sent. Between the two an attempt may have waited for credentials, and others with it.
type Limiter struct {
	*rate.Limiter
	sends *rate.Limiter
}

// NewLimiter returns a Limiter of so many attempts a second.
func NewLimiter(perSecond float64) *Limiter {
	return &Limiter{rate.NewLimiter(rate.Limit(perSecond), 1), rate.NewLimiter(rate.Limit(perSecond), 1)}
}

// SetRate changes the rate, from the next attempt on.
func (l *Limiter) SetRate(perSecond float64) {
	l.SetLimit(rate.Limit(perSecond))
	l.sends.SetLimit(rate.Limit(perSecond))
}

// Run reads until ctx ends, and then returns nil. An error of AWS never ends it; one of the Ledger or the Sink does.
// It leaves no goroutine behind. It may be called once.
func (p *Poller) Run(ctx context.Context) error { return p.run(ctx, false) }

// Once makes one final pass, reads the backlog, and makes one head scan by all writes or all names. It returns an error
// also when AWS denies or refuses a request, or fails for long. It may be called once, instead of Run.
func (p *Poller) Once(ctx context.Context) error { return p.run(ctx, true) }

// FirstAnswered is closed when AWS first answered a LookupEvents with success.
func (p *Poller) FirstAnswered() <-chan struct{} { return p.answered }

// Progress says when each loop last finished an attempt, whatever its result, or had none to make, on the host's clock;
// and how the last attempt ended.
type Progress struct {
	Final, Head, Backlog time.Time
	Tried                bool  // one attempt was finished
	Placed               bool  // the marks are set, and Since is in the backlog
	Err                  error // of the last attempt; nil when it succeeded
}

// Progress returns how far the loops are. It is safe for use by several goroutines.
func (p *Poller) Progress() Progress {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := p.progress
	at := [kinds]time.Time{p.turned, p.turned, p.turned}
	for c, began := range p.began {
		for k := range kinds {
			if (c.pass == nil || c.pass.kind == k) && began.Before(at[k]) {
				at[k] = began
			}
		}
	}
	out.Final, out.Head, out.Backlog = at[final], at[head], at[backlog]
	return out
}

// turn notes that the loop goes round.
func (p *Poller) turn() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.turned = time.Now()
}

// result is an answer that has come, or a failure that ends Run.
type result struct {
	call   *call
	answer answer
	err    error
	fatal  bool
}

func (p *Poller) run(ctx context.Context, once bool) error {
	ctx, cancel := context.WithCancel(ctx)
	var calls sync.WaitGroup
	defer calls.Wait()
	defer cancel()

	p.turn()
	p.reader.once = once
	if err := p.first(ctx, once); err != nil || ctx.Err() != nil {
		return err
	}
	results := make(chan result, maxSlices) // as many as calls: none waits for a loop that has ended
	for {
		p.turn()
		now := p.clock.now()
		c, wait := (*call)(nil), p.tokenIn()
		if wait <= 0 {
			if once && p.reader.finished(now) {
				return nil
			}
			if c, wait = p.reader.next(now, float64(p.limiter.Limit())); c != nil {
				p.limiter.Allow()
				p.begin(c)
				calls.Go(func() { results <- p.make(ctx, c, now) })
				continue
			}
		}
		timer := time.NewTimer(min(wait, longestTurn))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case r := <-results:
			timer.Stop()
			if r.fatal {
				if ctx.Err() != nil {
					return nil
				}
				return r.err
			}
			p.failed(&r)
			if once && r.err != nil && (r.answer.outcome.permanent() || p.failures >= onceFailures) {
				return r.err
			}
			p.reader.answered(r.call, r.answer, p.clock.now())
		case <-timer.C:
		}
	}
}

// onceFailures in a row end Once.
const onceFailures = 20

// tokenIn is how long until the rate allows an attempt.
func (p *Poller) tokenIn() time.Duration {
	missing := 1 - p.limiter.Tokens()
	if missing <= 0 {
		return 0
	}
	return time.Duration(missing / float64(p.limiter.Limit()) * float64(time.Second))
}

// first makes the Scope's first call, until it is answered: it tells AWS's time and how dense events are. Nothing is decided before.
func (p *Poller) first(ctx context.Context, once bool) error {
	for {
		pg, more, r := p.ask(ctx, &call{})
		if ctx.Err() != nil {
			return nil
		}
		if r.err == nil && p.clock.set() {
			return p.place(ctx, pg, more)
		}
		if once && r.err != nil && (r.answer.outcome.permanent() || p.failures >= onceFailures) {
			return r.err
		}
		wait := max(r.answer.pause, r.answer.backoff)
		if r.err == nil {
			wait = backoff(1, 10*time.Second, time.Minute)
			p.Log.Error("LookupEvents answers without a Date header: AWS's time is unknown")
		}
		if !sleep(ctx, wait, p.turn) {
			return nil
		}
	}
}

// place sets the marks, by the Scope's newest page; more says that there are older events. A page that is too young gets a second one,
// for which one attempt has to do.
func (p *Poller) place(ctx context.Context, newest page, more bool) error {
	now := p.clock.now()
	writes, creates := newest.density(now, more)
	if end, young := p.reader.young(now, newest, more); young {
		pg, more, r := p.ask(ctx, &call{slice: &slice{}, end: end})
		if ctx.Err() != nil {
			return nil
		}
		if w, c := pg.density(end, more); r.err == nil && w > writes {
			writes, creates = w, c
		}
	}
	if err := p.reader.start(ctx, p.clock.now(), writes, creates); err != nil {
		return fmt.Errorf("set the marks of %s: %w", p.Scope, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.progress.Placed = true
	return nil
}

// ask makes a call of no pass, once, and sums up its page; more says that there are older events.
func (p *Poller) ask(ctx context.Context, c *call) (pg page, more bool, r result) {
	p.turn()
	r.call = c
	if r.err = p.limiter.Wait(ctx); r.err != nil {
		return page{}, false, r // ctx ended
	}
	p.begin(c)
	records, token, err := p.lookup(ctx, c)
	r.answer, r.err = answer{outcome: classify(err)}, err
	if ctx.Err() == nil {
		p.failed(&r)
	}
	pg = summary(records)
	for _, e := range records {
		if p.Names.Known(e.Source, e.Name) || p.catalog.has(e.Name) {
			pg.creates++
		}
	}
	return pg, token != "", r
}

// sleep waits, going round all the same; false when ctx ends.
func sleep(ctx context.Context, d time.Duration, turn func()) bool {
	for end := time.Now().Add(d); ; turn() {
		left := time.Until(end)
		if left <= 0 {
			return true
		}
		timer := time.NewTimer(min(left, longestTurn))
		select {
		case <-ctx.Done():
			timer.Stop()
			return false
		case <-timer.C:
		}
	}
}

// begin notes an attempt that is under way.
func (p *Poller) begin(c *call) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.began[c] = time.Now()
}

// ended notes that AWS's answer to an attempt came, or none will.
func (p *Poller) ended(c *call, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.began, c)
	p.progress.Tried = true
	p.progress.Err = err
}

// failed settles how long to wait after a failure, and how fast to go on. AWS's quota is shared with everyone in the
// account, so a throttle halves our rate, and each success gives a little back.
func (p *Poller) failed(r *result) {
	if r.answer.outcome == ok {
		if p.failures >= loggedFailures {
			p.Log.Info("LookupEvents answers again")
		}
		p.failures = 0
		if l := p.limiter.Limit(); l < rate.Limit(p.Config.Rate) {
			p.limiter.SetLimit(min(l*recovery, rate.Limit(p.Config.Rate)))
		}
		return
	}
	p.failures++
	a := &r.answer
	switch a.outcome {
	case throttled:
		p.limiter.SetLimit(max(p.limiter.Limit()/2, rate.Limit(p.Config.Rate)/16))
		a.pause = backoff(p.failures, 2*time.Second, time.Minute)
	case denied, refused:
		a.pause = backoff(p.failures, 5*time.Second, time.Minute)
	case badRange:
		a.pause = backoff(p.failures, 2*time.Second, time.Minute)
	case failed:
		a.backoff = backoff(p.failures, time.Second, 30*time.Second)
	case ok, badToken, outcomes:
	}
	level := zap.DebugLevel
	if p.failures == loggedFailures || p.failures == 1 && a.outcome.permanent() || p.failures%10 == 0 {
		level = zap.WarnLevel
	}
	p.Log.Log(level, "LookupEvents failed", zap.Error(r.err), zap.Stringer("outcome", a.outcome), zap.Int("failures", p.failures))
}

const (
	longestTurn    = 15 * time.Second // the loop goes round at least so often: health looks at it
	recovery       = 1.02             // of the rate, at each success after a throttle
	loggedFailures = 3                // in a row: then it is worth a line
)
