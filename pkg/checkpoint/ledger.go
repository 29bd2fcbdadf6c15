package checkpoint

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/autotagd/autotagd/pkg/event"
	"github.com/autotagd/autotagd/pkg/resource"
)

// Options are what a Ledger needs besides its Store.
type Options struct {
	// Interval is the shortest time between two saves that Due asks for; 15 s when zero.
	Interval time.Duration
	// LeaseOwner is noted in the state; "" with a store that has no leases.
	LeaseOwner string
	// Metrics are shared by all Ledgers; nil: they go nowhere.
	Metrics *Metrics
}

// Ledger is one Scope's State in memory, and the only one that moves its marks. All methods may be called at any time
// from any goroutine. Of those that the poller calls none blocks on the Store.
//
// An event is begun by the poller, then held by the daemon with its Jobs (or Done, without any), and it is settled when
// each of its Jobs is finished, deferred or unstored.
type Ledger struct {
	store    Store
	scope    event.Scope
	interval time.Duration
	owner    string
	writer   string // names this Ledger in the states that it writes
	metrics  *scopeMetrics
	fresh    bool // there was no State to load

	saving chan struct{} // full during a save, one at a time; guards the next three
	// version is that of the state last read or written. It is in doubt after a Swap that failed in an unclear way.
	version Version
	inDoubt bool
	saves   int64

	mu        sync.Mutex // guards what follows; never held during a call of the Store
	placed    bool       // the marks are: a State was loaded, or Reset was called
	fenced    bool
	floor     Floor
	watermark Watermark
	cursor    *event.Cursor
	spellings event.Spellings
	names     []nameRead // cursors that were read and are not settled, in order
	backlog   backlog
	denials   denials
	seen      seenIDs
	events    map[eventKey]*openEvent
	deferred  map[string]*deferredJob // by part
	restored  []resource.Job          // the deferred Jobs at load, oldest first

	begun uint64 // events begun in the Live stream: the number of the last one
	shown uint64 // the number of the last one that a complete read of the Live stream has shown

	changes  uint64    // counts what happened other than marks moving
	moves    uint64    // counts the moves of the cursor
	saved    savedMark // what the state in the Store says
	stored   bool      // there is one
	lastSave time.Time // of the last attempt
}

// openEvent is an event with something left to do.
type openEvent struct {
	at time.Time
	// The streams whose marks wait for it. Neither: it was settled before, by deferral, and then one of its Jobs turned
	// out to stand for several. It holds no mark, and keeps its job# parts.
	live, backlog bool
	number        uint64 // in the Live stream
	held          bool   // its Jobs are known
	jobs          map[string]struct{}
	unstored      bool // one of its Jobs is: its id is never noted durably
	again         bool // a replay came by before it was settled: it is to be read once more
}

// nameRead is a cursor that takes effect when the events begun before it are settled.
type nameRead struct {
	cursor event.Cursor
	number uint64
}

// deferredJob is a Job that has, or is about to have, a job# part.
type deferredJob struct {
	job      resource.Job
	event    eventKey
	change   uint64 // counts its changes, so that a save knows whether it wrote the last one
	dirty    bool   // to be written
	finished bool   // to be deleted, once nothing hangs on it
}

// savedMark is what Due compares with.
type savedMark struct {
	changes, moves   uint64
	floor, watermark time.Time
}

// Open loads a Scope's State, or starts a fresh one if there is none. The caller must be its only holder.
func Open(ctx context.Context, store Store, scope event.Scope, opts Options) (*Ledger, error) {
	if opts.Interval <= 0 {
		opts.Interval = 15 * time.Second
	}
	if opts.Metrics == nil {
		opts.Metrics = NewMetrics(prometheus.NewRegistry())
	}
	st, err := Read(ctx, store, scope)
	if err != nil {
		return nil, fmt.Errorf("load the checkpoint of %s: %w", scope, err)
	}
	l := &Ledger{
		store: store, scope: scope, interval: opts.Interval, owner: opts.LeaseOwner, writer: rand.Text(),
		metrics: opts.Metrics.of(scope), version: st.Version, fresh: st.Version == "", placed: st.Version != "",
		saving: make(chan struct{}, 1), seen: st.seen, events: map[eventKey]*openEvent{}, deferred: map[string]*deferredJob{}, restored: st.Deferred,
	}
	l.floor.put(st.Marks.Floor)
	l.watermark.put(st.Marks.Watermark)
	l.backlog.put(st.Marks.Backlog)
	l.cursor = st.Marks.Cursor
	l.spellings = st.Marks.Spellings
	for _, d := range st.Denials {
		l.denials = append(l.denials, &d)
	}
	for _, j := range st.Deferred {
		l.deferred[jobPart(j)] = &deferredJob{job: j, event: keyOf(j.Event.ID)}
	}
	l.saved, l.stored = l.mark(), !l.fresh
	l.report()
	l.metrics.lease.Set(1)
	return l, nil
}

// Fresh reports that there was no State to load. Its marks are then placed by Reset; until that nothing is saved.
func (l *Ledger) Fresh() bool { return l.fresh }

// Marks returns the marks as far as everything is settled. What was read and isn't settled shows only once it is.
// A backlog span that was added shows once no reading of an older one can overlap it, and the caller, who is to be the poller
// alone, has seen that one gone.
func (l *Ledger) Marks() event.Marks {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.advance()
	m := event.Marks{
		Floor: l.floor.Time(), Watermark: l.watermark.Time(),
		Backlog: slices.Clone(l.backlog.shown), Cursor: cloneCursor(l.cursor), Spellings: l.spelled(),
	}
	l.backlog.unseen = nil
	l.backlog.promote() // only now: a span is seen to have gone before one like it appears
	return m
}

// spelled returns a copy.
func (l *Ledger) spelled() event.Spellings {
	s := l.spellings
	s.Names = slices.Clone(s.Names)
	return s
}

// Spellings returns the names that Spelled has set.
func (l *Ledger) Spellings() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.spelled().Names
}

// Spelled replaces what the marks say of spellings.
func (l *Ledger) Spelled(s event.Spellings) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !slices.Equal(s.Names, l.spellings.Names) || !s.NamedFrom.Equal(l.spellings.NamedFrom) {
		l.changes++ // WholeTo goes with the Floor
	}
	s.Names = slices.Clone(s.Names)
	l.spellings = s
}

// Begin asks what is known of an event before it is handed on. After New the caller hands it on, and it holds the
// stream's marks until it is settled; after any other verdict there is nothing to do. The Backlog neither consults nor
// keeps settled ids: only what is in hand is not begun again.
func (l *Ledger) Begin(s event.Stream, id string, at time.Time) event.Verdict {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := keyOf(id)
	if s == event.Live && l.seen.has(k, at) {
		return event.Settled
	}
	e, verdict := l.events[k], event.InHand
	switch {
	case e == nil:
		e, verdict = &openEvent{at: at, jobs: map[string]struct{}{}}, event.New
		l.events[k] = e
	case !e.live && !e.backlog:
		e.held, verdict = false, event.New
	}
	switch {
	case s == event.Live && !e.live:
		l.begun++
		e.live, e.number = true, l.begun
	case s == event.Backlog && !e.backlog:
		e.backlog = true
		l.backlog.begun(e.at)
	}
	if s == event.Backlog && e.unstored {
		e.again = true
	}
	return verdict
}

// Reset places the marks at a start, before anything is read: the first Floor of a fresh Scope, or a later one with a
// span for the time between, after an outage. Spans are added to those there are, none is removed; the Watermark does
// not go back; the cursor stays as it is, or goes if m has none. But for the first of a fresh Scope it refuses to lower
// the Floor, or to raise it over time of the last 90 days that no span for all names covers. Save at once after it: all
// of it goes into the state in one write, and a fresh Scope has no promise before.
func (l *Ledger) Reset(m event.Marks) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	m.Floor, m.Watermark = wholeSecond(m.Floor), wholeSecond(m.Watermark)
	spans := joinSpans(append(l.backlog.all(), m.Backlog...))
	if l.placed {
		if m.Floor.Before(l.floor.Time()) {
			return fmt.Errorf("reset %s: the Floor %s would go back to %s", l.scope, stamp(l.floor.Time()), stamp(m.Floor))
		}
		from := l.floor.Time()
		if from.Before(m.Floor.Add(-maxAge / 2)) {
			// What AWS still has begins 90 days before its time, which only the poller knows: then the end must be covered.
			from = m.Floor.Add(-maxAge / 2)
		}
		if to := m.Floor.Add(-time.Second); !to.Before(from) && !slices.ContainsFunc(spans, func(s event.Span) bool {
			return s.Names == nil && contains(s, from) && contains(s, to)
		}) {
			return fmt.Errorf("reset %s: the Floor would go from %s to %s with no backlog span for the time between",
				l.scope, stamp(from), stamp(m.Floor))
		}
	}
	l.placed = true
	l.floor.put(m.Floor)
	if m.Watermark.After(l.watermark.Time()) {
		l.watermark.put(m.Watermark)
	}
	if m.Cursor == nil {
		l.cursor = nil
	}
	l.names = nil
	l.backlog.put(spans)
	l.backlog.trim(l.oldest())
	l.changes++
	l.report()
	return nil
}

// FloorRead notes that a final pass has read everything before end.
func (l *Ledger) FloorRead(end time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.shown = l.begun
	l.floor.Read(end)
	l.advance()
}

// HeadRead notes that a head scan has read everything up to end.
func (l *Ledger) HeadRead(end time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.shown = l.begun
	l.watermark.Read(end)
	l.advance()
}

// NameRead notes that a final pass by name has read c.Name, and all names before it, in c.Span. The cursor moves there
// when the events of that span that were begun until now are settled.
func (l *Ledger) NameRead(c event.Cursor) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.shown = l.begun
	c.Span = cleanSpan(c.Span)
	l.names = append(l.names, nameRead{c, l.begun})
	l.advance()
}

// BacklogRead notes that a part of the backlog was read: of a span that Marks has shown, and for the same names. No
// stretch is to be read twice at the same time for the same names. The part leaves the spans when its events are settled,
// but for its last second, where reading goes on.
func (l *Ledger) BacklogRead(part event.Span) {
	l.mu.Lock()
	defer l.mu.Unlock()
	part = cleanSpan(part)
	open := 0
	for _, e := range l.events {
		if e.backlog && contains(part, e.at) {
			open++
		}
	}
	if l.backlog.read(part, open) {
		l.changes++
	}
}

// AddBacklog asks for a span of the past to be read. Of more than eight spans the two with the smallest gap are joined,
// and what is older than 90 days is dropped.
func (l *Ledger) AddBacklog(s event.Span) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.addBacklog(s)
}

func (l *Ledger) addBacklog(s event.Span) {
	l.backlog.add(s)
	l.backlog.trim(l.oldest())
	l.changes++
}

// oldest is the time before which LookupEvents shows nothing, as far as the marks tell: on AWS's clock, not the host's.
func (l *Ledger) oldest() time.Time {
	now := l.floor.Time()
	if w := l.watermark.Time(); w.After(now) {
		now = w
	}
	return now.Add(-maxAge)
}

// advance moves the marks as far as everything is settled. The caller holds mu.
func (l *Ledger) advance() {
	var oldest, oldestShown time.Time // among the events that hold marks
	for _, e := range l.events {
		if !e.live {
			continue
		}
		if oldest.IsZero() || e.at.Before(oldest) {
			oldest = e.at
		}
		if e.number <= l.shown && (oldestShown.IsZero() || e.at.Before(oldestShown)) {
			oldestShown = e.at
		}
	}
	l.floor.Advance(oldest)
	l.watermark.Advance(oldestShown)

	for len(l.names) > 0 && !l.held(l.names[0]) {
		l.cursor = cloneCursor(&l.names[0].cursor)
		l.names = l.names[1:]
		l.moves++
	}
	if l.cursor != nil && !l.cursor.Span.End.After(l.floor.Time()) {
		l.cursor = nil
	}
	l.report()
}

// held reports whether an event begun before the read isn't settled.
func (l *Ledger) held(n nameRead) bool {
	for _, e := range l.events {
		if e.live && e.number <= n.number && contains(n.cursor.Span, e.at) {
			return true
		}
	}
	return false
}

// report sets the gauges. The caller holds mu, or is the only one to know of l.
func (l *Ledger) report() {
	l.metrics.floor.Set(unixSeconds(l.floor.Time()))
	l.metrics.watermark.Set(unixSeconds(l.watermark.Time()))
	l.metrics.backlog.Set(l.backlog.length().Seconds())
	count, since := l.waiting()
	l.metrics.deferred.Set(float64(count))
	l.metrics.since.Set(unixSeconds(since))
}

func unixSeconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.Unix())
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func cloneCursor(c *event.Cursor) *event.Cursor {
	if c == nil {
		return nil
	}
	d := *c
	d.Span.Names = slices.Clone(c.Span.Names)
	return &d
}

func (l *Ledger) mark() savedMark {
	return savedMark{changes: l.changes, moves: l.moves, floor: l.floor.Time(), watermark: l.watermark.Time()}
}
