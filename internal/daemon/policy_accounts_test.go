package daemon

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// policiesOf returns the documents for the identity and for the role in each account, checked for what AWS demands.
func policiesOf(t *testing.T, yaml, region string) (own, role []Policy) {
	t.Helper()
	cfg, planner := plannerOf(t, yaml)
	own, err := Policies(cfg, planner, region)
	if err != nil {
		t.Fatal(err)
	}
	role, err = RolePolicies(cfg, planner, region)
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range append(slices.Clone(own), role...) {
		b, err := p.JSON()
		if err != nil {
			t.Fatal(err)
		}
		checkDocument(t, fmt.Sprintf("document %d", i+1), b)
	}
	return own, role
}

// Who needs what where there are accounts.
func TestPoliciesOfAccounts(t *testing.T) {
	const narrow = `services: [ec2], filters: ['event.name == "CreateVolume"']`
	work := []string{"cloudtrail:LookupEvents", "ec2:CreateTags", "ec2:DescribeTags"}
	for _, tt := range []struct {
		name, accounts, region string
		own, role              []string // actions
		assumed                []string // ARNs
	}{
		{"none", "[]", "", work, nil, nil},
		{
			"roles", "[{role_arn: arn:aws:iam::444455556666:role/team/autotagd, external_id: x1}, {role_arn: arn:aws:iam::111122223333:role/a}]", "",
			[]string{"sts:AssumeRole"},
			work,
			[]string{"arn:aws:iam::111122223333:role/a", "arn:aws:iam::444455556666:role/team/autotagd"},
		},
		{"roles in China", "[{role_arn: arn:aws-cn:iam::444455556666:role/autotagd}]", "", []string{"sts:AssumeRole"}, work, []string{"arn:aws-cn:iam::444455556666:role/autotagd"}},
		{
			"an organization, whose own account is worked in without a role", "[{organization: {role_name: tagger, exclude: [444455556666]}}]", "eu-west-1",
			append([]string{"organizations:ListAccounts", "sts:AssumeRole"}, work...), work,
			[]string{"arn:aws:iam::*:role/tagger"},
		},
		{
			"an organization with excluded units, in GovCloud", "[{organization: {exclude: [ou-ab12-12345678]}}]", "us-gov-west-1",
			append([]string{"organizations:ListAccounts", "organizations:ListAccountsForParent", "organizations:ListOrganizationalUnitsForParent", "sts:AssumeRole"}, work...),
			work,
			[]string{"arn:aws-us-gov:iam::*:role/autotagd"},
		},
		{
			"both", "[{organization: {}}, {role_arn: arn:aws:iam::444455556666:role/other}]", "",
			append([]string{"organizations:ListAccounts", "sts:AssumeRole"}, work...), work,
			[]string{"arn:aws:iam::*:role/autotagd", "arn:aws:iam::444455556666:role/other"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for regions, more := range map[string][]string{"[]": nil, "[all]": {"account:ListRegions", "ec2:DescribeRegions"}} {
				own, role := policiesOf(t, fmt.Sprintf("{%s, accounts: %s, regions: %s}", narrow, tt.accounts, regions), tt.region)
				with := func(actions []string) []string {
					if !slices.Contains(actions, "ec2:CreateTags") { // no work
						return actions
					}
					actions = append(slices.Clone(actions), more...)
					slices.Sort(actions)
					return actions
				}
				if diff := cmp.Diff(with(tt.own), actionsOf(t, own)); diff != "" {
					t.Errorf("regions %s, own: %s", regions, diff)
				}
				if diff := cmp.Diff(with(tt.role), actionsOf(t, role)); diff != "" {
					t.Errorf("regions %s, role: %s", regions, diff)
				}
				var assumed []string
				for _, s := range own[0].Statement {
					if slices.Contains(s.Action, "sts:AssumeRole") {
						assumed = s.Resource
					}
				}
				if diff := cmp.Diff(tt.assumed, assumed); diff != "" {
					t.Errorf("regions %s: %s", regions, diff)
				}
				partition := "arn:aws:"
				if len(tt.assumed) > 0 {
					partition = tt.assumed[0][:strings.Index(tt.assumed[0], "iam:")]
				}
				for _, p := range append(own, role...) {
					for _, s := range p.Statement {
						if s.Sid == sidTagEC2 && !slices.Equal(s.Resource, []string{partition + "ec2:*:*:*/*"}) {
							t.Errorf("regions %s: %s of the partition %s", regions, s.Resource, partition)
						}
						if s.Condition["StringEquals"] != nil {
							t.Errorf("regions %s: restricted to %v", regions, s.Condition)
						}
					}
				}
			}
		})
	}
}

// The whole documents of an organization, as they are printed.
func TestPoliciesOfAccountsGolden(t *testing.T) {
	own, role := policiesOf(t, `{services: [sqs], regions: [all], accounts: [{organization: {exclude: [ou-ab12-12345678]}}, {role_arn: arn:aws:iam::444455556666:role/x}]}`, "eu-west-1")
	for name, all := range map[string][]Policy{"organization": own, "organization_role": role} {
		if len(all) != 1 {
			t.Fatalf("%s: %d documents", name, len(all))
		}
		got, err := all[0].JSON()
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join("testdata", "policy", name+".json")
		if *update {
			if err := os.WriteFile(file, got, 0o666); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Error(diff)
		}
	}
}

// More roles than one policy can name take several, each role in one of them.
func TestPoliciesOfManyRoles(t *testing.T) {
	const n = 700
	var accounts strings.Builder
	for i := range n {
		fmt.Fprintf(&accounts, "{role_arn: arn:aws:iam::%012d:role/autotagd}, ", i)
	}
	own, _ := policiesOf(t, "{services: [sqs], accounts: ["+accounts.String()+"]}", "")
	roles := map[string]bool{}
	for _, p := range own {
		if len(p.Statement) != 1 || !slices.Equal(p.Statement[0].Action, []string{"sts:AssumeRole"}) {
			t.Fatalf("statements %+v", p.Statement)
		}
		for _, r := range p.Statement[0].Resource {
			roles[r] = true
		}
	}
	if len(roles) != n || len(own) > 10 { // what one identity takes
		t.Errorf("%d roles in %d documents, want %d in ten at most", len(roles), len(own), n)
	}
}

// Who keeps checkpoints in a table needs that table and what the store calls, and the roles nothing of it.
func TestPoliciesOfATable(t *testing.T) {
	const narrow = `services: [ec2], filters: ['event.name == "CreateVolume"']`
	calls := []string{
		"dynamodb:BatchGetItem", "dynamodb:BatchWriteItem", "dynamodb:DeleteItem", "dynamodb:DescribeTable", "dynamodb:Query", "dynamodb:UpdateItem",
	}
	for _, tt := range []struct {
		name, more, region string
		tables             []string // nil: no statement
	}{
		{"files", "", "eu-west-1", nil},
		{"in the environment's Region", "checkpoint: {dynamodb: {}}", "eu-west-1", []string{"arn:aws:dynamodb:eu-west-1:*:table/autotagd"}},
		{"in one of its own", "checkpoint: {dynamodb: {table: a.b-c_d, region: us-east-2}}", "eu-west-1", []string{"arn:aws:dynamodb:us-east-2:*:table/a.b-c_d"}},
		{"in a Region that is not known here", "checkpoint: {dynamodb: {}}", "", []string{"arn:aws:dynamodb:*:*:table/autotagd"}},
		{"in China", "checkpoint: {dynamodb: {}}", "cn-north-1", []string{"arn:aws-cn:dynamodb:cn-north-1:*:table/autotagd"}},
		{
			"in the partition of the roles", "checkpoint: {dynamodb: {}}, accounts: [{role_arn: arn:aws-us-gov:iam::444455556666:role/x}]", "us-gov-west-1",
			[]string{"arn:aws-us-gov:dynamodb:us-gov-west-1:*:table/autotagd"},
		},
		{
			"an organization", "checkpoint: {dynamodb: {}}, accounts: [{organization: {}}]", "eu-west-1",
			[]string{"arn:aws:dynamodb:eu-west-1:*:table/autotagd"},
		},
		{"a dry run", "checkpoint: {dynamodb: {}}, dry_run: true", "eu-west-1", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			own, role := policiesOf(t, "{"+strings.TrimSuffix(narrow+", "+tt.more, ", ")+"}", tt.region)
			var actions, tables []string
			for _, p := range own {
				for _, s := range p.Statement {
					if strings.HasPrefix(s.Action[0], "dynamodb:") {
						actions, tables = append(actions, s.Action...), append(tables, s.Resource...)
					}
				}
			}
			want := calls
			if tt.tables == nil {
				want = nil
			}
			if diff := cmp.Diff(want, actions); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(tt.tables, tables); diff != "" {
				t.Error(diff)
			}
			if strings.Contains(tt.more, "accounts") && len(role) == 0 {
				t.Error("no policy for the role")
			}
			for _, a := range actionsOf(t, role) {
				if strings.HasPrefix(a, "dynamodb:") {
					t.Errorf("the role may %s", a)
				}
			}
		})
	}
}
