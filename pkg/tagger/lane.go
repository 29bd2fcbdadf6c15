package tagger

import (
	"slices"
	"time"

	"github.com/autotagd/autotagd/pkg/event"
	"github.com/autotagd/autotagd/pkg/resource"
)

// laneKey names what AWS meters: one account, Region and API.
type laneKey struct {
	scope event.Scope // where the resources live
	api   resource.TagAPI
}

// lane has the batches of one account, Region and API. It has its own calls in flight, so that one that hangs holds up no other.
type lane struct {
	laneKey
	queues  map[queueKey]*queue
	running int // batches in flight, those of failing groups apart
	reading int // of them, those that read one resource at a time
	row     int // batches of new events since the last one of others
}

// queueKey is what Jobs of a lane share that travel together.
type queueKey struct {
	tags    string
	reads   string // the service that alone reads their tags: it may hang
	backlog bool   // new events go first
	stored  bool   // was deferred: likewise
	retried bool   // failed before: might spoil a batch
	solo    *group // its action fails at the moment: one batch of it at a time
	alone   *task  // one that is tried by itself
}

// queue collects one batch, or several.
type queue struct {
	key   queueKey
	lane  *lane
	tasks []*task
	from  map[event.Scope]bool // the Scopes that read its events, for Flush
	due   time.Time            // when it goes though not full
}

// batch is a part of a queue that is worked on.
type batch struct {
	lane  *lane
	solo  *group
	reads bool // one by one
	tasks []*task
}

// maxBatch is how many resources one call takes; for an expansion it is values of a filter.
func maxBatch(api resource.TagAPI) int {
	switch api {
	case resource.EC2CreateTags:
		return 1000
	case resource.TagResources:
		return 20
	case describeVolumes, describeImages:
		return maxFilterValues
	}
	return 1
}

func (t *Tagger) enqueue(tk *task, now time.Time) {
	k := laneKey{tk.job.Resource.Scope, jobAPI(tk.job)}
	l := t.lanes[k]
	if l == nil {
		l = &lane{laneKey: k, queues: map[queueKey]*queue{}}
		t.lanes[k] = l
	}
	qk := queueKey{tags: tk.tags, backlog: tk.job.Event.Backlog, stored: tk.stored, retried: tk.retried}
	if tk.job.Expand != resource.ExpandNone {
		qk.tags = "" // descriptions don't care
	} else if readsAlone(tk.job.Resource) {
		qk.reads = tk.job.Resource.Service
	}
	if tk.group.failures > 0 {
		qk.solo = tk.group
	}
	if tk.alone {
		qk.alone = tk
	}
	q := l.queues[qk]
	if q == nil {
		q = &queue{key: qk, lane: l, from: map[event.Scope]bool{}, due: now.Add(t.opts.BatchWait)}
		l.queues[qk] = q
	}
	if due := tk.arrived.Add(t.opts.BatchWait); tk.job.Expand == resource.ExpandNone && due.Before(q.due) {
		q.due = due // it has waited behind another Job of its resource
	}
	if tk.retried || tk.alone {
		q.due = now
	}
	q.tasks = append(q.tasks, tk)
	q.from[tk.job.Event.Scope] = true
	tk.state, tk.queue = stateQueued, q
}

func (q *queue) remove(tk *task) {
	if i := slices.Index(q.tasks, tk); i >= 0 {
		q.tasks = slices.Delete(q.tasks, i, i+1)
	}
	tk.queue = nil
	if len(q.tasks) == 0 {
		delete(q.lane.queues, q.key)
	}
}

// ready returns when the queue can go, as far as waiting for Jobs and its action's failures are concerned.
func (t *Tagger) ready(q *queue) time.Time {
	due := q.due
	if t.closed || len(q.tasks) >= maxBatch(q.lane.api) {
		due = time.Time{}
	}
	if q.key.solo != nil && q.key.solo.notBefore.After(due) {
		due = q.key.solo.notBefore
	}
	return due
}

// open reports whether the queue's lane has a call left for it.
func (t *Tagger) open(q *queue) bool {
	if q.key.solo != nil {
		return q.key.solo.running == 0
	}
	// Half of them are for what travels in bulk: a batch that reads one by one takes as many turns as it has resources.
	return q.lane.running < t.opts.Workers && (q.key.reads == "" || q.lane.api.Own() || q.lane.reading < max(1, t.opts.Workers/2))
}

// dispatch takes the batches that go now.
func (t *Tagger) dispatch(now time.Time) []batch {
	var batches []batch
	for _, l := range t.lanes {
		for {
			var next *queue
			for _, q := range l.queues {
				if t.open(q) && !t.ready(q).After(now) && (next == nil || l.before(q, next)) {
					next = q
				}
			}
			if next == nil {
				break
			}
			if l.row++; next.rank() > 0 {
				l.row = 0
			}
			batches = append(batches, t.takeBatch(next))
		}
	}
	return batches
}

// newInRow batches of new events go before one of others, if some wait: what was deferred must not be given up for want of a turn.
const newInRow = 4

// rank orders what waits for a lane: new events, then what was deferred, then the backlog.
func (q *queue) rank() int {
	switch {
	case q.key.stored:
		return 1
	case q.key.backlog:
		return 2
	}
	return 0
}

// before says which queue goes first: by rank and then by age, which is that of the event for what was deferred, since all
// of an action come back at once.
func (l *lane) before(a, b *queue) bool {
	ra, rb := a.rank(), b.rank()
	switch {
	case ra != rb && l.row >= newInRow && min(ra, rb) == 0:
		return ra > 0
	case ra != rb:
		return ra < rb
	case a.key.stored:
		return older(a.tasks[0], b.tasks[0]) < 0
	}
	return a.due.Before(b.due)
}

func (t *Tagger) takeBatch(q *queue) batch {
	n, size := 0, 0
	for n < len(q.tasks) {
		size += max(1, len(q.tasks[n].job.ExpandIDs))
		if n > 0 && size > maxBatch(q.lane.api) {
			break
		}
		n++
	}
	b := batch{lane: q.lane, solo: q.key.solo, reads: q.key.reads != "", tasks: slices.Clone(q.tasks[:n])}
	q.tasks = slices.Delete(q.tasks, 0, n)
	if len(q.tasks) == 0 {
		delete(q.lane.queues, q.key)
	}
	for _, tk := range b.tasks {
		tk.state, tk.queue = stateRunning, nil
	}
	if b.solo != nil {
		b.solo.running++
	} else {
		b.lane.running++
		if b.reads {
			b.lane.reading++
		}
	}
	return b
}

// done gives the batch's call back to its lane.
func (t *Tagger) done(b batch) {
	t.mu.Lock()
	if b.solo != nil {
		b.solo.running--
	} else {
		b.lane.running--
		if b.reads {
			b.lane.reading--
		}
	}
	t.mu.Unlock()
	t.poke()
}

// nextTime returns when Run has to look again if nothing happens before.
func (t *Tagger) nextTime(now time.Time) time.Time {
	next := t.nextTick
	if len(t.delayed) > 0 && t.delayed[0].at.Before(next) {
		next = t.delayed[0].at
	}
	for _, l := range t.lanes {
		for _, q := range l.queues {
			if !t.open(q) {
				continue
			}
			if at := t.ready(q); at.Before(next) {
				next = at
			}
		}
	}
	if next.Before(now) {
		return now
	}
	return next
}

// limiterOf returns the rate of one account, Region and API.
func (t *Tagger) limiterOf(k laneKey) *limiter {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.limiters[k]
	if l == nil {
		l = newLimiter(t.opts.Rate)
		t.limiters[k] = l
	}
	return l
}
