package poller

import (
	"slices"
	"time"

	"github.com/autotagd/autotagd/pkg/event"
)

// pass is one reading of a window: a final pass, a head scan, or a part of the backlog. It belongs to the reader.
type pass struct {
	plan
	began   time.Time
	names   []string // sorted, by name only
	next    int      // the first of names that is not begun
	catalog string   // of a final pass by name: identifies names
	tasks   []*task  // begun, in order; a done one stays until those before it are
	events  int
	creates int
}

// task is the window under one lookup attribute, cut into slices.
type task struct {
	name   string // "" for all writes
	span   event.Span
	slices []*slice // not read yet, oldest first
	events int
}

// slice is one walk from page to page, newest first.
type slice struct {
	name       string
	start, end time.Time // fixed from the first page on
	open       bool      // the newest slice of a head scan: end is set when its first page is asked for
	token      string
	asked      bool
	pages      float64
	expected   float64 // pages
	events     int
	oldest     time.Time // second reached; zero before the first page
	fails      int       // in a row
	retryAt    time.Time
	inFlight   bool
}

// cut makes the slices of a window at this density. Neighbours share a second: both ends are inclusive, and an event that
// comes twice costs nothing, while one that falls between two slices is lost.
func cut(name string, span event.Span, density, atLeast float64) []*slice {
	length := sliceLength(density)
	var out []*slice
	for start := span.Start; ; {
		end := start.Add(length)
		if !end.Before(span.End) {
			end = span.End
		}
		out = append(out, &slice{name: name, start: start, end: end, expected: max(atLeast, pagesIn(end.Sub(start), density))})
		if end.Equal(span.End) {
			return out
		}
		start = end
	}
}

// newTask begins the window under one attribute.
func newTask(p plan, name string, now time.Time, density float64) *task {
	span := event.Span{Start: p.span.Start, End: p.span.End}
	if p.kind == head && !p.survey && now.After(span.End) {
		span.End = now.Truncate(time.Second)
	}
	t := &task{name: name, span: span, slices: cut(name, span, density, 1)}
	if p.kind == head && !p.survey {
		t.slices[len(t.slices)-1].open = true
	}
	return t
}

// candidate returns the slice whose page is to be asked for next: the first that waits for nothing. begin makes the
// next name's task; new slices are begun only while fewer than maxSlices are under way.
func (p *pass) candidate(now time.Time, begin func(name string) *task) (*task, *slice) {
	under := 0
	for _, t := range p.tasks {
		for _, s := range t.slices {
			if under >= maxSlices {
				return nil, nil
			}
			if !s.inFlight && !now.Before(s.retryAt) {
				return t, s
			}
			under++
		}
	}
	if under >= maxSlices || p.next == len(p.names) {
		return nil, nil
	}
	t := begin(p.names[p.next])
	p.next++
	p.tasks = append(p.tasks, t)
	return t, t.slices[0]
}

// retryIn is how long until a slice that waits after a failure may go on; false when none waits.
func (p *pass) retryIn(now time.Time) (time.Duration, bool) {
	wait, found := time.Duration(0), false
	for _, t := range p.tasks {
		for _, s := range t.slices {
			if d := s.retryAt.Sub(now); !s.inFlight && d > 0 && (!found || d < wait) {
				wait, found = d, true
			}
		}
	}
	return wait, found
}

// finish takes a slice that is read from its task. It returns the tasks that are done now with all before them.
func (p *pass) finish(t *task, s *slice) []*task {
	t.slices = slices.DeleteFunc(t.slices, func(x *slice) bool { return x == s })
	n := 0
	for n < len(p.tasks) && len(p.tasks[n].slices) == 0 {
		n++
	}
	done := slices.Clone(p.tasks[:n])
	p.tasks = slices.Delete(p.tasks, 0, n)
	return done
}

// done reports whether every page of the window was read.
func (p *pass) done() bool { return p.next == len(p.names) && len(p.tasks) == 0 }

// left estimates how many calls the pass still needs. density is of what its attribute selects: all writes, or creates.
func (p *pass) left(density float64) float64 {
	calls := 0.0
	for _, t := range p.tasks {
		for _, s := range t.slices {
			calls += max(1, s.expected-s.pages)
		}
	}
	if rest := float64(len(p.names) - p.next); rest > 0 {
		calls += rest + rest/float64(len(p.names))*density*p.span.End.Sub(p.span.Start).Seconds()/pageSize
	}
	return calls
}

// window returns the times to ask for; from the first page on they stay.
func (s *slice) window(now time.Time) (start, end time.Time) {
	if s.open && !s.asked {
		if n := now.Truncate(time.Second); n.After(s.end) {
			s.end = n
		}
	}
	if !s.asked {
		if s.start = notBefore(s.start, now); s.end.Before(s.start) {
			s.end = s.start
		}
	}
	s.asked = true
	return s.start, s.end
}

// restart goes on in a new window that ends at the oldest second reached. What is left stays at least one second long,
// and events of that second come again.
func (s *slice) restart() {
	if !s.oldest.IsZero() && s.oldest.Before(s.end) {
		s.end = s.oldest
		if s.end.Before(s.start) {
			s.end = s.start
		}
	}
	s.expected = max(1, s.expected-s.pages)
	s.token, s.pages, s.events, s.oldest, s.fails, s.open = "", 0, 0, time.Time{}, 0, false
}

// recutSlices bounds the slices that the rest of a window is cut into at once.
const recutSlices = 8

// length is how much time the pages of a slice have covered: none if they were empty.
func (s *slice) length() time.Duration {
	if s.oldest.IsZero() {
		return 0
	}
	return s.end.Sub(s.oldest)
}

// recut plans the rest of a slice that met far more than was expected, at the density it met. The limit of one that got
// no second further grows at each turn, so that a second with thousands of events is read in the end.
func (t *task) recut(s *slice) {
	density := float64(s.events) / max(1, s.length().Seconds())
	expected := 1.0
	if s.oldest.IsZero() || s.oldest.Equal(s.end) {
		expected = 2 * s.expected
	}
	s.restart()
	// A burst of a second or two is no density of the hours before it: few slices, and each can be cut again.
	span := event.Span{Start: s.start, End: s.end}
	rest := cut(s.name, span, min(density, recutSlices*slicePages*pageSize/max(1, span.End.Sub(span.Start).Seconds())), expected)
	i := slices.Index(t.slices, s)
	t.slices = slices.Replace(t.slices, i, i+1, rest...)
}
