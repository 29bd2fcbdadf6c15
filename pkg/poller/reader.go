package poller

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/autotagd/autotagd/pkg/event"
)

// reader is what is being read of one Scope: at most one pass of each kind. It has no clock and makes no call: next says
// what to ask, answered takes what came. One goroutine owns it.
type reader struct {
	cfg     Config
	ledger  Ledger
	names   names
	metrics *metrics
	log     *zap.Logger
	learned learned

	passes   [kinds]*pass
	inFlight [kinds]int
	credit   [kinds]float64
	pause    time.Time // no call before: AWS throttles or denies

	floor               time.Time // read for good up to here; the Ledger's Floor follows as events are settled
	everFinal           bool
	finalBy, headBy     by
	headBegan, headPrev time.Time
	headFrom            time.Time // head scans have read everything from here to headPrev
	positions           []position
	saturated           bool

	livelyNames []string
	livelyAt    time.Time

	wholeRead time.Time       // when a final pass or a survey last read all writes
	spellings event.Spellings // but Names, which r.names keeps; a survey is a sample and proves no absence

	once       bool
	onceTarget time.Time // the Floor that --once wants
}

// position is how far one span of the backlog is read. The Ledger's span follows as events are settled.
type position struct {
	span event.Span // as last seen at the Ledger
	at   time.Time
	done bool
}

// backlogInFlight leaves slots for new events when the sink holds the backlog's pages back.
const backlogInFlight = maxSlices / 2

// call is one LookupEvents request.
type call struct {
	pass       *pass
	task       *task
	slice      *slice
	start, end time.Time
	token      string
}

// answer is what became of a call.
type answer struct {
	outcome outcome
	page    page
	token   string
	backoff time.Duration // after a failure: the slice waits
	pause   time.Duration // after a failure that concerns the Scope: every call waits
}

// page sums up the events of a page that was handed on.
type page struct {
	events, creates int // creates: and their namesakes of other services, which a reading by name shows too
	oldest          time.Time
	seen            map[string]time.Time // create event names, with their newest event
	fresh           []time.Time          // event times of those handed on
	spelled         []string             // spellings that the catalog has not
}

// density is how many events, and creates among them, a page has a second that ends at end; more says that there are older ones.
func (pg page) density(end time.Time, more bool) (writes, creates float64) {
	if pg.events == 0 {
		return 0, 0
	}
	span := end.Sub(pg.oldest)
	if !more { // these are all there are, in 90 days
		span = max(span, time.Hour)
	}
	seconds := max(1, span.Seconds())
	return float64(pg.events) / seconds, float64(pg.creates) / seconds
}

// young reports whether the Scope's newest page, with more before it, has only events of an age at which others are not visible yet.
// A busy Scope looks calm by it: a page that ends at end tells.
func (r *reader) young(now time.Time, newest page, more bool) (end time.Time, young bool) {
	delays := newDelays(r.cfg.Lookback)
	end = now.Add(-delays.age())
	return end, more && newest.oldest.After(end)
}

// start settles with which marks the Scope begins, from AWS's time and how dense events are by the first pages.
func (r *reader) start(ctx context.Context, now time.Time, writes, creates float64) error {
	r.learned.rates, r.learned.seen = map[string]float64{}, map[string]time.Time{}
	r.learned.delays = newDelays(r.cfg.Lookback)
	r.learned.writes, r.learned.creates = writes, creates
	saved := r.ledger.Marks()
	m, changed := startMarks(saved, r.ledger.Fresh(), r.cfg, r.traffic(now), now)
	if changed {
		if err := r.ledger.Reset(ctx, m); err != nil {
			return err
		}
	}
	if since := r.cfg.Since; !since.IsZero() && since.Before(m.Floor) {
		r.ledger.AddBacklog(event.Span{Start: notBefore(since.Truncate(time.Second), now), End: m.Floor})
	}
	r.floor = m.Floor
	r.onceTarget = now.Add(-r.cfg.Lookback).Truncate(time.Second)
	r.wholeRead = now.Add(-surveyEvery)
	r.spellings = saved.Spellings
	for _, name := range r.spellings.Names {
		r.names.add(name)
	}
	if r.spellings.WholeTo.IsZero() {
		r.spellings.WholeTo = m.Floor
		r.keepSpellings()
	}
	r.resume(m.Cursor, now)
	return nil
}

// resume goes on with a final pass by name that an earlier process began, if it was through the same names.
func (r *reader) resume(c *event.Cursor, now time.Time) {
	all := r.names.all()
	if c == nil || c.Catalog != catalogID(all) || !c.Span.Start.Equal(r.floor) || c.Span.End.After(now.Add(-r.cfg.Lookback)) {
		return
	}
	r.begin(plan{kind: final, by: byName, span: c.Span, due: now}, now)
	next, found := slices.BinarySearch(all, c.Name)
	if found {
		next++
	}
	r.passes[final].next = next
	if r.passes[final].done() {
		r.completed(r.passes[final], now)
	}
}

// next returns the call to make at now, when calls may be made at this rate a second; or how long there is none to make.
// Then it is to be asked again, or when a call is answered.
func (r *reader) next(now time.Time, calls float64) (*call, time.Duration) {
	if wait := r.pause.Sub(now); wait > 0 {
		return nil, wait
	}
	for {
		var found [kinds]*call
		v := r.view(now, calls)
		for k, p := range r.passes {
			if p == nil || !r.free(kind(k)) {
				continue
			}
			if t, s := p.candidate(now, func(name string) *task { return r.task(p, name, now) }); s != nil {
				found[k] = &call{pass: p, task: t, slice: s}
				v.ready[k] = true
			}
		}
		d := decide(v)
		switch {
		case d.begin != nil:
			r.begin(*d.begin, now)
		case d.wait > 0:
			wait := d.wait
			for _, p := range r.passes {
				if p == nil {
					continue
				}
				if w, ok := p.retryIn(now); ok {
					wait = min(wait, w)
				}
			}
			return nil, wait
		default:
			r.credit = d.credit
			c := found[d.call]
			c.start, c.end = c.slice.window(now)
			c.token = c.slice.token
			c.slice.inFlight = true
			r.inFlight[d.call]++
			return c, 0
		}
	}
}

// free reports whether one more call of this kind may be under way.
func (r *reader) free(k kind) bool {
	total := 0
	for _, n := range r.inFlight {
		total += n
	}
	return total < maxSlices && (k != backlog || r.inFlight[k] < backlogInFlight)
}

// finished reports whether all that --once is to read is read.
func (r *reader) finished(now time.Time) bool {
	return r.once && r.passes == [kinds]*pass{} && !r.headPrev.IsZero() && !r.floor.Before(r.onceTarget) &&
		!r.rest(now).any && !r.rest(now).any // the second look shows what waited for the last span to go
}

func (r *reader) view(now time.Time, calls float64) view {
	v := view{
		Config: r.cfg, now: now, calls: calls, traffic: r.traffic(now), age: r.learned.delays.age(),
		floor: r.floor, everFinal: r.everFinal, finalBy: r.finalBy, headBegan: r.headBegan, headPrev: r.headPrev, headBy: r.headBy,
		wholeRead: r.wholeRead, backlog: r.rest(now), credit: r.credit, once: r.once, onceTarget: r.onceTarget,
	}
	for k, p := range r.passes {
		v.running[k] = p != nil
	}
	if p := r.passes[final]; p != nil {
		v.due = p.due
		v.left = p.left(r.learned.creates)
	}
	if s := saturated(v); s != r.saturated {
		r.saturated = s
		r.metrics.saturate(s)
		if s {
			r.log.Warn("more events than can be read at this rate: tags come late",
				zap.Float64("write_events_per_second", v.traffic.writes), zap.Float64("by_name_events_per_second", v.traffic.creates),
				zap.Duration("behind", now.Sub(r.floor)),
				zap.String("hint", "raise poll.rate (at most 2), or leave services out with `services`"))
		} else {
			r.log.Info("events can be read as they come again")
		}
	}
	return v
}

func (r *reader) traffic(now time.Time) traffic {
	t := traffic{writes: max(r.learned.writes, r.learned.creates), creates: r.learned.creates, names: r.names.count()}
	t.lively = t.names
	if !r.once {
		t.lively = len(r.lively(now))
	}
	return t
}

// lively returns the names that a head scan by name reads, counted anew each minute.
func (r *reader) lively(now time.Time) []string {
	if r.livelyNames == nil || now.Sub(r.livelyAt) >= time.Minute {
		r.livelyNames, r.livelyAt = r.names.lively(r.learned.seen, now), now
	}
	return r.livelyNames
}

// rest returns where the backlog goes on, oldest first, never older than AWS keeps events.
func (r *reader) rest(now time.Time) backlogPart {
	spans := r.ledger.Marks().Backlog
	kept := r.positions[:0:0]
	var part backlogPart
	for _, s := range spans {
		p := position{span: s, at: s.Start}
		for _, old := range r.positions {
			same := old.span.End.Equal(s.End) && slices.Equal(old.span.Names, s.Names)
			if same && !s.Start.Before(old.span.Start) && !s.Start.After(old.at) {
				p.at, p.done = old.at, old.done
			}
		}
		if oldest := notBefore(p.at, now); oldest.After(p.at) && !p.done && r.passes[backlog] == nil {
			end := oldest
			if end.After(s.End) {
				end, p.done = s.End, true
			}
			r.log.Warn("backlog is older than CloudTrail keeps events: given up", zap.Time("start", p.at), zap.Time("end", end))
			r.ledger.BacklogRead(event.Span{Start: p.at, End: end, Names: s.Names})
			p.at = end
		}
		if !part.any && !p.done {
			part = backlogPart{any: true, rest: event.Span{Start: p.at, End: s.End, Names: s.Names}}
		}
		kept = append(kept, p)
	}
	r.positions = kept
	return part
}

// begin starts a pass.
func (r *reader) begin(pl plan, now time.Time) {
	p := &pass{plan: pl, began: now}
	if pl.by == byName {
		switch {
		case len(pl.span.Names) > 0:
			p.names = pl.span.Names
		case pl.kind == head && !r.once:
			p.names = r.lively(now)
		default:
			p.names = r.names.all()
			p.catalog = catalogID(p.names)
		}
	}
	if len(p.names) == 0 {
		p.by = byWrites
		p.tasks = []*task{r.task(p, "", now)}
	}
	r.passes[pl.kind] = p
	if pl.kind == backlog && p.by == byName && len(pl.span.Names) == 0 && (r.spellings.NamedFrom.IsZero() || pl.span.Start.Before(r.spellings.NamedFrom)) {
		r.spellings.NamedFrom = pl.span.Start
		r.keepSpellings()
	}
	if pl.kind == head && !pl.survey {
		if !r.headBegan.IsZero() {
			r.metrics.period(now.Sub(r.headBegan))
		}
		r.headBegan = now
		r.headBy = p.by
	}
	r.log.Debug("reading", zap.Stringer("scan", pl.kind), zap.Stringer("by", p.by), zap.Bool("survey", pl.survey),
		zap.Time("start", pl.span.Start), zap.Time("end", pl.span.End))
}

func (r *reader) task(p *pass, name string, now time.Time) *task {
	density := r.learned.rates[name]
	if name == "" {
		density = r.learned.writes
	}
	return newTask(p.plan, name, now, density)
}

// answered takes the answer to a call. The events of its page were handed on before.
func (r *reader) answered(c *call, a answer, now time.Time) {
	p, s := c.pass, c.slice
	r.inFlight[p.kind]--
	s.inFlight = false
	if a.pause > 0 {
		r.pause = now.Add(a.pause)
	}
	if a.outcome == ok {
		r.learnPage(p, a.page, now)
	}
	if r.passes[p.kind] != p {
		return // it was given up meanwhile
	}
	switch a.outcome {
	case ok:
		r.metrics.page(p.kind, p.by)
		s.pages++
		s.fails = 0
		s.events += a.page.events
		c.task.events += a.page.events
		p.events += a.page.events
		p.creates += a.page.creates
		if o := a.page.oldest; !o.IsZero() && (s.oldest.IsZero() || o.Before(s.oldest)) {
			s.oldest = o
		}
		s.token = a.token
		switch {
		case a.token == "":
			r.sliceRead(p, c.task, s, now)
		case s.pages >= giveUpAt*s.expected:
			r.giveUp(p, c.task, s, now)
		}
	case badToken:
		s.restart()
	case badRange: // the window is too old by now, or the clock was wrong: plan anew
		if oldest := notBefore(s.start, now); oldest.After(s.start) {
			s.start = oldest
			s.restart()
			if s.end.Before(s.start) {
				s.end = s.start
			}
		} else {
			r.abandon(p)
		}
	default:
		s.fails++
		s.retryAt = now.Add(a.backoff)
		if s.fails >= maxFails && s.token != "" {
			s.restart()
		}
	}
}

// maxFails is how often one page is asked for before its walk goes on in a new window.
const maxFails = 4

// sliceRead ends a slice; with the last of them the pass.
func (r *reader) sliceRead(p *pass, t *task, s *slice, now time.Time) {
	done := p.finish(t, s)
	if len(t.slices) == 0 && t.name != "" {
		r.learned.rates[t.name] = blend(r.learned.rates[t.name], float64(t.events), t.span.End.Sub(t.span.Start), smoothing)
	}
	if p.kind == final && p.by == byName && len(done) > 0 {
		r.ledger.NameRead(event.Cursor{Span: p.span, Catalog: p.catalog, Name: done[len(done)-1].name})
	}
	if p.done() {
		r.completed(p, now)
	}
}

// completed ends a pass of which every page was read, and tells the Ledger.
func (r *reader) completed(p *pass, now time.Time) {
	r.passes[p.kind] = nil
	length := p.span.End.Sub(p.span.Start)
	whole := p.by == byWrites
	l := &r.learned
	switch {
	case p.survey:
		l.writes = blend(l.writes, float64(p.events), length, surveyed)
	case p.kind == final:
		if whole {
			l.writes = blend(l.writes, float64(p.events), length, smoothing)
			r.spellings.WholeTo = latest(r.spellings.WholeTo, p.span.End)
			r.keepSpellings()
		}
		l.creates = blend(l.creates, float64(p.creates), length, smoothing)
		r.ledger.FloorRead(p.span.End)
		r.floor, r.finalBy, r.everFinal = p.span.End, p.by, !r.once
	case p.kind == head:
		// The newest part of its window is not all visible yet: it can show more than was thought, never less.
		if seen := float64(p.events); whole && seen > l.writes*length.Seconds() {
			l.writes = blend(l.writes, seen, length, smoothing)
		}
		if seen := float64(p.creates); seen > l.creates*length.Seconds() {
			l.creates = blend(l.creates, seen, length, smoothing)
		}
		if r.headFrom.IsZero() {
			r.headFrom = p.span.Start
		}
		r.headPrev = p.span.End
		r.ledger.HeadRead(p.span.End)
	case p.kind == backlog:
		r.backlogRead(p)
	}
	if whole && (p.survey || p.kind == final) { // head scans observe nothing
		r.wholeRead = now
	}
}

func (r *reader) backlogRead(p *pass) {
	for i, pos := range r.positions {
		s := pos.span
		// What was settled meanwhile may have moved the span's start on.
		if !pos.at.Before(p.span.Start) && !pos.at.After(p.span.End) && slices.Equal(s.Names, p.span.Names) && !s.End.Before(p.span.End) {
			r.positions[i].at = p.span.End
			r.positions[i].done = s.End.Equal(p.span.End)
			break
		}
	}
	r.ledger.BacklogRead(p.span)
}

// giveUp plans the rest of a window anew that has ten times the events it was expected to have.
func (r *reader) giveUp(p *pass, t *task, s *slice, now time.Time) {
	events, length := float64(s.events), s.length()
	t.recut(s)
	if p.by == byName {
		r.learned.rates[t.name] = max(r.learned.rates[t.name], blend(r.learned.rates[t.name], events, length, surprise))
		return
	}
	r.learned.writes = max(r.learned.writes, blend(r.learned.writes, events, length, surprise))
	v := r.view(now, r.cfg.Rate)
	writes, names := v.strides(v.now.Add(-v.Lookback).Sub(v.floor))
	headBy, _ := headBy(v)
	switch {
	case p.survey: // it was only to learn this
		r.passes[head] = nil
		r.wholeRead = now
	case p.kind == final && finalBy(v.traffic, byWrites, max(writes, time.Second), max(names, time.Second)) == byName,
		p.kind == head && headBy == byName,
		p.kind == backlog && backlogBy(v.traffic, p.span) == byName:
		r.abandon(p)
	}
}

// abandon drops a pass: nothing of it counts as read, and it is planned anew.
func (r *reader) abandon(p *pass) {
	r.passes[p.kind] = nil
	if p.kind == head {
		r.headBegan = time.Time{}
	}
}

// learnPage takes what a page teaches, also one of a pass that was given up.
func (r *reader) learnPage(p *pass, pg page, now time.Time) {
	for name, t := range pg.seen {
		r.learned.seen[name] = latest(r.learned.seen[name], t)
	}
	for _, t := range pg.fresh {
		switch {
		case p.kind == head && !r.headPrev.IsZero():
			r.learned.delays.observe(r.headPrev.Sub(t))
		case p.kind == final && !r.headPrev.IsZero() && !t.Before(r.headFrom) && !t.After(r.headPrev):
			r.learned.delays.late()
			r.metrics.late()
		}
	}
	for _, name := range pg.spelled {
		r.spell(name, now)
	}
}

func latest(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// catalogID identifies a sorted list of names in a Cursor.
func catalogID(names []string) string {
	h := sha256.Sum256([]byte(strings.Join(names, "\n")))
	return hex.EncodeToString(h[:8])
}
