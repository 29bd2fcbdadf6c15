package checkpoint

import (
	"slices"
	"time"

	"github.com/autotagd/autotagd/pkg/event"
)

// maxSpans bounds the spans of a State.
const maxSpans = 8

// maxAge is how far back LookupEvents reaches.
const maxAge = 90 * 24 * time.Hour

// backlog is the past that is still to be read.
//
// A part that was read counts for the spans with its names that were there before its reading began, and for no others: a
// replay asks for events that such a reading may just have shown and let go. The Ledger isn't told when a reading begins.
// So a span that overlaps one with the same names which the poller has been shown waits, and is shown when that one
// is read and the poller was shown that it has gone: it could not tell one from the other. Both kinds are saved. Parts take effect in the order in which they were read.
type backlog struct {
	shown   []event.Span // what the poller knows of
	waiting []event.Span // not shown yet
	parts   []*readPart  // read, and not settled yet
	unseen  []event.Span // read and removed since Marks was last asked
	touched bool         // a reading has shown an event, or ended
}

// readPart is a part of the backlog that was read and has events that aren't settled.
type readPart struct {
	span event.Span
	open int // begun events of the Backlog stream in it that aren't settled
}

// add takes up a span: shown at once if it overlaps nothing that may be half read.
func (b *backlog) add(s event.Span) {
	if s = cleanSpan(s); s.End.Before(s.Start) {
		return
	}
	if !b.touched {
		b.shown = joinSpans(append(b.shown, s))
		return
	}
	b.waiting = joinSpans(append(b.waiting, s))
	b.promote()
}

// promote shows the waiting spans that no reading under way can count for.
func (b *backlog) promote() {
	b.waiting = slices.DeleteFunc(b.waiting, func(w event.Span) bool {
		clash := func(s event.Span) bool { return overlaps(s, w) && slices.Equal(s.Names, w.Names) }
		if len(b.shown) >= maxSpans || slices.ContainsFunc(b.shown, clash) ||
			slices.ContainsFunc(b.unseen, clash) ||
			slices.ContainsFunc(b.parts, func(p *readPart) bool { return clash(p.span) }) {
			return false
		}
		b.shown = append(b.shown, w)
		sortSpans(b.shown)
		return true
	})
}

// put replaces everything, at a start, when nothing is being read.
func (b *backlog) put(spans []event.Span) {
	b.waiting, b.parts, b.touched = nil, nil, false
	b.shown = joinSpans(slices.Clone(spans))
}

// begun notes an event of the Backlog stream that isn't settled.
func (b *backlog) begun(at time.Time) {
	b.touched = true
	for _, p := range b.parts {
		if contains(p.span, at) {
			p.open++
		}
	}
}

// settled is the reverse of begun. It reports whether a part was removed from the spans.
func (b *backlog) settled(at time.Time) bool {
	for _, p := range b.parts {
		if contains(p.span, at) {
			p.open--
		}
	}
	return b.remove()
}

// read notes that a part was read; open is how many of its events aren't settled. It reports whether the spans changed.
func (b *backlog) read(s event.Span, open int) bool {
	b.touched = true
	b.parts = append(b.parts, &readPart{span: cleanSpan(s), open: open})
	return b.remove()
}

func (b *backlog) remove() bool {
	removed := false
	for len(b.parts) > 0 && b.parts[0].open == 0 {
		b.shown = subtract(b.shown, b.parts[0].span)
		b.unseen = append(b.unseen, b.parts[0].span)
		b.parts = b.parts[1:]
		removed = true
	}
	return removed
}

// trim drops what lies before oldest.
func (b *backlog) trim(oldest time.Time) {
	cut := func(spans []event.Span) []event.Span {
		kept := spans[:0:0]
		for _, s := range spans {
			if s.End.Before(oldest) {
				continue
			}
			if s.Start.Before(oldest) {
				s.Start = wholeSecond(oldest)
			}
			kept = append(kept, s)
		}
		return kept
	}
	b.shown, b.waiting = cut(b.shown), cut(b.waiting)
	b.promote()
}

// length adds up the spans.
func (b *backlog) length() time.Duration {
	var sum time.Duration
	for _, spans := range [][]event.Span{b.shown, b.waiting} {
		for _, s := range spans {
			sum += s.End.Sub(s.Start)
		}
	}
	return sum
}

// all returns every span, as it is saved.
func (b *backlog) all() []event.Span {
	return joinSpans(append(slices.Clone(b.shown), b.waiting...))
}

// cleanSpan brings a span into the one form that they are compared in.
func cleanSpan(s event.Span) event.Span {
	s.Start, s.End = wholeSecond(s.Start), wholeSecond(s.End)
	if len(s.Names) == 0 {
		s.Names = nil
		return s
	}
	s.Names = slices.Clone(s.Names)
	slices.Sort(s.Names)
	s.Names = slices.Compact(s.Names)
	return s
}

func contains(s event.Span, at time.Time) bool { return !at.Before(s.Start) && !at.After(s.End) }

func overlaps(a, b event.Span) bool { return !a.End.Before(b.Start) && !b.End.Before(a.Start) }

func sortSpans(spans []event.Span) {
	slices.SortStableFunc(spans, func(a, b event.Span) int { return a.Start.Compare(b.Start) })
}

// subtract removes a part that was read from the spans with the same names. What is left after it begins with its last
// second: that is where reading goes on.
func subtract(spans []event.Span, part event.Span) []event.Span {
	var left []event.Span
	for _, s := range spans {
		if !overlaps(s, part) || !slices.Equal(s.Names, part.Names) {
			left = append(left, s)
			continue
		}
		if s.Start.Before(part.Start) {
			left = append(left, event.Span{Start: s.Start, End: part.Start.Add(-time.Second), Names: s.Names})
		}
		if part.End.Before(s.End) {
			left = append(left, event.Span{Start: part.End, End: s.End, Names: s.Names})
		}
	}
	return left
}

// joinSpans sorts spans, merges those that ask for the same names and leave no second between them, and then joins the
// two with the smallest gap until at most maxSpans are left.
func joinSpans(spans []event.Span) []event.Span {
	var joined []event.Span
	for _, s := range spans {
		if s = cleanSpan(s); !s.End.Before(s.Start) {
			joined = append(joined, s)
		}
	}
	for {
		sortSpans(joined)
		bestI, bestJ, best, same := -1, -1, time.Duration(0), false
		for i := range joined {
			for j := i + 1; j < len(joined); j++ {
				gap := max(joined[j].Start.Sub(joined[i].End), 0)
				merge := gap <= time.Second && slices.Equal(joined[i].Names, joined[j].Names)
				if bestI < 0 || merge && !same || merge == same && gap < best {
					bestI, bestJ, best, same = i, j, gap, merge
				}
			}
		}
		if !same && len(joined) <= maxSpans {
			return joined
		}
		joined[bestI] = join(joined[bestI], joined[bestJ])
		joined = slices.Delete(joined, bestJ, bestJ+1)
	}
}

// join returns the smallest span that holds both, for the names of both.
func join(a, b event.Span) event.Span {
	j := event.Span{Start: a.Start, End: a.End}
	if b.Start.Before(j.Start) {
		j.Start = b.Start
	}
	if b.End.After(j.End) {
		j.End = b.End
	}
	if a.Names != nil && b.Names != nil {
		j.Names = slices.Concat(a.Names, b.Names)
	}
	return cleanSpan(j)
}
