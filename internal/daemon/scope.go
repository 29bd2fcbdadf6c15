package daemon

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/autotagd/autotagd/internal/awsclient"
	"github.com/autotagd/autotagd/pkg/checkpoint"
	"github.com/autotagd/autotagd/pkg/event"
	"github.com/autotagd/autotagd/pkg/poller"
	"github.com/autotagd/autotagd/pkg/resource"
)

// scope is one account in one Region at work: it turns the events its poller reads into Jobs, notes in its ledger how
// they end, and keeps the ledger saved. Its first fields are set once; ledger, poller and tagger guard themselves.
type scope struct {
	id     event.Scope
	daemon *Daemon
	ledger *checkpoint.Ledger
	poller *poller.Poller
	log    *zap.Logger

	cancel context.CancelFunc // ends its run
	done   chan struct{}      // closed when that has ended
	err    error              // why, if not because it was to; set before done is closed
	placed atomic.Bool        // a save has where its marks were placed, and Since
}

// run reads the Scope's events and saves its ledger until ctx ends.
func (s *scope) run(ctx context.Context) error {
	all, ctx := errgroup.WithContext(ctx)
	all.Go(func() error { return s.poller.Run(ctx) })
	all.Go(func() error { return s.save(ctx, s.daemon.options.Config.Poll.Interval) })
	if err := all.Wait(); err != nil {
		return fmt.Errorf("%s: %w", s.id, awsclient.Explain(err))
	}
	return nil
}

// deferred returns the Jobs that wait in the ledger, with the own calls that an earlier release didn't know.
func (s *scope) deferred() []resource.Job {
	jobs := s.ledger.Deferred()
	for i := range jobs {
		s.daemon.planner.Catalog.Complete(jobs[i].Event.Source, jobs[i].Event.Name, &jobs[i].Resource)
	}
	return jobs
}

// restore hands the tagger what waits in a Scope's ledger.
func (d *Daemon) restore(s *scope) {
	jobs := s.deferred()
	for _, j := range jobs {
		d.recent.wait(j)
	}
	d.tagger.Restore(jobs)
}

// Handle takes a page of new events from the poller. It returns when each event's Jobs are with the tagger, which may
// wait when that has too many of this Scope in hand.
func (s *scope) Handle(ctx context.Context, events []poller.Event) error {
	for _, e := range events {
		if err := s.handle(ctx, e); err != nil {
			return err
		}
	}
	return nil
}

func (s *scope) handle(ctx context.Context, e poller.Event) error {
	ref := resource.EventRef{
		ID: e.ID, Source: e.Source, Name: e.Name, Time: e.Time, Scope: s.id, Seen: e.Seen, Backlog: e.Backlog,
	}
	record, err := event.Parse([]byte(e.Raw))
	if err != nil {
		// CloudTrail says by name that something was created, but what it wrote cannot be read: a person must look.
		s.daemon.ended(resource.Outcome{
			Job: resource.Job{Event: ref}, Kind: resource.Missed, Reason: resource.Unresolved,
			Detail: fmt.Sprintf("the record cannot be read: %v", err), At: time.Now(),
		})
		s.ledger.Done(e.ID)
		return nil
	}
	plan := s.daemon.planner.Plan(record, ref)
	if plan.Create {
		s.daemon.metrics.created.WithLabelValues(s.id.AccountID, s.id.Region).Inc()
	}
	for _, problem := range plan.Problems {
		s.log.Warn("a tag expression failed", zap.String("event_id", event.Printable(e.ID, maxLogged)), zap.String("problem", event.Printable(problem, maxLogged)))
	}
	for _, o := range plan.Outcomes {
		s.daemon.ended(o)
	}
	if len(plan.Jobs) == 0 {
		s.ledger.Done(e.ID)
		return nil
	}
	if plan.Unmapped {
		s.daemon.unmapped.observe(ref, plan.Owner)
	}
	s.ledger.Hold(e.ID, plan.Jobs)
	return s.daemon.tagger.Submit(ctx, plan.Jobs)
}

// save keeps the ledger on disk until ctx ends. A save that fails is tried again at the next tick: nothing is lost
// meanwhile, since what is not saved is read again after a crash.
func (s *scope) save(ctx context.Context, interval time.Duration) error {
	t := time.NewTicker(interval)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
		if !s.ledger.Due(time.Now()) {
			continue
		}
		if err := s.saveNow(ctx); err != nil {
			return err
		}
	}
}

// store saves the ledger.
func (s *scope) store(ctx context.Context) error {
	placed := s.poller.Progress().Placed // before: what comes meanwhile may not be in it
	if err := s.ledger.Save(ctx); err != nil {
		return err
	}
	if placed {
		s.placed.Store(true)
	}
	return nil
}

// saveWait bounds one save: a table that never finishes a batch must be seen.
const saveWait = time.Minute

// saveNow fails only when this process is not the holder of the Scope any more.
func (s *scope) saveNow(ctx context.Context) error {
	saving, cancel := context.WithTimeout(ctx, saveWait)
	defer cancel()
	err := s.store(saving)
	switch {
	case err == nil, ctx.Err() != nil:
		return nil
	case errors.Is(err, checkpoint.ErrFenced):
		return fmt.Errorf("%s: %w", s.id, err)
	default:
		s.log.Error("checkpoint not saved; events since the last one would be read again after a crash", zap.Error(err))
		return nil
	}
}

// lastSaves is how often the last save of a Scope is tried at a table, together within saveGrace.
const lastSaves = 8

// lastSave saves the ledger when nothing comes after it. At a table what fails may work in a moment, and a save may be
// repeated; a disk that is full stays so.
func (s *scope) lastSave(ctx context.Context) error {
	for try := 1; ; try++ {
		err := s.store(ctx)
		if err == nil || errors.Is(err, checkpoint.ErrFenced) || s.daemon.options.Leases == nil || try == lastSaves {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(time.Duration(try) * 100 * time.Millisecond):
		}
	}
}

// flushing is a Ledger that tells the tagger when a scan has ended, so that a batch does not wait for Jobs that won't come,
// and that saves where a start has placed the marks: before that a fresh Scope has no promise, and a crash would begin anew.
type flushing struct {
	*checkpoint.Ledger
	scope *scope
}

// Reset implements poller.Ledger. A save that fails is tried again like every other.
func (f flushing) Reset(ctx context.Context, m event.Marks) error {
	if err := f.Ledger.Reset(m); err != nil {
		return err
	}
	return f.scope.saveNow(ctx)
}

// FloorRead implements poller.Ledger.
func (f flushing) FloorRead(end time.Time) { f.Ledger.FloorRead(end); f.scope.flush() }

// HeadRead implements poller.Ledger.
func (f flushing) HeadRead(end time.Time) { f.Ledger.HeadRead(end); f.scope.flush() }

func (s *scope) flush() { s.daemon.tagger.Flush(s.id) }
