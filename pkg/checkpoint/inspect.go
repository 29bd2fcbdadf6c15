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
		Spans: len(st.Marks.Backlog), Deferred: len(st.Deferred), Reasons: map[resource.Reason]int{},
	}
	for _, span := range st.Marks.Backlog {
		s.Backlog += span.End.Sub(span.Start)
	}
	for i, j := range st.Deferred {
		s.Reasons[j.LastReason]++
		if i == 0 {
			s.Oldest = j.Event.Time
		}
	}
	return s, nil
}
