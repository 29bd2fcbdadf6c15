package checkpoint

import (
	"cmp"
	"slices"
	"time"

	"github.com/autotagd/autotagd/pkg/event"
	"github.com/autotagd/autotagd/pkg/resource"
)

// Hold gives an event the Jobs of its Record, all at once: they are outstanding until Finish, Defer, Unstored or Expand says
// otherwise. Without Jobs it is Done.
func (l *Ledger) Hold(id string, jobs []resource.Job) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := keyOf(id)
	e := l.events[k]
	if e == nil {
		if len(jobs) == 0 {
			return
		}
		e = l.reopen(k, jobs[0].Event.Time)
	}
	e.held = true
	e.add(jobs)
	l.settle(k, e)
}

// Expand finishes a Job that turned out to stand for others, and makes those outstanding. Its event may be settled already,
// when the Job was deferred: it then holds no mark, but the Job stays stored until the others are safe.
func (l *Ledger) Expand(j resource.Job, jobs []resource.Job) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := keyOf(j.Event.ID)
	e := l.events[k]
	if e == nil {
		e = l.reopen(k, j.Event.Time)
	}
	e.add(jobs)
	l.drop(j)
	l.release(j, false)
}

// reopen takes up an event that is settled.
func (l *Ledger) reopen(k eventKey, at time.Time) *openEvent {
	e := &openEvent{at: at, held: true, jobs: map[string]struct{}{}}
	l.events[k] = e
	return e
}

func (e *openEvent) add(jobs []resource.Job) {
	for _, j := range jobs {
		e.jobs[jobPart(j)] = struct{}{}
	}
}

// Done says that an event has no Jobs.
func (l *Ledger) Done(id string) { l.Hold(id, nil) }

// Finish notes that a Job has ended in an Outcome. A Job that nothing is known of is nothing to note.
func (l *Ledger) Finish(j resource.Job) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drop(j)
	l.release(j, false)
}

// Defer notes that a Job is kept durably, as it is now, to be tried again. It replaces what was kept of it before.
func (l *Ledger) Defer(j resource.Job) {
	l.mu.Lock()
	defer l.mu.Unlock()
	part := jobPart(j)
	d := l.deferred[part]
	if d == nil {
		d = &deferredJob{event: keyOf(j.Event.ID)}
		l.deferred[part] = d
	}
	d.job, d.finished = j, false
	d.touch()
	l.changes++
	l.release(j, false)
}

// Unstored notes that a Job was missed without being kept, because too many wait for api and action already. Its event
// is never noted by id: a Denial has its time instead, and Replay reads it again.
func (l *Ledger) Unstored(j resource.Job, api resource.TagAPI, action string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.denials.note(api, action, j.Event)
	l.changes++
	l.drop(j)
	l.release(j, true)
}

// PutBack notes that a Job was given up untried, because its calls can't keep up. Its event is never noted by id, and read
// again of the backlog, by its name, once none was put back for a while.
func (l *Ledger) PutBack(j resource.Job, api resource.TagAPI, action string, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.denials.putBack(api, action, j.Event, now)
	l.changes++
	l.drop(j)
	l.release(j, true)
}

// drop lets a deferred Job go. Its part stays until whatever replaces it is durable; one that was never written
// is written nevertheless, since the event's id may become durable first.
func (l *Ledger) drop(j resource.Job) {
	if d := l.deferred[jobPart(j)]; d != nil && !d.finished {
		d.finished = true
		d.change++
		l.changes++
	}
}

func (d *deferredJob) touch() {
	d.change++
	d.dirty = true
}

// release takes a Job off its event.
func (l *Ledger) release(j resource.Job, unstored bool) {
	k := keyOf(j.Event.ID)
	e := l.events[k]
	if e == nil {
		return
	}
	delete(e.jobs, jobPart(j))
	e.unstored = e.unstored || unstored
	l.settle(k, e)
}

// settle lets an event go that has nothing left to do.
func (l *Ledger) settle(k eventKey, e *openEvent) {
	if !e.held || len(e.jobs) > 0 {
		return
	}
	delete(l.events, k)
	l.changes++
	if e.again {
		l.addBacklog(event.Span{Start: e.at, End: e.at})
	}
	if e.live {
		l.seen.add(k, e.at, !e.unstored)
	}
	if e.backlog {
		l.backlog.settled(e.at)
	}
}

// Replay says that what denied an action is over. The events of the Jobs that were not stored become a backlog span for
// their names; if the last such replay is less than an hour past, when the hour is. It reports whether it did now.
func (l *Ledger) Replay(api resource.TagAPI, action string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.denials.over(api, action)
	return l.replay(now)
}

// replay turns what is ripe into spans.
func (l *Ledger) replay(now time.Time) bool {
	l.denials.unattended(l.waits)
	spans := l.denials.ripe(now)
	for _, s := range spans {
		l.addBacklog(s)
	}
	return len(spans) > 0
}

// waits reports whether a deferred Job waits for action.
func (l *Ledger) waits(action string) bool {
	for _, d := range l.deferred {
		if r := d.job.Resource; !d.finished && cmp.Or(r.IAMAction, string(r.TagAPI)) == action {
			return true
		}
	}
	return false
}

// Denials returns the records of Jobs that were missed without being stored.
func (l *Ledger) Denials() []Denial {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.denials.values()
}

// Deferred returns the deferred Jobs as they were loaded, the oldest event first.
func (l *Ledger) Deferred() []resource.Job { return slices.Clone(l.restored) }

// DeferredCount returns how many Jobs are deferred now.
func (l *Ledger) DeferredCount() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	count, _ := l.waiting()
	return count
}

// waiting counts the deferred Jobs and says when the first of them was first tried; zero when none was.
func (l *Ledger) waiting() (count int, since time.Time) {
	for _, d := range l.deferred {
		if d.finished {
			continue
		}
		count++
		if at := d.job.FirstTried; !at.IsZero() && (since.IsZero() || at.Before(since)) {
			since = at
		}
	}
	return count, since
}

// Unsettled returns how many events are begun and not settled, and the event time of the oldest of them.
func (l *Ledger) Unsettled() (count int, oldest time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.events {
		if !e.live && !e.backlog {
			continue
		}
		count++
		if oldest.IsZero() || e.at.Before(oldest) {
			oldest = e.at
		}
	}
	return count, oldest
}
