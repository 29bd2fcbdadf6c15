package daemon

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/autotagd/autotagd/pkg/checkpoint"
)

// saveAll is the last save, of every Scope.
func (d *Daemon) saveAll(ctx context.Context) error {
	grace := saveGrace
	if d.options.Once && ctx.Err() == nil {
		grace = onceSaveGrace // nobody waits for the exit
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	var saves errgroup.Group
	for _, s := range d.fleet.all() {
		saves.Go(func() error {
			switch err := s.lastSave(last); {
			case errors.Is(err, checkpoint.ErrFenced) && d.options.Leases != nil:
				s.log.Warn("another replica has taken the Scope: it reads again what was not saved")
			case err != nil:
				return fmt.Errorf("last checkpoint of %s: %w", s.id, err)
			}
			return nil
		})
	}
	err := saves.Wait()
	for _, s := range d.fleet.all() {
		d.forgetUnplaced(s)
	}
	switch {
	case err != nil:
	case d.options.Store == nil:
		d.log.Info("dry run: nothing was written")
	default:
		d.log.Info("checkpoints saved")
	}
	return err
}

// releaseAtOnce Scopes are released side by side at a shutdown.
const releaseAtOnce = 32

// releaseAll hands every Scope to whoever comes, once its last save is done, and says that this replica is gone.
func (d *Daemon) releaseAll(ctx context.Context) error {
	if d.options.Leases == nil {
		return nil
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveGrace)
	defer cancel()
	var releases errgroup.Group
	releases.SetLimit(releaseAtOnce)
	for _, s := range d.fleet.all() {
		releases.Go(func() error {
			return again(last, func(ctx context.Context) error { return d.options.Leases.Release(ctx, s.id) })
		})
	}
	err := errors.Join(releases.Wait(), again(last, func(ctx context.Context) error { return d.options.Leases.Forget(ctx, d.options.Replica) }))
	if err != nil {
		d.log.Warn("not every Scope was released: other replicas have them when our lease ends", zap.Error(err))
	}
	return nil
}

// again does what may fail in passing, until it works or ctx ends.
func again(ctx context.Context, do func(context.Context) error) error {
	for {
		trying, cancel := context.WithTimeout(ctx, time.Second)
		err := do(trying)
		cancel()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(100 * time.Millisecond):
		}
	}
}
