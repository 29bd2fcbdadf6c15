package poller

import (
	"math"
	"time"

	"github.com/autotagd/autotagd/pkg/event"
)

const (
	pageSize   = 50 // events a page, AWS's most
	slicePages = 10 // expected pages a slice of a window
	maxSlices  = 4  // slices read side by side in one Scope
	giveUpAt   = 10 // times the expected pages

	nameStride     = time.Hour     // of a final pass by name; also the longest window of any final pass
	backlogStride  = 6 * time.Hour // of the backlog by name
	farBehind      = 3 * time.Hour // a Floor that far behind gets every call
	surveyEvery    = time.Hour     // a slice of all writes, while the Scope is read by name
	livelyFor      = 7 * 24 * time.Hour
	retention      = 90 * 24 * time.Hour
	defaultAge     = 10 * time.Minute // 99 % of events are visible at this age, until learned
	retentionSlack = time.Minute      // stay inside AWS's 90 days while a walk goes on
)

// kind is what a call is made for.
type kind uint8

const (
	final kind = iota
	head
	backlog
	kinds // their number
)

func (k kind) String() string { return [...]string{"final", "head", "backlog"}[k] }

// by is how a window is read.
type by uint8

const (
	byWrites by = iota // ReadOnly=false
	byName             // EventName=N, one name after another
)

func (b by) String() string { return [...]string{"writes", "name"}[b] }

// traffic is what is known of a Scope's events.
type traffic struct {
	writes, creates float64 // events a second; creates and their namesakes: kms's CreateGrant is as dear as license-manager's
	names           int     // every name that a pass by name reads
	lively          int     // those that a head scan by name reads
}

// backlogPart is where the backlog goes on: the rest of its oldest span.
type backlogPart struct {
	rest event.Span
	any  bool
}

// view is everything the schedule looks at. Times are AWS's.
type view struct {
	Config
	now     time.Time
	calls   float64 // a second, at present
	traffic traffic
	age     time.Duration // by which 99 % of events are visible

	floor     time.Time // read for good up to here
	everFinal bool      // a final pass was read since the start
	finalBy   by        // of the last final pass
	headBegan time.Time // when the last head scan began, complete or not; zero before the first
	headPrev  time.Time // when the last complete head scan began
	headBy    by
	wholeRead time.Time // when all writes were last read, in full or in a slice
	backlog   backlogPart

	once       bool      // --once: a final pass, the backlog and one head scan
	onceTarget time.Time // where that final pass ends

	running [kinds]bool    // a pass is under way
	ready   [kinds]bool    // and has a call to make now
	left    float64        // calls the final pass under way still needs, by estimate
	due     time.Time      // when that pass should be done
	credit  [kinds]float64 // see pick
}

// decision is a pass to begin, or a call to make, or how long nothing is to be done.
type decision struct {
	begin  *plan
	call   kind
	credit [kinds]float64
	wait   time.Duration // longer than zero: neither pass nor call
}

// plan is a pass to begin.
type plan struct {
	kind   kind
	by     by
	span   event.Span
	survey bool      // a slice of all writes, that hands nothing on
	due    time.Time // a final pass is spread until then
}

// decide says what is read next. It is a pure function: everything that steers it is in v.
func decide(v view) decision {
	if !v.running[final] {
		if p, ok := finalPlan(v); ok {
			return decision{begin: &p}
		}
	}
	if !v.running[head] {
		if p, ok := headPlan(v); ok {
			return decision{begin: &p}
		}
	}
	if !v.running[backlog] {
		if p, ok := backlogPlan(v); ok {
			return decision{begin: &p}
		}
	}
	k, credit, ok := pick(weights(v), v.running, v.ready, v.credit)
	if !ok {
		return decision{wait: idle(v), credit: v.credit}
	}
	return decision{call: k, credit: credit}
}

// finalPlan plans the next final pass, if it is time for one.
func finalPlan(v view) (plan, bool) {
	from := notBefore(v.floor, v.now)
	end := v.now.Add(-v.Lookback).Truncate(time.Second)
	if v.once {
		end = v.onceTarget
	}
	waiting := end.Sub(from)
	if waiting < time.Second {
		return plan{}, false
	}
	writes, names := v.strides(waiting)
	b := finalBy(v.traffic, v.finalBy, writes, names)
	stride := writes
	if b == byName {
		stride = names
	}
	if waiting < stride {
		return plan{}, false
	}
	if longest := max(nameStride, v.SweepInterval); waiting > longest {
		end = from.Add(longest)
	}
	p := plan{kind: final, by: b, span: event.Span{Start: from, End: end}}
	if !v.everFinal || waiting > 2*stride {
		p.due = v.now // behind: as fast as its claim allows
	} else {
		p.due = v.now.Add(stride * 9 / 10)
	}
	return p, true
}

// strides are the windows that a final pass has by all writes and by name, when so much waits to be read.
func (v view) strides(waiting time.Duration) (writes, names time.Duration) {
	if !v.everFinal { // the first one begins at once
		return waiting, min(waiting, nameStride)
	}
	return min(max(waiting, v.SweepInterval), max(nameStride, v.SweepInterval)), nameStride
}

// finalCalls are the calls a second that final passes take at these strides.
func finalCalls(t traffic, writes, names time.Duration) (w, n float64) {
	w = t.writes/pageSize + 1/writes.Seconds()
	n = float64(t.names)/names.Seconds() + t.creates/pageSize
	if t.names == 0 {
		n = math.Inf(1)
	}
	return w, n
}

// finalBy chooses how a final pass reads. The other way must be a fifth cheaper: densities are estimates.
func finalBy(t traffic, last by, writes, names time.Duration) by {
	w, n := finalCalls(t, writes, names)
	return cheaper(w, n, last)
}

func cheaper(writes, names float64, last by) by {
	const enough = 0.8
	switch {
	case last == byWrites && names < enough*writes:
		return byName
	case last == byName && writes < enough*names:
		return byWrites
	}
	return last
}

// headPlan plans the next head scan, or the hourly slice of all writes, if it is time for one.
func headPlan(v view) (plan, bool) {
	if !v.headBegan.IsZero() && v.now.Before(v.headBegan.Add(v.Interval)) || v.once && !v.headPrev.IsZero() {
		return plan{}, false
	}
	if p, ok := surveyPlan(v); ok {
		return p, true
	}
	oldest := v.now.Add(-v.Lookback)
	from := v.floor
	if !v.headPrev.IsZero() {
		from = v.headPrev.Add(-v.age)
	}
	if v.once { // where the final pass ends, however late this scan begins
		oldest = v.onceTarget
	}
	if from.Before(oldest) {
		from = oldest
	}
	if from.Before(v.floor) {
		from = v.floor
	}
	b, _ := headBy(v)
	return plan{kind: head, by: b, span: event.Span{Start: from.Truncate(time.Second), End: v.now.Truncate(time.Second)}}, true
}

// headBy chooses how a head scan reads, and says how far apart scans will be.
func headBy(v view) (by, time.Duration) {
	w, n := finalCalls(v.traffic, v.SweepInterval, nameStride)
	claim := min(w, n, v.calls/2)
	calls := v.calls - claim
	if v.backlog.any {
		calls = calls * 2 / 3
	}
	pw, cw := headPeriod(v, calls, 1, v.traffic.writes)
	pn, cn := headPeriod(v, calls, float64(v.traffic.lively), v.traffic.creates)
	if v.traffic.lively == 0 {
		cn = math.Inf(1)
	}
	b := cheaper(cw, cn, v.headBy)
	if b == byName {
		return b, pn
	}
	return b, pw
}

// headPeriod returns how far apart head scans are that take base calls and read so many events a second, and the calls of
// one of them. Beyond the interval the two are proportional.
func headPeriod(v view, calls, base, density float64) (time.Duration, float64) {
	age, longest, every := v.age.Seconds(), v.Lookback.Seconds(), v.Interval.Seconds()
	pages := density / pageSize
	period := (base + longest*pages) / calls // a scan of the whole lookback
	if calls > pages {
		period = min(period, (base+age*pages)/(calls-pages))
	}
	period = max(period, every)
	return time.Duration(min(period, 1e6) * float64(time.Second)), base + min(age+period, longest)*pages
}

// surveyPlan plans the slice of all writes that keeps density and spellings known while a Scope is read by name.
func surveyPlan(v view) (plan, bool) {
	if v.once || v.headBegan.IsZero() || v.now.Sub(v.wholeRead) < surveyEvery ||
		finalBy(v.traffic, v.finalBy, v.SweepInterval, nameStride) == byWrites {
		return plan{}, false
	}
	end := v.now.Add(-v.Lookback).Truncate(time.Second)
	length := min(sliceLength(v.traffic.writes), surveyEvery)
	return plan{kind: head, by: byWrites, survey: true, span: event.Span{Start: end.Add(-length), End: end}}, true
}

// backlogPlan plans the next part of the backlog.
func backlogPlan(v view) (plan, bool) {
	if !v.backlog.any {
		return plan{}, false
	}
	s := v.backlog.rest
	p := plan{kind: backlog, span: s}
	p.by = backlogBy(v.traffic, s)
	stride := backlogStride
	if p.by == byWrites {
		stride = maxSlices * sliceLength(v.traffic.writes)
	}
	p.span.End = s.Start.Add(min(stride, s.End.Sub(s.Start)))
	return p, true
}

// backlogBy chooses how the next part of a span is read.
func backlogBy(t traffic, s event.Span) by {
	if len(s.Names) > 0 {
		return byName
	}
	stride := min(max(s.End.Sub(s.Start), time.Second), backlogStride)
	return finalBy(t, byWrites, stride, stride)
}

// weights are the shares of the calls: final passes have first claim on half, evenly, and on all of it when the Floor is
// far behind or no head scan wants any; the backlog gets a third of what they leave.
func weights(v view) [kinds]float64 {
	share := 0.5
	switch left := v.due.Sub(v.now).Seconds(); {
	case v.now.Add(-v.Lookback).Sub(v.floor) >= farBehind || !v.running[head]:
		share = 1
	case left > 0:
		share = min(share, max(0.02, v.left/left/v.calls))
	}
	if !v.running[final] {
		share = 0
	}
	return [kinds]float64{final: share, head: (1 - share) * 2 / 3, backlog: (1 - share) / 3}
}

// pick chooses whose call is next so that over time each pass that is under way has its share of the calls, evenly; what
// one cannot use the others get. credit is what each is owed, in calls.
func pick(weight [kinds]float64, running, ready [kinds]bool, credit [kinds]float64) (kind, [kinds]float64, bool) {
	total := 0.0
	for k := range kinds {
		if running[k] {
			total += weight[k]
		}
	}
	best, found := kinds, false
	for k := range kinds {
		if !running[k] {
			credit[k] = 0
			continue
		}
		if total > 0 {
			credit[k] = min(credit[k]+weight[k]/total, 2)
		}
		if ready[k] && (!found || credit[k] > credit[best]) {
			best, found = k, true
		}
	}
	if found {
		credit[best] = max(credit[best]-1, -2)
	}
	return best, credit, found
}

// idle is how long nothing becomes due, at most one interval.
func idle(v view) time.Duration {
	wait := v.Interval
	if !v.headBegan.IsZero() && !v.running[head] {
		wait = min(wait, v.headBegan.Add(v.Interval).Sub(v.now))
	}
	return max(wait, 10*time.Millisecond)
}

// saturated says that this Scope's traffic cannot be read at its rate: final passes need more than their half, or head
// scans come too far apart to see all of the lookback.
func saturated(v view) bool {
	w, n := finalCalls(v.traffic, v.SweepInterval, nameStride)
	if min(w, n) > v.Rate/2 || v.now.Add(-v.Lookback).Sub(v.floor) >= farBehind {
		return true
	}
	v.calls = v.Rate
	v.backlog.any = false // it ends
	_, period := headBy(v)
	return period > max(v.Lookback-v.age, 2*v.Interval)
}

// notBefore is t, or the oldest time that AWS still answers for.
func notBefore(t, now time.Time) time.Time {
	if oldest := now.Add(retentionSlack - retention).Truncate(time.Second); t.Before(oldest) {
		return oldest
	}
	return t
}

// sliceLength is how long a slice of about ten pages is at this density.
func sliceLength(density float64) time.Duration {
	seconds := slicePages * pageSize / max(density, 1e-4)
	return max(time.Duration(seconds)*time.Second, time.Second)
}

// pagesIn is how many pages a window is expected to have: at least one.
func pagesIn(length time.Duration, density float64) float64 {
	return max(1, math.Ceil(length.Seconds()*density/pageSize))
}

// startMarks says with which marks a Scope begins. It returns false when the saved ones stand as they are.
func startMarks(saved event.Marks, fresh bool, cfg Config, t traffic, now time.Time) (event.Marks, bool) {
	edge := now.Add(-cfg.Lookback).Truncate(time.Second)
	if fresh {
		from := notBefore(now.Add(-cfg.Start).Truncate(time.Second), now)
		m := event.Marks{Floor: edge}
		if from.After(edge) {
			m.Floor = from
		} else if from.Before(edge) {
			m.Backlog = []event.Span{{Start: from, End: edge}}
		}
		m.Watermark = m.Floor
		return m, true
	}
	behind := edge.Sub(saved.Floor)
	stride := cfg.SweepInterval
	// The first pages are a sample: a pass by name under way knows better.
	named := saved.Cursor != nil && saved.Cursor.Span.Start.Equal(saved.Floor) ||
		!saved.Spellings.WholeTo.IsZero() && saved.Spellings.WholeTo.Before(saved.Floor)
	if named || finalBy(t, byWrites, max(behind, time.Second), nameStride) == byName {
		stride = nameStride
	}
	if behind <= cfg.Lookback+2*stride {
		return saved, false
	}
	m := saved // an outage: new events first, the time between as backlog
	m.Backlog = append(append([]event.Span(nil), saved.Backlog...), event.Span{Start: notBefore(saved.Floor, now), End: edge})
	m.Floor = edge
	m.Cursor = nil
	return m, true
}
