package daemon

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/autotagd/autotagd/internal/fakeaws"
	"github.com/autotagd/autotagd/pkg/checkpoint"
	"github.com/autotagd/autotagd/pkg/event"
	"github.com/autotagd/autotagd/pkg/resource"
)

// watch holds a simulation against the invariants of the design. It knows the fake's truth, sees what every store was made to
// keep, and hears every Outcome.
type watch struct {
	*world
	shape
	start time.Time // on AWS's clock

	mu       sync.Mutex // guards what follows
	diary    []string
	problems int
	taken    int // of the fake's resources
	scopes   map[event.Scope]*scopeWatch
	events   map[string]*creation   // by event id
	keys     map[[16]byte]*creation // by what a seen# part has of an id
	troubles []trouble
	reads    reads
}

// creation is a create event and what became of it.
type creation struct {
	id, name         string
	scope            event.Scope
	created, visible time.Time
	made             []fakeaws.Resource
	outcomes         []string
	ended            time.Time               // of the first Outcome, on AWS's clock; zero before
	done             map[string]bool         // what has an Outcome: ARNs and ids, and allOfIt and itsExpansion
	unstored         map[string]bool         // what was missed because too many waited
	parts            map[string]resource.Job // deferred Jobs that a store keeps
	seen             bool                    // its id was to be kept as settled
	arrived          map[string]time.Time    // by life: when a head scan's answer had it
	read             time.Time               // when an answer that any life got had it, the last time
}

const (
	allOfIt      = "all" // an Outcome that names no resource stands for all of the event
	itsExpansion = "expansion"
)

// scopeWatch is what was saved of a Scope.
type scopeWatch struct {
	marks   event.Marks
	saved   bool
	tried   string               // the last life that tried to save a first state
	denials []checkpoint.Denial  // that it saved
	holder  string               // who saved last
	first   event.Marks          // of the first save: nothing is promised of the time before
	above   []*creation          // not below the Floor yet, the oldest first
	later   []*creation          // below it, but in the backlog, or waiting for a permission
	jobs    map[string]*creation // by part
}

type trouble struct {
	scopes   []event.Scope // none: all
	from, to time.Time
}

func newWatch(w *world, sh shape) *watch {
	return &watch{world: w, shape: sh, start: w.cloud.Now(), scopes: map[event.Scope]*scopeWatch{}, events: map[string]*creation{}, keys: map[[16]byte]*creation{}, reads: newReads(w)}
}

// note keeps a line for the history that is printed when something is wrong.
func (w *watch) note(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.diary = append(w.diary, w.cloud.Now().UTC().Format("02 15:04:05 ")+what)
}

func (w *watch) trouble(scopes []event.Scope, from, to time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.troubles = append(w.troubles, trouble{scopes, from, to})
}

// problem notes what is wrong. The caller holds mu.
func (w *watch) problem(c *creation, format string, args ...any) {
	text := w.cloud.Now().UTC().Format("02 15:04:05 ") + fmt.Sprintf(format, args...)
	if c != nil {
		text += w.story(c)
	}
	if w.problems++; w.problems <= 10 {
		w.t.Error(text)
	}
}

// looked notes that an expansion ended: what went unstored of what it was to find, nobody will find any more.
func (c *creation) looked(j resource.Job) {
	if j.Expand == resource.ExpandNone {
		return
	}
	for _, r := range c.made {
		if r.Parent != "" {
			delete(c.unstored, r.ARN)
			delete(c.unstored, r.ID)
		}
	}
}

// story is what happened to an event, for people.
func (w *watch) story(c *creation) string {
	var b strings.Builder
	at := func(t time.Time) string { return t.UTC().Format("02 15:04:05") }
	fmt.Fprintf(&b, "\n\tevent %s, %s in %s at %s, visible from %s", c.id, c.name, c.scope, at(c.created), at(c.visible))
	for _, t := range w.cloud.Shown(c.id) {
		fmt.Fprintf(&b, "\n\t  %s shown by LookupEvents", at(t))
	}
	for _, o := range c.outcomes {
		fmt.Fprintf(&b, "\n\t  %s", o)
	}
	for _, life := range slices.Sorted(maps.Keys(c.arrived)) {
		fmt.Fprintf(&b, "\n\t  %s a head scan of %s got it first", c.arrived[life].UTC().Format("02 15:04:05"), life)
	}
	if len(c.parts) > 0 {
		fmt.Fprintf(&b, "\n\t  %d parts of the State have Jobs of it", len(c.parts))
	}
	for _, r := range w.cloud.Resources() {
		if r.EventID == c.id {
			fmt.Fprintf(&b, "\n\t  %s is tagged %q; deleted %s; writes %v", r.ARN, r.Tags, at(r.DeletedAt), r.Writes)
		}
	}
	for _, line := range w.history(c.id) {
		fmt.Fprintf(&b, "\n\t  log: %s", line)
	}
	return b.String()
}

// outcome hears an Outcome from a life.
func (w *watch) outcome(life string, o resource.Outcome) {
	now := w.cloud.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.learn()
	c := w.events[o.Job.Event.ID]
	if c == nil {
		return // a create event that made nothing: a call that failed, an upsert said again
	}
	if c.ended.IsZero() {
		c.ended = now
	}
	stored := o.Kind != resource.Missed || !strings.HasPrefix(o.Detail, "too many wait already for ")
	for _, name := range names(o.Job) {
		if stored {
			c.done[name] = true
			delete(c.unstored, name)
		} else if !c.done[name] {
			c.unstored[name] = true
		}
	}
	if stored {
		c.looked(o.Job)
	}
	if len(c.outcomes) < 50 {
		c.outcomes = append(c.outcomes, fmt.Sprint(now.UTC().Format("02 15:04:05 "), life, ": ", o.Kind, " ", o.Reason, " ", o.Job.Resource.ARN, o.Job.Resource.ID, " ", o.Detail))
	}
}

// learn takes in what was created since. The caller holds mu.
func (w *watch) learn() {
	made := w.cloud.ResourcesFrom(w.taken)
	w.taken += len(made)
	for _, r := range made {
		if c := w.events[r.EventID]; c != nil {
			c.made = append(c.made, r)
			continue
		}
		c := &creation{
			id: r.EventID, name: r.EventName, scope: r.Scope, created: r.CreatedAt.Truncate(time.Second), visible: r.VisibleAt, made: []fakeaws.Resource{r},
			done: map[string]bool{}, unstored: map[string]bool{}, parts: map[string]resource.Job{}, arrived: map[string]time.Time{},
		}
		w.events[r.EventID] = c
		sum := sha256.Sum256([]byte(r.EventID))
		w.keys[[16]byte(sum[:])] = c
		s := w.scope(r.Scope)
		s.above = append(s.above, c)
	}
}

// names is what a Job is about.
func names(j resource.Job) []string {
	switch {
	case j.Expand != resource.ExpandNone:
		return []string{itsExpansion}
	case j.Resource.ARN == "" && j.Resource.ID == "":
		return []string{allOfIt}
	}
	return []string{cmp.Or(j.Resource.ARN, j.Resource.ID), cmp.Or(j.Resource.ID, j.Resource.ARN)}
}

// open returns what of an event has neither an Outcome nor a part that keeps its Job; "" when all of it has. What was missed
// because too many waited has an Outcome. The caller holds mu.
func (w *watch) open(c *creation) string {
	has := maps.Clone(c.done)
	maps.Copy(has, c.unstored)
	for _, j := range c.parts {
		for _, name := range names(j) {
			has[name] = true
		}
	}
	switch {
	case has[allOfIt]:
		return ""
	case len(c.made) == 1 || len(c.made[0].Owners()) == 0: // there is but one thing to say of it
		if len(has) == 0 {
			return c.made[0].ARN
		}
		return ""
	}
	for _, r := range c.made {
		if has[r.ARN] || has[r.ID] || r.Parent != "" && has[itsExpansion] {
			continue
		}
		if r.Parent != "" { // its record doesn't name it: once it is gone nobody knows of it
			if now, found := w.cloud.Resource(r.ARN); !found || !now.DeletedAt.IsZero() {
				continue
			}
		}
		return r.ARN
	}
	return ""
}

func (w *watch) scope(id event.Scope) *scopeWatch {
	s := w.scopes[id]
	if s == nil {
		s = &scopeWatch{jobs: map[string]*creation{}}
		w.scopes[id] = s
	}
	return s
}

// missed reports whether something of an event that is still there was missed because too many waited. The caller holds mu.
func (w *watch) missed(c *creation) bool {
	kept := map[string]bool{} // in parts, to be tried again
	for _, j := range c.parts {
		for _, name := range names(j) {
			kept[name] = true
		}
	}
	return len(c.unstored) > 0 && slices.ContainsFunc(c.made, func(r fakeaws.Resource) bool {
		if kept[r.ARN] || kept[r.ID] || r.Parent != "" && kept[itsExpansion] {
			return false
		}
		unnamed := r.Parent != "" && c.unstored[itsExpansion]
		if c.done[r.ARN] || c.done[r.ID] || !unnamed && !c.unstored[r.ARN] && !c.unstored[r.ID] && !c.unstored[allOfIt] {
			return false
		}
		now, found := w.cloud.Resource(r.ARN)
		return found && now.DeletedAt.IsZero()
	})
}

// silent returns the create events without an Outcome.
func (w *watch) silent() []*creation {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.learn()
	var open []*creation
	for _, c := range w.events {
		if c.ended.IsZero() && w.scope(c.scope).promised(c) {
			open = append(open, c)
		}
	}
	return open
}

// audit returns what is not as it should be of what was promised.
func (w *watch) audit() []fakeaws.Problem {
	problems := w.cloud.Audit(0)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.learn()
	return slices.DeleteFunc(problems, func(p fakeaws.Problem) bool {
		c := w.events[p.Resource.EventID]
		return !w.scope(c.scope).promised(c)
	})
}

// settled reports whether nothing is left to be done.
func (w *watch) settled() bool { return len(w.silent()) == 0 && len(w.audit()) == 0 }

// digest tells two histories apart.
func (w *watch) digest() string {
	calls := w.cloud.Calls("")
	w.mu.Lock()
	defer w.mu.Unlock()
	h := fnv.New64a()
	for _, c := range calls {
		fmt.Fprintln(h, c)
	}
	n := len(calls)
	for _, id := range slices.Sorted(maps.Keys(w.events)) {
		for _, o := range w.events[id].outcomes {
			fmt.Fprintln(h, o)
			n++
		}
	}
	return fmt.Sprintf("%d calls and outcomes, digest %x", n, h.Sum64())
}

// judge fails the test for everything that is wrong in the end, and for what was wrong before.
func (w *watch) judge() {
	open, audit := w.silent(), w.audit()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range open {
		w.problem(c, "a create event has no Outcome")
	}
	for _, p := range audit {
		w.problem(w.events[p.Resource.EventID], "%s", p)
	}
	if w.replicas > 0 {
		w.world.holdersAlone()
		w.heldAlone()
	}
	w.pace()
	w.late()
	if w.problems > 10 {
		w.t.Errorf("... and %d more", w.problems-10)
	}
	if w.t.Failed() {
		for id, scope := range w.scopes {
			w.t.Logf("%s: %+v, %d Jobs wait, %+v", id, scope.marks, len(scope.jobs), scope.denials)
		}
		w.t.Logf("%+v", w.shape)
		w.t.Log("the story:\n\t" + strings.Join(w.diary[max(0, len(w.diary)-300):], "\n\t"))
	}
}

// late looks for what took too long though nothing was wrong: an event that became visible while everything worked, and had
// for a while, waits for a final pass at most. The caller holds mu.
func (w *watch) late() {
	const recover = 12 * time.Minute // from retries that failed, breaks after outages
	limit := w.lookback + 2*w.sweep + 3*time.Minute
	if len(w.only) > 0 {
		limit += byNameStride
	}
	for _, c := range w.events {
		if c.visible.Before(w.start) {
			continue // the past
		}
		from, to := c.visible.Add(-recover), c.created.Add(limit)
		disturbed := slices.ContainsFunc(w.troubles, func(t trouble) bool {
			return t.from.Before(to) && t.to.After(from) && (len(t.scopes) == 0 || slices.Contains(t.scopes, c.scope))
		})
		if !disturbed && !c.ended.IsZero() && c.ended.After(to) {
			w.problem(c, "an event took %s, though nothing was wrong; want at most %s", c.ended.Sub(c.created), limit)
		}
	}
}
