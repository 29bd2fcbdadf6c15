package checkpoint

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/autotagd/autotagd/pkg/event"
	"github.com/autotagd/autotagd/pkg/resource"
)

// stateFormat is the version of what the parts hold. A newer one is refused.
const stateFormat = 1

// stateJSON is the content of StatePart.
type stateJSON struct {
	Format     int         `json:"format"`
	Scope      event.Scope `json:"scope"`
	SavedAt    time.Time   `json:"saved_at"` // on the host's clock, for people
	LeaseOwner string      `json:"lease_owner,omitempty"`
	Writer     string      `json:"writer"` // the Ledger that wrote this
	Save       int64       `json:"save"`   // and its count of writes
	Marks      event.Marks `json:"marks"`
	Denials    []Denial    `json:"denials,omitempty"`
}

// State is everything stored of a Scope, decoded.
type State struct {
	// Version is "" when the Scope was never saved; all but Deferred is then zero.
	Version    Version
	SavedAt    time.Time
	LeaseOwner string
	Marks      event.Marks
	Denials    []Denial
	Deferred   []resource.Job // the oldest event first
	Seen       int            // EventIDs settled since the Floor

	writer string
	seen   seenIDs
}

// Read loads and decodes a Scope's State. The errors are those of Store.Load.
func Read(ctx context.Context, store Store, scope event.Scope) (State, error) {
	loaded, err := store.Load(ctx, scope)
	if err != nil {
		return State{}, err
	}
	st := State{Version: loaded.Version, seen: seenIDs{}}
	damaged := func(part, problem string) error {
		return &DamagedError{Part: part, Place: store.Locate(scope, part), Problem: problem}
	}
	if loaded.Version != "" {
		var version struct {
			Format int `json:"format"`
		}
		if err := json.Unmarshal(loaded.State, &version); err != nil {
			return State{}, damaged(StatePart, err.Error())
		}
		if version.Format > stateFormat {
			return State{}, &NewerError{Place: store.Locate(scope, StatePart), Format: version.Format, Max: stateFormat}
		}
		var s stateJSON
		if err := json.Unmarshal(loaded.State, &s); err != nil {
			return State{}, damaged(StatePart, err.Error())
		}
		if s.Scope != scope {
			return State{}, damaged(StatePart, "it is the state of "+s.Scope.String())
		}
		if s.Format < 1 || s.Marks.Floor.IsZero() {
			return State{}, damaged(StatePart, "it has no format or no Floor")
		}
		st.SavedAt, st.LeaseOwner, st.Marks, st.Denials, st.writer = s.SavedAt, s.LeaseOwner, s.Marks, s.Denials, s.Writer
	}
	for _, p := range loaded.Parts {
		switch {
		case !validPart(p.Name):
			return State{}, damaged(p.Name, "no part of a State has such a name")
		case strings.HasPrefix(p.Name, seenPrefix):
			minute, _ := minuteOfPart(p.Name)
			if !st.seen.load(minute, p.Data) {
				return State{}, damaged(p.Name, "its length is not that of whole ids")
			}
			st.Seen += len(p.Data) / len(eventKey{})
		case strings.HasPrefix(p.Name, jobPrefix):
			var j resource.Job
			if err := json.Unmarshal(p.Data, &j); err != nil {
				return State{}, damaged(p.Name, err.Error())
			}
			if jobPart(j) != p.Name {
				return State{}, damaged(p.Name, "it holds another Job")
			}
			if j.Event.Scope != scope {
				return State{}, damaged(p.Name, "it holds a Job of "+j.Event.Scope.String())
			}
			st.Deferred = append(st.Deferred, j)
		}
	}
	slices.SortFunc(st.Deferred, func(a, b resource.Job) int {
		if c := a.Event.Time.Compare(b.Event.Time); c != 0 {
			return c
		}
		return strings.Compare(a.Key(), b.Key())
	})
	return st, nil
}
