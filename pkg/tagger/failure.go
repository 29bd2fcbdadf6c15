package tagger

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/autotagd/autotagd/pkg/resource"
)

// failed deals with a call that failed as a whole for a part of the batch.
func (r *run) failed(tasks []*task, err error) {
	c := classify(err)
	r.fails++
	r.denials(c, tasks)
	switch c {
	case classOK, classCanceled:
		return // the end of Run hands them back
	case classThrottled, classCredentials:
		r.later(tasks, c, err)
	case classUnavailable:
		// Once may be anything; again, one resource may be to blame.
		if len(tasks) > 1 && tasks[0].job.Attempts >= 2 && r.fails < outageInRow {
			r.first(halves(tasks)...)
			return
		}
		r.later(tasks, c, err)
	case classDenied:
		switch {
		case len(tasks) == 1:
			r.one(tasks[0], c, err.Error())
		case r.deniedAsSuch(tasks):
			// One of them is still tried alone, to find out whether it is all of them.
			i := rand.IntN(len(tasks))
			tasks[0], tasks[i] = tasks[i], tasks[0]
			r.parts = slices.Insert(r.parts, 0, part{tasks: tasks[:1]}, part{tasks: tasks[1:], denial: err})
		default:
			r.first(halves(tasks)...)
		}
	default:
		r.split(tasks, c, err)
	}
}

// split takes a part apart in which one resource, or some, spoil the call for all.
func (r *run) split(tasks []*task, c class, err error) {
	if len(tasks) == 1 {
		r.one(tasks[0], c, err.Error())
		return
	}
	if r.fails >= failsInRow { // none of them to blame, it seems
		r.later(tasks, c, err)
		return
	}
	byName := map[string]*task{}
	for _, tk := range tasks {
		byName[target(tk.job.Resource)] = tk
	}
	bad := named(err, func(id string) bool { return byName[id] != nil })
	if len(bad) == 0 {
		r.first(halves(tasks)...)
		return
	}
	var rest []*task
	for _, tk := range tasks {
		if bad[target(tk.job.Resource)] {
			r.one(tk, c, err.Error())
		} else {
			rest = append(rest, tk)
		}
	}
	if len(rest) > 0 {
		r.first(rest)
	}
}

// denials counts refusals in a row, once a call for each action in it.
func (r *run) denials(c class, tasks []*task) {
	if c != classDenied {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	seen := map[*group]bool{}
	for _, tk := range tasks {
		if g := tk.group; !seen[g] {
			seen[g] = true
			g.deniedRow++
			if g.deniedRow == deniedInRow {
				r.opts.Log.Warn("tagging is denied; its resources wait",
					zap.String("account_id", r.lane.scope.AccountID), zap.String("region", r.lane.scope.Region),
					zap.String("api", string(g.api)), zap.String("iam_action", g.action))
			}
		}
	}
}

func (r *run) deniedAsSuch(tasks []*task) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, tk := range tasks {
		if tk.group.isDenied() {
			return true
		}
	}
	return false
}

// later puts tasks aside together after a failure that is none of theirs, so that they come back as one batch.
func (r *run) later(tasks []*task, c class, err error) {
	if c == classCanceled {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	attempts := 0
	for _, tk := range tasks {
		attempts = max(attempts, tk.job.Attempts)
	}
	next := now.Add(backoff(attempts + 1))
	for _, tk := range tasks {
		at := next
		if c != classThrottled && c != classDenied {
			at = r.trouble(tk.group, now)
		}
		r.fail(tk, reasonOf(c), err.Error(), at, now)
	}
}

// one deals with the failure of one resource, of which AWS said that it is its own.
func (r *run) one(tk *task, c class, text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	next := now.Add(backoff(tk.job.Attempts + 3))
	switch c {
	case classOK, classCanceled:
		return
	case classTagLimit:
		r.decide(tk, r.outcome(tk, resource.Missed, resource.TagLimit, cut(text)))
	case classInvalid:
		// Some services say so of what they don't see yet.
		if r.lane.api != resource.EC2CreateTags && !r.ripe(tk, now) {
			r.fail(tk, resource.Invalid, text, now.Add(notFoundDelay), now)
			return
		}
		if r.fallBack(tk, c, now) {
			return
		}
		if r.comeBack(tk, now) {
			r.fail(tk, resource.Invalid, text, next, now)
			return
		}
		reason := resource.Invalid
		if r.doubtful(tk) {
			reason = resource.Unresolved
		}
		r.decide(tk, r.outcome(tk, resource.Missed, reason, cut(text)))
	case classNotFound:
		if r.ripe(tk, now) {
			if r.fallBack(tk, c, now) {
				return
			}
			if r.doubtful(tk) {
				r.decide(tk, r.outcome(tk, resource.Missed, resource.Unresolved, "not found, and this form of ARN was never accepted: "+cut(text)))
			} else {
				r.decide(tk, r.outcome(tk, resource.Gone, "", cut(text)))
			}
			return
		}
		r.fail(tk, resource.Exhausted, text, now.Add(notFoundDelay), now)
	case classUnanswered:
		if tk.unanswered == 0 {
			tk.unansweredAt = now
		}
		tk.unanswered++
		if tk.unanswered > 1 && r.fallBack(tk, c, now) {
			return
		}
		kind := form(tk.job.Resource)
		enough := tk.unanswered >= unansweredAttempts && now.Sub(tk.unansweredAt) >= unansweredSpan
		if !r.memory.proven[kind] && (enough || r.memory.refused[kind]) {
			r.memory.refused[kind] = true
			r.decide(tk, r.outcome(tk, resource.Missed, resource.Unsupported, "TagResources gives no answer for this kind: "+cut(text)))
			return
		}
		r.fail(tk, resource.Exhausted, text, next, now)
	case classThrottled, classUnavailable, classCredentials:
		// The owning service's answer, handed through: its other resources do no better.
		r.fail(tk, reasonOf(c), text, r.trouble(tk.group, now), now)
	case classRefused:
		if !r.fallBack(tk, c, now) {
			r.comeBack(tk, now)
			r.fail(tk, reasonOf(c), text, next, now)
		}
	case classDenied:
		r.comeBack(tk, now)
		r.fail(tk, reasonOf(c), text, next, now)
	case classBusy, classQuota:
		r.fail(tk, reasonOf(c), text, next, now)
	default:
		panic(fmt.Sprintf("tagger: class %d", c))
	}
}

// ripe counts an attempt that found nothing and reports whether that is to be believed: the event is old enough, and it was
// looked for three times over 20 s.
func (t *Tagger) ripe(tk *task, now time.Time) bool {
	if tk.notFound == 0 {
		tk.notFoundSince = now
	}
	tk.notFound++
	return t.opts.Now().Sub(tk.job.Event.Time) >= t.opts.ConsistencyWait &&
		tk.notFound >= notFoundAttempts && now.Sub(tk.notFoundSince) >= notFoundSpan
}

// doubtful reports whether the resource's id may be wrong rather than the resource gone.
func (t *Tagger) doubtful(tk *task) bool {
	res := tk.job.Resource
	return res.Confidence == resource.Guess || res.TagAPI != resource.EC2CreateTags && res.ARN != "" && !t.memory.proven[form(res)]
}

// reasonOf returns the Reason of a Job that is given up after such failures.
func reasonOf(c class) resource.Reason {
	switch c {
	case classDenied, classCredentials:
		return resource.AccessDenied
	case classTagLimit, classQuota:
		return resource.TagLimit
	case classInvalid, classRefused:
		return resource.Invalid
	}
	return resource.Exhausted
}
