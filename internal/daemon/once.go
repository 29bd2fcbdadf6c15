package daemon

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/aws/smithy-go"
	"golang.org/x/sync/errgroup"

	"github.com/autotagd/autotagd/internal/awsclient"
	"github.com/autotagd/autotagd/pkg/checkpoint"
	"github.com/autotagd/autotagd/pkg/event"
)

// once reads every Scope once, all side by side, and saves their ledgers meanwhile. What AWS refuses in one Scope stops no
// other, and is in the error.
func (c *crew) once(ctx context.Context) error {
	mine := c.wanted
	var failed []error
	if c.leases != nil {
		beating, stop := context.WithCancel(ctx)
		defer stop()
		answered := c.firstBeat(ctx)
		c.runs.Go(func() { c.keepBeating(beating, answered) })
		if answered {
			c.runs.Go(func() { c.watchLease(beating) })
		}
		defer c.runs.Wait()
		defer stop()
		var err error
		if mine, err = c.claimFree(ctx); err != nil {
			failed = append(failed, err)
		}
	}
	ctx, end := context.WithCancel(ctx)
	defer end()
	all, ctx := errgroup.WithContext(ctx)
	saving, stopSaving := context.WithCancel(ctx)
	defer stopSaving()
	var reading sync.WaitGroup
	var mu sync.Mutex // guards failed
	for _, id := range mine {
		s, err := c.open(ctx, id, c.options.Since)
		if err != nil && !c.sole() {
			mu.Lock()
			failed = append(failed, fmt.Errorf("%s: %w", id, awsclient.Explain(err)))
			mu.Unlock()
			continue
		}
		if err != nil {
			end()
			return errors.Join(err, all.Wait())
		}
		reads, cancel := context.WithCancel(ctx)
		s.cancel = cancel
		c.fleet.add(s)
		c.restore(s)
		reading.Add(1)
		all.Go(func() error {
			defer reading.Done()
			defer cancel()
			err := s.poller.Once(reads)
			if err == nil || reads.Err() != nil {
				return nil
			}
			err = fmt.Errorf("%s: %w", s.id, awsclient.Explain(err))
			var api smithy.APIError
			var role *awsclient.RoleError
			if !errors.As(err, &api) && !errors.As(err, &role) {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			failed = append(failed, err)
			return nil
		})
		all.Go(func() error { return s.save(saving, c.options.Config.Poll.Interval) })
	}
	c.health.start(&c.fleet, c.tagger, c.options.Config.Poll.Interval)
	all.Go(func() error { reading.Wait(); stopSaving(); return nil })
	err := all.Wait()
	select {
	case <-c.overdue:
		failed = append(failed, errLapsed)
	default:
	}
	return errors.Join(append(failed, err)...)
}

var errLapsed = errors.New("our lease ran out before everything was read, and other replicas may have our Scopes: run it again")

// firstBeat beats until one is answered, for a lease at most.
func (c *crew) firstBeat(ctx context.Context) (answered bool) {
	for began := time.Now(); ; {
		if c.beat(ctx) {
			return true
		}
		if ctx.Err() != nil || time.Since(began) >= c.rota.lease {
			return false
		}
		select {
		case <-ctx.Done():
		case <-time.After(busyTurn):
		}
	}
}

// claimFree claims all Scopes that no replica at work holds. Where some are somebody's it watches for a lease whether he is.
func (c *crew) claimFree(ctx context.Context) ([]event.Scope, error) {
	var mine []event.Scope
	left := c.wanted
	for watched := false; ; watched = true {
		owners, err := c.leases.Owners(ctx, left)
		if err != nil {
			return mine, err
		}
		now := time.Now() // after the owners, as crew.take has it
		if !c.look(ctx, now) {
			return mine, errors.New("the replicas' leases cannot be read, or ours cannot be renewed")
		}
		var others []event.Scope
		for _, id := range left {
			err := checkpoint.ErrTaken
			if c.rota.free(owners[id].Replica, now) {
				err = c.leases.Claim(ctx, id, owners[id])
			}
			switch {
			case err == nil:
				mine = append(mine, id)
			case errors.Is(err, checkpoint.ErrTaken):
				others = append(others, id)
			default:
				return mine, err
			}
		}
		left = others
		switch {
		case len(left) == 0:
			return mine, nil
		case watched:
			return mine, fmt.Errorf("%d Scopes are left out, since other replicas hold them: %s and so on", len(left), left[0])
		}
		select {
		case <-ctx.Done():
			return mine, ctx.Err()
		case <-time.After(c.rota.lease):
		}
	}
}
