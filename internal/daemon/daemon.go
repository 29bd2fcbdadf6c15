// Package daemon puts the parts together: it builds them from a Config, runs one Scope for each account and
// Region, and owns the order in which everything ends.
//
// Invariants: intake ends before work, work before the last save, the last save before the web port. Whatever a Scope's
// events or AWS's answers are, the daemon goes on; it ends only when asked to, when nothing at all can be read at a start,
// or when its own checkpoint is no longer its own.
package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/autotagd/autotagd/internal/awsclient"
	"github.com/autotagd/autotagd/pkg/catalog"
	"github.com/autotagd/autotagd/pkg/checkpoint"
	"github.com/autotagd/autotagd/pkg/config"
	"github.com/autotagd/autotagd/pkg/directory"
	"github.com/autotagd/autotagd/pkg/event"
	"github.com/autotagd/autotagd/pkg/identity"
	"github.com/autotagd/autotagd/pkg/poller"
	"github.com/autotagd/autotagd/pkg/resource"
	"github.com/autotagd/autotagd/pkg/tagger"
)

// The parts of a shutdown, with webGrace together within the 20 s that a supervisor may wait.
const (
	workGrace = 8 * time.Second // for Jobs in hand, after intake has ended; then they are deferred
	saveGrace = 5 * time.Second // for the last save, and for the release of the Scopes
)

const (
	startTick   = 50 * time.Millisecond // how often a start looks whether anything was answered
	commonNames = 60                    // the commonest create events, always read by name where any are
	// onceStart is how long --once asks AWS which account this is.
	onceStart = 2 * time.Minute
	// onceSaveGrace bounds the last save of a --once that nobody interrupted.
	onceSaveGrace = 5 * time.Minute
	oneShot       = 30 * time.Second // with --once a Job is tried for this long and batch_wait
)

// Options are what a Daemon is built from.
type Options struct {
	Config  *config.Config
	Clients *awsclient.Clients
	// Store keeps checkpoints, and is closed by the caller. It is nil in a dry run, which keeps none.
	Store checkpoint.Store
	// Leases are what replicas share Scopes by, and Replica is this one's name among them; nil: every Scope is ours.
	Leases  checkpoint.Leases
	Replica string
	Log     *zap.Logger
	Version string
	Commit  string
	// Since, if set, is how far back to read what was not read before.
	Since time.Time
	// Once makes Run end when everything visible at its start was read and each Job was tried.
	Once bool
	// OnOutcome, if set, is told of every Outcome, from several goroutines.
	OnOutcome func(resource.Outcome)
	// OnListen, if set, is told where the web port is.
	OnListen func(addr string)
	// Port is the web port, and is closed by the caller; nil: Run opens one.
	Port *Port
	// After is the Daemon of this process that this one comes after; its Run has returned when this one's is called. Nil: none.
	After *Daemon
	// Reloads is in the metrics; nil: one of a process that reloads nothing.
	Reloads *Reloads
}

// Daemon is one process: its Scopes, one tagger for all, one web port.
type Daemon struct {
	options  Options
	planner  *Planner
	metrics  *metrics
	registry *prometheus.Registry
	outcomes *outcomeLog
	recent   *recent
	unknown  *uncataloged
	unmapped *unmapped
	health   health
	fleet    fleet
	log      *zap.Logger
	store    checkpoint.Store

	checkpointMetrics *checkpoint.Metrics
	pollerMetrics     *poller.Metrics

	limiters map[event.Scope]*poller.Limiter // of whoever opens Scopes, as before is
	before   map[event.Scope]bool            // begun once in this process: Since is in its backlog

	// Set by Prepare, before anything runs.
	accounts    *accounts
	wanted      []event.Scope // at the start
	accountsErr error         // what of it could not be read
	tagger      *tagger.Tagger
	names       poller.Names // shared by all Scopes
}

// NewPlanner builds what decides about Records from a checked Config and what OpenDirectory made of it.
func NewPlanner(cfg *config.Config, cat *catalog.Catalog, people *directory.File) (*Planner, error) {
	trust := make([]identity.Trust, len(cfg.Owners.SessionNames))
	for i, n := range cfg.Owners.SessionNames {
		trust[i] = identity.Trust{Role: n.Role, Trust: n.Trust}
	}
	resolver, err := identity.New(trust)
	if err != nil {
		return nil, fmt.Errorf("owners.session_names: %w", err)
	}
	compiled, err := cfg.Rules()
	if err != nil {
		return nil, fmt.Errorf("tags and filters: %w", err)
	}
	return &Planner{
		Catalog: cat, Identity: resolver, Directory: people, Rules: compiled, PropagateAtLaunch: cfg.Tagging.PropagateAtLaunch,
	}, nil
}

// New builds a Daemon around planner. It makes no call and starts nothing.
func New(o Options, planner *Planner) *Daemon {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	d := &Daemon{
		options: o, planner: planner, registry: reg, log: o.Log,
		metrics:  newMetrics(reg, o.Version, o.Commit, runtime.Version()),
		outcomes: newOutcomeLog(o.Log),
		recent:   newRecent(time.Now()),
		store:    o.Store,
		limiters: map[event.Scope]*poller.Limiter{},
		before:   map[event.Scope]bool{},

		checkpointMetrics: checkpoint.NewMetrics(reg),
		pollerMetrics:     poller.NewMetrics(reg),
	}
	if d.store == nil {
		d.store = checkpoint.NewMemory()
	}
	reg.MustRegister(cmp.Or(o.Reloads, NewReloads()))
	d.unknown = newUncataloged(planner.Catalog, d.metrics, o.Log)
	d.unmapped = newUnmapped(d.metrics, o.Log)
	return d
}

// work is everything but the web port.
func (d *Daemon) work(ctx context.Context) error {
	d.inherit()
	if err := d.Prepare(ctx); err != nil {
		if ctx.Err() != nil && !d.options.Once {
			return nil // asked to end while AWS was not answering: nothing was begun
		}
		return err
	}
	d.log.Info("started", zap.String("version", d.options.Version), zap.String("account_id", d.accounts.own.ID), zap.String("identity", d.accounts.own.ARN),
		zap.Strings("regions", regionNames(d.wanted)), zap.Int("scopes", len(d.wanted)), zap.Bool("dry_run", d.options.Config.DryRun))
	tagging, stopTagging := context.WithCancel(context.WithoutCancel(ctx))
	defer stopTagging()
	var behind errgroup.Group // what ends after intake
	behind.Go(func() error { d.outcomes.Run(tagging); return nil })
	tagged := make(chan error, 1)
	go func() { tagged <- d.tagger.Run(tagging) }()

	err := d.intake(ctx)
	if ctx.Err() != nil {
		d.log.Info("shutting down: intake has ended")
	}
	// What is in hand gets its grace; --once waits for it, since each Job is tried for a bounded time there.
	d.tagger.Close()
	grace := time.AfterFunc(workGrace, stopTagging)
	if d.options.Once && ctx.Err() == nil {
		grace.Stop()
		stop := context.AfterFunc(ctx, func() { grace.Reset(workGrace) })
		defer stop()
	}
	err = errors.Join(err, <-tagged)
	grace.Stop()
	stopTagging()
	if d.options.Once && ctx.Err() != nil {
		err = errors.Join(err, errOnceEnded)
	}
	return errors.Join(err, behind.Wait(), d.saveAll(ctx), d.releaseAll(ctx))
}

// errOnceEnded tells a --once that was ended from one that is done.
var errOnceEnded = errors.New("ended before everything was read: the next run goes on from what was saved, after a dry run anew")

// intake reads all Scopes and saves their ledgers until ctx ends, or, once, until all is read.
func (d *Daemon) intake(ctx context.Context) error {
	watching, stop := context.WithCancel(ctx)
	var watch errgroup.Group
	watch.Go(func() error { d.watchDirectory(watching); return nil })
	defer func() { stop(); _ = watch.Wait() }()
	c := d.newCrew()
	if d.options.Once {
		return c.once(ctx)
	}
	return c.run(ctx)
}

// refuseIfDenied fails when, at a start, every Scope's first attempt was denied: then no waiting helps, and an operator who
// looks at the first minute must see it.
func (d *Daemon) refuseIfDenied(ctx context.Context) error {
	t := time.NewTicker(startTick)
	defer t.Stop()
	for {
		if answered, err := d.denied(); answered || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}

// denied fails when every Scope's last attempt was denied and none was ever answered.
func (d *Daemon) denied() (answered bool, err error) {
	denied := 0
	for _, s := range d.fleet.all() {
		p := s.poller.Progress()
		select {
		case <-s.poller.FirstAnswered():
			return true, nil
		default:
		}
		if p.Tried && awsclient.Denied(p.Err) {
			denied++
			err = fmt.Errorf("%s: %w", s.id, awsclient.Explain(p.Err))
		}
	}
	if denied > 0 && denied == len(d.wanted) {
		return false, fmt.Errorf("LookupEvents is denied in every Scope: %w", err)
	}
	return false, nil
}

// Prepare finds out the account and its Scopes. It only reads, and the Daemon before may still be at work. Run does it if it was not done.
func (d *Daemon) Prepare(ctx context.Context) error {
	if d.tagger != nil {
		return nil
	}
	asking, cancel := ctx, func() {}
	if d.options.Once { // whoever runs it waits for the end
		asking, cancel = context.WithTimeout(ctx, onceStart)
	}
	account, err := d.options.Clients.Account(asking)
	cancel()
	if err != nil {
		return err
	}
	cfg := d.options.Config
	if d.accounts, err = newAccounts(cfg, d.options.Clients, account); err != nil {
		return err
	}
	d.wanted, d.accountsErr = d.accounts.scopes(ctx)
	set(d.metrics.accounts, d.accountsErr)
	if len(d.wanted) == 0 {
		return cmp.Or(d.accountsErr, errors.New("there is no account to work in: see accounts in the configuration"))
	}
	if d.accountsErr != nil {
		d.log.Error("not all accounts could be read; the others go on", zap.Error(d.accountsErr))
	}
	d.names = poller.Names{
		Catalog: d.planner.Catalog.Names(cfg.Services), Common: d.planner.Catalog.Common(commonNames), Observe: d.unknown.observe,
		Known: func(source, name string) bool { return d.planner.Catalog.KnownOf(cfg.Services, source, name) },
	}
	var attempt time.Duration
	if d.options.Once {
		attempt = cfg.Tagging.BatchWait + oneShot
	}
	d.tagger = tagger.New(tagger.Options{
		API: d.api, Report: d.report, OneShot: attempt, Now: d.now,
		Workers: cfg.Tagging.Workers, BatchWait: cfg.Tagging.BatchWait, Rate: cfg.Tagging.Rate,
		ConsistencyWait: cfg.Tagging.ConsistencyWait, DeferAfter: cfg.Tagging.DeferAfter, GiveUpAfter: cfg.Tagging.GiveUpAfter,
		Overwrite: cfg.ExistingTags.Overwrite, DryRun: cfg.DryRun,
		Log: d.log, Registerer: d.registry,
	})
	return nil
}

// open makes the parts of a Scope. Since, if set, is how far back to read beside.
func (d *Daemon) open(ctx context.Context, id event.Scope, since time.Time) (*scope, error) {
	account := d.accounts.get(id.AccountID)
	if account == nil {
		return nil, fmt.Errorf("account %s is not one to work in any more", id.AccountID)
	}
	client, err := account.CloudTrail(id)
	if err != nil {
		return nil, err
	}
	ledger, err := checkpoint.Open(ctx, d.store, id, checkpoint.Options{
		Interval: d.options.Config.Poll.Interval, Metrics: d.checkpointMetrics,
	})
	if err != nil {
		return nil, err
	}
	d.metrics.start(id)
	cfg := d.options.Config
	s := &scope{id: id, daemon: d, ledger: ledger, done: make(chan struct{}), log: d.log.With(zap.String("account_id", id.AccountID), zap.String("region", id.Region))}
	s.poller = poller.New(poller.Options{
		Scope: id, Client: client, Sink: s,
		Ledger: flushing{ledger, s},
		Names:  d.names,
		Config: poller.Config{
			Interval: cfg.Poll.Interval, SweepInterval: cfg.Poll.SweepInterval, Lookback: cfg.Poll.Lookback,
			Rate: cfg.Poll.Rate, Start: cfg.Poll.Start, Since: since,
		},
		Limiter: d.limiter(id),
		Metrics: d.pollerMetrics, Log: d.log,
	})
	return s, nil
}

// limiter is the Scope's rate in this process: a Scope that is begun again a moment after it was lost has no second one.
func (d *Daemon) limiter(id event.Scope) *poller.Limiter {
	if d.limiters[id] == nil {
		d.limiters[id] = poller.NewLimiter(d.options.Config.Poll.Rate)
	}
	return d.limiters[id]
}

// regionNames returns the Regions of Scopes, sorted, none twice.
func regionNames(scopes []event.Scope) []string {
	var names []string
	for _, s := range scopes {
		names = append(names, s.Region)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// regionsOf is every Region to poll: the configured ones, else the environment's, and the one where global services'
// events go.
func regionsOf(cfg *config.Config, own string) []string {
	regions := slices.Clone(cfg.Regions)
	if len(regions) == 0 {
		regions = []string{own}
	}
	if cfg.GlobalRegion == config.GlobalRegionAuto {
		regions = append(regions, globalRegion(regions[0]))
	}
	slices.Sort(regions)
	return slices.Compact(regions)
}

// globalRegion is where IAM, CloudFront and other global services record their events, in the partition of region.
func globalRegion(region string) string {
	switch event.Partition(region) {
	case "aws-cn":
		return "cn-north-1"
	case "aws-us-gov":
		return "us-gov-west-1"
	case "aws":
		return "us-east-1"
	}
	return region // isolated partitions: their own
}

// api gives the calls for the Scope where a resource lives.
func (d *Daemon) api(s event.Scope) (tagger.API, error) {
	account := d.accounts.get(s.AccountID)
	if account == nil {
		return tagger.API{}, fmt.Errorf("account %s: %w", s.AccountID, tagger.ErrForeign)
	}
	ec2, err := account.EC2(s)
	if err != nil {
		return tagger.API{}, err
	}
	tagging, err := account.Tagging(s)
	if err != nil {
		return tagger.API{}, err
	}
	return tagger.API{
		CreateTags: ec2.CreateTags, DescribeTags: ec2.DescribeTags, DescribeInstances: ec2.DescribeInstances,
		DescribeVolumes: ec2.DescribeVolumes, DescribeImages: ec2.DescribeImages,
		TagResources: tagging.TagResources, GetResources: tagging.GetResources,
		OwnTag: func(ctx context.Context, service string, call resource.Call, tags []resource.Tag) error {
			made := d.planner.Catalog.Calls().Lookup(service, string(call.API))
			if made == nil {
				return fmt.Errorf("%s of %s is no call of this release", call.API, service)
			}
			return account.WriteTags(ctx, s, made, call.Params, tags)
		},
		OwnTags: func(ctx context.Context, service string, call resource.Call) (map[string]string, error) {
			made := d.planner.Catalog.Calls().Lookup(service, string(call.API))
			if made == nil || made.Read == nil {
				return nil, fmt.Errorf("%s of %s is no call of this release", call.Read, service)
			}
			return account.ReadTags(ctx, s, made, call.Params)
		},
	}, nil
}

// report takes what became of a Job.
func (d *Daemon) report(r tagger.Result) {
	s := d.fleet.get(r.Scope)
	if s == nil {
		return // the Scope was given up: another process does what is left of it
	}
	switch r.Kind {
	case tagger.Ended:
		d.ended(r.Outcome)
		s.ledger.Finish(r.Job)
	case tagger.Deferred:
		d.outcomes.deferred(r.Job)
		d.recent.deferred(r.Job)
		s.ledger.Defer(r.Job)
	case tagger.Unstored:
		d.ended(r.Outcome)
		s.ledger.Unstored(r.Job, r.API, r.Action)
	case tagger.PutBack:
		s.ledger.PutBack(r.Job, r.API, r.Action, time.Now())
	case tagger.Expanded:
		s.ledger.Expand(r.Job, r.Expanded)
	case tagger.Replay:
		if s.ledger.Replay(r.API, r.Action, time.Now()) {
			s.log.Info("tagging works again; events missed meanwhile are read again", zap.String("action", r.Action))
		}
	}
}

// ended counts and logs an Outcome.
func (d *Daemon) ended(o resource.Outcome) {
	d.metrics.observe(o)
	d.outcomes.write(o)
	d.recent.ended(o)
	if d.options.OnOutcome != nil {
		d.options.OnOutcome(o)
	}
}

// now is AWS's time: as a Scope has learned it lately, or as it was at the start.
func (d *Daemon) now() time.Time {
	if now, ok := d.fleet.now(); ok {
		return now
	}
	return d.options.Clients.Now()
}
