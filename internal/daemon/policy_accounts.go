package daemon

import (
	"cmp"
	"slices"
	"strings"

	"github.com/autotagd/autotagd/pkg/config"
	"github.com/autotagd/autotagd/pkg/event"
)

// Policies returns the least that the identity which autotagd runs as needs. More than one policy takes comes as several, for
// that one identity. region is the environment's, or "".
func Policies(cfg *config.Config, planner *Planner, region string) ([]Policy, error) {
	return documents(identityGrants(cfg, planner, region), maxPolicy)
}

// RolePolicies returns the least that the role in each account needs, where cfg has accounts to work in by roles; else none.
func RolePolicies(cfg *config.Config, planner *Planner, region string) ([]Policy, error) {
	if len(cfg.Accounts) == 0 {
		return nil, nil
	}
	return documents(grants(cfg, planner, region), maxPolicy)
}

// identityGrants returns what Policies is about. Where there are accounts, its own is worked in without a role only if it is
// one of the organization's.
func identityGrants(cfg *config.Config, planner *Planner, region string) []grant {
	var roles, organization []grant
	own := len(cfg.Accounts) == 0
	assume := func(arn string) {
		roles = append(roles, grant{sid: sidRoles, action: "sts:AssumeRole", resources: []string{arn}})
	}
	for _, a := range cfg.Accounts {
		if a.Organization == nil {
			assume(a.RoleARN)
			continue
		}
		own = true
		for _, p := range partitionsOf(cfg, region) {
			assume("arn:" + p + ":iam::*:role/" + a.Organization.RoleName)
		}
		actions := []string{"organizations:ListAccounts"}
		if slices.ContainsFunc(a.Organization.Exclude, isUnit) {
			actions = append(actions, "organizations:ListAccountsForParent", "organizations:ListOrganizationalUnitsForParent")
		}
		for _, action := range actions {
			organization = append(organization, grant{sid: sidOrg, action: action, resources: []string{"*"}})
		}
	}
	all := append(roles, organization...)
	all = append(all, tableGrants(cfg, region)...)
	if own {
		all = append(all, grants(cfg, planner, region)...)
	}
	return all
}

// tableGrants returns what checkpoints in DynamoDB take: the table is in the identity's own account.
func tableGrants(cfg *config.Config, region string) []grant {
	if cfg.Checkpoint.DynamoDB == nil || cfg.DryRun {
		return nil
	}
	var tables []string
	for _, p := range partitionsOf(cfg, region) {
		tables = append(tables, "arn:"+p+":dynamodb:"+cmp.Or(cfg.Checkpoint.DynamoDB.Region, region, "*")+":*:table/"+cfg.Checkpoint.DynamoDB.Table)
	}
	var all []grant
	for _, action := range [...]string{"BatchGetItem", "BatchWriteItem", "DeleteItem", "DescribeTable", "Query", "UpdateItem"} {
		all = append(all, grant{sid: sidTable, action: "dynamodb:" + action, resources: tables})
	}
	return all
}

// isUnit reports whether an entry of exclude is an organizational unit.
func isUnit(entry string) bool { return strings.HasPrefix(entry, "ou-") }

// policyRegions returns the Regions to poll, as far as they can be told, and whether the configuration names them all: the
// environment's may be another one where the daemon runs, and which are enabled in an account only AWS knows.
func policyRegions(cfg *config.Config, region string) (regions []string, named bool) {
	if slices.Contains(cfg.Regions, config.AllRegions) {
		unnamed := *cfg
		unnamed.Regions = nil
		return regionsOf(&unnamed, region), false
	}
	return regionsOf(cfg, region), len(cfg.Regions) > 0
}

// partitionsOf returns where ARNs are to be: in the partition of the roles, else in those of the Regions.
func partitionsOf(cfg *config.Config, region string) []string {
	for _, a := range cfg.Accounts {
		if arn, err := event.ParseARN(a.RoleARN); err == nil {
			return []string{arn.Partition}
		}
	}
	regions, _ := policyRegions(cfg, region)
	var partitions []string
	for _, r := range regions {
		partitions = append(partitions, event.Partition(r))
	}
	slices.Sort(partitions)
	return slices.Compact(partitions)
}
