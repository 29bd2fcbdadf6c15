package checkpoint

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// How long a change may wait to be saved. What was settled or deferred waits for the interval only.
const (
	cursorWait = time.Minute     // the cursor alone: losing it costs a few calls
	quietWait  = 5 * time.Minute // Floor and Watermark alone: losing their move costs nothing in a quiet Scope
)

// Due reports whether it is time to Save: at most once an interval, and only if something changed.
func (l *Ledger) Due(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.placed || l.fenced {
		return false
	}
	waited := now.Sub(l.lastSave)
	if waited < l.interval {
		return false
	}
	l.advance()
	l.denials.unattended(l.waits)
	m := l.mark()
	switch {
	case m.changes != l.saved.changes, slices.ContainsFunc(l.denials, func(d *Denial) bool { return d.due(now) }):
		return true
	case m.moves != l.saved.moves:
		return waited >= cursorWait
	case m != l.saved:
		return waited >= quietWait
	}
	return false
}

// Save makes everything that is settled durable, if something changed. After an error all of it is saved by the next
// Save; nothing is lost but time. It waits for a save that is under way, until ctx ends. After ErrFenced another holder has
// the Scope: this Ledger saves nothing any more.
func (l *Ledger) Save(ctx context.Context) error {
	select {
	case l.saving <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("save the checkpoint of %s, which another save keeps waiting: %w", l.scope, context.Cause(ctx))
	}
	defer func() { <-l.saving }()
	wrote, err := l.save(ctx)
	switch {
	case errors.Is(err, ErrFenced):
		l.mu.Lock()
		l.fenced = true
		l.mu.Unlock()
		l.metrics.lease.Set(0)
		l.metrics.saves[saveFenced].Inc()
	case err != nil:
		l.metrics.saves[saveError].Inc()
	case wrote:
		l.metrics.saves[saveOK].Inc()
	}
	if err != nil {
		return fmt.Errorf("save the checkpoint of %s: %w", l.scope, err)
	}
	return nil
}

// snapshot is what one save writes: all of one moment, since the state may pass an event only together with what
// was noted of it.
type snapshot struct {
	mark    savedMark
	state   stateJSON
	jobs    []Part // job# parts
	changes map[string]uint64
	seen    []Part // seen# parts
	minutes map[int64]int
	drop    []string // parts to delete once the state is durable
}

func (l *Ledger) save(ctx context.Context) (wrote bool, err error) {
	l.mu.Lock()
	if l.fenced {
		l.mu.Unlock()
		return false, ErrFenced
	}
	if !l.placed { // the marks were never placed: there is nothing to say yet
		l.mu.Unlock()
		return false, nil
	}
	l.lastSave = time.Now()
	l.replay(l.lastSave)
	l.advance()
	changed := l.mark() != l.saved
	snap, err := l.snapshot()
	l.mu.Unlock()
	if err != nil {
		return false, err
	}
	if !changed && len(snap.jobs)+len(snap.seen)+len(snap.drop) == 0 {
		return false, nil
	}

	if l.inDoubt {
		if err := l.resolve(ctx); err != nil {
			return false, err
		}
	}
	if len(snap.jobs) > 0 {
		if err := l.store.Put(ctx, l.scope, snap.jobs); err != nil {
			return false, err
		}
		l.jobsSaved(snap)
	}
	if len(snap.seen) > 0 {
		if err := l.store.Put(ctx, l.scope, snap.seen); err != nil {
			return false, err
		}
		l.seenSaved(snap)
	}
	l.saves++
	snap.state.Save = l.saves
	state, err := json.MarshalIndent(snap.state, "", " ")
	if err != nil {
		return false, err
	}
	version, err := l.store.Swap(ctx, l.scope, l.version, append(state, '\n'))
	if err != nil {
		l.inDoubt = !errors.Is(err, ErrFenced)
		return false, err
	}
	l.version = version
	l.mu.Lock()
	l.saved, l.stored = snap.mark, true
	l.mu.Unlock()
	if len(snap.drop) > 0 {
		if err := l.store.Delete(ctx, l.scope, snap.drop); err != nil {
			return true, err
		}
		l.dropped(snap)
	}
	return true, nil
}

// resolve finds out whether a Swap that failed has happened. Either way everything is written again: that it
// can be read does not prove it durable.
func (l *Ledger) resolve(ctx context.Context) error {
	st, err := Read(ctx, l.store, l.scope)
	if err != nil {
		return err
	}
	if st.Version != l.version && st.writer != l.writer {
		return ErrFenced
	}
	l.version, l.inDoubt = st.Version, false
	return nil
}

// snapshot collects what there is to write. The caller holds mu and saving.
func (l *Ledger) snapshot() (snapshot, error) {
	floor := l.floor.Time()
	spans := l.backlog.all()
	s := snapshot{
		mark: l.mark(),
		state: stateJSON{
			Format: stateFormat, Scope: l.scope, SavedAt: time.Now().UTC().Truncate(time.Millisecond),
			LeaseOwner: l.owner, Writer: l.writer, Denials: l.denials.values(),
		},
		changes: map[string]uint64{}, minutes: map[int64]int{},
	}
	s.state.Marks.Floor, s.state.Marks.Watermark = floor, l.watermark.Time()
	s.state.Marks.Backlog, s.state.Marks.Cursor = spans, cloneCursor(l.cursor)
	s.state.Marks.Spellings = l.spelled()

	for _, part := range slices.Sorted(maps.Keys(l.deferred)) {
		d := l.deferred[part]
		if d.dirty {
			data, err := json.Marshal(d.job)
			if err != nil {
				return s, fmt.Errorf("encode %s: %w", l.store.Locate(l.scope, part), err)
			}
			s.jobs = append(s.jobs, Part{part, data})
		}
		if l.replaced(d) {
			s.drop = append(s.drop, part)
		}
		s.changes[part] = d.change
	}
	for _, minute := range slices.Sorted(maps.Keys(l.seen)) {
		m := l.seen[minute]
		switch {
		case minute < minuteOf(floor) && m.stored:
			s.drop = append(s.drop, seenPart(minute))
		case minute < minuteOf(floor): // never written, and no longer needed
			delete(l.seen, minute)
		case len(m.ids) > m.saved:
			s.seen = append(s.seen, Part{seenPart(minute), m.ids})
			s.minutes[minute] = len(m.ids)
		}
	}
	return s, nil
}

// replaced reports whether a deferred Job's part may go once this save's state is durable: it has ended, nothing that
// came of it is outstanding, and its event is not read again.
func (l *Ledger) replaced(d *deferredJob) bool {
	if !d.finished || l.events[d.event] != nil {
		return false
	}
	at := d.job.Event.Time
	return at.Before(l.floor.Time()) || l.seen.durable(d.event, at)
}

func (l *Ledger) jobsSaved(s snapshot) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range s.jobs {
		if d := l.deferred[p.Name]; d != nil && d.change == s.changes[p.Name] {
			d.dirty = false
		} // else it has changed since, and is written again
	}
}

func (l *Ledger) seenSaved(s snapshot) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for minute, n := range s.minutes {
		if m := l.seen[minute]; m != nil {
			m.saved, m.stored = n, true
		}
	}
}

func (l *Ledger) dropped(s snapshot) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, part := range s.drop {
		if minute, ok := minuteOfPart(part); ok {
			delete(l.seen, minute)
			continue
		}
		d := l.deferred[part]
		switch {
		case d == nil:
		case d.change == s.changes[part]:
			delete(l.deferred, part)
		default: // deferred again while its part was being deleted
			d.dirty = true
		}
	}
}
