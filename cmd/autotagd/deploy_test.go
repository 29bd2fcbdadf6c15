package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/autotagd/autotagd/internal/daemon"
)

const deployDir = "../../deploy"

// What deploy/ has of policies is what `autotagd policy` prints. AUTOTAGD_UPDATE=1 writes it: make generate.
func TestDeployedPolicies(t *testing.T) {
	t.Parallel()
	update := os.Getenv("AUTOTAGD_UPDATE") != ""
	printed := t.TempDir()
	policyCommand(t, nil, "--out-dir", printed)
	policyCommand(t, nil, "--out-dir", filepath.Join(printed, "organization"), "--config", deployDir+"/iam/organization.yaml")
	generated := []string{"policy-*.json", "organization/*.json"}
	want := map[string]string{} // by file of deploy/
	for _, name := range glob(t, printed, generated) {
		want[filepath.Join("iam", name)] = string(readFile(t, filepath.Join(printed, name)))
	}
	policies := readPolicies(t, printed)
	for _, name := range []string{"cloudformation/autotagd.yaml", "cloudformation/member-role.yaml"} {
		want[name] = withPolicies(t, string(readFile(t, filepath.Join(deployDir, name))), policies)
	}

	for name, content := range want {
		file := filepath.Join(deployDir, name)
		if update {
			writeFile(t, file, content)
		}
		if got, err := os.ReadFile(file); err != nil || string(got) != content {
			t.Errorf("deploy/%s is out of date (%v): make generate", name, err)
		}
	}
	for _, name := range glob(t, deployDir+"/iam", generated) {
		if _, ok := want[filepath.Join("iam", name)]; ok {
			continue
		}
		// Of an earlier, longer series.
		if !update {
			t.Errorf("deploy/iam/%s is not needed any more: make generate", name)
		} else if err := os.Remove(filepath.Join(deployDir, "iam", name)); err != nil {
			t.Error(err)
		}
	}
}

// Templates can be given by their text up to 51,200 bytes; larger ones only from a bucket.
func TestTemplatesAreSmall(t *testing.T) {
	t.Parallel()
	for _, name := range glob(t, deployDir, []string{"cloudformation/*.yaml"}) {
		if n := len(readFile(t, filepath.Join(deployDir, name))); n > 51_200 {
			t.Errorf("deploy/%s has %d bytes, CloudFormation takes 51,200", name, n)
		}
	}
}

// glob returns the files in dir that match patterns, relative to it.
func glob(t *testing.T, dir string, patterns []string) []string {
	t.Helper()
	var names []string
	for _, pattern := range patterns {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range found {
			name, err := filepath.Rel(dir, file)
			if err != nil {
				t.Fatal(err)
			}
			names = append(names, name)
		}
	}
	return names
}

// policyCommand returns what `autotagd policy` prints with getenv, or in an empty environment.
func policyCommand(t *testing.T, getenv func(string) string, args ...string) []byte {
	t.Helper()
	if getenv == nil {
		getenv = func(string) string { return "" }
	}
	var stdout, stderr bytes.Buffer
	args = append([]string{"policy"}, args...)
	if code := run(t.Context(), environment{args, nil, &stdout, &stderr, getenv}); code != exitDone {
		t.Fatalf("autotagd %s: exit code %d: %s", strings.Join(args, " "), code, &stderr)
	}
	return stdout.Bytes()
}

// readPolicies returns what policy-1.json, policy-2.json and so on of a directory have.
func readPolicies(t *testing.T, dir string) []daemon.Policy {
	t.Helper()
	var policies []daemon.Policy
	for n := 1; ; n++ {
		document, err := os.ReadFile(policyFile(dir, "policy", n))
		if errors.Is(err, fs.ErrNotExist) && n > 1 {
			return policies
		} else if err != nil {
			t.Fatal(err)
		}
		var p daemon.Policy
		if err := json.Unmarshal(document, &p); err != nil {
			t.Fatal(err)
		}
		policies = append(policies, p)
	}
}

// withPolicies puts policies into a template, between the lines that say so.
func withPolicies(t *testing.T, template string, policies []daemon.Policy) string {
	t.Helper()
	m := regexp.MustCompile(`(?s)^(.*\n  # BEGIN policies: make generate\n).*?(  # END policies\n.*)$`).FindStringSubmatch(template)
	if m == nil {
		t.Fatal("the template has no `# BEGIN policies: make generate` and `# END policies`")
	}
	var resources strings.Builder
	for i, p := range policies {
		resources.WriteString(policyResource(fmt.Sprintf("Policy%d", i+1), p))
		for _, s := range p.Statement {
			keys := strings.Join(s.Condition["ForAllValues:StringEquals"]["aws:TagKeys"], ",")
			if keys != "" && !strings.Contains(template, "  TagKeys:\n    Type: CommaDelimitedList\n    Default: "+keys+"\n") {
				t.Fatalf("the template has no parameter TagKeys whose default is %s", keys)
			}
		}
	}
	return m[1] + resources.String() + m[2]
}

// policyResource writes a policy as a resource of a template, in as few bytes as a person can still read: see
// TestTemplatesAreSmall.
func policyResource(name string, p daemon.Policy) string {
	var b strings.Builder
	fmt.Fprintf(&b, "  %s:\n    Type: AWS::IAM::ManagedPolicy\n    Properties:\n      Roles: [!Ref Role]\n      PolicyDocument:\n", name)
	fmt.Fprintf(&b, "        Version: %q\n        Statement:\n", p.Version)
	for _, s := range p.Statement {
		fmt.Fprintf(&b, "          - Sid: %s\n            Effect: %s\n", s.Sid, s.Effect)
		fmt.Fprintf(&b, "            Action: %s\n            Resource: %s\n", flow(s.Action), flow(s.Resource))
		for operator, keys := range s.Condition {
			for key, values := range keys {
				list := flow(values)
				if key == "aws:TagKeys" {
					list = "!Ref TagKeys" // those of the default configuration are the parameter's default
				}
				fmt.Fprintf(&b, "            Condition: {%q: {%q: %s}}\n", operator, key, list)
			}
		}
	}
	return b.String()
}

// plainYAML is text that YAML takes for itself without quotes.
var plainYAML = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9:/*._-]*[a-zA-Z0-9/*]$`)

// flow is a list in brackets, on several lines if it is long.
func flow(values []string) string {
	const width, indent = 130, "\n              "
	var b strings.Builder
	column := len("            Resource: [")
	b.WriteString("[")
	for i, v := range values {
		if !plainYAML.MatchString(v) {
			v = fmt.Sprintf("%q", v)
		}
		if i < len(values)-1 {
			v += ","
		}
		switch {
		case i == 0:
		case column+len(v) > width:
			b.WriteString(indent)
			column = len(indent)
		default:
			b.WriteString(" ")
		}
		b.WriteString(v)
		column += len(v) + 1
	}
	return b.String() + "]"
}
