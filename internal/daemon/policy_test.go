package daemon

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"

	"github.com/autotagd/autotagd/internal/fakeaws"
	"github.com/autotagd/autotagd/pkg/catalog"
	"github.com/autotagd/autotagd/pkg/config"
	"github.com/autotagd/autotagd/pkg/resource"
)

// tableHeading begins every table of the catalog.
const tableHeading = "service\tsource\tevent\ttype\tarn\tid\ttemplate\ttag_api\tiam_action\ttags\tconfidence\tcommon\toptions\tnote\n"

var update = flag.Bool("update", false, "write testdata again")

// plannerOf returns a configuration and what decides by it, with extra tables.
func plannerOf(t *testing.T, yaml string, tables ...string) (*config.Config, *Planner) {
	t.Helper()
	cfg, err := config.Load("test", []byte(yaml))
	if err != nil {
		t.Fatal(err)
	}
	var cat *catalog.Catalog
	switch len(tables) {
	case 0:
		cat, err = catalog.Load()
	case 1:
		cat, err = catalog.Load(strings.NewReader(tables[0]))
	}
	if err != nil {
		t.Fatal(err)
	}
	planner, err := NewPlanner(cfg, cat, nil)
	if err != nil {
		t.Fatal(err)
	}
	return cfg, planner
}

// policies returns the documents for a configuration, each checked for what AWS demands of every one.
func policies(t *testing.T, yaml, region string, tables ...string) []Policy {
	t.Helper()
	cfg, planner := plannerOf(t, yaml, tables...)
	all, err := Policies(cfg, planner, region)
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range all {
		b, err := p.JSON()
		if err != nil {
			t.Fatal(err)
		}
		checkDocument(t, fmt.Sprintf("document %d of %d", i+1, len(all)), b)
	}
	return all
}

var (
	actionForm   = regexp.MustCompile(`^[a-z0-9-]+:[A-Z][A-Za-z0-9]+$`)
	resourceForm = regexp.MustCompile(`^(\*|arn:aws[a-z-]*:[a-z0-9-]+:\*?:\*?:(/tags|[a-z0-9-]*)(/?\*)+|arn:aws[a-z-]*:iam::(\*|\d{12}):role/[\w+=,.@/-]+|arn:aws[a-z-]*:dynamodb:(\*|[a-z0-9-]+):\*:table/[\w.-]{3,255})$`)
	sidForm      = regexp.MustCompile(`^[A-Za-z0-9]+$`)
)

func checkDocument(t *testing.T, name string, b []byte) {
	t.Helper()
	size := 0
	for _, c := range b {
		if c > 0x7e {
			t.Errorf("%s: not ASCII", name)
		}
		if !unicode.IsSpace(rune(c)) {
			size++
		}
	}
	if size >= 6144 {
		t.Errorf("%s: %d characters", name, size)
	}
	var p Policy
	if err := json.Unmarshal(b, &p); err != nil || p.Version != "2012-10-17" {
		t.Fatalf("%s: version %q, %v", name, p.Version, err)
	}
	var sids, actions []string
	for _, s := range p.Statement {
		sids = append(sids, s.Sid)
		if s.Effect != "Allow" || !sidForm.MatchString(s.Sid) || !slices.IsSorted(s.Action) || !slices.IsSorted(s.Resource) || len(s.Action) == 0 || len(s.Resource) == 0 {
			t.Errorf("%s: statement %+v", name, s)
		}
		for _, a := range s.Action {
			if !actionForm.MatchString(a) || slices.Contains(actions, a) {
				t.Errorf("%s: action %s, wrong or twice", name, a)
			}
			actions = append(actions, a)
		}
		for _, r := range s.Resource {
			if !resourceForm.MatchString(r) {
				t.Errorf("%s: resource %s", name, r)
			}
		}
		if len(s.Resource) > 1 && s.Resource[0] == "*" {
			t.Errorf("%s: %s: resources beside *", name, s.Sid)
		}
	}
	slices.Sort(sids)
	if len(slices.Compact(sids)) != len(p.Statement) {
		t.Errorf("%s: a Sid comes twice: %v", name, sids)
	}
}

// actionsOf returns every action of the policies, sorted; it fails if one comes twice.
func actionsOf(t *testing.T, all []Policy) []string {
	t.Helper()
	var actions []string
	for _, p := range all {
		for _, s := range p.Statement {
			actions = append(actions, s.Action...)
		}
	}
	slices.Sort(actions)
	if n := len(actions); len(slices.Compact(slices.Clone(actions))) != n {
		t.Errorf("an action comes in two documents: %v", actions)
	}
	return actions
}

// The default policy allows what every event of the catalog takes that this release can tag, and nothing that only its
// other events take.
func TestDefaultPolicy(t *testing.T) {
	all := policies(t, "", "")
	if len(all) > 5 {
		t.Errorf("%d documents: a role takes ten, and others want some of them", len(all))
	}
	actions := actionsOf(t, all)
	_, planner := plannerOf(t, "")
	want, unsupported := map[string]bool{}, map[string]bool{}
	for _, p := range planner.Catalog.Pairs() {
		for action := range strings.SplitSeq(p.IAMAction, "+") {
			if p.TagAPI != resource.NoTagAPI {
				want[action] = true
			} else if action != "" {
				unsupported[action] = true
			}
		}
	}
	for action := range want {
		if !slices.Contains(actions, action) {
			t.Errorf("%s is missing", action)
		}
	}
	for action := range unsupported {
		if !want[action] && slices.Contains(actions, action) && !slices.Contains(later(planner.Catalog), action) {
			t.Errorf("%s is allowed, for events that this release can't tag", action)
		}
	}
	for _, action := range []string{
		"cloudtrail:LookupEvents", "ec2:CreateTags", "ec2:DescribeTags", "ec2:DescribeInstances", "ec2:DescribeVolumes", "ec2:DescribeImages",
		"tag:TagResources", "tag:GetResources", "s3:GetBucketTagging", "s3:PutBucketTagging", "lambda:TagResource",
		"iam:ListInstanceProfileTags", "iam:ListMFADeviceTags", "iam:ListOpenIDConnectProviderTags", "iam:ListPolicyTags", "iam:ListRoleTags",
		"iam:ListSAMLProviderTags", "iam:ListServerCertificateTags", "iam:ListUserTags",
		"autoscaling:CreateOrUpdateTags", "autoscaling:DescribeTags", "apigateway:PUT", "apigateway:GET",
	} {
		if !slices.Contains(actions, action) {
			t.Errorf("%s is missing", action)
		}
	}
	for _, action := range []string{"cloudformation:UpdateStack", "servicecatalog:UpdateProvisionedProduct", "sts:GetCallerIdentity"} {
		if slices.Contains(actions, action) {
			t.Errorf("%s is allowed; nothing calls it", action)
		}
	}
}

// later returns the actions of rows that are not the first of their event, and so not in Pairs.
func later(cat *catalog.Catalog) []string {
	var actions []string
	for need := range cat.Needs() {
		if need.TagAPI != resource.NoTagAPI {
			actions = append(actions, strings.Split(need.IAMAction, "+")...)
		}
	}
	return actions
}

// The whole document of a narrow configuration, as it is printed.
func TestPolicyGolden(t *testing.T) {
	for _, tt := range []struct{ name, yaml string }{
		{"services", "services: [ec2, s3, iam, lambda]"},
		{"china", "{services: [ec2, sqs], regions: [cn-north-1], tags: {Owner: '${owner.name}', Kostenträger: IT}}"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			all := policies(t, tt.yaml, "eu-west-1")
			if len(all) != 1 {
				t.Fatalf("%d documents", len(all))
			}
			got, err := all[0].JSON()
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join("testdata", "policy", tt.name+".json")
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
		})
	}
}

func TestPolicyFollowsTheConfiguration(t *testing.T) {
	const events = "cloudtrail:LookupEvents"
	ec2 := []string{"ec2:CreateTags", "ec2:DescribeImages", "ec2:DescribeInstances", "ec2:DescribeTags", "ec2:DescribeVolumes"}
	s3 := []string{"s3:GetBucketTagging", "s3:ListTagsForResource", "s3:PutBucketTagging", "s3:TagResource", "tag:GetResources", "tag:TagResources"}
	for _, tt := range []struct {
		name, yaml string
		want       []string
	}{
		{"a service", "services: [ec2]", ec2},
		{"another", "services: [s3]", s3},
		{"two", "services: [s3, ec2]", append(slices.Clone(ec2), s3...)},
		{"a filter by source", `filters: ['event.source == "ec2.amazonaws.com"']`, ec2},
		{"a filter by source and more", `filters: ['resource.service == "s3" && owner.kind == "person"', 'event.name == "CreateBucket"']`, s3},
		{"a filter by name", `{services: [ec2], filters: ['event.name == "CreateVolume"']}`, []string{"ec2:CreateTags", "ec2:DescribeTags"}},
		{"a filter by type", `filters: ['resource.type == "ec2:image"']`, []string{"ec2:CreateTags", "ec2:DescribeImages", "ec2:DescribeTags"}},
		{"a filter that leaves a part of a launch, which has volumes besides", `filters: ['resource.type == "AWS::EC2::NetworkInterface" && event.name == "RunInstances"']`, []string{"ec2:CreateTags", "ec2:DescribeInstances", "ec2:DescribeTags", "ec2:DescribeVolumes"}},
		{"a filter by a spelling with a date", `filters: ['event.source == "lambda.amazonaws.com" && event.name == "CreateFunction20991231"']`, []string{"lambda:ListTags", "lambda:TagResource", "tag:GetResources", "tag:TagResources"}},
		{"a filter that leaves nothing", `filters: ["false"]`, nil},
		{"a service with tag calls of its own alone", "services: [apigateway]", []string{"apigateway:GET", "apigateway:PATCH", "apigateway:PUT", "apigateway:TagResource"}},
		{"a service without", "services: [cloudformation]", nil},
		{"nothing is read where all is overwritten", `{services: [ecr], existing_tags: overwrite}`, []string{"ecr:TagResource", "tag:TagResources"}},
		{"one key is kept", `{services: [s3], existing_tags: {Owner: keep, PrincipalId: overwrite}}`, s3},
		{"an upsert reads before it writes", `{services: [sqs], existing_tags: overwrite}`, []string{"sqs:ListQueueTags", "sqs:TagQueue", "tag:GetResources", "tag:TagResources"}},
		{"a dry run writes nothing", `{services: [ec2, s3], dry_run: true}`, []string{"ec2:DescribeImages", "ec2:DescribeInstances", "ec2:DescribeTags", "ec2:DescribeVolumes", "tag:GetResources"}},
		{"IAM's tags are read by IAM", `{services: [iam], filters: ['event.name == "CreateRole"']}`, []string{"iam:ListRoleTags", "iam:TagRole", "tag:TagResources"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want := append([]string{events}, tt.want...)
			slices.Sort(want)
			if diff := cmp.Diff(want, actionsOf(t, policies(t, tt.yaml, ""))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A row of one's own needs its permission; one that takes a kind's call away takes the permission away.
func TestPolicyFollowsTheCatalog(t *testing.T) {
	const table = tableHeading +
		"mine\tmine.amazonaws.com\tMakeThing\tmine:thing\tresponseElements.arn\t\t\ttagging:TagResources\tmine:TagThing+mine:PutThing\t\tguess\t\t\t\n" +
		"s3\ts3.amazonaws.com\tCreateBucket\tAWS::S3::Bucket\t\trequestParameters.bucketName\t\tnone\t\t\tguess\t\t\t\n"
	all := policies(t, "services: [mine, s3]", "", table)
	if diff := cmp.Diff([]string{"cloudtrail:LookupEvents", "mine:PutThing", "mine:TagThing", "tag:GetResources", "tag:TagResources"}, actionsOf(t, all)); diff != "" {
		t.Error(diff)
	}
	for _, s := range all[0].Statement {
		switch s.Sid {
		case sidTag:
			if !slices.Equal(s.Action, []string{"mine:TagThing"}) || s.Condition == nil || s.Resource[0] != "arn:aws:mine:*:*:*" {
				t.Errorf("%+v", s)
			}
		case sidTagAny: // a call that replaces may carry the keys of others
			if !slices.Equal(s.Action, []string{"mine:PutThing"}) || s.Condition != nil {
				t.Errorf("%+v", s)
			}
		}
	}
}

func TestPolicyOfRegions(t *testing.T) {
	for _, tt := range []struct {
		name, yaml, region, arn string
		polled                  []string
	}{
		{"the environment's", "services: [sqs]", "eu-west-1", "arn:aws:sqs:*:*:*", nil},
		{"none is known", "services: [sqs]", "", "arn:aws:sqs:*:*:*", nil},
		{"the environment's, in China", "services: [sqs]", "cn-northwest-1", "arn:aws-cn:sqs:*:*:*", nil},
		{"configured", "{services: [sqs], regions: [eu-west-1]}", "cn-north-1", "arn:aws:sqs:*:*:*", []string{"eu-west-1", "us-east-1"}},
		{"without the global one", "{services: [sqs], regions: [us-gov-east-1], global_region: off}", "", "arn:aws-us-gov:sqs:*:*:*", []string{"us-gov-east-1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			all := policies(t, tt.yaml, tt.region)
			read, tag := all[0].Statement[0], all[0].Statement[len(all[0].Statement)-1]
			if diff := cmp.Diff(tt.polled, read.Condition["StringEquals"]["aws:RequestedRegion"]); diff != "" {
				t.Error(diff)
			}
			if !slices.Equal(tag.Resource, []string{tt.arn}) {
				t.Errorf("resources %v, want %s", tag.Resource, tt.arn)
			}
		})
	}
}

// However long the tag keys and however many there are, each document stays below AWS's limit.
func TestPolicyOfLongKeys(t *testing.T) {
	for _, n := range []int{1, 5, 9, 10, 50} {
		var yaml strings.Builder
		yaml.WriteString("tags:\n")
		for i := range n {
			fmt.Fprintf(&yaml, "  %s%02d: x\n", strings.Repeat("ä", 125), i)
		}
		restricted := false
		for _, p := range policies(t, yaml.String(), "") {
			for _, s := range p.Statement {
				restricted = restricted || s.Condition["ForAllValues:StringEquals"] != nil
			}
		}
		if restricted != (n == 1) {
			t.Errorf("%d keys: restricted to them: %v", n, restricted)
		}
	}
}

func TestDocumentsSplit(t *testing.T) {
	var all []grant
	for i := range 400 {
		all = append(all, grant{sid: sidTag, action: fmt.Sprintf("service%03d:TagResource", i), resources: []string{fmt.Sprintf("arn:aws:service%03d:*:*:*", i)}})
	}
	docs, err := documents(all, maxPolicy)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(actionsOf(t, docs)); n != len(all) {
		t.Errorf("%d actions, want %d", n, len(all))
	}
	for i, p := range docs {
		size, err := p.size()
		if err != nil || size >= maxPolicy || i+1 < len(docs) && size < maxPolicy-100 {
			t.Errorf("document %d of %d has %d characters (%v)", i+1, len(docs), size, err)
		}
		if n := len(p.Statement[0].Resource); n != len(p.Statement[0].Action) {
			t.Errorf("document %d has %d resources for %d actions", i+1, n, len(p.Statement[0].Action))
		}
	}
	if _, err := documents([]grant{{sid: sidTag, action: strings.Repeat("a", maxPolicy), resources: []string{"*"}}}, maxPolicy); err == nil {
		t.Error("an action that no policy can hold is left out without a word")
	}
}

// What `check --aws` tries is what the policy allows: a permission that nothing needs is not reported as missing.
func TestCheckTriesWhatThePolicyAllows(t *testing.T) {
	for _, tt := range []struct {
		yaml string
		want []string
	}{
		{"{global_region: off}", []string{
			"cloudtrail:LookupEvents", "ec2:CreateTags", "ec2:DescribeTags", "ec2:DescribeInstances", "ec2:DescribeVolumes", "ec2:DescribeImages", "tag:GetResources",
		}},
		{"{global_region: off, services: [s3]}", []string{"cloudtrail:LookupEvents", "tag:GetResources"}},
		{"{global_region: off, dry_run: true, services: [ec2], filters: ['event.name == \"CreateVolume\"']}", []string{"cloudtrail:LookupEvents", "ec2:DescribeTags"}},
	} {
		t.Run(tt.yaml, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 1, tt.yaml, fakeaws.Config{})
				cfg, planner := plannerOf(t, tt.yaml)
				_, permissions, err := CheckAWS(t.Context(), cfg, planner, w.clients())
				if err != nil {
					t.Fatal(err)
				}
				var got []string
				for _, p := range permissions {
					got = append(got, p.Action)
					if p.Err != nil {
						t.Errorf("%s: %v", p.Action, p.Err)
					}
				}
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

// The daemon at work makes no call that its policy doesn't allow, and of what the policy allows by name it makes each.
func TestPolicyAllowsWhatTheDaemonCalls(t *testing.T) {
	for _, yaml := range []string{
		"{global_region: off}", "{global_region: off, existing_tags: overwrite}", "{global_region: off, dry_run: true}",
		"{global_region: off, services: [ec2]}", "{global_region: off, services: [s3, sqs]}", "{global_region: off, services: [iam]}",
		`{global_region: off, filters: ['event.name == "CreateVolume" || event.name == "CreateBucket"']}`,
	} {
		t.Run(yaml, func(t *testing.T) {
			allowed := actionsOf(t, policies(t, yaml, ""))
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 3, yaml, fakeaws.Config{Regions: []string{"us-east-1"}})
				r := w.start()
				time.Sleep(time.Minute)
				for _, name := range w.cloud.Creates() {
					w.cloud.Create(w.cloud.Scope(), name, fakeaws.IAMUser("alice"), fakeaws.Spec{})
				}
				time.Sleep(time.Hour)
				r.stop()
				called := map[string]bool{}
				for _, c := range w.cloud.Calls("") {
					action := c.Action
					if c.Op == "GetCallerIdentity" {
						continue
					}
					called[action] = true
					if !slices.Contains(allowed, action) {
						t.Errorf("%s was called, and is not allowed", action)
						allowed = append(allowed, action) // said once
					}
				}
				for _, action := range allowed {
					service, _, _ := strings.Cut(action, ":")
					ours := service == "ec2" || service == "tag" || action == "cloudtrail:LookupEvents" || action == "iam:ListRoleTags"
					// Some rows of EC2's are upserts, which are read even so; the world has none of them.
					upserts := strings.Contains(yaml, "overwrite") && action == "ec2:DescribeTags"
					if ours && !upserts && !called[action] {
						t.Errorf("%s is allowed, and was not called", action)
					}
				}
			})
		})
	}
}
