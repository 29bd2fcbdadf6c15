package checkpoint

import (
	"slices"
	"time"

	"github.com/autotagd/autotagd/pkg/event"
	"github.com/autotagd/autotagd/pkg/resource"
)

const (
	// replayEvery is how often the events of one Denial are read again at most.
	replayEvery = time.Hour
	// putBackRest is how long none is put back before their events are read again: they would only meet the same flood.
	putBackRest = 2 * time.Minute
	// putBackEvery is replayEvery for them: they will be tagged, and only what was tagged since is read in vain.
	putBackEvery = 10 * time.Minute
)

// Denial records that Jobs were missed without being stored, because too many like them waited already, or put back, because
// they came faster than their calls can be made. When the cause is gone, their events are read again.
type Denial struct {
	API    resource.TagAPI `json:"api"`
	Action string          `json:"action"`
	// Since and Until are the event times of the earliest and the latest of them; zero when none is left.
	Since time.Time `json:"since,omitzero"`
	Until time.Time `json:"until,omitzero"`
	// Replayed is when their events were last put into the backlog, on this host's clock.
	Replayed time.Time `json:"replayed,omitzero"`
	// Over is set when the cause is gone, but the last replay is less than an hour past. Names are those of their events; without
	// any, all are read.
	Over  bool     `json:"over,omitempty"`
	Names []string `json:"names,omitempty"`
	// PutBack is when the last Job was put back, on this host's clock. Those have a Denial of their own.
	PutBack time.Time `json:"put_back,omitzero"`
}

type denials []*Denial

func (ds denials) find(api resource.TagAPI, action string, putBack bool) *Denial {
	i := slices.IndexFunc(ds, func(d *Denial) bool { return d.API == api && d.Action == action && !d.PutBack.IsZero() == putBack })
	if i < 0 {
		return nil
	}
	return ds[i]
}

// note records one miss that was not stored.
func (ds *denials) note(api resource.TagAPI, action string, e resource.EventRef) {
	ds.open(api, action, false).widen(e)
}

// open returns the one there is, or a new one.
func (ds *denials) open(api resource.TagAPI, action string, putBack bool) *Denial {
	d := ds.find(api, action, putBack)
	if d == nil {
		d = &Denial{API: api, Action: action}
		*ds = append(*ds, d)
	}
	return d
}

func (d *Denial) widen(e resource.EventRef) {
	if (d.Names != nil || d.Since.IsZero()) && !slices.Contains(d.Names, e.Name) {
		d.Names = append(d.Names, e.Name)
	}
	at := wholeSecond(e.Time)
	if d.Since.IsZero() || at.Before(d.Since) {
		d.Since = at
	}
	if at.After(d.Until) {
		d.Until = at
	}
}

// putBack records one Job that was put back. Its cause passes by itself, so that nobody has to say when it is over, and a
// restart meanwhile changes nothing.
func (ds *denials) putBack(api resource.TagAPI, action string, e resource.EventRef, now time.Time) {
	d := ds.open(api, action, true)
	d.widen(e)
	d.Over, d.PutBack = true, now
}

// over notes that a Denial's cause is gone.
func (ds denials) over(api resource.TagAPI, action string) {
	if d := ds.find(api, action, false); d != nil && !d.Since.IsZero() {
		d.Over = true
	}
}

// unattended has those be over for whose action nobody waits: no Job that works will say that their cause is gone. If it
// isn't, their events are missed again, or wait.
func (ds denials) unattended(waits func(action string) bool) {
	for _, d := range ds {
		d.Over = d.Over || !d.Since.IsZero() && !waits(d.Action)
	}
}

// ripe returns the spans to read now. It forgets the records that say nothing any more.
func (ds *denials) ripe(now time.Time) []event.Span {
	var spans []event.Span
	*ds = slices.DeleteFunc(*ds, func(d *Denial) bool {
		if d.due(now) {
			spans = append(spans, event.Span{Start: d.Since, End: d.Until, Names: d.Names})
			*d = Denial{API: d.API, Action: d.Action, Replayed: now, PutBack: d.PutBack}
		}
		return d.Since.IsZero() && d.rested(now)
	})
	return spans
}

func (d *Denial) due(now time.Time) bool {
	return d.Over && d.rested(now) && past(d.PutBack, putBackRest, now)
}

// rested reports whether the last replay is long enough past.
func (d *Denial) rested(now time.Time) bool {
	every := replayEvery
	if !d.PutBack.IsZero() {
		every = putBackEvery
	}
	return past(d.Replayed, every, now)
}

// past reports whether at is so long past. A host clock that went back does not count.
func past(at time.Time, long time.Duration, now time.Time) bool {
	since := now.Sub(at)
	return since >= long || since < 0
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
