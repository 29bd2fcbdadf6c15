package daemon

import (
	"context"
	"time"

	"go.uber.org/zap"
)

// keepBeating beats three times a lease until ctx ends, and again a moment after a beat that failed.
func (c *crew) keepBeating(ctx context.Context, answered bool) {
	for {
		wait := c.rota.lease / 3
		if !answered {
			wait = min(busyTurn, wait)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		lapsed := !c.held() // while this process stood still, perhaps: then the next beat comes too late
		if answered = c.beat(ctx); lapsed || !c.held() {
			c.lapsed()
		}
	}
}

// watchLease stops every Scope within a moment of the lease's end, whatever the crew and its beats wait for.
func (c *crew) watchLease(ctx context.Context) {
	for {
		left := c.rota.lease - c.sinceBeat()
		if left <= 0 {
			for _, s := range c.fleet.all() {
				s.cancel()
			}
			c.lapsed()
		}
		wait := busyTurn
		if left > 0 {
			wait = min(wait, left)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// lapsed has the crew part with what was held.
func (c *crew) lapsed() {
	select {
	case c.overdue <- struct{}{}:
	default:
	}
}

// beat says that this replica is at work. What counts is when it was sent: others see it no earlier.
func (c *crew) beat(ctx context.Context) (answered bool) {
	sent := time.Now()
	calling, cancel := context.WithTimeout(ctx, min(leaseWait, c.rota.lease/3))
	defer cancel()
	if err := c.leases.Beat(calling); err != nil {
		if ctx.Err() == nil {
			c.log.Error("our lease cannot be renewed", zap.Error(err))
		}
		return false
	}
	c.beaten.Store(&sent)
	return true
}

// held reports whether the lease lasts: a beat was answered within its time. Until the first one is, nothing is held.
func (c *crew) held() bool { return c.sinceBeat() < c.rota.lease }

// sinceBeat is how long ago the last beat that was answered was sent; a lease if none was.
func (c *crew) sinceBeat() time.Duration {
	if sent := c.beaten.Load(); sent != nil {
		return elapsed(*sent, time.Now())
	}
	return c.rota.lease
}

// elapsed is the time from one moment to another by whichever of the host's clocks says more: the monotonic one stands still while
// the host is suspended, and the other can be set.
func elapsed(from, to time.Time) time.Duration {
	return max(to.Sub(from), to.Round(0).Sub(from.Round(0)))
}
