package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/autotagd/autotagd/internal/awsclient"
	"github.com/autotagd/autotagd/internal/daemon"
	"github.com/autotagd/autotagd/internal/fakeaws"
	"github.com/autotagd/autotagd/pkg/catalog"
	"github.com/autotagd/autotagd/pkg/checkpoint"
	"github.com/autotagd/autotagd/pkg/config"
	"github.com/autotagd/autotagd/pkg/event"
	"github.com/autotagd/autotagd/pkg/resource"
)

// The demo's account. CloudTrail's delays are a seventy-fifth of the real ones, or nobody would wait for the first line.
const (
	demoVisibility = 2 * time.Second
	demoPast       = 30 * time.Second // of work done before the daemon starts
	demoSettle     = 45 * time.Second // at most, for the last events at the end
	demoListen     = "127.0.0.1:9464"
)

// With faults. What waits for a permission is tried again each minute, so the end takes that much longer.
const (
	demoDenied  = time.Minute // and then not
	demoGranted = 2 * time.Minute
	demoProbe   = 75 * time.Second
)

// demoOptions are what the flags say.
type demoOptions struct {
	duration time.Duration
	seed     uint64
	listen   string
	faults   bool
}

func newDemo(env environment) *cobra.Command {
	var o demoOptions
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Run the daemon on an AWS inside the process: no credentials, no network",
		Long: `demo runs the real daemon, unchanged, on an AWS inside the process, with a busy account in
it: people, single sign-on, CI roles, services, failed calls, deletions. It prints each
resource and its new owner, and at the end (Ctrl-C or --duration) checks itself against
what really happened.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.duration < 0 {
				return usageError{fmt.Errorf("--duration: %s is not a positive time", o.duration)}
			}
			if !cmd.Flags().Changed("seed") {
				o.seed = rand.Uint64N(1_000_000)
			}
			cfg, err := demoConfig(o.listen)
			if err != nil {
				return err
			}
			return runDemo(cmd.Context(), env, cfg, o)
		},
	}
	cmd.Flags().DurationVar(&o.duration, "duration", 0, "end after this long (default: at Ctrl-C)")
	cmd.Flags().Uint64Var(&o.seed, "seed", 0, "of the account's work (default: a new one each time)")
	cmd.Flags().StringVar(&o.listen, "listen", "", "where the web port is, as :9464 in a container (default: "+demoListen+", or another port where that is taken)")
	cmd.Flags().BoolVar(&o.faults, "faults", false, "AWS throttles, fails, loses answers, and denies a permission for a minute of every three")
	return cmd
}

func runDemo(ctx context.Context, env environment, cfg *config.Config, o demoOptions) (err error) {
	dir, err := os.MkdirTemp("", "autotagd-demo-")
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	store, err := checkpoint.OpenFileStore(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	cat, err := catalog.Load()
	if err != nil {
		return err
	}
	planner, err := daemon.NewPlanner(cfg, cat, nil)
	if err != nil {
		return err
	}
	log, err := newLogger(cfg, env.stderr)
	if err != nil {
		return err
	}

	cloud := fakeaws.New(fakeaws.Config{
		Seed: o.seed, Regions: []string{"eu-central-1", "us-east-1"}, Visibility: demoVisibility, Consistency: time.Second, ImageTime: 5 * time.Second,
	})
	work := fakeaws.Traffic{Creates: 0.7, Writes: 1.5, Reads: 2}
	cloud.Past(time.Now().Add(-demoPast), time.Now(), work)
	clients, err := demoClients(cloud, log)
	if err != nil {
		return err
	}
	screen := &screen{out: env.stdout}
	screen.printf("autotagd demo: the real daemon on an AWS inside this process, with a busy account in it (--seed %d).\n", o.seed)
	screen.printf("CloudTrail shows events %s late on average here; in life it is two to three minutes.\n", demoVisibility)

	// The account works until ctx or the duration ends; the daemon goes on until what was done is settled.
	working, stopWork := context.WithCancel(ctx)
	if o.duration > 0 {
		working, stopWork = context.WithTimeout(ctx, o.duration)
	}
	defer stopWork()
	tagging, stopTagging := context.WithCancel(context.WithoutCancel(ctx))
	defer stopTagging()
	var group errgroup.Group
	group.Go(func() error {
		defer stopWork()
		return daemon.New(daemon.Options{
			Config: cfg, Clients: clients, Store: store, Log: log, Version: version, Commit: commit,
			OnOutcome: screen.outcome,
			OnListen: func(addr string) {
				screen.printf("Status: http://%s/     Metrics: http://%[1]s/metrics     Stop: Ctrl-C\n\n", addr)
			},
		}, planner).Run(tagging)
	})
	group.Go(func() error { return cloud.Live(working, work) })
	group.Go(func() error { screen.count(working); return nil })
	patience := demoSettle
	if o.faults {
		patience += demoProbe
		misbehave(working, cloud)
	}
	<-working.Done()
	screen.printf("\nThe account rests. Waiting until its last events are visible and settled (Ctrl-C again ends it without) ...\n")
	settle(cloud, patience)
	stopTagging()
	if err := group.Wait(); err != nil {
		return err
	}
	return screen.summary(cloud)
}

// misbehave makes AWS fail now and then until ctx ends, and then no more.
func misbehave(ctx context.Context, cloud *fakeaws.AWS) {
	const action = "tag:TagResources"
	defer cloud.Heal()
	cloud.SetFaults("", fakeaws.Faults{Throttle: 0.05, ServerError: 0.03, Reset: 0.01, LostAnswer: 0.01})
	// Each of these slows a Scope down for minutes: more of them would leave nothing else to see.
	cloud.SetFaults("LookupEvents", fakeaws.Faults{Throttle: 0.01, ServerError: 0.01, BadToken: 0.02})
	for wait := demoDenied; ; wait = demoDenied + demoGranted - wait {
		if wait == demoDenied {
			cloud.Deny(action)
		} else {
			cloud.Allow(action)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// demoConfig is the default configuration, with its times scaled as the delays are. No listen is demoListen or, where a daemon of
// this host has that, a free port.
func demoConfig(listen string) (*config.Config, error) {
	address := cmp.Or(listen, demoListen)
	switch l, err := net.Listen("tcp", address); {
	case err == nil:
		if err := l.Close(); err != nil {
			return nil, fmt.Errorf("demo: %w", err)
		}
	case listen != "":
		return nil, usageError{fmt.Errorf("--listen: %w; want a free HOST:PORT of this host, as %s", err, demoListen)}
	default:
		address = "127.0.0.1:0"
	}
	return config.Load("demo", []byte(`
regions: [eu-central-1]
poll: {interval: 1s, sweep_interval: 15s, lookback: 20s, start: 1m}
tagging: {batch_wait: 500ms, consistency_wait: 10s}
log: {level: error}
web: {listen: `+strconv.Quote(address)+`}
`))
}

func demoClients(cloud *fakeaws.AWS, log *zap.Logger) (*awsclient.Clients, error) {
	return awsclient.FromConfig(aws.Config{
		Region:      "eu-central-1",
		Credentials: credentials.NewStaticCredentialsProvider("DEMO", "DEMO", ""),
	}, awsclient.Options{Version: version, Log: log, HTTP: cloud.HTTPClient()})
}

// settle waits until every event is visible and the account is as it should be, or for patience: the summary says what is not.
func settle(cloud *fakeaws.AWS, patience time.Duration) {
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(time.Second) {
		hidden := slices.ContainsFunc(cloud.Resources(), func(r fakeaws.Resource) bool { return r.VisibleAt.After(cloud.Now()) })
		if !hidden && len(cloud.Audit(0)) == 0 {
			return
		}
	}
}

// screen prints for people. Its methods may be called from several goroutines.
type screen struct {
	mu     sync.Mutex // guards what follows
	out    io.Writer
	kinds  [6]int // by the order of resource.OutcomeKinds
	missed map[resource.Reason]int
	last   [6]int
}

func (s *screen) printf(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(s.out, format, args...)
}

// outcome prints one line about one resource.
func (s *screen) outcome(o resource.Outcome) {
	what := o.Job.Resource.ARN
	if what == "" {
		what = o.Job.Resource.ID
	}
	if what == "" {
		what = o.Job.Event.Name
	}
	var detail string
	switch o.Kind {
	case resource.Tagged:
		detail = "Owner=" + o.Job.Owner
	case resource.Missed:
		detail = string(o.Reason) + ": " + o.Detail
	default:
		detail = o.Detail
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kinds[slices.Index(resource.OutcomeKinds(), o.Kind)]++
	if o.Kind == resource.Missed {
		if s.missed == nil {
			s.missed = make(map[resource.Reason]int)
		}
		s.missed[o.Reason]++
	}
	fmt.Fprintf(s.out, "%s  %-7s  %s  %s\n", o.At.Format(time.TimeOnly), o.Kind, event.Printable(what, 100), event.Printable(detail, 120))
}

// count prints the running count every few seconds, when it has changed.
func (s *screen) count(ctx context.Context) {
	t := time.NewTicker(5 * time.Second)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		s.mu.Lock()
		if s.kinds != s.last {
			s.last = s.kinds
			fmt.Fprintf(s.out, "          ------   so far: %s\n", s.totals())
		}
		s.mu.Unlock()
	}
}

// totals names every count. The caller holds the lock.
func (s *screen) totals() string {
	var parts []string
	for i, kind := range resource.OutcomeKinds() {
		if kind == resource.WouldTag {
			continue
		}
		part := fmt.Sprintf("%s %d", kind, s.kinds[i])
		if kind == resource.Missed && s.kinds[i] > 0 {
			var reasons []string
			for _, r := range resource.Reasons() {
				if n := s.missed[r]; n > 0 {
					reasons = append(reasons, fmt.Sprintf("%s %d", r, n))
				}
			}
			part += " (" + strings.Join(reasons, ", ") + ")"
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, ", ")
}

// summary compares what was done with the truth, which the fake AWS keeps apart. A difference is a failure.
func (s *screen) summary(cloud *fakeaws.AWS) error {
	problems := cloud.Audit(0)
	var owned, ownerless, correct int
	for _, r := range cloud.Resources() {
		owners := r.Owners()
		switch {
		case len(owners) == 0:
			ownerless++
		default:
			owned++
			if slices.Contains(owners, [2]string{r.Tags["Owner"], r.Tags["PrincipalId"]}) {
				correct++
			}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(s.out, "\nOutcomes: %s\n", s.totals())
	fmt.Fprintf(s.out, "Truth:    %d resources were made by people and pipelines, %d of them carry exactly their owner's tags; %d were made by services or other accounts.\n", owned, correct, ownerless)
	if len(problems) > 0 {
		fmt.Fprintf(s.out, "Check:    FAILED, %d differences:\n", len(problems))
		for _, p := range problems[:min(len(problems), 20)] {
			fmt.Fprintf(s.out, "          %s\n", p)
		}
		return errSilent
	}
	fmt.Fprintln(s.out, "Check:    passed. Every resource that should have an owner has the right one (others were deleted, had an Owner of their own,")
	fmt.Fprintln(s.out, "          or are of a kind that was counted as missed), nothing else was touched, and no tag was overwritten.")
	return nil
}
