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

// configurationDocument fills testdata/configuration.md.
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
	frame, err := os.ReadFile("testdata/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	var keys, variables strings.Builder
	for _, k := range reference {
		fmt.Fprintf(&keys, "\n### `%s`\n\n", k.Name)
		switch {
		case k.Section:
			fmt.Fprintf(&keys, "%s\n", k.Line)
		case k.Default == "":
			fmt.Fprintf(&keys, "*%s; has to be given.* %s\n", k.Kind, k.Line)
		default:
			fmt.Fprintf(&keys, "*%s; default `%s`.* %s\n", k.Kind, k.Default, k.Line)
		}
		if k.More != "" {
			fmt.Fprintf(&keys, "\n%s\n", k.More)
		}
		if !strings.HasSuffix(k.Example, "{}") {
			fmt.Fprintf(&keys, "\n```yaml\n%s\n```\n", k.Example)
		}
	}
	variables.WriteString("| variable | type | is |\n| --- | --- | --- |\n")
	for _, v := range rules.Variables() {
		fmt.Fprintf(&variables, "| `%s` | %s | %s |\n", v.Name, v.Type, v.About)
	}
	return strings.NewReplacer("{{effective}}", string(effective), "{{keys}}", keys.String(), "{{variables}}", variables.String()).Replace(string(frame))
}
