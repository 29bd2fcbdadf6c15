package tagger

import (
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/autotagd/autotagd/pkg/event"
)

// patience is how long the calls for what a Scope has in hand may take before it puts back what is beyond, when it is full: less
// than a minute, so that another service whose resources take the same call waits no longer.
const patience = 45 * time.Second

// putBack makes room in a Scope that is full because a call that works can't keep up with what it gets: of each call's Jobs
// the oldest stay, as many as it does within patience, and the others are put back where they came from: their events are
// read again later. A larger bound would only be reached later, and each Job that is deferred is a part of the State. It
// reports whether it put back anything. The caller holds the lock.
func (t *Tagger) putBack(scope event.Scope) bool {
	if t.opts.OneShot > 0 { // nobody else comes, and what isn't done in time is deferred
		return false
	}
	behind := map[laneKey][]queued{}
	for k, g := range t.groups {
		if k.scope == scope && g.live > 0 {
			k := t.narrowest(g)
			behind[k] = append(behind[k], g.queued())
		}
	}
	put := false
	for k, groups := range behind {
		tasks := 0
		for _, q := range groups {
			tasks += q.all - q.parked
		}
		calls := tasks
		if maxBatch(k.api) > 1 {
			calls = t.lanes[k].calls()
		}
		budget := t.pace(groups) * patience.Seconds()
		if float64(calls) <= budget {
			continue
		}
		share := fairShare(groups, int(budget*float64(tasks)/float64(calls)))
		for _, q := range groups {
			put = t.putBackOf(q, share) || put
		}
	}
	return put
}

// queued is what a group has in hand of new events, but for what is decided and what was deferred, which has its own room.
type queued struct {
	*group
	all    int
	parked int     // of all, those behind others of their resource, with which they often end
	fresh  []*task // of all, those never tried, and not being tried
}

func (g *group) queued() queued {
	q := queued{group: g}
	for tk := range g.members {
		if tk.job.Event.Backlog || tk.stored || tk.state == stateDecided {
			continue
		}
		q.all++
		if tk.state == stateParked {
			q.parked++
		}
		if tk.fresh() && tk.state != stateRunning {
			q.fresh = append(q.fresh, tk)
		}
	}
	return q
}

// narrowest is the call that the group's Jobs wait for most: the one that knows one resource at a time, or else the one
// that tags.
func (t *Tagger) narrowest(g *group) laneKey {
	for tk := range g.members { // of one action, and so of one service
		if call := tk.job.Resource.OwnCall(); call != nil && call.Read != "" && readsAlone(tk.job.Resource) && t.mustRead(tk) {
			return laneKey{g.place, call.Read}
		}
		break
	}
	return laneKey{g.place, g.api}
}

// calls is how many calls the new Jobs in the lane's queues take, but for those that wait for another call before.
func (l *lane) calls() int {
	if l == nil {
		return 0
	}
	n := 0
	for k, q := range l.queues {
		if !k.backlog && !k.stored && k.reads == "" {
			n += (len(q.tasks) + maxBatch(l.api) - 1) / maxBatch(l.api)
		}
	}
	return n
}

// pace is how many calls a second the groups of a lane can make.
func (t *Tagger) pace(groups []queued) float64 {
	pace := t.opts.Rate
	for _, g := range groups {
		for _, api := range t.callsOf(g.group) {
			if l := t.limiters[laneKey{g.place, api}]; l != nil {
				pace = min(pace, l.perSecond())
			}
		}
	}
	return pace
}

// fairShare is how many Jobs each group may keep at most, so that all together keep n: who has few keeps all.
func fairShare(groups []queued, n int) int {
	sizes := make([]int, 0, len(groups))
	for _, g := range groups {
		sizes = append(sizes, g.all)
	}
	slices.Sort(sizes)
	for i, size := range sizes {
		if share := n / (len(sizes) - i); size > share {
			return share
		}
		n -= size
	}
	return maxInHand
}

// putBackOf puts a group's newest Jobs back, but for share of all.
func (t *Tagger) putBackOf(g queued, share int) bool {
	tasks := g.fresh
	slices.SortFunc(tasks, older)
	tasks = tasks[len(tasks)-min(max(0, g.all-share), len(tasks)):]
	if len(tasks) == 0 {
		return false
	}
	if g.back.from.IsZero() {
		t.opts.Log.Info("more resources than the calls for them do in time: the newest are read again later",
			zap.String("scope", g.scope.String()), zap.String("api", string(g.api)), zap.String("iam_action", g.action), zap.Int("in_hand", g.all))
	}
	if from := tasks[0].job.Event.Time; g.back.from.IsZero() || from.Before(g.back.from) {
		g.back.from = from
	}
	g.back.until = share / 4
	for _, tk := range tasks {
		if tk.state == stateQueued {
			tk.queue.remove(tk)
		}
		t.decide(tk, t.result(tk, PutBack))
	}
	return true
}

// fresh reports whether a task is a new event's and was never tried.
func (tk *task) fresh() bool { return !tk.job.Event.Backlog && !tk.stored && tk.job.Attempts == 0 }

// isBack reports whether a new Job is put back at once: it comes after others of its group that were, while those before
// them are still being worked off. It is read again with them, and so in their order.
func (g *group) isBack(tk *task) bool {
	if g.back.from.IsZero() {
		return false
	}
	if g.live <= g.back.until {
		g.back.from = time.Time{}
		return false
	}
	return tk.fresh() && !tk.job.Event.Time.Before(g.back.from)
}
