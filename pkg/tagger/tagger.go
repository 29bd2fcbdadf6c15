package tagger

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/autotagd/autotagd/pkg/event"
	"github.com/autotagd/autotagd/pkg/resource"
)

// ErrClosed is returned by Submit after Close, or after Run ended.
var ErrClosed = errors.New("tagger: closed")

// ErrForeign is what Options.API says of an account that this process has no credentials for, and won't have.
var ErrForeign = errors.New("no credentials for that account")

// How many Jobs of one Scope are in memory at once, deferred ones apart, before Submit waits. The backlog has a room of its
// own, so that new events don't wait for old ones.
const (
	maxInHand        = 2000
	maxBacklogInHand = 1000
)

// Tagger works off Jobs. Make one with New, start Run once.
type Tagger struct {
	opts    Options
	metrics *metrics
	wake    chan struct{} // buffered by one: a wish to look at the queues again
	runs    sync.WaitGroup
	began   time.Time
	stepped atomic.Int64 // when the loop of Run last came round: nanoseconds since began

	mu        sync.Mutex // guards what follows, and all fields of lanes, groups, chains and tasks that are not being run
	closed    bool       // no more Submit; Run ends when all is done
	ended     bool       // Run returned
	inHand    int
	intakes   map[intakeKey]*intake
	lanes     map[laneKey]*lane
	limiters  map[laneKey]*limiter
	groups    map[groupKey]*group
	chains    map[resourceKey]*chain
	delayed   delayHeap
	decisions []decision // made under the lock, to be reported by Run
	nextTick  time.Time
	memory    memory
	seq       uint64
}

// intake counts the Jobs in hand of one stream of the Scope that read them.
type intake struct {
	inHand, limit int
	room          chan struct{} // closed and replaced when a full intake no longer is
}

type intakeKey struct {
	scope   event.Scope
	backlog bool
}

// New returns a Tagger that does nothing until Run.
func New(opts Options) *Tagger {
	setDefault(&opts.Workers, 8)
	setDefault(&opts.BatchWait, 3*time.Second)
	setDefault(&opts.Rate, 5)
	setDefault(&opts.ConsistencyWait, 2*time.Minute)
	setDefault(&opts.DeferAfter, 2*time.Minute)
	setDefault(&opts.GiveUpAfter, 24*time.Hour)
	if opts.Overwrite == nil {
		opts.Overwrite = func(string) bool { return false }
	}
	if opts.Log == nil {
		opts.Log = zap.NewNop()
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	return &Tagger{
		opts:     opts,
		metrics:  newMetrics(opts.Registerer),
		wake:     make(chan struct{}, 1),
		intakes:  map[intakeKey]*intake{},
		lanes:    map[laneKey]*lane{},
		limiters: map[laneKey]*limiter{},
		groups:   map[groupKey]*group{},
		chains:   map[resourceKey]*chain{},
		memory:   newMemory(),
		began:    time.Now(),
	}
}

func setDefault[T int | float64 | time.Duration](v *T, value T) {
	if *v <= 0 {
		*v = value
	}
}

// Submit takes Jobs to tag, those of one event together. It blocks while the Scope that read a Job has too many in hand,
// of new events or of the backlog, and fails only when ctx ends or the Tagger is closed; Jobs taken before that are reported as usual.
func (t *Tagger) Submit(ctx context.Context, jobs []resource.Job) error {
	jobs = slices.Clone(jobs)
	nameSiblings(jobs)
	slices.SortStableFunc(jobs, func(a, b resource.Job) int { return a.Event.Time.Compare(b.Event.Time) })
	for _, j := range jobs {
		if err := t.submit(ctx, j); err != nil {
			return err
		}
	}
	return nil
}

func (t *Tagger) submit(ctx context.Context, j resource.Job) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		t.mu.Lock()
		if t.closed || t.ended {
			t.mu.Unlock()
			return ErrClosed
		}
		in := t.intakeOf(j)
		if in.inHand < in.limit {
			t.take(j, time.Now())
			t.mu.Unlock()
			t.poke()
			return nil
		}
		t.relieve(j.Event.Scope, j.Event.Backlog)
		room := in.room
		t.mu.Unlock()
		t.poke()
		select {
		case <-room:
		case <-ctx.Done():
		}
	}
}

// nameSiblings adds what an event's other Jobs name to what its expansions leave out: a resource has one Job of an event.
func nameSiblings(jobs []resource.Job) {
	for i := range jobs {
		if jobs[i].Expand == resource.ExpandNone {
			continue
		}
		skip := slices.Clone(jobs[i].ExpandSkip)
		for _, other := range jobs {
			if other.Event.ID == jobs[i].Event.ID && other.Expand == resource.ExpandNone && other.Resource.ID != "" {
				skip = append(skip, other.Resource.ID)
			}
		}
		jobs[i].ExpandSkip = skip
	}
}

// Restore takes the Jobs that an earlier process deferred, or another one that had their Scope. It never blocks and is to be
// called before the first Submit of that Scope.
func (t *Tagger) Restore(jobs []resource.Job) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	for _, j := range jobs {
		tk := t.newTask(j, now)
		tk.stored = true
		tk.denied = j.LastReason == resource.AccessDenied
		g := tk.group
		g.stored++
		if tk.denied {
			g.storedDenied++
		}
		tk.notBefore = now
		g.nextProbe = now
		g.addWaiting(tk)
	}
	t.nextTick = now
	t.poke()
}

// Flush says that the scan of scope that submitted Jobs has ended: batches with its Jobs go now.
func (t *Tagger) Flush(scope event.Scope) {
	t.mu.Lock()
	now := time.Now()
	for _, l := range t.lanes {
		for _, q := range l.queues {
			if q.from[scope] {
				q.due = now
			}
		}
	}
	t.mu.Unlock()
	t.poke()
}

// Close says that no more Jobs come. Run ends once those in hand have ended or were deferred.
func (t *Tagger) Close() {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.poke()
}

// InHand returns how many Jobs are in memory and not deferred.
func (t *Tagger) InHand() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.inHand
}

// Run works until ctx ends, and then reports every Job in hand as Deferred, or until Close was called and all is done. It
// returns nil in both cases and leaves no goroutine behind. A call that ctx cuts off may have had its effect.
func (t *Tagger) Run(ctx context.Context) error {
	for ctx.Err() == nil && t.step(ctx) {
		t.stepped.Store(int64(time.Since(t.began)))
	}
	t.runs.Wait()
	t.handBack()
	return nil
}

// Silent returns how long ago the loop of Run has last come round: a minute at most where all is well. Before Run it is the time since New.
func (t *Tagger) Silent() time.Duration {
	return time.Since(t.began) - time.Duration(t.stepped.Load())
}

// step makes one round of the loop, and waits for the next. It reports false when all is done.
func (t *Tagger) step(ctx context.Context) bool {
	t.mu.Lock()
	now := time.Now()
	if !now.Before(t.nextTick) {
		t.tick(now)
	}
	t.wakeDelayed(now)
	for _, b := range t.dispatch(now) {
		t.runs.Go(func() { t.run(ctx, b) })
	}
	next := t.nextTime(now)
	decisions := t.decisions
	t.decisions = nil
	done := t.closed && t.inHand == 0 && len(decisions) == 0
	t.mu.Unlock()

	if len(decisions) > 0 {
		for _, d := range decisions {
			t.conclude(d)
		}
		return true
	}
	if done {
		return false
	}
	timer := time.NewTimer(next.Sub(now))
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-t.wake:
	case <-timer.C:
	}
	return true
}

// handBack ends a Run: what is still in hand becomes Deferred, but for what is so already.
func (t *Tagger) handBack() {
	t.mu.Lock()
	t.ended = true
	for _, in := range t.intakes {
		close(in.room) // wakes Submit, which then sees that all is over
		in.room = make(chan struct{})
	}
	t.mu.Unlock()
	t.settleDecisions() // what an expansion found becomes Jobs in hand by it

	t.mu.Lock()
	var left []*task
	for _, g := range t.groups {
		for tk := range g.members {
			if !tk.stored && !tk.abandoned {
				left = append(left, tk)
			}
		}
	}
	t.mu.Unlock()
	slices.SortFunc(left, func(a, b *task) int { return int(a.seq) - int(b.seq) })
	awsNow := t.opts.Now()
	for _, tk := range left {
		tk.waits(awsNow)
		t.opts.Report(t.result(tk, Deferred))
	}
}

// settleDecisions concludes what was decided, and what that decides in turn.
func (t *Tagger) settleDecisions() {
	for {
		t.mu.Lock()
		decisions := t.decisions
		t.decisions = nil
		t.mu.Unlock()
		if len(decisions) == 0 {
			return
		}
		for _, d := range decisions {
			t.conclude(d)
		}
	}
}

// poke makes Run look again.
func (t *Tagger) poke() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

func (t *Tagger) intakeOf(j resource.Job) *intake {
	k := intakeKey{j.Event.Scope, j.Event.Backlog}
	in := t.intakes[k]
	if in == nil {
		in = &intake{limit: maxInHand, room: make(chan struct{})}
		if k.backlog {
			in.limit = maxBacklogInHand
		}
		t.intakes[k] = in
	}
	return in
}
