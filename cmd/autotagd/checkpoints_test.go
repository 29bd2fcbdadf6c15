package main

import (
	"strings"
	"testing"
	"time"

	"github.com/autotagd/autotagd/internal/fakeaws"
	"github.com/autotagd/autotagd/test/moto"
)

const tableYAML = "{global_region: off, poll: {interval: 1s}, checkpoint: {dynamodb: {table: marks, lease: 3s}}, web: {listen: '127.0.0.1:0'}}"

// tableEnvironment is what a child needs whose checkpoints are in a table at url.
func tableEnvironment(url string) []string {
	return []string{"AWS_REGION=" + fakeaws.DefaultRegion, "AWS_ENDPOINT_URL=" + url, "AUTOTAGD_CONFIG_YAML=" + tableYAML}
}

// command runs one autotagd to its end.
func command(t *testing.T, env []string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	c := start(t, env, args...)
	code = c.wait(t, time.Minute)
	return code, c.stdout.String(), c.stderr.String()
}

// A table that is missing is one line, which says what to do; `check` makes it, and then it is there.
func TestCheckOfATable(t *testing.T) {
	t.Parallel()
	for name, url := range map[string]func(t *testing.T) string{
		"fake": func(t *testing.T) string {
			unhurried := map[string]fakeaws.Limit{"LookupEvents": {PerSecond: 100, Burst: 100}} // or a check after another is throttled
			return serve(t, fakeaws.New(fakeaws.Config{TableTime: time.Second, Limits: unhurried}))
		},
		"moto": func(t *testing.T) string { return moto.Start(t) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := tableEnvironment(url(t))
			const missing = "autotagd: DynamoDB table marks in eu-central-1: DescribeTable: it does not exist; make it with `autotagd check --aws --create-table`, or name another in checkpoint.dynamodb.table\n"
			for _, args := range [][]string{{"check", "--aws"}, {"run"}} {
				code, _, stderr := command(t, env, args...)
				if code != exitFailed || stderr != missing {
					t.Errorf("%s without a table: exit code %d: %s", args, code, stderr)
				}
			}
			const there = "\n# DynamoDB table marks in eu-central-1: ok\n"
			for _, args := range [][]string{{"check", "--aws", "--create-table"}, {"check", "--aws"}, {"check", "--aws", "--create-table"}} {
				code, stdout, stderr := command(t, env, args...)
				if !strings.Contains(stdout, there) {
					t.Errorf("%s: exit code %d\n%s%s", args, code, stdout, stderr)
				}
				if name == "fake" && code != exitDone { // moto has no CloudTrail to read
					t.Errorf("%s: exit code %d\n%s%s", args, code, stdout, stderr)
				}
			}
		})
	}
}

// What is asked for a table that nobody configured, or without AWS, is wrong usage.
func TestCreateTableAsksForAWSAndATable(t *testing.T) {
	t.Parallel()
	url := "http://127.0.0.1:1" // nothing may be called
	code, _, stderr := command(t, tableEnvironment(url), "check", "--create-table")
	if code != exitUsage || !strings.Contains(stderr, "want --aws beside it") {
		t.Errorf("without --aws: exit code %d: %s", code, stderr)
	}
	env := append(tableEnvironment(url), "AUTOTAGD_CONFIG_YAML={}")
	code, _, stderr = command(t, env, "check", "--aws", "--create-table")
	if code != exitUsage || !strings.Contains(stderr, "the configuration has no checkpoint.dynamodb") {
		t.Errorf("without a table: exit code %d: %s", code, stderr)
	}
}
