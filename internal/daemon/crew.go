package daemon

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/autotagd/autotagd/internal/awsclient"
	"github.com/autotagd/autotagd/pkg/checkpoint"
	"github.com/autotagd/autotagd/pkg/event"
)

const (
	// beginAtOnce Scopes are begun in a turn, and turns are a second apart while there is more to do: a start does not make
	// 1,700 calls in one second.
	beginAtOnce = 25
	busyTurn    = time.Second
	idleTurn    = time.Minute
	// After a Scope could not be begun, or ended by itself: doubling.
	firstRetry = time.Second
	lastRetry  = time.Minute

	leaseWait = 5 * time.Second // for one call about leases
	giveGrace = 5 * time.Second // for the Jobs in hand of a Scope that is given back
)

// crew begins and ends Scopes while the daemon is at work: as accounts and Regions come and go, and as its share of them
// changes with the number of replicas. Its own goroutine alone changes its fields.
type crew struct {
	*Daemon
	leases checkpoint.Leases // nil: every Scope is ours
	rota   *rota
	wanted []event.Scope
	shown  map[event.Scope]bool    // by the metrics
	mine   map[event.Scope]*scope  // begun, and not being given back
	giving map[event.Scope]bool    // being given back
	given  chan given              // has been given back
	ended  chan *scope             // its run ended by itself
	failed map[event.Scope]failure // of those that could not be begun
	stray  map[event.Scope]bool    // may be written on our name without our holding them: nobody else would take them
	runs   sync.WaitGroup

	beaten   atomic.Pointer[time.Time] // when the last beat that was answered was sent; nil before that
	overdue  chan struct{}             // the lease ran out
	lastGive time.Time
}

func (d *Daemon) newCrew() *crew {
	c := &crew{
		Daemon: d, leases: d.options.Leases, wanted: d.wanted, shown: map[event.Scope]bool{}, mine: map[event.Scope]*scope{}, giving: map[event.Scope]bool{},
		given: make(chan given), ended: make(chan *scope), failed: map[event.Scope]failure{}, stray: map[event.Scope]bool{},
		overdue: make(chan struct{}, 1),
	}
	c.want()
	if c.leases != nil {
		c.rota = newRota(d.options.Replica, d.options.Config.Checkpoint.DynamoDB.Lease)
	}
	return c
}

// run works until ctx ends, and returns when the intake of every Scope has ended.
func (c *crew) run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer c.runs.Wait()
	defer cancel(nil)
	lists := make(chan []event.Scope)
	c.runs.Go(func() { c.watchAccounts(ctx, lists) })
	turn := idleTurn
	if c.leases != nil {
		turn = c.rota.lease / 3
		answered := c.beat(ctx)
		c.runs.Go(func() { c.keepBeating(ctx, answered) })
		c.runs.Go(func() { c.watchLease(ctx) })
	}
	defer c.settle()
	for first := true; ; first = false {
		more, err := c.turn(ctx)
		if err != nil {
			return err
		}
		if first {
			c.health.start(&c.fleet, c.tagger, c.options.Config.Poll.Interval)
			c.runs.Go(func() {
				if err := c.refuseIfDenied(ctx); err != nil {
					cancel(err)
				}
			})
		}
		wait := turn
		if more {
			wait = min(busyTurn, turn)
		}
		if n, first := c.failing(time.Now()); n > 0 {
			wait = min(wait, time.Until(first))
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			if err := context.Cause(ctx); !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
				return err
			}
			return nil
		case c.wanted = <-lists:
		case s := <-c.ended:
			if err := c.lost(s); err != nil {
				timer.Stop()
				return err
			}
		case g := <-c.given:
			delete(c.giving, g.scope.id)
			c.stray[g.scope.id] = g.stray
			c.forgetUnplaced(g.scope)
		case <-c.overdue:
			c.loseAll()
		case <-timer.C:
		}
		timer.Stop()
	}
}

// want notes which Scopes there are, and lets the metrics forget those that are no more and were given back.
func (c *crew) want() {
	c.fleet.want(c.wanted)
	gone := maps.Clone(c.shown)
	for _, id := range c.wanted {
		c.checkpointMetrics.Want(id)
		c.shown[id] = true
		delete(gone, id)
	}
	for id := range gone {
		if c.mine[id] == nil && !c.giving[id] {
			c.checkpointMetrics.Forget(id)
			delete(c.shown, id)
		}
	}
}

// settle waits for those Scopes that are being given back; the others end with their context.
func (c *crew) settle() {
	for len(c.giving) > 0 {
		g := <-c.given
		delete(c.giving, g.scope.id)
		c.forgetUnplaced(g.scope)
	}
}

// turn does what is to be done now. It reports whether there is more, for which it is too early.
func (c *crew) turn(ctx context.Context) (more bool, err error) {
	c.want()
	now := time.Now()
	share := len(c.wanted)
	if c.leases != nil {
		if !c.look(ctx, now) {
			return true, nil
		}
		share = c.rota.share(len(c.wanted), now)
	}
	for id, s := range c.mine {
		if _, found := slices.BinarySearchFunc(c.wanted, id, compareScopes); !found {
			c.log.Info("a Scope is gone: its account or Region is not ours any more, its checkpoint stays", zap.String("scope", id.String()))
			c.give(ctx, s)
		}
	}
	if over := len(c.mine) - share; over > 0 && c.leases != nil {
		if now.Sub(c.lastGive) >= busyTurn {
			c.lastGive = now
			for _, s := range c.mine { // any
				c.give(ctx, s)
				break
			}
		}
		return over > 1, nil
	}
	// One that waits to be tried again is nobody else's either: to look for another each second would cost a read a Scope.
	failing, _ := c.failing(now)
	if n := share - len(c.mine) - failing; n > 0 {
		more, err = c.take(ctx, n, now)
		failing, _ = c.failing(now)
		more = more || len(c.mine)+failing < share
	}
	c.releaseStrays(ctx)
	return more, err
}

// failing counts the Scopes that could not be begun and wait to be tried again, and says when the first of them is.
func (c *crew) failing(now time.Time) (n int, first time.Time) {
	for id, f := range c.failed {
		if !now.Before(f.again) || c.mine[id] != nil {
			continue
		}
		if n++; n == 1 || f.again.Before(first) {
			first = f.again
		}
	}
	return n, first
}

// given is a Scope that has been given back; stray if the table may not say so yet.
type given struct {
	scope *scope
	stray bool
}

// releaseStrays has the table say of no Scope that it is ours when it isn't.
func (c *crew) releaseStrays(ctx context.Context) {
	for id, stray := range c.stray {
		if !stray || c.mine[id] != nil {
			delete(c.stray, id)
			continue
		}
		releasing, cancel := context.WithTimeout(ctx, leaseWait)
		err := c.leases.Release(releasing, id)
		cancel()
		if err != nil {
			if ctx.Err() == nil {
				c.log.Warn("a Scope that we don't hold is not released yet", zap.String("scope", id.String()), zap.Error(err))
			}
			return // the next turn goes on
		}
		delete(c.stray, id)
	}
}

// look sees which replicas are at work. It reports false when that can't be seen.
func (c *crew) look(ctx context.Context, now time.Time) bool {
	calling, cancel := context.WithTimeout(ctx, leaseWait)
	defer cancel()
	counters, err := c.leases.Replicas(calling)
	if err != nil {
		if ctx.Err() == nil {
			c.log.Error("the other replicas' leases cannot be read", zap.Error(err))
		}
		return false
	}
	c.rota.saw(counters, time.Now()) // what has changed may have done so while we read
	for _, id := range c.rota.dead(now) {
		if err := c.leases.Forget(calling, id); err != nil && ctx.Err() == nil {
			c.log.Warn("the lease of a replica that is gone cannot be removed", zap.String("replica", id), zap.Error(err))
		}
	}
	return c.held()
}

// take begins up to n Scopes that are nobody's.
func (c *crew) take(ctx context.Context, n int, now time.Time) (more bool, err error) {
	var free []event.Scope
	for _, id := range c.wanted {
		if c.mine[id] == nil && !c.giving[id] && !now.Before(c.failed[id].again) {
			free = append(free, id)
		}
	}
	owners := map[event.Scope]checkpoint.Owner{}
	if c.leases != nil && len(free) > 0 {
		calling, cancel := context.WithTimeout(ctx, 2*leaseWait)
		defer cancel()
		if owners, err = c.leases.Owners(calling, free); err != nil {
			if ctx.Err() == nil {
				c.log.Error("who holds which Scope cannot be read", zap.Error(err))
			}
			return true, nil
		}
		// Only now: one that has begun and claimed since we looked is an owner that is at work.
		if now = time.Now(); !c.look(ctx, now) {
			return true, nil
		}
		free = slices.DeleteFunc(free, func(id event.Scope) bool {
			if c.rota.free(owners[id].Replica, now) {
				return false
			}
			c.fleet.leave(id)
			return true
		})
		rand.Shuffle(len(free), func(i, j int) { free[i], free[j] = free[j], free[i] }) // others take too
	}
	free = free[:min(len(free), n)]
	for i, id := range free {
		if i == beginAtOnce || ctx.Err() != nil || c.leases != nil && !c.held() {
			return true, nil
		}
		if c.leases != nil {
			claiming, cancel := context.WithTimeout(ctx, leaseWait)
			err := c.leases.Claim(claiming, id, owners[id])
			cancel()
			if errors.Is(err, checkpoint.ErrTaken) {
				continue
			}
			c.stray[id] = true // until it is begun
			if err != nil {
				c.failedToBegin(id, err)
				continue
			}
			if !c.held() {
				continue
			}
		}
		if err := c.begin(ctx, id); err != nil {
			if c.sole() && ctx.Err() == nil {
				return false, err
			}
			c.failedToBegin(id, err)
		}
	}
	return false, nil
}

// sole reports whether a Scope that fails is the daemon's own failure: there is one account and one process, and somebody
// who looks at its start.
func (d *Daemon) sole() bool { return d.options.Leases == nil && len(d.options.Config.Accounts) == 0 }

// failure is when a Scope that could not be begun is tried again, and how often it was.
type failure struct {
	again time.Time
	times int
}

func (c *crew) failedToBegin(id event.Scope, err error) {
	f := c.failed[id]
	wait := min(firstRetry<<min(f.times, 8), lastRetry)
	c.failed[id] = failure{time.Now().Add(wait), f.times + 1}
	err = awsclient.Explain(err)
	c.fleet.fail(id, err)
	c.log.Error("a Scope cannot be begun; trying again", zap.String("scope", id.String()), zap.Duration("wait", wait), zap.Error(err))
}

// begin opens a Scope and sets it to work.
func (c *crew) begin(ctx context.Context, id event.Scope) error {
	since := c.options.Since
	if c.before[id] {
		since = time.Time{} // its backlog has that since its first time
	}
	s, err := c.open(ctx, id, since)
	if err != nil {
		return err
	}
	s.placed.Store(c.before[id]) // by the first time
	ctx, s.cancel = context.WithCancel(ctx)
	c.mine[id], c.before[id] = s, true
	delete(c.failed, id)
	c.fleet.add(s)
	c.restore(s)
	c.runs.Go(func() {
		s.err = s.run(ctx)
		close(s.done)
		select {
		case c.ended <- s:
		case <-ctx.Done():
		}
	})
	return nil
}

// give hands a Scope back, in order: intake ends, Jobs in hand get some time, the rest is saved, and only then may another
// replica have it.
func (c *crew) give(ctx context.Context, s *scope) {
	delete(c.mine, s.id)
	c.giving[s.id] = true
	s.cancel()
	last := context.WithoutCancel(ctx)
	c.runs.Go(func() {
		<-s.done
		for deadline := time.Now().Add(giveGrace); c.tagger.InHandOf(s.id) > 0 && time.Now().Before(deadline); {
			time.Sleep(giveGrace / 50)
		}
		saving, cancel := context.WithTimeout(last, saveGrace)
		defer cancel()
		if err := s.lastSave(saving); err != nil && !errors.Is(err, checkpoint.ErrFenced) {
			s.log.Error("the last checkpoint of a Scope that is given back was not saved: some of it is read again", zap.Error(err))
		}
		c.drop(s)
		stray := false
		if c.leases != nil {
			err := c.leases.Release(saving, s.id)
			if stray = err != nil; stray {
				s.log.Warn("a Scope is not released yet", zap.Error(err))
			}
		}
		c.given <- given{s, stray}
	})
}

// drop forgets a Scope whose intake has ended.
func (c *crew) drop(s *scope) {
	c.tagger.Abandon(s.id)
	c.fleet.remove(s.id)
	c.recent.forget(s.id)
	c.checkpointMetrics.End(s.id)
	c.pollerMetrics.End(s.id)
}

// lost deals with a Scope whose run ended by itself. Its error is the daemon's where it has but one account.
func (c *crew) lost(s *scope) error {
	if c.mine[s.id] != s || s.err == nil {
		return nil // it was being given back, or is one of all that end now
	}
	delete(c.mine, s.id)
	c.forgetUnplaced(s)
	c.drop(s)
	c.stray[s.id] = c.leases != nil
	switch {
	case errors.Is(s.err, checkpoint.ErrFenced) && c.leases != nil:
		s.log.Warn("another replica has taken the Scope: nothing more of it is done here")
	case c.sole():
		return s.err
	default:
		c.failedToBegin(s.id, s.err)
	}
	return nil
}

// forgetUnplaced has Since put into the backlog again when the Scope is begun anew, unless a save has it.
func (d *Daemon) forgetUnplaced(s *scope) {
	if !s.placed.Load() {
		delete(d.before, s.id)
	}
}

// loseAll stops every Scope at once, since others may take them by now. What they had not saved is read again.
func (c *crew) loseAll() {
	if len(c.mine) > 0 {
		c.log.Error("no beat of our lease was answered for as long as it lasts: other replicas may have our Scopes, so we stop them",
			zap.Int("scopes", len(c.mine)), zap.Duration("lease", c.rota.lease))
	}
	for _, s := range c.mine {
		s.cancel()
	}
	for id, s := range c.mine {
		delete(c.mine, id)
		<-s.done
		c.forgetUnplaced(s)
		c.drop(s)
		c.stray[id] = true
	}
}

// watchAccounts reads the accounts and Regions again from time to time, and hands on each list that differs from the last.
func (c *crew) watchAccounts(ctx context.Context, lists chan<- []event.Scope) {
	known, wait := c.wanted, accountsEvery
	if c.accountsErr != nil {
		wait = accountsRetry
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		wait = accountsEvery
		now, err := c.accounts.scopes(ctx)
		if ctx.Err() != nil {
			return
		}
		set(c.metrics.accounts, err)
		if err != nil {
			wait = accountsRetry
			c.log.Error("not all accounts could be read; those go on as they were", zap.Error(err))
		}
		if slices.Equal(now, known) {
			continue
		}
		known = now
		c.log.Info("accounts or Regions have changed", zap.Int("scopes", len(now)))
		select {
		case lists <- now:
		case <-ctx.Done():
			return
		}
	}
}

// compareScopes orders as accounts.scopes does.
func compareScopes(a, b event.Scope) int { return strings.Compare(a.String(), b.String()) }
