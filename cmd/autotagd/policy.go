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
	"github.com/autotagd/autotagd/pkg/config"
)

// What deploy/ has of policies.
//go:generate env AUTOTAGD_UPDATE=1 go test -count=1 -run=^TestDeployedPolicies$ .

func newPolicy(env environment) *cobra.Command {
	var configPath, dir string
	var services []string
	var role bool
	cmd := &cobra.Command{
		Use:   "policy",
		Short: "Print the least IAM policy that the configuration needs",
		Long: `policy prints the least IAM policy that the configuration needs, as JSON for
'aws iam create-policy': the calls that this release makes for what services, filters
and the catalog leave. Run it again when you change them.

A policy has less than 6,144 characters. What takes more comes as several documents, one
after another, which one identity needs all of; --out-dir writes each into a file of its
own: policy-1.json, policy-2.json, and so on. No call is made to AWS.

With accounts in the configuration these are for the identity that autotagd runs as, which
assumes a role in each account; --role prints what each of these roles needs instead, and
--out-dir writes that too: role-policy-1.json, and so on. The trust policy of each role must
allow that identity sts:AssumeRole.`,
		Example: `  autotagd policy --services ec2,s3 > policy.json
  autotagd policy --config autotagd.yaml --out-dir policies`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, planner, err := loadConfig(env, configPath, false)
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
			return printPolicies(env, cfg, planner, role, dir)
		},
	}
	configFlag(cmd, &configPath)
	cmd.Flags().StringSliceVar(&services, "services", nil, "for these services alone, whatever the configuration says: ec2,s3")
	cmd.Flags().StringVar(&dir, "out-dir", "", "write files into this directory instead, and print their names")
	cmd.Flags().BoolVar(&role, "role", false, "what the role in each of the configuration's accounts needs")
	return cmd
}

// printPolicies prints what the identity that autotagd runs as needs, or the role in each account. Into dir it writes both.
func printPolicies(env environment, cfg *config.Config, planner *daemon.Planner, role bool, dir string) error {
	region := cmp.Or(env.getenv("AWS_REGION"), env.getenv("AWS_DEFAULT_REGION"))
	own, err := daemon.Policies(cfg, planner, region)
	if err != nil {
		return err
	}
	roles, err := daemon.RolePolicies(cfg, planner, region)
	switch {
	case err != nil:
		return err
	case role && dir != "":
		return usageError{errors.New("--role: given beside --out-dir, which writes both; want one of the two")}
	case dir != "":
		if err := writePolicies(env, own, dir, "policy"); err != nil {
			return err
		}
		return writePolicies(env, roles, dir, "role-policy")
	case role && len(roles) == 0:
		return usageError{errors.New("--role: the configuration has no accounts, so that no role is assumed; leave it out")}
	case role:
		return writePolicies(env, roles, "", "")
	}
	if len(roles) > 0 {
		fmt.Fprintln(env.stderr, "autotagd: this is for the identity that autotagd runs as; autotagd policy --role prints what the role in each account needs")
	}
	return writePolicies(env, own, "", "")
}

// writePolicies prints policies, or writes each into a file of dir, where no file of an earlier, longer series stays.
func writePolicies(env environment, policies []daemon.Policy, dir, series string) error {
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
			name := policyFile(dir, series, i+1)
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
		if err := os.Remove(policyFile(dir, series, n)); errors.Is(err, fs.ErrNotExist) {
			break
		} else if err != nil {
			return err
		}
	}
	return nil
}

func policyFile(dir, series string, n int) string {
	return filepath.Join(dir, fmt.Sprintf("%s-%d.json", series, n))
}
