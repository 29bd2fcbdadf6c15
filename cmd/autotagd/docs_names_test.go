package main

import (
	"errors"
	"fmt"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/autotagd/autotagd/pkg/config"
)

// What the text of a document names is there: commands and their flags, make's targets, keys of the configuration, metrics.
func TestDocumentsNameWhatIsThere(t *testing.T) {
	makefile, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	metrics, err := os.ReadFile("../../docs/metrics.md") // which is made of what is registered
	if err != nil {
		t.Fatal(err)
	}
	keys := config.Keys()
	target := regexp.MustCompile(`^make ([a-z][a-z-]*)`)
	key := regexp.MustCompile(`^(poll|checkpoint|owners|directory|catalog|tagging|web|log)\.[a-z_.]+$`)
	metric := regexp.MustCompile(`(?:^|[^:\w])(autotagd_[a-z_]+[a-z])\b`) // what a rule records has a colon before it
	found := map[string]int{}
	for _, d := range documents(t) {
		for _, s := range d.spans {
			fail := func(format string, args ...any) {
				t.Errorf("%s:%d: `%s`: %s", d.name, s.line, s.code, fmt.Sprintf(format, args...))
			}
			if words := strings.Fields(regexp.MustCompile(`[|&;<>].*`).ReplaceAllString(s.code, "")); len(words) > 1 && strings.TrimPrefix(words[0], "bin/") == "autotagd" {
				found["command"]++
				if err := understood(words[1:]); err != nil {
					fail("%v", err)
				}
			}
			if m := target.FindStringSubmatch(s.code); m != nil {
				found["target"]++
				if !regexp.MustCompile(`(?m)^` + m[1] + `:`).Match(makefile) {
					fail("the Makefile has no target %s", m[1])
				}
			}
			if key.MatchString(s.code) && !slices.Contains([]string{".go", ".md", ".yaml", ".yml"}, path.Ext(s.code)) {
				found["key"]++
				if !slices.Contains(keys, s.code) {
					fail("no such key of the configuration")
				}
			}
			for _, m := range metric.FindAllStringSubmatch(s.code, -1) {
				found["metric"]++
				name := m[1]
				base := regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(name, "")
				if !strings.Contains(string(metrics), "| `"+name+"` |") && !strings.Contains(string(metrics), "| `"+base+"` | histogram") {
					fail("no such metric: %s", name)
				}
			}
		}
	}
	for _, kind := range []string{"command", "target", "key", "metric"} {
		if found[kind] < 5 {
			t.Errorf("only %d of the kind %s were found", found[kind], kind)
		}
	}
}

// understood parses a command line and runs nothing.
func understood(words []string) error {
	started := false
	root := newRoot(environment{getenv: func(string) string { return "" }}, &started)
	cmd, rest, err := root.Find(words)
	if err != nil {
		return err
	}
	if cmd == root && !strings.HasPrefix(words[0], "-") {
		return fmt.Errorf("no such command: %s", words[0])
	}
	if err := cmd.ParseFlags(rest); !errors.As(err, new(*pflag.ValueRequiredError)) { // it is enough to name the flag
		return err
	}
	return nil
}
