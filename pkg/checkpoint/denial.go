package checkpoint

import (
	"slices"
	"time"

	"github.com/autotagd/autotagd/pkg/event"
	"github.com/autotagd/autotagd/pkg/resource"
)

// replayEvery is how often the events of one Denial are read again at most.
const replayEvery = time.Hour

// Denial records that Jobs were missed without being stored, because too many like them waited already. When the cause is
// gone, their events are read again.
type Denial struct {
	API    resource.TagAPI `json:"api"`
	Action string          `json:"action"`
	// Since and Until are the event times of the earliest and the latest of them; zero when none is left.
	Since time.Time `json:"since,omitzero"`
	Until time.Time `json:"until,omitzero"`
	// Replayed is when their events were last put into the backlog, on this host's clock.
	Replayed time.Time `json:"replayed,omitzero"`
	// Over is set when the cause is gone, but the last replay is less than an hour past. Names are those to read then.
	Over  bool     `json:"over,omitempty"`
	Names []string `json:"names,omitempty"`
}

type denials []*Denial

func (ds denials) find(api resource.TagAPI, action string) *Denial {
	i := slices.IndexFunc(ds, func(d *Denial) bool { return d.API == api && d.Action == action })
	if i < 0 {
		return nil
	}
	return ds[i]
}

// note records one miss that was not stored.
func (ds *denials) note(api resource.TagAPI, action string, at time.Time) {
	d := ds.find(api, action)
	if d == nil {
		d = &Denial{API: api, Action: action}
		*ds = append(*ds, d)
	}
	at = wholeSecond(at)
	if d.Since.IsZero() || at.Before(d.Since) {
		d.Since = at
	}
	if at.After(d.Until) {
		d.Until = at
	}
}

// over notes that a Denial's cause is gone.
func (ds denials) over(api resource.TagAPI, action string, names []string) {
	if d := ds.find(api, action); d != nil && !d.Since.IsZero() {
		d.Over, d.Names = true, slices.Clone(names)
	}
}

// ripe returns the spans to read now. It forgets the records that say nothing any more.
func (ds *denials) ripe(now time.Time) []event.Span {
	var spans []event.Span
	*ds = slices.DeleteFunc(*ds, func(d *Denial) bool {
		if d.due(now) {
			spans = append(spans, event.Span{Start: d.Since, End: d.Until, Names: d.Names})
			*d = Denial{API: d.API, Action: d.Action, Replayed: now}
		}
		return d.Since.IsZero() && d.rested(now)
	})
	return spans
}

func (d *Denial) due(now time.Time) bool { return d.Over && d.rested(now) }

// rested reports whether the last replay is long enough past. A host clock that went back does not count.
func (d *Denial) rested(now time.Time) bool {
	since := now.Sub(d.Replayed)
	return since >= replayEvery || since < 0
}

func (ds denials) values() []Denial {
	var out []Denial
	for _, d := range ds {
		c := *d
		c.Names = slices.Clone(d.Names)
		out = append(out, c)
	}
	return out
}
