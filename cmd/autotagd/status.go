package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/prometheus/common/model"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/autotagd/autotagd/internal/awsclient"
	"github.com/autotagd/autotagd/internal/daemon"
	"github.com/autotagd/autotagd/pkg/checkpoint"
	"github.com/autotagd/autotagd/pkg/config"
	"github.com/autotagd/autotagd/pkg/event"
	"github.com/autotagd/autotagd/pkg/resource"
)

const (
	statusAtOnce = 16          // Scopes being read
	statusTries  = 3           // of each, where AWS does not answer
	statusWait   = time.Second // between them
)

func newStatus(env environment) *cobra.Command {
	var configPath, maxLag string
	format := "table"
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show how far each Scope is, and what waits",
		Long: `status reads the checkpoints and shows each Scope (an account in a Region): who holds it, its
marks and how far they are behind, the backlog, and the resources that wait to be tried again.
It disturbs no daemon: it takes no lock and no lease, and writes nothing.

What is shown is what was saved: a Scope where nothing happens is saved once in five minutes.
So ask for a --max-lag of ten minutes or more. With checkpoints in files the Scopes are those
in the directory, and the holder is the process of this host that has its lock: one on another
host is not seen. With checkpoint.dynamodb the Scopes are those of the configuration, and the
holder is the replica on whose name the Scope is written, dead or alive.

--format json prints one array, an object for each Scope:
  account_id, region
  holder                  "" when there is none
  saved_at                of the last save, on its host's clock; null when there was none
  watermark, floor        null when not known
  watermark_lag_seconds   from the mark to now, by this host's clock; null when not known
  floor_lag_seconds
  backlog_spans           stretches of the past that are still to be read
  backlog_seconds         their length, added up
  deferred                resources that wait to be tried again
  deferred_oldest         the time of the oldest one's event; null when none waits
  deferred_by_reason      an object: how many by the reason of the last failure
  error                   why the checkpoint can't be read; "" when it was

The exit code is 1 when a checkpoint can't be read, when there is none, and when a Scope is
further behind than --max-lag: its Watermark, or its Floor where that is not known.`,
		Example: `  autotagd status --max-lag 15m
  autotagd status --format json | jq '.[] | select(.deferred > 0)'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if format != "table" && format != "json" {
				return usageError{fmt.Errorf("--format: %q is not a format; want table or json", format)}
			}
			var limit time.Duration
			if cmd.Flags().Changed("max-lag") {
				d, err := model.ParseDuration(maxLag)
				if err != nil || d <= 0 {
					return usageError{fmt.Errorf("--max-lag: %q is not a time; want digits and units, as 15m or 1h30m", maxLag)}
				}
				limit = time.Duration(d)
			}
			cfg, _, err := loadConfig(env, configPath, false)
			if err != nil {
				return err
			}
			all, err := statuses(cmd.Context(), env, cfg)
			if err != nil && len(all) == 0 {
				return err
			}
			if printErr := printStatus(env, all, format); printErr != nil {
				return printErr
			}
			return judgeStatus(env, all, limit, err)
		},
	}
	configFlag(cmd, &configPath)
	cmd.Flags().StringVar(&format, "format", format, "table or json")
	cmd.Flags().StringVar(&maxLag, "max-lag", "", "exit with 1 if a Scope is further behind, as 15m (default: no limit)")
	return cmd
}

// scopeStatus is what is shown of one Scope.
type scopeStatus struct {
	AccountID        string                  `json:"account_id"`
	Region           string                  `json:"region"`
	Holder           string                  `json:"holder"`
	SavedAt          *time.Time              `json:"saved_at"`
	Watermark        *time.Time              `json:"watermark"`
	Floor            *time.Time              `json:"floor"`
	WatermarkLag     *int64                  `json:"watermark_lag_seconds"`
	FloorLag         *int64                  `json:"floor_lag_seconds"`
	BacklogSpans     int                     `json:"backlog_spans"`
	BacklogSeconds   int64                   `json:"backlog_seconds"`
	Deferred         int                     `json:"deferred"`
	DeferredOldest   *time.Time              `json:"deferred_oldest"`
	DeferredByReason map[resource.Reason]int `json:"deferred_by_reason"`
	Error            string                  `json:"error"`

	now time.Time // when it was read
}

func newScopeStatus(s event.Scope, holder string, sum checkpoint.Summary, now time.Time, err error) scopeStatus {
	known := func(t time.Time) *time.Time {
		if t.IsZero() {
			return nil
		}
		t = t.UTC().Truncate(time.Second)
		return &t
	}
	behind := func(t time.Time) *int64 {
		if t.IsZero() {
			return nil
		}
		seconds := int64(now.Sub(t) / time.Second)
		return &seconds
	}
	st := scopeStatus{
		AccountID: s.AccountID, Region: s.Region, Holder: holder, now: now,
		SavedAt: known(sum.SavedAt), Watermark: known(sum.Watermark), Floor: known(sum.Floor),
		WatermarkLag: behind(sum.Watermark), FloorLag: behind(sum.Floor),
		BacklogSpans: sum.Spans, BacklogSeconds: int64(sum.Backlog / time.Second),
		Deferred: sum.Deferred, DeferredOldest: known(sum.Oldest), DeferredByReason: map[resource.Reason]int{},
	}
	maps.Copy(st.DeferredByReason, sum.Reasons)
	if err != nil {
		st.Error = event.Printable(err.Error(), 1000)
	}
	return st
}

func (s scopeStatus) scope() string { return s.AccountID + "/" + s.Region }

// statuses reads every Scope's checkpoint. Beside some of them its error says why there are not more.
func statuses(ctx context.Context, env environment, cfg *config.Config) ([]scopeStatus, error) {
	if cfg.Checkpoint.DynamoDB != nil {
		return tableStatuses(ctx, env, cfg)
	}
	dir, err := cfg.CheckpointDir(env.getenv)
	if err != nil {
		return nil, usageError{err}
	}
	store, err := checkpoint.OpenReadOnly(filepath.Clean(dir))
	if err != nil {
		return nil, fmt.Errorf("%w; has autotagd run with this configuration?", err)
	}
	scopes, err := store.Scopes(ctx)
	if err != nil {
		return nil, err
	}
	if len(scopes) == 0 {
		return nil, fmt.Errorf("no checkpoint is in %s; has autotagd run with this configuration?", dir)
	}
	pid, err := store.Locked()
	if err != nil {
		return nil, err
	}
	holder := ""
	if pid > 0 {
		host, err := os.Hostname()
		if err != nil || host == "" {
			host = "this host"
		}
		holder = fmt.Sprintf("pid %d on %s", pid, host)
	}
	return inspectAll(ctx, store, scopes, func(event.Scope) string { return holder }), nil
}

func tableStatuses(ctx context.Context, env environment, cfg *config.Config) ([]scopeStatus, error) {
	log, err := newLogger(cfg, env.stderr)
	if err != nil {
		return nil, err
	}
	clients, err := newClients(ctx, cfg, log)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, checkFor)
	defer cancel()
	table := tableOf(cfg, clients)
	if err := patiently(ctx, log, table.Check); err != nil {
		return nil, err
	}
	scopes, incomplete := daemon.Scopes(ctx, cfg, clients)
	if len(scopes) == 0 {
		return nil, cmp.Or(incomplete, errors.New("there is no account to work in: see accounts in the configuration"))
	}
	store := checkpoint.NewDynamoDBStore(table, "") // of no replica: it only reads
	var owners map[event.Scope]checkpoint.Owner
	err = patiently(ctx, log, func(ctx context.Context) error {
		var err error
		if owners, err = store.Owners(ctx, scopes); owners != nil {
			return nil // those that are damaged say so when they are read
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return inspectAll(ctx, store, scopes, func(s event.Scope) string { return owners[s].Replica }), incomplete
}

// inspectAll reads the Scopes, several at a time.
func inspectAll(ctx context.Context, store checkpoint.Store, scopes []event.Scope, holder func(event.Scope) string) []scopeStatus {
	all := make([]scopeStatus, len(scopes))
	var reading errgroup.Group
	reading.SetLimit(statusAtOnce)
	for i, s := range scopes {
		reading.Go(func() error {
			sum, err := inspect(ctx, store, s)
			all[i] = newScopeStatus(s, event.Printable(holder(s), 200), sum, time.Now(), err)
			return nil
		})
	}
	_ = reading.Wait()
	return all
}

// inspect reads one Scope, and again if that failed for a reason that may pass.
func inspect(ctx context.Context, store checkpoint.Store, s event.Scope) (checkpoint.Summary, error) {
	for attempt := 1; ; attempt++ {
		sum, err := checkpoint.Inspect(ctx, store, s)
		var damaged *checkpoint.DamagedError
		var newer *checkpoint.NewerError
		if err == nil || errors.As(err, &damaged) || errors.As(err, &newer) || attempt == statusTries || ctx.Err() != nil {
			return sum, awsclient.Explain(err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(attempt) * statusWait):
		}
	}
}

func printStatus(env environment, all []scopeStatus, format string) error {
	if format == "json" {
		enc := json.NewEncoder(env.stdout)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		return enc.Encode(all)
	}
	w := tabwriter.NewWriter(env.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SCOPE\tHOLDER\tWATERMARK\tLAG\tFLOOR\tLAG\tBACKLOG\tDEFERRED")
	for _, s := range all {
		last := s.waiting()
		if s.Error != "" {
			last = s.Error
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", s.scope(), cmp.Or(s.Holder, "-"),
			instant(s.Watermark), lag(s.WatermarkLag), instant(s.Floor), lag(s.FloorLag), s.backlog(), last)
	}
	return w.Flush()
}

func instant(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return t.Format(time.RFC3339)
}

func lag(seconds *int64) string {
	if seconds == nil {
		return "-"
	}
	return (time.Duration(*seconds) * time.Second).String()
}

// backlog is the backlog for people.
func (s scopeStatus) backlog() string {
	if s.BacklogSpans == 0 {
		return "-"
	}
	return fmt.Sprintf("%d: %s", s.BacklogSpans, time.Duration(s.BacklogSeconds)*time.Second)
}

// waiting is the deferred Jobs for people, the commonest reason first.
func (s scopeStatus) waiting() string {
	if s.Deferred == 0 {
		return "-"
	}
	text := fmt.Sprint(s.Deferred)
	if s.DeferredOldest != nil {
		text += fmt.Sprintf(", oldest %s", s.now.Sub(*s.DeferredOldest).Truncate(time.Second))
	}
	by := s.DeferredByReason
	reasons := slices.SortedFunc(maps.Keys(by), func(a, b resource.Reason) int { return cmp.Or(by[b]-by[a], strings.Compare(string(a), string(b))) })
	for i, r := range reasons {
		text += fmt.Sprintf("%s%s %d", map[bool]string{true: ": ", false: ", "}[i == 0], event.Printable(cmp.Or(string(r), "not tried"), 50), by[r])
	}
	return text
}

// judgeStatus says on stderr what is not as it should be; nil if all is. limit 0 is none.
func judgeStatus(env environment, all []scopeStatus, limit time.Duration, incomplete error) error {
	var bad error
	say := func(format string, args ...any) {
		bad = errSilent
		fmt.Fprintf(env.stderr, "autotagd: "+format+"\n", args...)
	}
	if incomplete != nil {
		say("not every Scope is shown: %v", incomplete)
	}
	for _, s := range all {
		mark, seconds := "Watermark", s.WatermarkLag
		if seconds == nil {
			mark, seconds = "Floor", s.FloorLag
		}
		switch {
		case s.Error != "":
			say("%s: its checkpoint can't be read", s.scope())
		case limit == 0:
		case seconds == nil:
			say("%s: it was never saved, so that how far it is behind is not known", s.scope())
		case time.Duration(*seconds)*time.Second > limit:
			say("%s: its %s is %s behind, more than %s", s.scope(), mark, lag(seconds), limit)
		}
	}
	return bad
}
