package tagger

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/autotagd/autotagd/pkg/event"
	"github.com/autotagd/autotagd/pkg/resource"
)

const (
	// maxStored Jobs of a group wait for access_denied, or for anything else while nothing succeeds for stuckAfter; further
	// ones go Unstored. hardStored bounds memory where now and then one succeeds.
	maxStored  = 200
	stuckAfter = 10 * time.Minute
	hardStored = 2000

	probeInterval = time.Minute
	minRetry      = time.Minute // of a deferred Job, doubling
	maxRetry      = 30 * time.Minute
	idleAfter     = 10 * time.Minute // what did nothing for so long is forgotten

	// deniedInRow refusals without a success between them: the action is taken to be denied as such, and its batches are no
	// longer taken apart to find the one that spoils them.
	deniedInRow = 12

	// relieveAt failures in a row an action's Jobs make room for others.
	relieveAt = 2
)

// groupKey names what fails together: an IAM action, by one API, in one place, for the Jobs of one Scope's checkpoint.
type groupKey struct {
	scope  event.Scope // that read the event
	place  event.Scope // where the resource lives
	api    resource.TagAPI
	action string
}

// group is the state of one IAM action: whether it works, and the deferred Jobs.
type group struct {
	groupKey
	members map[*task]struct{} // in hand
	live    int                // of them, those that take room of the new events'
	back    struct {           // of new events, those from a time on are put back, until no more are left than that
		from  time.Time
		until int
	}
	waiting []*task // deferred, not being tried right now, oldest first
	used    time.Time

	stored       int // deferred, being tried or not
	storedDenied int // of these, for access_denied

	failures   int // attempts in a row that failed for everybody
	notBefore  time.Time
	running    int       // batches of its own in flight, 0 or 1
	failing    time.Time // since when nothing succeeded; zero when the last attempt did
	deniedRow  int
	lastReason resource.Reason
	lastError  string

	nextProbe, nextSample time.Time
	round                 *round // under way
	nextRound             time.Time
	answered              bool // a call succeeded in this process
	unstored              bool // some Job went Unstored since
}

// round is the attempt at all stored Jobs of a group after a probe succeeded. A group has one at a time: a smaller one in
// the middle of it would measure the share of a few.
type round struct{ total, left, ended int }

func (t *Tagger) groupOf(j resource.Job, now time.Time) *group { return t.groupFor(j, jobAPI(j), now) }

// groupFor returns the group that the Job is in while api is the call for it.
func (t *Tagger) groupFor(j resource.Job, api resource.TagAPI, now time.Time) *group {
	k := groupKey{j.Event.Scope, j.Resource.Scope, api, cmp.Or(j.Resource.IAMAction, string(api))}
	g := t.groups[k]
	if g == nil {
		g = &group{groupKey: k, members: map[*task]struct{}{}}
		t.groups[k] = g
	}
	g.used = now
	return g
}

// join and leave keep the members.
func (g *group) join(tk *task) {
	g.members[tk] = struct{}{}
	if tk.live() {
		g.live++
	}
}

func (g *group) leave(tk *task) {
	if tk.live() {
		g.live--
	}
	delete(g.members, tk)
}

// live reports whether a task takes room of the new events'.
func (tk *task) live() bool { return tk.intake != nil && !tk.job.Event.Backlog }

// regroup moves a task that is in hand to the group of the call that it is to be tried by now.
func (t *Tagger) regroup(tk *task, now time.Time) {
	old, g := tk.group, t.groupOf(tk.job, now)
	if g == old {
		return
	}
	old.leave(tk)
	g.join(tk)
	if tk.stored {
		old.stored--
		g.stored++
		if tk.denied {
			old.storedDenied--
			g.storedDenied++
		}
	}
	if r := tk.round; r != nil { // says nothing of the old call any more
		tk.round = nil
		r.total--
		t.leaveRound(old, r)
	}
	tk.group = g
}

// leaveRound counts a task out of the round that its group makes.
func (t *Tagger) leaveRound(g *group, r *round) {
	if r.left--; r.left > 0 {
		return
	}
	g.round = nil
	if r.total > 0 && r.ended*2 >= r.total {
		t.replay(g)
	}
}

// isDenied says that the action is denied, not just here and there.
func (g *group) isDenied() bool { return g.deniedRow >= deniedInRow }

func (g *group) stuck(now time.Time) bool {
	return !g.failing.IsZero() && now.Sub(g.failing) >= stuckAfter
}

// full returns why further Jobs of the group are missed without a try, or "".
func (g *group) full(now time.Time) resource.Reason {
	switch {
	case g.storedDenied >= maxStored && g.isDenied():
		return resource.AccessDenied
	case g.stored >= maxStored && g.stuck(now):
		return g.lastReason
	}
	return ""
}

// refuses reports whether a Job that just failed for reason can't be stored.
func (g *group) refuses(reason resource.Reason, now time.Time) bool {
	return reason == resource.AccessDenied && g.storedDenied >= maxStored ||
		g.stored >= maxStored && g.stuck(now) || g.stored >= hardStored
}

func (g *group) addWaiting(tk *task) {
	tk.state = stateWaiting
	at, _ := slices.BinarySearchFunc(g.waiting, tk, older)
	g.waiting = slices.Insert(g.waiting, at, tk)
}

// decision is what became of a task, on its way to Report.
type decision struct {
	task   *task // nil for Replay
	result Result
	wait   bool // deferred: the task goes to its group's waiting ones
	silent bool // reported before
}

func (t *Tagger) result(tk *task, kind ResultKind) Result {
	g := tk.group
	return Result{Kind: kind, Job: tk.job, Scope: g.scope, API: g.api, Action: g.action}
}

func (t *Tagger) outcome(tk *task, kind resource.OutcomeKind, reason resource.Reason, detail string) Result {
	r := t.result(tk, Ended)
	r.Outcome = resource.Outcome{Job: tk.job, Kind: kind, Reason: reason, Detail: detail, At: t.opts.Now()}
	return r
}

func (t *Tagger) unstored(tk *task, reason resource.Reason) Result {
	g := tk.group
	g.unstored = true
	if tk.job.LastReason == "" || tk.job.LastError == "" {
		tk.job.LastReason, tk.job.LastError = reason, g.lastError
	}
	r := t.outcome(tk, resource.Missed, reason, "too many wait already for "+g.action+": "+tk.job.LastError)
	r.Kind = Unstored
	return r
}

// decide settles a task under the lock; Run reports it.
func (t *Tagger) decide(tk *task, r Result) {
	tk.state = stateDecided
	t.decisions = append(t.decisions, decision{task: tk, result: r, wait: r.Kind == Deferred})
}

// conclude reports a decision and does what follows from it. The caller doesn't hold the lock.
func (t *Tagger) conclude(d decision) {
	t.mu.Lock()
	abandoned := d.task != nil && d.task.abandoned
	t.mu.Unlock()
	if !d.silent && !abandoned {
		t.opts.Report(d.result)
	}
	if d.task == nil {
		return
	}
	t.mu.Lock()
	now := time.Now()
	tk, g := d.task, d.task.group
	t.letGo(tk, now)
	if tk.abandoned {
		t.mu.Unlock()
		t.poke()
		return
	}
	if r := tk.round; r != nil {
		tk.round = nil
		if !d.wait && d.result.Outcome.Kind != resource.Missed {
			r.ended++
		}
		t.leaveRound(g, r)
	}
	probe := tk.probe
	tk.probe, tk.alone = false, false
	for _, j := range d.result.Expanded {
		t.take(j, now)
	}
	if d.wait {
		g.addWaiting(tk)
	} else if tk.stored {
		g.stored--
		if tk.denied {
			g.storedDenied--
		}
		if probe { // perhaps without having shown whether the others would work: its resource was gone
			g.nextProbe = now
		}
	}
	if soon := now.Add(time.Second); (d.wait || probe) && soon.Before(t.nextTick) {
		t.nextTick = soon
	}
	t.mu.Unlock()
	t.poke()
}

// replay reports that what went Unstored may be read again.
func (t *Tagger) replay(g *group) {
	g.answered, g.unstored = true, false
	t.decisions = append(t.decisions, decision{result: Result{Kind: Replay, Scope: g.scope, API: g.api, Action: g.action}})
}

// worked notes that a call for the task succeeded.
func (t *Tagger) worked(tk *task, now time.Time) {
	g := tk.group
	wasDenied := g.isDenied()
	g.failures, g.deniedRow = 0, 0
	g.notBefore, g.failing, g.used = time.Time{}, time.Time{}, now
	others := g.stored
	if tk.stored {
		others--
	}
	if wasDenied {
		t.opts.Log.Info("tagging is no longer denied", zap.String("scope", g.scope.String()), zap.String("api", string(g.api)), zap.String("iam_action", g.action))
	}
	if tk.abandoned {
		return
	}
	switch {
	case others == 0 && (!g.answered || g.unstored):
		t.replay(g)
	case (tk.probe || wasDenied) && others > 0 && g.round == nil && !now.Before(g.nextRound):
		t.release(g, now)
	}
	g.answered = g.answered || others == 0
	t.workedInstead(tk, now)
}

// workedInstead notes that a task succeeded which calls before had refused: those who wait for these calls can go the same
// way, and what went Unstored by them can be read again. None of them will ever say so itself.
func (t *Tagger) workedInstead(tk *task, now time.Time) {
	for _, api := range tk.refusedBy {
		if api == tk.group.api {
			continue
		}
		g := t.groupFor(tk.job, api, now)
		if g.stored > 0 && g.round == nil && !now.Before(g.nextRound) {
			t.release(g, now)
		}
		if !g.answered || g.unstored {
			t.replay(g)
		}
	}
}

// release tries all that are stored: those that wait, and those that are being tried just now.
func (t *Tagger) release(g *group, now time.Time) {
	r := &round{}
	g.round, g.nextRound = r, now.Add(probeInterval)
	for tk := range g.members {
		if tk.stored {
			tk.round = r
			r.left++
		}
	}
	for _, tk := range slices.Clone(g.waiting) {
		tk.round = r
		r.left++
		t.rouse(tk, now)
	}
	r.total = r.left
}

// rouse takes a waiting task in hand again.
func (t *Tagger) rouse(tk *task, now time.Time) {
	g := tk.group
	if i := slices.Index(g.waiting, tk); i >= 0 {
		g.waiting = slices.Delete(g.waiting, i, i+1)
	}
	tk.retried = true
	t.hold(tk)
	t.admit(tk, now)
}

// trouble notes an attempt that failed for a whole group, and returns when the next one is due.
func (t *Tagger) trouble(g *group, now time.Time) time.Time {
	if !g.notBefore.After(now) { // not counted twice for calls that were under way together
		g.failures++
		g.notBefore = now.Add(backoff(g.failures))
	}
	return g.notBefore
}

// fail notes that the task's attempt failed and may be made again at next, and decides what is to become of it.
func (t *Tagger) fail(tk *task, reason resource.Reason, errText string, next time.Time, now time.Time) {
	g := tk.group
	tk.tried = true
	j := &tk.job
	j.Attempts++
	j.LastReason, j.LastError = reason, cut(errText)
	g.lastReason, g.lastError, g.used = reason, j.LastError, now
	awsNow := t.opts.Now()
	tk.waits(awsNow)
	if g.failing.IsZero() {
		g.failing = now
	}
	if tk.abandoned {
		tk.state = stateDecided
		t.decisions = append(t.decisions, decision{task: tk, silent: true})
		return
	}
	deadline := tk.arrived.Add(t.opts.OneShot)
	switch tried := awsNow.Sub(j.FirstTried); {
	case t.late(tk, now, awsNow):
		t.decide(tk, t.outcome(tk, resource.Missed, reason, j.LastError))
	case tk.stored:
		t.store(tk, now)
	case reason == resource.AccessDenied, t.opts.OneShot == 0 && tried >= t.opts.DeferAfter, t.opts.OneShot > 0 && !now.Before(deadline):
		t.store(tk, now)
	default:
		if t.opts.OneShot > 0 && next.After(deadline) {
			next = deadline
		}
		t.delay(tk, next)
	}
}

// lastChance is how long at least a Job is tried that waited while nobody was there to try it.
const lastChance = time.Hour

// late reports whether a task has been tried for so long that the next failure is its last.
func (t *Tagger) late(tk *task, now, awsNow time.Time) bool {
	return !tk.job.FirstTried.IsZero() && awsNow.Sub(tk.job.FirstTried) >= t.opts.GiveUpAfter &&
		(t.opts.OneShot > 0 || now.Sub(tk.arrived) >= min(lastChance, t.opts.GiveUpAfter))
}

// store defers a task, or decides that it can't be.
func (t *Tagger) store(tk *task, now time.Time) {
	g := tk.group
	reason := tk.job.LastReason
	denied := reason == resource.AccessDenied
	retry := min(minRetry<<min(tk.deferrals, 8), maxRetry)
	tk.deferrals++
	tk.notBefore = now.Add(retry)
	if tk.alone {
		tk.sounded = now
	}
	if g.nextProbe.Before(now) {
		g.nextProbe = now.Add(probeInterval)
	}
	if !tk.stored {
		if g.refuses(reason, now) {
			t.decide(tk, t.unstored(tk, reason))
			return
		}
		tk.stored = true
		g.stored++
		if denied {
			tk.denied = true
			g.storedDenied++
		}
		t.decide(tk, t.result(tk, Deferred))
		return
	}
	if tk.denied != denied {
		tk.denied = denied
		if denied {
			g.storedDenied++
		} else {
			g.storedDenied--
			if tk.probe { // it isn't denied any more, but nor does it work: its resource isn't there
				g.nextProbe = now
			}
		}
	}
	tk.state = stateDecided
	t.decisions = append(t.decisions, decision{task: tk, wait: true, silent: true})
}

// expire defers what --once has no time left for: behind others of an action that fails, a Job may get no try to end by.
func (t *Tagger) expire(g *group, now time.Time) {
	if t.opts.OneShot == 0 || g.failures == 0 {
		return
	}
	for tk := range g.members {
		if !now.Before(tk.arrived.Add(t.opts.OneShot)) {
			t.putOff(tk, now)
		}
	}
}

// putOff defers a task that is not being tried at this moment, for what its group failed of; false if it is.
func (t *Tagger) putOff(tk *task, now time.Time) bool {
	switch tk.state {
	case stateQueued:
		tk.queue.remove(tk)
	case stateDelayed, stateParked:
	default:
		return false
	}
	if tk.job.LastReason == "" {
		tk.job.LastReason = cmp.Or(tk.group.lastReason, resource.Exhausted)
		tk.job.LastError = cmp.Or(tk.group.lastError, "not tried yet")
	}
	tk.waits(t.opts.Now())
	t.store(tk, now)
	return true
}

// waits begins the time that a Job is tried for, also when it is deferred before its first try: it would start anew with
// each process and never end.
func (tk *task) waits(awsNow time.Time) {
	if tk.job.FirstTried.IsZero() {
		tk.job.FirstTried = awsNow
	}
}

// tick does what is due from time to time: probes, retries of deferred Jobs, giving up, forgetting.
func (t *Tagger) tick(now time.Time) {
	t.nextTick = now.Add(time.Minute)
	awsNow := t.opts.Now()
	for k, g := range t.groups {
		t.tend(g, now, awsNow)
		t.expire(g, now)
		if len(g.waiting) > 0 || t.opts.OneShot > 0 && len(g.members) > 0 {
			t.nextTick = now.Add(time.Second)
		}
		if len(g.members) == 0 && g.stored == 0 && !g.unstored && g.running == 0 && now.Sub(g.used) > idleAfter {
			delete(t.groups, k)
		}
	}
	for k, l := range t.lanes {
		if len(l.queues) == 0 && l.running == 0 {
			delete(t.lanes, k)
		}
	}
	for k, l := range t.limiters {
		if l.idle(now) {
			delete(t.limiters, k)
		}
	}
	for k, in := range t.intakes {
		if in.inHand == 0 {
			delete(t.intakes, k)
		}
	}
	t.memory.forget(now)
}

// tend looks after the deferred Jobs of one group.
func (t *Tagger) tend(g *group, now, awsNow time.Time) {
	if len(g.waiting) == 0 {
		return
	}
	probe := !now.Before(g.nextProbe)
	var oldest *task
	for _, tk := range slices.Clone(g.waiting) {
		late := t.late(tk, now, awsNow)
		tried := tk.tried || t.opts.OneShot > 0 && tk.deferrals > 0
		switch {
		case late && tried:
			g.waiting = slices.DeleteFunc(g.waiting, func(w *task) bool { return w == tk })
			t.hold(tk)
			t.decide(tk, t.outcome(tk, resource.Missed, cmp.Or(tk.job.LastReason, resource.Exhausted), tk.job.LastError))
		case t.opts.OneShot > 0 && tried:
		case t.opts.OneShot > 0, late: // whatever it waited for may be mended
			t.rouse(tk, now)
		case probe && oldest == nil:
			oldest = tk
		case !tk.denied && !tk.notBefore.After(now):
			t.rouse(tk, now)
		}
	}
	if oldest == nil {
		return
	}
	g.nextProbe = now.Add(probeInterval)
	t.sound(oldest, now)
	// And the one that was tried alone longest ago, since the oldest may be refused for its own sake while the others no longer are.
	if len(g.waiting) > 0 {
		t.sound(slices.MinFunc(g.waiting, func(a, b *task) int { return a.sounded.Compare(b.sounded) }), now)
	}
}

// sound tries one waiting task by itself.
func (t *Tagger) sound(tk *task, now time.Time) {
	tk.probe, tk.alone = true, true
	t.rouse(tk, now)
}

// cut bounds an error text that is kept with a Job.
func cut(text string) string {
	const maxBytes = 400
	if len(text) > maxBytes {
		text = text[:maxBytes]
	}
	return strings.ToValidUTF8(text, "")
}
