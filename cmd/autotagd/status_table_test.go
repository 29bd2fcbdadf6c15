package main

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/autotagd/autotagd/internal/fakeaws"
	"github.com/autotagd/autotagd/pkg/checkpoint"
	"github.com/autotagd/autotagd/pkg/event"
	"github.com/autotagd/autotagd/pkg/resource"
)

// tableOfCloud is the table marks of cloud at url, made.
func tableOfCloud(t *testing.T, url string) checkpoint.Table {
	t.Helper()
	c := dynamodb.New(dynamodb.Options{
		Region: fakeaws.DefaultRegion, BaseEndpoint: &url, Retryer: aws.NopRetryer{},
		Credentials: credentials.NewStaticCredentialsProvider(fakeaws.AccessKey(fakeaws.DefaultAccount), "secret", ""),
	})
	table := checkpoint.Table{Name: "marks", Region: fakeaws.DefaultRegion, Calls: checkpoint.DynamoDB{
		Query: c.Query, BatchGetItem: c.BatchGetItem, BatchWriteItem: c.BatchWriteItem, UpdateItem: c.UpdateItem, DeleteItem: c.DeleteItem,
		CreateTable: c.CreateTable, DescribeTable: c.DescribeTable, UpdateTimeToLive: c.UpdateTimeToLive, DescribeTimeToLive: c.DescribeTimeToLive,
	}}
	if err := table.Create(t.Context()); err != nil {
		t.Fatal(err)
	}
	return table
}

// The Scopes are those of the configuration; nothing is written, and no events are looked up.
func TestStatusOfATable(t *testing.T) {
	t.Parallel()
	member := event.Scope{AccountID: "444455556666", Region: fakeaws.DefaultRegion}
	role := "arn:aws:iam::" + member.AccountID + ":role/autotagd"
	cloud := fakeaws.New(fakeaws.Config{
		TableTime: -1, Accounts: []string{fakeaws.DefaultAccount, member.AccountID}, Roles: []fakeaws.Role{{ARN: role}},
		Organization: &fakeaws.Organization{Members: []fakeaws.Member{{ID: fakeaws.DefaultAccount}, {ID: member.AccountID}}},
	})
	url := serve(t, cloud)
	if code, _, stderr := command(t, tableEnvironment(url), "status"); code != exitFailed || !strings.Contains(stderr, "it does not exist; make it with") {
		t.Errorf("without a table: exit code %d: %s", code, stderr)
	}
	env := append(tableEnvironment(url), "AUTOTAGD_CONFIG_YAML={global_region: off, accounts: [{organization: {}}], checkpoint: {dynamodb: {table: marks}}}")
	store := checkpoint.NewDynamoDBStore(tableOfCloud(t, url), "tagger-1-c0ffee")
	if err := store.Claim(t.Context(), member, checkpoint.Owner{}); err != nil {
		t.Fatal(err)
	}
	saved(t, store, member, time.Hour, resource.AccessDenied)
	writes := len(cloud.TableWrites(cloud.Scope(), "marks"))

	code, stdout, stderr := command(t, env, "status")
	want := `^SCOPE +HOLDER .*\n111122223333/eu-central-1 +- +- +- +- +- +- +-\n` +
		`444455556666/eu-central-1 +tagger-1-c0ffee +\S+Z +1h0m\d+s +\S+Z +1h30m\d+s +1: 1h0m0s +1, oldest 1h0m\d+s: access_denied 1\n$`
	if code != exitDone || stderr != "" || !regexp.MustCompile(want).MatchString(stdout) {
		t.Errorf("exit code %d: %s\n%swant %s", code, stderr, stdout, want)
	}
	code, _, stderr = command(t, env, "status", "--max-lag", "30m")
	want = `^autotagd: 111122223333/eu-central-1: it was never saved, .*\nautotagd: 444455556666/eu-central-1: its Watermark is 1h0m\d+s behind, more than 30m0s\n$`
	if code != exitFailed || !regexp.MustCompile(want).MatchString(stderr) {
		t.Errorf("beyond the lag: exit code %d: %s", code, stderr)
	}
	if n := len(cloud.TableWrites(cloud.Scope(), "marks")); n != writes {
		t.Errorf("%d writes to the table", n-writes)
	}
	if n := len(cloud.Calls("LookupEvents")); n > 0 {
		t.Errorf("%d LookupEvents", n)
	}
}

// Beside replicas at work each Scope is on the name of one of them.
func TestStatusOfReplicas(t *testing.T) {
	t.Parallel()
	cloud := fakeaws.New(fakeaws.Config{TableTime: -1, Regions: []string{fakeaws.DefaultRegion, "us-east-1"}})
	url := serve(t, cloud)
	tableOfCloud(t, url)
	env := append(tableEnvironment(url), "AUTOTAGD_CONFIG_YAML="+strings.Replace(tableYAML, "global_region: off", "regions: [eu-central-1, us-east-1]", 1))
	replicas := []*child{start(t, env, "run"), start(t, env, "run")}
	var stdout, stderr string
	eventually(t, time.Minute, func() string { return stdout + stderr + replicas[0].tail() + replicas[1].tail() }, func() bool {
		var code int
		code, stdout, stderr = command(t, env, "status", "--format", "json", "--max-lag", "15m")
		if code != exitDone {
			return false
		}
		holders := map[any]bool{}
		for _, s := range statusJSON(t, stdout) {
			if s["holder"] != "" {
				holders[s["holder"]] = true
			}
		}
		return len(holders) == 2
	})
}
