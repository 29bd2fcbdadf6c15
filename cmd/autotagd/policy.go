package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/autotagd/autotagd/internal/daemon"
)

func newPolicy(env environment) *cobra.Command {
	var configPath, dir string
	var services []string
	cmd := &cobra.Command{
		Use:   "policy",
		Short: "Print the least IAM policy that the configuration needs",
		Long: `policy prints the least IAM policy that the configuration needs, as JSON for
'aws iam create-policy': the calls that this release makes for what services, filters
and the catalog leave. Run it again when you change them.

A policy has less than 6,144 characters. What takes more comes as several documents, one
after another, which one identity needs all of; --out-dir writes each into a file of its
own: policy-1.json, policy-2.json, and so on. No call is made to AWS.`,
		Example: `  autotagd policy --services ec2,s3 > policy.json
  autotagd policy --config autotagd.yaml --out-dir policies`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, planner, err := loadConfig(env, configPath, true)
			if err != nil {
				return err
			}
			if cmd.Flags().Changed("services") {
				cfg.Services = services
				if len(services) == 0 {
					return usageError{errors.New("--services: names no service; want ec2,s3, or leave it out")}
				}
				known := planner.Catalog.Services()
				for _, s := range services {
					if !slices.Contains(known, s) {
						return usageError{fmt.Errorf("--services: no such service: %q; want the names that autotagd catalog shows, a comma between", s)}
					}
				}
				if planner, err = daemon.NewPlanner(cfg, planner.Catalog, planner.Directory); err != nil {
					return usageError{err}
				}
			}
			policies, err := daemon.Policies(cfg, planner, cmp.Or(env.getenv("AWS_REGION"), env.getenv("AWS_DEFAULT_REGION")))
			if err != nil {
				return err
			}
			return writePolicies(env, policies, dir)
		},
	}
	configFlag(cmd, &configPath)
	cmd.Flags().StringSliceVar(&services, "services", nil, "for these services alone, whatever the configuration says: ec2,s3")
	cmd.Flags().StringVar(&dir, "out-dir", "", "write files into this directory instead, and print their names")
	return cmd
}

// writePolicies prints policies, or writes each into a file of dir, where no file of an earlier, longer series stays.
func writePolicies(env environment, policies []daemon.Policy, dir string) error {
	if dir != "" {
		if err := os.MkdirAll(dir, 0o777); err != nil {
			return err
		}
	}
	for i, p := range policies {
		b, err := p.JSON()
		if err != nil {
			return err
		}
		if dir != "" {
			name := policyFile(dir, i+1)
			if err := os.WriteFile(name, b, 0o666); err != nil {
				return err
			}
			b = fmt.Appendln(nil, name)
		}
		if _, err := env.stdout.Write(b); err != nil {
			return fmt.Errorf("write the policy: %w", err)
		}
	}
	for n := len(policies) + 1; dir != ""; n++ {
		if err := os.Remove(policyFile(dir, n)); errors.Is(err, fs.ErrNotExist) {
			break
		} else if err != nil {
			return err
		}
	}
	return nil
}

func policyFile(dir string, n int) string {
	return filepath.Join(dir, fmt.Sprintf("policy-%d.json", n))
}
