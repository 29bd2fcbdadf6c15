package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// example is a line of the shipped configuration that is in force when its # is taken away: prose has a space after it.
var example = regexp.MustCompile(`(?m)^#([a-z]|  - |  [A-Z]\w*: \$)`)

// The configuration that the package installs is a good one as it is, and with every example in it in force.
func TestShippedConfiguration(t *testing.T) {
	t.Parallel()
	shipped, err := os.ReadFile("../../deploy/debian/autotagd.yaml")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	people := filepath.Join(dir, "people.csv")
	if n := len(example.FindAllIndex(shipped, -1)); n < 10 {
		t.Fatalf("%d lines of examples show little", n)
	}
	all := strings.Replace(example.ReplaceAllString(string(shipped), "$1"), "people.csv", people, 1)
	for name, text := range map[string]string{
		people: "name,department\nalice,Research\n", filepath.Join(dir, "shipped.yaml"): string(shipped), filepath.Join(dir, "all.yaml"): all,
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{
		"shipped.yaml": "PrincipalId: ${identity.principal_id}", "all.yaml": "Department: ${owner.attributes.department}",
	} {
		var stdout, stderr bytes.Buffer
		code := run(t.Context(), environment{[]string{"check", "--config", filepath.Join(dir, name)}, nil, &stdout, &stderr, func(string) string { return "" }})
		if code != exitDone || stderr.Len() > 0 || !strings.Contains(stdout.String(), want) {
			t.Errorf("check of %s: exit code %d\n%s%s", name, code, &stderr, &stdout)
		}
	}
}
