package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/autotagd/autotagd/pkg/checkpoint"
	"github.com/autotagd/autotagd/pkg/event"
	"github.com/autotagd/autotagd/pkg/resource"
)

// What a simulation's watch hears of the stores: each part and state that a life saves or drops, and what that promises.

// keeps hears of parts that a life is about to keep: an id is noted as settled only once it is, durably.
func (w *watch) keeps(id event.Scope, life string, parts []checkpoint.Part) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.learn()
	for _, p := range parts {
		if !strings.HasPrefix(p.Name, "seen#") {
			continue
		}
		for key := range slices.Chunk(p.Data, 16) {
			c := w.keys[[16]byte(key)]
			if c == nil || c.seen {
				continue
			}
			c.seen = true
			if what := w.open(c); what != "" {
				w.problem(c, "%s: an event of %s is noted as settled, but %s has neither an Outcome nor a part of the State", life, id, what)
			} else if w.missed(c) {
				w.problem(c, "%s: an event of %s is noted as settled, but Jobs of it were missed without being stored", life, id)
			}
		}
	}
}

// kept hears of parts that a store keeps from now on.
func (w *watch) kept(id event.Scope, parts []checkpoint.Part) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.learn()
	s := w.scope(id)
	for _, p := range parts {
		var job resource.Job
		if !strings.HasPrefix(p.Name, "job#") || json.Unmarshal(p.Data, &job) != nil {
			continue
		}
		if c := w.events[job.Event.ID]; c != nil {
			s.jobs[p.Name] = c
			c.parts[p.Name] = job
		}
	}
}

// forgotten hears of parts that are about to be deleted: nothing may need them any more.
func (w *watch) forgotten(id event.Scope, life string, names []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.learn()
	s := w.scope(id)
	for _, name := range names {
		c := s.jobs[name]
		if c == nil {
			continue
		}
		delete(c.parts, name)
		delete(s.jobs, name)
		if what := w.open(c); what != "" && (c.seen || c.created.Before(s.marks.Floor)) {
			w.problem(c, "%s: a Job of %s is forgotten, but %s has no Outcome", life, id, what)
		}
	}
}

// saved hears of a state that was saved: what it promises must be so.
func (w *watch) saved(id event.Scope, life string, state []byte) {
	var st struct {
		Marks   event.Marks         `json:"marks"`
		Denials []checkpoint.Denial `json:"denials"`
	}
	if err := json.Unmarshal(state, &st); err != nil {
		w.t.Errorf("a state that is not JSON: %v", err)
		return
	}
	now := w.cloud.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.learn()
	s := w.scope(id)
	floor := st.Marks.Floor
	if s.saved && (floor.Before(s.marks.Floor) || st.Marks.Watermark.Before(s.marks.Watermark)) {
		w.problem(nil, "%s: a mark goes back in %s: %s and %s after %s and %s", life, id, floor, st.Marks.Watermark, s.marks.Floor, s.marks.Watermark)
	}
	if !s.saved {
		s.first = st.Marks
	}
	if floor.After(now.Add(-w.lookback).Add(time.Second)) && floor.After(s.first.Floor) {
		w.problem(nil, "%s: the Floor of %s is %s before now, less than the lookback", life, id, now.Sub(floor))
	}
	if st.Marks.Watermark.After(now.Add(time.Second)) {
		w.problem(nil, "%s: the Watermark of %s is ahead of AWS's time", life, id)
	}
	s.marks, s.saved = st.Marks, true
	if s.holder != life && w.tabled {
		w.diary = append(w.diary, fmt.Sprint(now.UTC().Format("02 15:04:05 "), life, " has ", id))
	}
	s.holder = life
	s.denials = st.Denials
	covered := func(c *creation) bool {
		return slices.ContainsFunc(st.Marks.Backlog, func(b event.Span) bool {
			return !c.created.Before(b.Start) && !c.created.After(b.End) && (b.Names == nil || slices.Contains(b.Names, c.name))
		})
	}
	denied := func(c *creation) bool {
		return slices.ContainsFunc(st.Denials, func(d checkpoint.Denial) bool {
			return !d.Since.IsZero() && !c.created.Before(d.Since) && !c.created.After(d.Until)
		})
	}
	below := map[*creation]bool{}
	for _, c := range s.later {
		below[c] = true
	}
	var above, later []*creation
	for _, c := range append(s.later, s.above...) {
		what := w.open(c)
		switch {
		case !c.created.Before(floor):
			above = append(above, c)
			// An answer that came before the last head scan began was shown by a complete read before the Watermark moved there.
			at, arrived := c.arrived[life]
			if cursor := st.Marks.Cursor; what != "" && cursor != nil && c.name <= cursor.Name && s.promised(c) &&
				!c.created.Before(cursor.Span.Start) && !c.created.After(cursor.Span.End) {
				w.problem(c, "%s: the final pass of %s is at %s, past an event that isn't settled: %s", life, id, cursor.Name, what)
			}
			if what != "" && arrived && !c.created.After(st.Marks.Watermark) && at.Add(clockSlack).Before(st.Marks.Watermark) {
				w.problem(c, "%s: the Watermark of %s is at %s, past an event that was read before and isn't settled: %s", life, id, st.Marks.Watermark.UTC().Format("15:04:05"), what)
			}
		case !s.promised(c):
		case !covered(c) && !below[c] && c.read.Before(c.created.Add(w.lookback-clockSlack)):
			w.problem(c, "%s: the Floor of %s is at %s, past an event that was last read at %s: no reading was complete when it could not become visible any more", life, id, floor.UTC().Format("15:04:05"), c.read.UTC().Format("15:04:05"))
		case what == "" && !w.missed(c):
		case covered(c), what == "" && denied(c):
			later = append(later, c)
		case what == "":
			w.problem(c, "%s: the Floor of %s is at %s, past an event that too many wait for, with neither a denial record nor a span", life, id, floor.UTC().Format("15:04:05"))
		default:
			w.problem(c, "%s: the Floor of %s is at %s, past an event that is neither settled nor in the backlog: %s", life, id, floor.UTC().Format("15:04:05"), what)
		}
	}
	s.above, s.later = above, later
}

// clockSlack is how far a daemon's idea of AWS's time may be off.
const clockSlack = 3 * time.Second

// begins hears of the first state that a life tries to save of a Scope that has none: later ones may have less to read.
func (w *watch) begins(id event.Scope, life string, state []byte) {
	var st struct {
		Marks event.Marks `json:"marks"`
	}
	if err := json.Unmarshal(state, &st); err != nil {
		w.t.Errorf("a state that is not JSON: %v", err)
		return
	}
	now := w.cloud.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.scope(id)
	if s.tried == life {
		return
	}
	s.tried = life
	from := st.Marks.Floor
	if len(st.Marks.Backlog) > 0 && st.Marks.Backlog[0].Start.Before(from) {
		from = st.Marks.Backlog[0].Start
	}
	w.learn()
	for _, c := range s.above { // what was read meanwhile may be done
		if !c.created.Before(now.Add(-w.past).Add(clockSlack)) && c.created.Before(from) && !c.visible.After(w.start) && c.read.IsZero() {
			w.problem(c, "%s: the first state of %s begins %s back, want %s, and nobody has read this", life, id, now.Sub(from), w.past)
		}
	}
}

// begun hears that a life begins a Scope, perhaps once more after it was lost: what it read before is forgotten, and the Watermark
// moves without that. The Floor doesn't.
func (w *watch) begun(id event.Scope, life string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.scope(id).above {
		delete(c.arrived, life)
	}
}

// promised reports whether a create event is one that the first start had to read.
func (s *scopeWatch) promised(c *creation) bool {
	return !c.created.Before(s.first.Floor) || len(s.first.Backlog) > 0 && !c.created.Before(s.first.Backlog[0].Start)
}

// watchedStore is a store whose effects the watch hears of.
type watchedStore struct {
	checkpoint.Store
	watch *watch
	life  *life
}

func (s watchedStore) Load(ctx context.Context, id event.Scope) (checkpoint.Loaded, error) {
	loaded, err := s.Store.Load(ctx, id)
	if err == nil {
		s.watch.begun(id, s.life.name)
	}
	return loaded, err
}

func (s watchedStore) Put(ctx context.Context, id event.Scope, parts []checkpoint.Part) error {
	if !s.life.dead.Load() {
		s.watch.keeps(id, s.life.name, parts)
	}
	err := s.Store.Put(ctx, id, parts)
	if err == nil {
		s.watch.kept(id, parts)
	}
	return err
}

func (s watchedStore) Swap(ctx context.Context, id event.Scope, old checkpoint.Version, state []byte) (checkpoint.Version, error) {
	if old == "" {
		s.watch.begins(id, s.life.name, state)
	}
	v, err := s.Store.Swap(ctx, id, old, state)
	if err == nil {
		s.watch.saved(id, s.life.name, state)
	}
	if errors.Is(err, checkpoint.ErrFenced) {
		s.watch.fenced(id, s.life.name)
	}
	return v, err
}

func (s watchedStore) Delete(ctx context.Context, id event.Scope, names []string) error {
	if !s.life.dead.Load() {
		s.watch.forgotten(id, s.life.name, names) // first: from now on nobody may rely on them
	}
	return s.Store.Delete(ctx, id, names)
}
