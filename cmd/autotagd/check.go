package main

import (
	"context"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/autotagd/autotagd/internal/awsclient"
	"github.com/autotagd/autotagd/internal/daemon"
	"github.com/autotagd/autotagd/pkg/config"
)

func newCheck(env environment) *cobra.Command {
	var configPath string
	var tryAWS, createTable bool
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Validate the configuration and print the effective one",
		Long: `check reports every mistake in the configuration at once, with its place and the remedy,
and prints the configuration that is in force, defaults included. --aws also tries the
credentials and each permission that can be tried without changing anything, and looks at
the DynamoDB table if checkpoints are kept in one; --create-table makes it.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if createTable && !tryAWS {
				return usageError{errors.New("--create-table makes a table in AWS: want --aws beside it")}
			}
			cfg, planner, err := loadConfig(env, configPath, true)
			if err != nil {
				return err
			}
			effective, err := cfg.YAML()
			if err != nil {
				return err
			}
			if _, err := env.stdout.Write(effective); err != nil {
				return err
			}
			for _, warning := range planner.Warnings() {
				fmt.Fprintln(env.stderr, "autotagd: warning: "+warning)
			}
			if !tryAWS {
				return nil
			}
			if createTable && cfg.Checkpoint.DynamoDB == nil {
				return usageError{errors.New("--create-table: the configuration has no checkpoint.dynamodb")}
			}
			return checkAWS(cmd.Context(), env, cfg, planner, createTable)
		},
	}
	configFlag(cmd, &configPath)
	cmd.Flags().BoolVar(&tryAWS, "aws", false, "try credentials and permissions too")
	cmd.Flags().BoolVar(&createTable, "create-table", false, "with --aws: make the DynamoDB table of the configuration, if it is not there")
	return cmd
}

// checkFor is how long a check waits for AWS: a start would wait for ever.
const checkFor = 2 * time.Minute

func checkAWS(ctx context.Context, env environment, cfg *config.Config, planner *daemon.Planner, createTable bool) error {
	log, err := newLogger(cfg, env.stderr)
	if err != nil {
		return err
	}
	clients, err := newClients(ctx, cfg, log)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, checkFor)
	defer cancel()
	if cfg.Checkpoint.DynamoDB != nil {
		table := tableOf(cfg, clients)
		do := table.Check
		if createTable {
			do = table.Create
		}
		if err := patiently(ctx, log, do); err != nil {
			return err
		}
		fmt.Fprintf(env.stdout, "\n# DynamoDB table %s in %s: ok\n", table.Name, table.Region)
	}
	account, permissions, err := daemon.CheckAWS(ctx, cfg, planner, clients)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(env.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "\n# account %s as %s\n", account.ID, account.ARN)
	failed := 0
	for _, p := range permissions {
		verdict := "ok"
		if p.Err != nil {
			failed++
			verdict = p.Err.Error()
		}
		place := p.Scope.Region
		if len(cfg.Accounts) > 0 {
			place = p.Scope.String()
		}
		fmt.Fprintf(w, "# %s\t%s\t%s\n", place, p.Action, verdict)
	}
	fmt.Fprintln(w, "# tag:TagResources cannot be tried without tagging something")
	if err := w.Flush(); err != nil {
		return err
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d permissions are missing or could not be tried", failed, len(permissions))
	}
	return nil
}

func newClients(ctx context.Context, cfg *config.Config, log *zap.Logger) (*awsclient.Clients, error) {
	region := ""
	if len(cfg.Regions) > 0 && cfg.Regions[0] != config.AllRegions {
		region = cfg.Regions[0]
	}
	return awsclient.New(ctx, awsclient.Options{Version: version, Region: region, Log: log})
}
