package checkpoint

import (
	"context"
	"time"

	"github.com/autotagd/autotagd/pkg/event"
	"github.com/autotagd/autotagd/pkg/resource"
)

// Summary is what people want to know of a Scope's State. Times are zero when they are not known.
type Summary struct {
	Saved     bool      // false: never; Deferred may be there all the same
	SavedAt   time.Time // on the writer's clock
	Floor     time.Time
	Watermark time.Time
	Spans     int           // of the backlog
	Backlog   time.Duration // their length, added up
	Deferred  int
	Oldest    time.Time // of their events
	Reasons   map[resource.Reason]int
}

// Inspect reads a Scope's State to show it, also beside its holder: it writes nothing. While the holder saves, the marks may
// be those of one save and the Jobs those of the next. The errors are those of Store.Load.
func Inspect(ctx context.Context, store Store, scope event.Scope) (Summary, error) {
	st, err := Read(ctx, store, scope)
	if err != nil {
		return Summary{}, err
	}
	s := Summary{
		Saved: st.Version != "", SavedAt: st.SavedAt, Floor: st.Marks.Floor, Watermark: st.Marks.Watermark,
		Spans: len(st.Marks.Backlog), Reasons: map[resource.Reason]int{},
	}
	for _, span := range st.Marks.Backlog {
		s.Backlog += span.End.Sub(span.Start)
	}
	for _, j := range st.Deferred {
		s.wait(j)
	}
	return s, nil
}

// wait adds a deferred Job.
func (s *Summary) wait(j resource.Job) {
	s.Deferred++
	s.Reasons[j.LastReason]++
	if s.Oldest.IsZero() || j.Event.Time.Before(s.Oldest) {
		s.Oldest = j.Event.Time
	}
}

// Summary is how the Ledger stands, saved or not. It moves no mark, so anyone may ask.
func (l *Ledger) Summary() Summary {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := Summary{
		Saved: l.stored, SavedAt: l.lastSave, Floor: l.floor.Time(), Watermark: l.watermark.Time(),
		Reasons: map[resource.Reason]int{},
	}
	for _, span := range l.backlog.all() {
		s.Spans++
		s.Backlog += span.End.Sub(span.Start)
	}
	for _, d := range l.deferred {
		if !d.finished {
			s.wait(d.job)
		}
	}
	return s
}
