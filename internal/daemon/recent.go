package daemon

import (
	"cmp"
	"crypto/sha256"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/autotagd/autotagd/pkg/event"
	"github.com/autotagd/autotagd/pkg/resource"
)

const (
	// maxRecent of a kind are kept for the status page.
	maxRecent = 50
	// maxRecentText bounds each text that is kept of them, in bytes: together they take less than half a megabyte.
	maxRecentText = 300
)

// recent keeps the last resources that were tagged, missed or deferred, and how many ended how, for the status page.
type recent struct {
	began time.Time

	mu      sync.Mutex // guards what follows
	counts  map[resource.OutcomeKind]int64
	put     int64 // how often a Job was deferred
	tagged  []fate
	missed  []fate
	waiting []fate // deferred and not ended since
}

// fate is what became of a resource, fit to be read: its texts are bounded and printable.
type fate struct {
	At        time.Time // of the Outcome; of the first try where it waits
	Made      time.Time // of the event
	EventID   string
	EventName string
	Resource  string
	Type      string
	Owner     string
	Reason    resource.Reason
	Detail    string

	scope event.Scope // where the event was read
	job   [sha256.Size]byte
}

// Scope is where the event was read.
func (f fate) Scope() string { return f.scope.String() }

func newRecent(now time.Time) *recent {
	return &recent{began: now, counts: map[resource.OutcomeKind]int64{}}
}

// ended takes up an Outcome.
func (r *recent) ended(o resource.Outcome) {
	var f fate
	keep := o.Kind == resource.Tagged || o.Kind == resource.WouldTag || o.Kind == resource.Missed
	if keep {
		f = fateOf(o.Job, o.At, o.Reason, o.Detail)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts[o.Kind]++
	if len(r.waiting) > 0 {
		r.unwait(jobHash(o.Job))
	}
	switch {
	case !keep:
	case o.Kind == resource.Missed:
		r.missed = push(r.missed, f)
	default:
		r.tagged = push(r.tagged, f)
	}
}

// deferred takes up a Job that will be tried again later.
func (r *recent) deferred(j resource.Job) {
	r.wait(j)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.put++
}

// wait takes up a Job that waits to be tried again, perhaps from before this process.
func (r *recent) wait(j resource.Job) {
	at := j.FirstTried
	if at.IsZero() {
		at = time.Now()
	}
	f := fateOf(j, at, j.LastReason, j.LastError)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.unwait(f.job)
	r.waiting = push(r.waiting, f)
}

// unwait forgets a waiting Job. The caller holds mu.
func (r *recent) unwait(job [sha256.Size]byte) {
	r.waiting = slices.DeleteFunc(r.waiting, func(f fate) bool { return f.job == job })
}

// forget forgets the waiting Jobs of a Scope that is not ours any more.
func (r *recent) forget(s event.Scope) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting = slices.DeleteFunc(r.waiting, func(f fate) bool { return f.scope == s })
}

// show fills p with what is kept, the last first.
func (r *recent) show(p *status) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p.Began, p.Counts, p.Deferrals = r.began, maps.Clone(r.counts), r.put
	p.Tagged, p.Missed, p.Waiting = slices.Clone(r.tagged), slices.Clone(r.missed), slices.Clone(r.waiting)
	for _, fates := range [][]fate{p.Tagged, p.Missed, p.Waiting} {
		slices.Reverse(fates)
	}
}

// push appends f and lets the oldest go.
func push(fates []fate, f fate) []fate {
	if len(fates) >= maxRecent {
		fates = slices.Delete(fates, 0, len(fates)-maxRecent+1)
	}
	return append(fates, f)
}

func fateOf(j resource.Job, at time.Time, reason resource.Reason, detail string) fate {
	text := func(s string) string { return event.Printable(s, maxRecentText) }
	return fate{
		At: at, Made: j.Event.Time, EventID: text(j.Event.ID), EventName: text(j.Event.Name),
		Resource: cmp.Or(text(name(j.Resource)), "not known"), Type: text(j.Resource.Type), Owner: text(j.Owner),
		Reason: reason, Detail: text(detail), scope: j.Event.Scope, job: jobHash(j),
	}
}

// jobHash stands for Job.Key, which may be as long as a Record.
func jobHash(j resource.Job) [sha256.Size]byte { return sha256.Sum256([]byte(j.Key())) }
