package main

import (
	"fmt"
	"time"

	"github.com/prometheus/common/model"
	"github.com/spf13/cobra"
)

// maxSince is how far back LookupEvents goes.
const maxSince = 90 * 24 * time.Hour

func newRun(env environment) *cobra.Command {
	var configPath, since string
	var once, dryRun bool
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Tag new resources until told to stop",
		Long: `run polls CloudTrail, works out who created each new resource, and tags it. It needs
AWS credentials and a Region, from wherever the AWS CLI would take them; everything else
has a default. SIGTERM or Ctrl-C ends it within 20 seconds; nothing is lost. SIGHUP has it read
the configuration file again; one with mistakes is refused, and what was in force stays so.`,
		Example: `  AWS_REGION=eu-central-1 autotagd run --dry-run --once     what would it do?
  AWS_REGION=eu-central-1 autotagd run --since 30d          and tag what is there already`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			from, err := parseSince(since, time.Now())
			if err != nil {
				return usageError{err}
			}
			return newSupervisor(env, configPath, dryRun, from, once).run(cmd.Context())
		},
	}
	configFlag(cmd, &configPath)
	cmd.Flags().BoolVar(&once, "once", false, "read everything that is visible now, tag it, save, and exit")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "make no writing call and keep no checkpoint; may run beside the real daemon")
	cmd.Flags().StringVar(&since, "since", "", "read this far back too: an age such as 30d, or a time such as 2026-01-31 or 2026-01-31T12:00:00Z (at most 90d)")
	return cmd
}

// parseSince reads an age or a time; "" is no time at all.
func parseSince(s string, now time.Time) (time.Time, error) {
	const want = "want an age such as 30d, or a time such as 2026-01-31 or 2026-01-31T12:00:00Z, at most 90d back"
	if s == "" {
		return time.Time{}, nil
	}
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		at, err = time.Parse(time.DateOnly, s)
	}
	if err != nil {
		age, err := model.ParseDuration(s)
		if err != nil {
			return time.Time{}, fmt.Errorf("--since: %q is neither an age nor a time; %s", s, want)
		}
		at = now.Add(-time.Duration(age))
	}
	if !at.Before(now) || now.Sub(at) > maxSince {
		return time.Time{}, fmt.Errorf("--since: %s is not within the last 90 days; %s", s, want)
	}
	return at, nil
}
