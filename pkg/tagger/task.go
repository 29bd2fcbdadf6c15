package tagger

import (
	"cmp"
	"container/heap"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/autotagd/autotagd/pkg/event"
	"github.com/autotagd/autotagd/pkg/resource"
)

// task is a Job in memory. While it runs its run owns it; else Tagger.mu guards it.
type task struct {
	job     resource.Job
	group   *group
	key     resourceKey
	tags    string // identifies the set of tags
	seq     uint64
	arrived time.Time
	state   taskState
	queue   *queue  // set while queued
	intake  *intake // whose room it takes while in hand; nil for one that was deferred: those are bounded by themselves

	notBefore     time.Time // when delayed or waiting: the next try
	notFound      int       // attempts that found nothing, and since when
	notFoundSince time.Time
	unanswered    int // attempts that TagResources had no answer for, and since when
	unansweredAt  time.Time
	refusedBy     []resource.TagAPI // calls that this kind of resource is none for
	doubted       bool              // that TagResources refused it by its kind: its answer may have been an outage's
	retried       bool              // travels with others that failed before, so as not to spoil a fresh batch
	alone         bool              // travels alone, to find out
	probe         bool              // its success sets all that wait free
	stored        bool              // reported as Deferred; never again
	denied        bool              // stored for access_denied
	abandoned     bool              // another process has its Scope now
	deferrals     int
	tried         bool      // by this process
	sounded       time.Time // when it was last tried alone and failed
	round         *round

	existing map[string]string // tags as last read
	readAt   time.Time
	plan     plan
	found    map[string]resource.Resource // of an expansion, by id
	pending  []string                     // of an expansion, ids not known in full yet

	terminated bool // of an expansion: an instance was, when it was described
}

type taskState uint8

const (
	stateParked  taskState = iota // behind another Job of the same resource
	stateQueued                   // in a queue of its lane
	stateDelayed                  // in the heap
	stateRunning                  // in a batch that is being worked on
	stateDecided                  // decided, not reported yet
	stateWaiting                  // deferred, in its group
)

// resourceKey identifies a resource among all.
type resourceKey struct {
	scope event.Scope
	name  string
}

// chain keeps the Jobs in hand of one resource, oldest event first. One of them, at most, is active (queued, delayed,
// running): two at once could each read 'no tags' and then both write.
type chain struct {
	tasks  []*task
	active *task
}

// The calls that an expansion makes, as the APIs of its denial record.
const (
	describeVolumes   resource.TagAPI = "ec2:DescribeVolumes"
	describeInstances resource.TagAPI = "ec2:DescribeInstances"
	describeImages    resource.TagAPI = "ec2:DescribeImages"
	describeTags      resource.TagAPI = "ec2:DescribeTags"
	getResources      resource.TagAPI = "tagging:GetResources"
)

func jobAPI(j resource.Job) resource.TagAPI {
	switch j.Expand {
	case resource.ExpandInstanceVolumes:
		return describeVolumes
	case resource.ExpandImageSnapshots:
		return describeImages
	}
	return j.Resource.TagAPI
}

// target is what the API calls the resource: for EC2 its id, else its ARN. Where that isn't known, a service's own call has
// other names for it, and the target is one of ours.
func target(r resource.Resource) string {
	switch {
	case r.TagAPI == resource.EC2CreateTags:
		return r.ID
	case r.ARN == "" && r.TagAPI.Own() && r.ID != "":
		return r.Service + " " + r.Type + " " + r.ID
	}
	return r.ARN
}

func (t *Tagger) newTask(j resource.Job, now time.Time) *task {
	t.seq++
	if api := t.memory.own[form(j.Resource)].api; api != "" && j.Resource.TagAPI == resource.TagResources {
		j.Resource.TagAPI = api
		if j.Resource.OwnCall() == nil {
			j.Resource.TagAPI = resource.TagResources
		}
	}
	tk := &task{job: j, seq: t.seq, arrived: now, key: resourceKey{j.Resource.Scope, target(j.Resource)}}
	if j.Expand != resource.ExpandNone {
		tk.key.name = j.Key() // described, not written: nothing to keep in order
	}
	var b strings.Builder
	for _, tag := range j.Tags {
		fmt.Fprintf(&b, "%d:%s%d:%s", len(tag.Key), tag.Key, len(tag.Value), tag.Value)
	}
	tk.tags = b.String()
	tk.group = t.groupOf(j, now)
	return tk
}

// older compares tasks by event time, and where that is the same by when they came.
func older(a, b *task) int {
	return cmp.Or(a.job.Event.Time.Compare(b.job.Event.Time), cmp.Compare(a.seq, b.seq))
}

// take accepts a new Job, or decides it at once.
func (t *Tagger) take(j resource.Job, now time.Time) {
	tk := t.newTask(j, now)
	t.hold(tk)
	if kind, reason, detail := unfit(j); kind != "" {
		t.decide(tk, t.outcome(tk, kind, reason, detail))
		return
	}
	g := tk.group
	if reason := g.full(now); reason != "" {
		if now.Before(g.nextSample) {
			tk.job.LastReason = reason
			t.decide(tk, t.unstored(tk, reason))
			return
		}
		g.nextSample = now.Add(probeInterval)
		tk.alone = true
	} else if g.isBack(tk) {
		t.decide(tk, t.result(tk, PutBack))
		return
	}
	t.admit(tk, now)
}

// hold counts a task as in hand.
func (t *Tagger) hold(tk *task) {
	t.inHand++
	if !tk.stored {
		tk.intake = t.intakeOf(tk.job)
		tk.intake.inHand++
	}
	tk.group.join(tk)
}

// letGo takes a task out of hand, which is when the next Job of its resource gets its turn.
func (t *Tagger) letGo(tk *task, now time.Time) {
	t.inHand--
	tk.group.leave(tk)
	if in := tk.intake; in != nil {
		tk.intake = nil
		if in.inHand--; in.inHand == in.limit-1 {
			close(in.room)
			in.room = make(chan struct{})
		}
	}
	c := t.chains[tk.key]
	if c == nil {
		return
	}
	if i := slices.Index(c.tasks, tk); i >= 0 {
		c.tasks = slices.Delete(c.tasks, i, i+1)
	}
	if c.active == tk {
		c.active = nil
	}
	if len(c.tasks) == 0 {
		delete(t.chains, tk.key)
		return
	}
	t.settleUpserts(tk, c, now)
	t.activate(c, now)
}

// admit puts a task that is in hand into its chain, and into a queue when it is its turn.
func (t *Tagger) admit(tk *task, now time.Time) {
	c := t.chains[tk.key]
	if c == nil {
		c = &chain{}
		t.chains[tk.key] = c
	}
	tk.state = stateParked
	at, _ := slices.BinarySearchFunc(c.tasks, tk, older)
	c.tasks = slices.Insert(c.tasks, at, tk)
	// Pages come newest first, so that the older event can come later: it goes first if the other is not under way.
	if a := c.active; a != nil && at == 0 && (a.state == stateQueued || a.state == stateDelayed) {
		if a.state == stateQueued {
			a.queue.remove(a)
		}
		a.state = stateParked
		c.active = nil
	}
	t.supersede(tk, c)
	t.activate(c, now)
}

// supersede ends Jobs of a resource that was created again since, by somebody else: a name that can be created a second time
// was free, so what the older event made is gone, and the new one is not to get its tags.
func (t *Tagger) supersede(tk *task, c *chain) {
	if tk.job.Upsert || tk.job.Resource.TagAPI == resource.EC2CreateTags { // whose ids never come again
		return
	}
	end := func(old *task) {
		switch old.state {
		case stateQueued:
			old.queue.remove(old)
		case stateParked, stateDelayed:
		default:
			return
		}
		if c.active == old {
			c.active = nil
		}
		t.decide(old, t.outcome(old, resource.Gone, "", "it was created again since, by another event"))
	}
	if t.memory.createdSince(tk) {
		end(tk)
		return
	}
	for _, other := range c.tasks {
		switch {
		case other.job.Upsert || other.job.Owner == tk.job.Owner || other.state == stateDecided:
		case other.job.Event.Time.Before(tk.job.Event.Time):
			end(other)
		case tk.job.Event.Time.Before(other.job.Event.Time):
			end(tk)
			return
		}
	}
}

// settleUpserts ends the upserts that wait behind tk, which has just ended, as far as what is known of the resource leaves
// them nothing to write. One by one they would each cost a call, and an application that says CreateTopic every second
// would fill its Scope.
func (t *Tagger) settleUpserts(tk *task, c *chain, now time.Time) {
	for _, next := range c.tasks {
		if !next.job.Upsert || next.state != stateParked {
			continue
		}
		if next.existing = nil; !tk.readAt.IsZero() && now.Sub(tk.readAt) <= maxReadAge {
			next.existing = tk.existing
		}
		if next.plan = t.plan(next, now); len(next.plan.write) == 0 {
			t.decideUnwritten(next)
		}
	}
}

func (t *Tagger) activate(c *chain, now time.Time) {
	if c.active != nil {
		return
	}
	for _, tk := range c.tasks {
		if tk.state == stateParked {
			c.active = tk
			if wait := t.settling(tk); wait > 0 {
				t.putAside(tk, now.Add(wait))
			} else {
				t.enqueue(tk, now)
			}
			return
		}
	}
}

// settling is how long an expansion has to wait before what it describes is all there: EC2 may show an instance with some of
// its volumes first. Most events are visible later than that anyway.
func (t *Tagger) settling(tk *task) time.Duration {
	if tk.job.Expand == resource.ExpandNone || tk.job.Event.Time.IsZero() {
		return 0
	}
	age := min(describeAge, t.opts.ConsistencyWait/4)
	return min(age, age-t.opts.Now().Sub(tk.job.Event.Time)) // never longer, whatever the clocks say
}

// delay puts a task that failed aside until its next try.
func (t *Tagger) delay(tk *task, until time.Time) {
	tk.retried = true
	t.putAside(tk, until)
	if c := t.chains[tk.key]; c != nil { // a Job that came while this one ran may say that its resource is gone
		t.supersede(tk, c)
	}
}

func (t *Tagger) putAside(tk *task, until time.Time) {
	tk.state = stateDelayed
	tk.notBefore = until
	heap.Push(&t.delayed, delayed{until, tk})
}

func (t *Tagger) wakeDelayed(now time.Time) {
	for len(t.delayed) > 0 && !t.delayed[0].at.After(now) {
		d := heap.Pop(&t.delayed).(delayed)
		if d.task.state == stateDelayed && d.task.notBefore.Equal(d.at) {
			t.enqueue(d.task, now)
		}
	}
}

// delayed is one wish to try a task again at a time. The time is kept here and not looked up in the task, which may be given
// another one meanwhile, and the heap would lose its order; a wish that is out of date is passed over.
type delayed struct {
	at   time.Time
	task *task
}

// delayHeap is ordered by the next try.
type delayHeap []delayed

func (h delayHeap) Len() int           { return len(h) }
func (h delayHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h delayHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *delayHeap) Push(x any)        { *h = append(*h, x.(delayed)) }
func (h *delayHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	old[len(old)-1] = delayed{}
	*h = old[:len(old)-1]
	return x
}

// The limits of the tag APIs, which rules already kept to: whatever else comes here never leaves the process.
const (
	maxTags       = 50
	maxKeyRunes   = 127
	maxValueRunes = 256
	maxARNBytes   = 1011
)

// unfit returns the Outcome of a Job that no call can be made for, or "".
func unfit(j resource.Job) (resource.OutcomeKind, resource.Reason, string) {
	if s := j.Resource.Scope; !plain(s.AccountID, 12) || !plain(s.Region, 32) {
		return resource.Missed, resource.Unresolved, "the record names no account and Region that AWS has"
	}
	if j.Expand != resource.ExpandNone {
		if len(j.ExpandIDs) == 0 || slices.ContainsFunc(j.ExpandIDs, func(id string) bool { return !plain(id, 64) }) {
			return resource.Missed, resource.Unresolved, "the record has no usable id to describe"
		}
		return "", "", ""
	}
	if len(j.Tags) == 0 {
		return resource.Skipped, "", "no tags to write"
	}
	if j.Resource.TagAPI == resource.NoTagAPI || j.Resource.TagAPI == "" {
		return resource.Missed, resource.Unsupported, "there is no call that tags it"
	}
	name := target(j.Resource)
	call := j.Resource.OwnCall()
	switch {
	case name == "" || call == nil && j.Resource.TagAPI.Own():
		return resource.Missed, resource.Unresolved, "the record has no usable id"
	case j.Resource.TagAPI == resource.EC2CreateTags && !plain(name, 64):
		return resource.Missed, resource.Unresolved, "the record's id is none that AWS gives"
	case !printable(name):
		return resource.Missed, resource.Unresolved, "the record's ARN is none that AWS gives"
	case call != nil && slices.ContainsFunc(slices.Collect(maps.Values(call.Params)), func(v string) bool { return v == "" || !printable(v) }):
		return resource.Missed, resource.Unresolved, "the record's name of the resource is none that AWS gives"
	case len(j.Tags) > maxTags:
		return resource.Missed, resource.Invalid, "more than 50 tags"
	}
	for _, tag := range j.Tags {
		key, value := []rune(tag.Key), []rune(tag.Value)
		if len(key) == 0 || len(key) > maxKeyRunes || len(value) > maxValueRunes || strings.HasPrefix(strings.ToLower(tag.Key), "aws:") {
			return resource.Missed, resource.Invalid, fmt.Sprintf("tag key %.40q or its value breaks the tag API's rules", tag.Key)
		}
	}
	return "", "", ""
}

// printable reports whether s can be an ARN, or a name that AWS lets people give.
func printable(s string) bool {
	return len(s) <= maxARNBytes && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || r == utf8.RuneError })
}

// plain reports whether s can be an account, a Region or an id that AWS made: letters, digits and hyphens, so many at most.
func plain(s string, maxBytes int) bool {
	return s != "" && len(s) <= maxBytes && !strings.ContainsFunc(s, func(r rune) bool {
		return r != '-' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	})
}
