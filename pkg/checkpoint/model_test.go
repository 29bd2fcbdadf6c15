package checkpoint_test

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/autotagd/autotagd/pkg/checkpoint"
	"github.com/autotagd/autotagd/pkg/checkpoint/storetest"
	"github.com/autotagd/autotagd/pkg/event"
	"github.com/autotagd/autotagd/pkg/resource"
)

// The model is a world that knows every event, job and outcome, and a poller, a daemon and a tagger that do one small
// thing at a time in any order, during saves too. The machine stops at any operation of the disk. After each restart every
// event that was ever begun must be safe: see check.

type mEvent struct {
	id, name string
	at       int
	jobs     []*mJob // those that the Record gives
	known    bool    // they are: Hold was called once
	live     bool    // begun in the Live stream by this process
	shown    bool    // and a complete read has ended since
	flight   bool    // begun and not settled, in this process
	held     bool    // by this process
}

type mJob struct {
	event    *mEvent
	job      resource.Job
	ended    bool
	unstored string // the action it was denied, or put back for
	children []*mJob
	expanded bool

	open     bool // outstanding, in this process
	deferred bool // in this process's tagger
}

// reading is one that the poller is in the middle of.
type reading struct {
	span   event.Span
	to     int
	byName bool
	todo   []*mEvent
}

type world struct {
	*rapid.T
	disk    *storetest.Disk
	rng     *rand.Rand
	ledger  *checkpoint.Ledger
	events  []*mEvent
	jobs    map[string]*mJob
	horizon int // what final passes have read, or are reading: nothing new becomes visible up to here
	final   *reading
	back    *reading
	marks   event.Marks
	hours   int
}

var names = []string{"A", "B", "C", "D"}

func newWorld(t *rapid.T) *world {
	seed := rapid.Uint64().Draw(t, "seed")
	w := &world{T: t, disk: storetest.NewDisk("/ck"), rng: rand.New(rand.NewPCG(seed, 0)), jobs: map[string]*mJob{}, horizon: 99}
	w.open()
	if err := w.ledger.Reset(event.Marks{Floor: at(100), Backlog: []event.Span{span(0, 100)}}); err != nil {
		t.Fatal(err)
	}
	if err := w.ledger.Save(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.marks = w.ledger.Marks()
	for i := range 8 { // the past, which the backlog span holds
		e := &mEvent{id: fmt.Sprintf("past-%d", i), name: names[w.rng.IntN(len(names))], at: w.rng.IntN(100)}
		e.jobs = append(e.jobs, w.newJob(e, i == 0), w.newJob(e, false))
		w.events = append(w.events, e)
	}
	return w
}

func (w *world) open() {
	l, err := checkpoint.Open(w.Context(), checkpoint.NewFileStore(w.disk, "/ck"), scope, checkpoint.Options{})
	if err != nil {
		w.Fatal(err)
	}
	w.ledger = l
}

// begin shows an event to the Ledger and checks the verdict.
func (w *world) begin(s event.Stream, e *mEvent) {
	got := w.ledger.Begin(s, e.id, at(e.at))
	if e.flight && got == event.New || !e.flight && got == event.InHand || s == event.Backlog && got == event.Settled {
		w.Fatalf("Begin(%d, %s) = %v, in flight %v", s, e.id, got, e.flight)
	}
	if got == event.Settled {
		return
	}
	if got == event.New {
		e.flight, e.held = true, false
	}
	if s == event.Live && !e.live {
		e.live, e.shown = true, false
	}
}

// settle is the model's own idea of when an event is.
func (e *mEvent) settle() {
	if e.flight && e.held && !slices.ContainsFunc(e.all(), func(j *mJob) bool { return j.open }) {
		e.flight, e.live = false, false
	}
}

// all returns its jobs and theirs.
func (e *mEvent) all() []*mJob {
	var out []*mJob
	var walk func(js []*mJob)
	walk = func(js []*mJob) {
		for _, j := range js {
			out = append(out, j)
			walk(j.children)
		}
	}
	walk(e.jobs)
	return out
}

func (w *world) newJob(e *mEvent, expand bool) *mJob {
	j := &mJob{event: e, job: job(e.id, e.at, len(w.jobs))}
	j.job.Event.Name = e.name
	if expand {
		j.job.Expand = resource.ExpandInstanceVolumes
	}
	w.jobs[j.job.Key()] = j
	return j
}

func (w *world) pick(label string, from []*mEvent) *mEvent {
	if len(from) == 0 {
		return nil
	}
	return from[rapid.IntRange(0, len(from)-1).Draw(w.T, label)]
}

func (w *world) where(ok func(*mEvent) bool) []*mEvent {
	var out []*mEvent
	for _, e := range w.events {
		if ok(e) {
			out = append(out, e)
		}
	}
	return out
}

func (w *world) headScan() {
	if rapid.Bool().Draw(w.T, "again") {
		if e := w.pick("event", w.where(func(e *mEvent) bool { return e.at > w.horizon })); e != nil {
			w.begin(event.Live, e)
		}
		return
	}
	e := &mEvent{
		id: fmt.Sprintf("event-%d", len(w.events)), name: rapid.SampledFrom(names).Draw(w.T, "name"),
		at: w.horizon + rapid.IntRange(1, 150).Draw(w.T, "at"),
	}
	for range rapid.IntRange(0, 3).Draw(w.T, "jobs") {
		e.jobs = append(e.jobs, w.newJob(e, rapid.IntRange(0, 3).Draw(w.T, "expand") == 0))
	}
	w.events = append(w.events, e)
	w.begin(event.Live, e)
}

func (w *world) headRead() {
	w.ledger.HeadRead(at(w.horizon + rapid.IntRange(0, 150).Draw(w.T, "end")))
	w.allShown()
}

func (w *world) allShown() {
	for _, e := range w.events {
		e.shown = e.shown || e.live
	}
}

func (w *world) hold() {
	e := w.pick("event", w.where(func(e *mEvent) bool { return e.flight && !e.held }))
	if e == nil {
		return
	}
	e.held, e.known = true, true
	var jobs []resource.Job
	for _, j := range e.jobs {
		j.open = true
		jobs = append(jobs, j.job)
	}
	if len(jobs) == 0 {
		w.ledger.Done(e.id)
	} else {
		w.ledger.Hold(e.id, jobs)
	}
	e.settle()
}

func (w *world) job() {
	var open []*mJob
	for _, e := range w.events {
		for _, j := range e.all() {
			if j.open || j.deferred {
				open = append(open, j)
			}
		}
	}
	if len(open) == 0 {
		return
	}
	j := open[rapid.IntRange(0, len(open)-1).Draw(w.T, "job")]
	switch rapid.IntRange(0, 4).Draw(w.T, "result") {
	case 0, 1:
		w.finish(j)
	case 2:
		j.job.Attempts++
		w.ledger.Defer(j.job)
		j.deferred, j.open = true, false
	case 3:
		action := w.action()
		w.ledger.Unstored(j.job, resource.EC2CreateTags, action)
		j.unstored, j.deferred, j.open = action, false, false
	case 4:
		action := w.action()
		w.ledger.PutBack(j.job, resource.EC2CreateTags, action, w.clock())
		j.unstored, j.deferred, j.open = "put back "+action, false, false
	}
	j.event.settle()
}

func (w *world) finish(j *mJob) {
	if j.job.Expand == "" {
		w.ledger.Finish(j.job)
	} else {
		if !j.expanded {
			for range w.rng.IntN(3) {
				j.children = append(j.children, w.newJob(j.event, false))
			}
			j.expanded = true
		}
		var jobs []resource.Job
		for _, c := range j.children {
			c.open = true
			jobs = append(jobs, c.job)
		}
		w.ledger.Expand(j.job, jobs)
	}
	j.ended, j.deferred, j.open = true, false, false
	j.event.settle()
}

func (w *world) finalPass() {
	if w.final != nil {
		w.finalStep()
		return
	}
	m := w.ledger.Marks()
	r := &reading{byName: rapid.Bool().Draw(w.T, "by name"), to: max(w.horizon, seconds(m.Floor)) + rapid.IntRange(0, 120).Draw(w.T, "stride")}
	r.span = event.Span{Start: m.Floor, End: at(r.to)}
	after := ""
	if m.Cursor != nil && rapid.Bool().Draw(w.T, "resume") {
		r.byName, r.span, r.to, after = true, m.Cursor.Span, seconds(m.Cursor.Span.End), m.Cursor.Name
	}
	r.todo = w.where(func(e *mEvent) bool {
		return contains(r.span, e.at) && e.name > after
	})
	if r.byName {
		slices.SortStableFunc(r.todo, func(a, b *mEvent) int { return cmp.Compare(a.name, b.name) })
	}
	w.horizon = max(w.horizon, r.to)
	w.final = r
}

func (w *world) finalStep() {
	r := w.final
	if len(r.todo) == 0 {
		w.ledger.FloorRead(at(r.to))
		w.allShown()
		w.final = nil
		return
	}
	e := r.todo[0]
	r.todo = r.todo[1:]
	w.begin(event.Live, e)
	if r.byName && (len(r.todo) == 0 || r.todo[0].name != e.name) {
		w.ledger.NameRead(event.Cursor{Span: r.span, Catalog: "x", Name: e.name})
		w.allShown()
	}
}

func (w *world) backlogPass() {
	if r := w.back; r != nil {
		if len(r.todo) > 0 {
			w.begin(event.Backlog, r.todo[0])
			r.todo = r.todo[1:]
			return
		}
		w.ledger.BacklogRead(r.span)
		w.back = nil
		return
	}
	spans := w.ledger.Marks().Backlog
	if len(spans) == 0 {
		return
	}
	part := spans[rapid.IntRange(0, len(spans)-1).Draw(w.T, "span")]
	end := seconds(part.Start) + rapid.IntRange(0, 120).Draw(w.T, "slice")
	if at(end).Before(part.End) {
		part.End = at(end)
	}
	w.back = &reading{span: part, todo: w.where(func(e *mEvent) bool { return in(part, e) })}
}

func (w *world) addBacklog() {
	s := span(rapid.IntRange(0, 300).Draw(w.T, "start"), rapid.IntRange(0, 300).Draw(w.T, "end"))
	if rapid.Bool().Draw(w.T, "some names") {
		s.Names = rapid.SliceOfNDistinct(rapid.SampledFrom(names), 1, 2, rapid.ID).Draw(w.T, "names")
	}
	w.ledger.AddBacklog(s)
}

func (w *world) replay() {
	w.hours++
	w.ledger.Replay(resource.EC2CreateTags, w.action(), w.clock())
}

func (w *world) action() string {
	return rapid.SampledFrom([]string{"ec2:CreateTags", "ec2:DescribeVolumes"}).Draw(w.T, "action")
}

// clock is the host's, long before the true time, so that what waits for an hour is ripe at the next save.
func (w *world) clock() time.Time {
	return t0.AddDate(-10, 0, 0).Add(time.Duration(w.hours) * 20 * time.Minute)
}

// save saves, with the other actors at work meanwhile, and faults.
func (w *world) save() {
	fault := rapid.SampledFrom([]storetest.Fault{storetest.None, storetest.None, storetest.Lost, storetest.Kept}).Draw(w.T, "fault")
	n, during := rapid.IntRange(0, 40).Draw(w.T, "operation"), rapid.IntRange(0, 20).Draw(w.T, "meanwhile")
	ops := 0
	w.disk.Inject = func(string, string) storetest.Fault {
		if ops++; ops == during {
			w.small()
		}
		if ops == n {
			return fault
		}
		return storetest.None
	}
	err := w.ledger.Save(w.Context())
	w.disk.Inject = nil
	if err != nil && !errors.Is(err, storetest.ErrInjected) {
		w.Fatalf("Save: %v", err)
	}
}

// small does one thing of those that may happen during a save.
func (w *world) small() {
	actions := []func(){w.headScan, w.hold, w.hold, w.job, w.job, w.job, w.finalPass, w.backlogPass, w.replay, w.headRead}
	actions[rapid.IntRange(0, len(actions)-1).Draw(w.T, "small")]()
}

// crash stops the machine, during a save if it comes to that, and starts it again.
func (w *world) crash() {
	n, ops := rapid.IntRange(0, 40).Draw(w.T, "operation"), 0
	w.disk.Inject = func(string, string) storetest.Fault {
		if ops++; ops == n {
			return storetest.Cut
		}
		return storetest.None
	}
	if n > 0 {
		if err := w.ledger.Save(w.Context()); err != nil && !errors.Is(err, storetest.ErrCut) {
			w.Fatalf("Save: %v", err)
		}
	}
	w.disk.Inject = nil
	w.disk.Stop()
	if rapid.Bool().Draw(w.T, "lose all") {
		w.disk.Reboot(nil)
	} else {
		w.disk.Reboot(w.rng)
	}
	w.restart()
}

// restart opens the Ledger anew, and checks.
func (w *world) restart() {
	w.final, w.back = nil, nil
	for _, e := range w.events {
		e.live, e.shown, e.flight, e.held = false, false, false, false
		for _, j := range e.all() {
			j.open, j.deferred = false, false
		}
	}
	w.open() // once to ask it everything
	w.check(w.ledger)
	w.open()
	for _, d := range w.ledger.Deferred() {
		w.jobs[d.Key()].deferred = true
	}
	w.marks = w.ledger.Marks()
}

// check holds the property: every event that was ever begun is settled durably, or will be read again.
func (w *world) check(l *checkpoint.Ledger) {
	m, denials := l.Marks(), l.Denials()
	deferred := map[string]bool{}
	for _, d := range l.Deferred() {
		if w.jobs[d.Key()] == nil {
			w.Fatalf("a deferred Job that was never made: %+v", d)
		}
		deferred[d.Key()] = true
	}
	var safe func(j *mJob) bool
	safe = func(j *mJob) bool {
		if deferred[j.job.Key()] || j.ended && !slices.ContainsFunc(j.children, func(c *mJob) bool { return !safe(c) }) {
			return true
		}
		return slices.ContainsFunc(denials, func(d checkpoint.Denial) bool {
			action := d.Action
			if !d.PutBack.IsZero() {
				if action = "put back " + action; !slices.Contains(d.Names, j.event.name) {
					return false
				}
			}
			return j.unstored == action && !d.Since.IsZero() && !d.Since.After(at(j.event.at)) && !d.Until.Before(at(j.event.at))
		})
	}
	for _, e := range w.events {
		again := slices.ContainsFunc(m.Backlog, func(s event.Span) bool { return in(s, e) })
		if !m.Floor.After(at(e.at)) && !(m.Cursor != nil && contains(m.Cursor.Span, e.at) && e.name <= m.Cursor.Name) {
			again = again || l.Begin(event.Live, e.id, at(e.at)) == event.New
		}
		done := e.known && !slices.ContainsFunc(e.jobs, func(j *mJob) bool { return !safe(j) })
		if !again && !done {
			w.Fatalf("%s (%s at %d) is lost: marks %+v, denials %+v, jobs known %v: %s", e.id, e.name, e.at, m, denials, e.known, describe(e))
		}
	}
}

func describe(e *mEvent) string {
	var b strings.Builder
	for _, j := range e.all() {
		fmt.Fprintf(&b, "[%s%s ended %v, unstored %q]", j.job.Resource.ID, j.job.Expand, j.ended, j.unstored)
	}
	return b.String()
}

// invariants looks at the marks after each action.
func (w *world) invariants() {
	m := w.ledger.Marks()
	if m.Floor.Before(w.marks.Floor) || m.Watermark.Before(w.marks.Watermark) {
		w.Fatalf("a mark goes back: %+v, then %+v", w.marks, m)
	}
	open := 0
	for _, e := range w.events {
		if e.flight {
			open++
		}
		if !e.flight || !e.live {
			continue
		}
		if m.Floor.After(w.marks.Floor) && at(e.at).Before(m.Floor) {
			w.Fatalf("the Floor moved to %d past %s at %d", seconds(m.Floor), e.id, e.at)
		}
		if m.Watermark.After(w.marks.Watermark) && e.shown && !at(e.at).After(m.Watermark) {
			w.Fatalf("the Watermark moved to %d past %s at %d", seconds(m.Watermark), e.id, e.at)
		}
	}
	if n, _ := w.ledger.Unsettled(); n != open {
		w.Fatalf("Unsettled = %d, want %d", n, open)
	}
	w.marks = m
}

// drain lets everything succeed, and finds nothing left over.
func (w *world) drain() {
	for round := 0; ; round++ {
		if round > 200 {
			w.Fatalf("never done: marks %+v, denials %+v", w.ledger.Marks(), w.ledger.Denials())
		}
		for _, e := range slices.Clone(w.events) {
			for e.flight && !e.held {
				w.hold()
			}
			for _, j := range e.all() {
				if j.open || j.deferred {
					w.finish(j)
				}
			}
			for _, j := range e.all() {
				if j.open || j.deferred {
					w.finish(j)
				}
			}
		}
		w.hours += 5
		for _, d := range w.ledger.Denials() {
			w.ledger.Replay(d.API, d.Action, w.clock())
		}
		if w.final == nil && w.horizon < 1000 {
			w.horizon = 1000 // the last pass reads all there is
		}
		w.finalPass()
		for w.final != nil {
			w.finalStep()
		}
		for w.backlogPass(); w.back != nil; {
			w.backlogPass()
		}
		n, _ := w.ledger.Unsettled()
		m := w.ledger.Marks()
		if n == 0 && len(m.Backlog) == 0 && w.ledger.DeferredCount() == 0 && !m.Floor.Before(at(1000)) &&
			!slices.ContainsFunc(w.ledger.Denials(), func(d checkpoint.Denial) bool { return !d.Since.IsZero() }) {
			break
		}
	}
	for _, e := range w.events {
		for _, j := range e.all() {
			if !j.ended {
				w.Fatalf("%s has a Job without an Outcome: %s", e.id, describe(e))
			}
		}
	}
	if err := w.ledger.Save(w.Context()); err != nil {
		w.Fatal(err)
	}
	if files := w.disk.Files(); slices.ContainsFunc(files, func(f string) bool { return strings.Contains(f, "job#") }) {
		w.Fatalf("parts are left over: %q", files)
	}
	w.restart()
}

func TestNothingIsLost(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		actions := map[string]func(*rapid.T){"": func(*rapid.T) { w.invariants() }}
		for name, action := range map[string]func(){
			"headScan": w.headScan, "headScan2": w.headScan, "headRead": w.headRead,
			"hold": w.hold, "hold2": w.hold, "hold3": w.hold, "job": w.job, "job2": w.job, "job3": w.job, "job4": w.job,
			"finalPass": w.finalPass, "finalPass2": w.finalPass, "finalPass3": w.finalPass,
			"backlogPass": w.backlogPass, "backlogPass2": w.backlogPass, "addBacklog": w.addBacklog, "replay": w.replay,
			"save": w.save, "save2": w.save, "crash": w.crash,
		} {
			actions[name] = func(*rapid.T) { action() }
		}
		t.Repeat(actions)
		w.drain()
	})
}

func seconds(t time.Time) int { return int(t.Sub(t0) / time.Second) }

func contains(s event.Span, second int) bool {
	return !at(second).Before(s.Start) && !at(second).After(s.End)
}

func in(s event.Span, e *mEvent) bool {
	return contains(s, e.at) && (s.Names == nil || slices.Contains(s.Names, e.name))
}
