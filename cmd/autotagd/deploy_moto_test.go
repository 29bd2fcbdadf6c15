package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/google/go-cmp/cmp"

	"github.com/autotagd/autotagd/pkg/checkpoint"
	"github.com/autotagd/autotagd/pkg/config"
	"github.com/autotagd/autotagd/test/moto"
)

const stackTemplate, roleTemplate = deployDir + "/cloudformation/autotagd.yaml", deployDir + "/cloudformation/member-role.yaml"

// grants is what documents allow. How they share the statements of one id is left to each: `autotagd policy` fills its documents
// one after another.
type grants struct {
	actions   []string            // each with the id and the condition of its statement, sorted
	resources map[string][]string // by the id of the statement
}

func grantsOf(t *testing.T, documents ...json.RawMessage) grants {
	t.Helper()
	all := grants{resources: map[string][]string{}}
	for _, document := range documents {
		var p struct {
			Version   string
			Statement []struct {
				Sid, Effect      string
				Action, Resource any // one string, or several
				Condition        map[string]map[string]any
			}
		}
		if err := json.Unmarshal(document, &p); err != nil {
			t.Fatalf("%v: %s", err, document)
		}
		for _, s := range p.Statement {
			if p.Version != "2012-10-17" || s.Effect != "Allow" {
				t.Errorf("%s: version %s, effect %s", s.Sid, p.Version, s.Effect)
			}
			for _, action := range texts(s.Action) {
				all.actions = append(all.actions, fmt.Sprintln(action, s.Sid, s.Condition))
			}
			all.resources[s.Sid] = slices.Compact(slices.Sorted(slices.Values(append(all.resources[s.Sid], texts(s.Resource)...))))
		}
	}
	slices.Sort(all.actions)
	all.actions = slices.Compact(all.actions)
	return all
}

// texts returns what IAM writes as one string or as several.
func texts(v any) []string {
	if one, ok := v.(string); ok {
		return []string{one}
	}
	var several []string
	for _, one := range v.([]any) {
		several = append(several, one.(string))
	}
	return several
}

// needed returns what `autotagd policy` prints in an environment.
func needed(t *testing.T, getenv func(string) string, args ...string) grants {
	t.Helper()
	var documents []json.RawMessage
	for stream := json.NewDecoder(bytes.NewReader(policyCommand(t, getenv, args...))); ; {
		var document json.RawMessage
		if err := stream.Decode(&document); errors.Is(err, io.EOF) {
			return grantsOf(t, documents...)
		} else if err != nil {
			t.Fatal(err)
		}
		documents = append(documents, document)
	}
}

func compareGrants(t *testing.T, got, want grants) {
	t.Helper()
	if diff := cmp.Diff(want.actions, got.actions); diff != "" {
		t.Errorf("what is needed (-) and what is allowed (+) differ:\n%s", diff)
	}
	if diff := cmp.Diff(want.resources, got.resources); diff != "" {
		t.Errorf("the resources that it is needed on (-) and allowed on (+) differ:\n%s", diff)
	}
}

func slowDeploy(t *testing.T) {
	t.Helper()
	if os.Getenv("AUTOTAGD_SLOW") == "" {
		t.Skip("waits for Python: AUTOTAGD_SLOW=1 runs it, as make check does")
	}
}

// A stack of the template lets the task do just what the configuration that it gives it needs, on the table that it makes.
func TestStackAtMoto(t *testing.T) {
	slowDeploy(t)
	url := moto.Start(t)
	for _, test := range []struct {
		name       string
		parameters map[string]string
		more       []string // of sid ListOrganization, which not every such configuration needs
	}{
		{name: "one account"},
		{name: "one account, every Region, tags of one's own", parameters: map[string]string{
			"Name": "tagger", "Regions": "all", "TagKeys": "CreatedBy,Department",
			"Configuration": "tags: {CreatedBy: \"${owner.name}\", Department: \"${owner.kind}\"}\nweb: {listen: \":9464\"}\n",
		}},
		{name: "an organization", parameters: map[string]string{
			"Name": "org", "Regions": "all", "OrganizationRole": "autotagd-member", "ExcludedAccounts": "999988887777,ou-ab12-12345678",
		}},
		{name: "a whole organization", parameters: map[string]string{"Name": "whole-org", "OrganizationRole": "autotagd-member"}, more: []string{
			"organizations:ListAccountsForParent", "organizations:ListOrganizationalUnitsForParent",
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			parameters := map[string]string{"Image": "example.com/autotagd:v1.2.3"}
			maps.Copy(parameters, test.parameters)
			stack := moto.DeployStack(t, url, stackTemplate, parameters)

			env := variables(t, stack.Task)
			getenv := func(name string) string { return env[name] }
			if env["AWS_REGION"] != "eu-west-1" || len(env) != 2 {
				t.Errorf("the container's environment is %v", env)
			}
			cfg, _, err := loadConfig(environment{getenv: getenv}, "", true)
			if err != nil {
				t.Fatalf("the configuration:\n%s\n%v", env["AUTOTAGD_CONFIG_YAML"], err)
			}
			if got, want := cfg.Checkpoint.DynamoDB.Table, stack.Tables; !slices.Equal([]string{got}, want) {
				t.Errorf("the configuration names the table %s, the stack has %v", got, want)
			}
			want := needed(t, getenv)
			want.resources["KeepCheckpoints"] = []string{"arn:aws:dynamodb:eu-west-1:" + moto.AccountID + ":table/" + stack.Tables[0]}
			for _, action := range test.more {
				want.actions = append(want.actions, fmt.Sprintln(action, "ListOrganization", map[string]any{}))
			}
			slices.Sort(want.actions)
			compareGrants(t, grantsOf(t, stack.Policies["Role"]...), want)
			sameTable(t, url, stack.Tables[0])
		})
	}
}

// variables returns the environment of a task's one container.
func variables(t *testing.T, task moto.Task) map[string]string {
	t.Helper()
	if len(task.ContainerDefinitions) != 1 {
		t.Fatalf("%d containers, want one", len(task.ContainerDefinitions))
	}
	env := map[string]string{}
	for _, v := range task.ContainerDefinitions[0]["environment"].([]any) {
		pair := v.(map[string]any)
		env[pair["name"].(string)] = pair["value"].(string)
	}
	return env
}

// sameTable compares a table with one that `check --create-table` makes.
func sameTable(t *testing.T, url, name string) {
	t.Helper()
	client := dynamodb.New(dynamodb.Options{
		Region: "eu-west-1", BaseEndpoint: &url, Credentials: credentials.NewStaticCredentialsProvider("AKIAEXAMPLE", "secret", ""),
	})
	const ours = "as-we-make-it"
	calls := checkpoint.DynamoDB{
		DescribeTable: client.DescribeTable, CreateTable: client.CreateTable,
		DescribeTimeToLive: client.DescribeTimeToLive, UpdateTimeToLive: client.UpdateTimeToLive,
	}
	if err := (checkpoint.Table{Name: ours, Region: "eu-west-1", Calls: calls}).Create(t.Context()); err != nil {
		t.Fatal(err)
	}
	var looks [2]string
	for i, table := range []string{ours, name} {
		d, err := client.DescribeTable(t.Context(), &dynamodb.DescribeTableInput{TableName: &table})
		if err != nil {
			t.Fatal(err)
		}
		keys := map[string]string{}
		for _, k := range d.Table.KeySchema {
			keys[*k.AttributeName] = string(k.KeyType)
		}
		for _, a := range d.Table.AttributeDefinitions {
			keys[*a.AttributeName] += " " + string(a.AttributeType)
		}
		looks[i] = fmt.Sprint(keys, d.Table.BillingModeSummary.BillingMode, d.Table.GlobalSecondaryIndexes, d.Table.LocalSecondaryIndexes)
	}
	if looks[0] != looks[1] {
		t.Errorf("the stack's table is %s, --create-table makes %s", looks[1], looks[0])
	}
	// Which moto does not make of a template.
	ttl, err := client.DescribeTimeToLive(t.Context(), &dynamodb.DescribeTimeToLiveInput{TableName: aws.String(ours)})
	if err != nil {
		t.Fatal(err)
	}
	want := "      TimeToLiveSpecification: {AttributeName: " + *ttl.TimeToLiveDescription.AttributeName + ", Enabled: true}\n"
	if !bytes.Contains(readFile(t, stackTemplate), []byte(want)) {
		t.Errorf("the template has no line %s", want)
	}
}

// The task definition that is made by hand is the template's.
func TestTaskDefinitionAtMoto(t *testing.T) {
	slowDeploy(t)
	url := moto.Start(t)
	byHand := moto.DeployECS(t, url, deployDir+"/ecs/task-definition.json", deployDir+"/ecs/service.json").Task
	image := byHand.ContainerDefinitions[0]["image"].(string)
	ofStack := moto.DeployStack(t, url, stackTemplate, map[string]string{"Image": image}).Task
	var effective [2]string
	for i, task := range []moto.Task{byHand, ofStack} {
		cfg, err := config.Load("AUTOTAGD_CONFIG_YAML", []byte(variables(t, task)["AUTOTAGD_CONFIG_YAML"]))
		if err != nil {
			t.Fatal(err)
		}
		b, err := cfg.YAML()
		if err != nil {
			t.Fatal(err)
		}
		effective[i] = string(b)
		delete(task.ContainerDefinitions[0], "environment")
	}
	if diff := cmp.Diff(effective[0], effective[1]); diff != "" {
		t.Errorf("the configurations by hand (-) and by the template (+) differ:\n%s", diff)
	}
	if diff := cmp.Diff(byHand, ofStack); diff != "" {
		t.Errorf("by hand (-) and by the template (+) differ:\n%s", diff)
	}
	if seconds := byHand.ContainerDefinitions[0]["healthCheck"].(map[string]any)["timeout"].(float64); seconds <= healthTimeout.Seconds() {
		t.Errorf("a health check is ended after %v s; it takes up to %s to say why it fails", seconds, healthTimeout)
	}
}

// The role of a member account may do what `autotagd policy --role` prints for an organization, and one role of one account,
// with the external id if there is one, may assume it.
func TestMemberRoleAtMoto(t *testing.T) {
	slowDeploy(t)
	url := moto.Start(t)
	for _, test := range []struct {
		name       string
		parameters map[string]string
		condition  string
	}{
		{
			"in an organization",
			map[string]string{"TrustedAccount": "111122223333"},
			`{"ArnEquals": {"aws:PrincipalArn": "arn:aws:iam::111122223333:role/autotagd"}}`,
		},
		{
			"with an external id",
			map[string]string{"TrustedAccount": "111122223333", "TrustedRole": "tools/tagger", "RoleName": "tagged-by-them", "ExternalId": "from-them"},
			`{"ArnEquals": {"aws:PrincipalArn": "arn:aws:iam::111122223333:role/tools/tagger"}, "StringEquals": {"sts:ExternalId": "from-them"}}`,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			stack := moto.DeployStack(t, url, roleTemplate, test.parameters)
			compareGrants(t, grantsOf(t, stack.Policies["Role"]...), needed(t, nil, "--role", "--config", deployDir+"/iam/organization.yaml"))

			var trust, want any
			err := errors.Join(json.Unmarshal(stack.Trust["Role"], &trust), json.Unmarshal([]byte(`{"Version": "2012-10-17", "Statement": [{
				"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::111122223333:root"}, "Action": "sts:AssumeRole", "Condition": `+test.condition+`}]}`), &want))
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(trust, want) {
				t.Errorf("it trusts %v, want %v", trust, want)
			}
		})
	}
}

// What linters say of the templates and of the Dockerfile.
func TestLintDeploy(t *testing.T) {
	slowDeploy(t)
	t.Parallel()
	out, err := exec.Command(moto.Tool(t, "hadolint"), "../../Dockerfile").CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("hadolint: %v\n%s", err, out)
	}
	out, err = exec.Command(moto.Tool(t, "cfn-lint"), "--format", "json", "--regions", "eu-west-1", "--", stackTemplate, roleTemplate).Output()
	if exit := (&exec.ExitError{}); err != nil && !errors.As(err, &exit) {
		t.Fatalf("cfn-lint: %v", err)
	}
	var findings []struct {
		Filename, Message string
		Rule              struct{ ID string }
		Location          struct{ Start struct{ LineNumber int } }
	}
	if err := json.Unmarshal(out, &findings); err != nil {
		t.Fatalf("cfn-lint: %v\n%s", err, out)
	}
	for _, f := range findings {
		// AWS's list of actions lacks two that its answers name: see internal/daemon/policy_actions.go.
		if f.Rule.ID == "W3037" && (strings.HasPrefix(f.Message, "'iotthingsgraph'") || strings.HasPrefix(f.Message, "'tagresource' is not one of ['addcertificatetodomain'")) {
			continue
		}
		t.Errorf("%s:%d: %s %.300s", f.Filename, f.Location.Start.LineNumber, f.Rule.ID, f.Message)
	}
}
