package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/autotagd/autotagd/pkg/config"
	"github.com/autotagd/autotagd/pkg/rules"
)

//go:generate go test -count=1 -run=^TestConfigurationDocument$ . -update-configuration

var updateConfiguration = flag.Bool("update-configuration", false, "write docs/configuration.md again")

// docs/configuration.md is made of pkg/config and pkg/rules.
func TestConfigurationDocument(t *testing.T) {
	const name = "../../docs/configuration.md"
	want := configurationDocument(t)
	if *updateConfiguration {
		if err := os.WriteFile(name, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(have), want); diff != "" {
		t.Errorf("%s is out of date, run go generate ./cmd/autotagd (-have +want):\n%s", name, diff)
	}
}

func configurationDocument(t *testing.T) string {
	t.Helper()
	defaults := config.Default()
	effective, err := defaults.YAML()
	if err != nil {
		t.Fatal(err)
	}
	reference, err := config.Reference()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString(configurationHead)
	fmt.Fprintf(&b, "```yaml\n%s```\n\n## Keys\n", effective)
	for _, k := range reference {
		fmt.Fprintf(&b, "\n### `%s`\n\n", k.Name)
		switch {
		case k.Section:
			fmt.Fprintf(&b, "%s\n", k.Line)
		case k.Default == "":
			fmt.Fprintf(&b, "*%s; has to be given.* %s\n", k.Kind, k.Line)
		default:
			fmt.Fprintf(&b, "*%s; default `%s`.* %s\n", k.Kind, k.Default, k.Line)
		}
		if k.More != "" {
			fmt.Fprintf(&b, "\n%s\n", k.More)
		}
		if !strings.HasSuffix(k.Example, "{}") {
			fmt.Fprintf(&b, "\n```yaml\n%s\n```\n", k.Example)
		}
	}
	b.WriteString(variablesHead)
	b.WriteString("\n| variable | type | is |\n| --- | --- | --- |\n")
	for _, v := range rules.Variables() {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", v.Name, v.Type, v.About)
	}
	b.WriteString(environmentPart)
	return b.String()
}

const configurationHead = `<!-- Made by go generate ./cmd/autotagd of pkg/config and pkg/rules: change it there. -->
# Configuration

Nothing is required: with credentials and a Region in the environment ` + "`autotagd run`" + ` works. The file is YAML, named by ` + "`--config`" + ` or
by the environment. A key that it gives replaces the default whole; a key that there isn't is a mistake, and so is a value of
another kind. ` + "`autotagd check`" + ` reports every mistake at once, with its place and what is wanted, and prints what is in force.
It is read at a start: after a change restart autotagd.

Durations are as Prometheus writes them: ` + "`15s`, `1h30m`, `90d`" + `; every one is above 0. Names of files are relative to the working directory.

This is what ` + "`autotagd check`" + ` prints where no file is, every key with its default:

`

const variablesHead = `
## Variables

` + "`${...}` in `tags`, and each item of `filters`, is a [CEL](https://cel.dev) expression. They" + ` are compiled, type-checked and bounded in what they may
cost when the file is loaded; a filter has to give true or false. What a record lacks is ` + "`\"\"`" + `, also in the maps; an expression that gives
nothing leaves its tag out. Functions are CEL's own without the macros that loop, ` + "`has()`, and `lowerAscii`, `upperAscii`, `trim`, `replace`, `split`" + `:

` + "```yaml" + `
tags:
  Owner: ${owner.name.lowerAscii()}
  Team: '${owner.name.endsWith("@lab.example.com") ? "lab" : owner.attributes.department}'
filters:
  - event.time > timestamp("2026-01-01T00:00:00Z")
  - '!("autotagd-ignore" in resource.tags)'
` + "```" + `
`

const environmentPart = `
## Environment

| variable | is |
| --- | --- |
| ` + "`AUTOTAGD_CONFIG`" + ` | the configuration's file, where ` + "`--config`" + ` names none |
| ` + "`AUTOTAGD_CONFIG_YAML`" + ` | the configuration itself, for containers; beside ` + "`AUTOTAGD_CONFIG`" + ` it is a mistake |
| ` + "`AUTOTAGD_HEALTH_URL`" + ` | where ` + "`autotagd health`" + ` finds the web port: ` + "`https://USER:PASSWORD@HOST:9464`" + `; default ` + "`http://127.0.0.1:9464`" + ` |
| ` + "`STATE_DIRECTORY`, `XDG_STATE_HOME`, `HOME`" + ` | where checkpoints are kept, see [checkpoint.file.path](#checkpointfilepath); systemd sets the first |
| ` + "`SSL_CERT_DIR`, `SSL_CERT_FILE`" + ` | certificates of CAs beside, or in place of, the system's; see [web.md](web.md#health-checks-of-containers) |

What the AWS SDK knows works unchanged ([its list](https://docs.aws.amazon.com/sdkref/latest/guide/environment-variables.html)). Most used:

| variable | is |
| --- | --- |
| ` + "`AWS_REGION`" + ` | the Region, where the configuration names none |
| ` + "`AWS_PROFILE`, `AWS_CONFIG_FILE`, `AWS_SHARED_CREDENTIALS_FILE`" + ` | a profile of the AWS CLI's files |
| ` + "`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`" + ` | credentials; on EC2, ECS and EKS there is a role instead, and none of these |
| ` + "`AWS_ROLE_ARN`, `AWS_WEB_IDENTITY_TOKEN_FILE`" + ` | a role by a web identity's token; EKS sets them |
| ` + "`AWS_EC2_METADATA_DISABLED`" + ` | ` + "`true`: never ask the machine's metadata address for credentials" + ` |
| ` + "`AWS_ENDPOINT_URL`, `AWS_ENDPOINT_URL_CLOUDTRAIL`" + `, and so on | other endpoints, of all services or one: VPC endpoints with names of their own, test doubles |
| ` + "`AWS_USE_FIPS_ENDPOINT`, `AWS_USE_DUALSTACK_ENDPOINT`" + ` | ` + "`true`: endpoints with FIPS cryptography, or with IPv6 too" + ` |
| ` + "`AWS_CA_BUNDLE`" + ` | the certificates that AWS's endpoints are checked against |
| ` + "`HTTPS_PROXY`, `NO_PROXY`" + ` | the proxy on the way to AWS |
`
