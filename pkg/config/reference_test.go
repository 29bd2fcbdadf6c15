package config_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/autotagd/autotagd/pkg/config"
)

// Every key that Load takes is in the reference, with a description and an example that loads and sets it.
func TestReference(t *testing.T) {
	reference, err := config.Reference()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, k := range reference {
		if !strings.Contains(k.Name, "[]") {
			names = append(names, k.Name)
		}
		if !strings.HasSuffix(k.Line, ".") || strings.Contains(k.Line, "\n") {
			t.Errorf("%s: described as %q, want a sentence on one line", k.Name, k.Line)
		}
		if (k.Default == "") != (k.Section || strings.HasPrefix(k.Name, "owners.session_names[]")) {
			t.Errorf("%s: default %q", k.Name, k.Default)
		}
		c, err := config.Load(k.Name, []byte(k.Example))
		if err != nil {
			t.Errorf("the example of %s: %v", k.Name, err)
			continue
		}
		if !c.IsSet(strings.ReplaceAll(k.Name, "[]", "[0]")) {
			t.Errorf("the example of %s does not set it: %s", k.Name, k.Example)
		}
		if defaults := config.Default(); !k.Section && cmp.Equal(c, &defaults, sameConfig) {
			t.Errorf("the example of %s is the default: %s", k.Name, k.Example)
		}
	}
	if diff := cmp.Diff(config.Keys(), names); diff != "" {
		t.Error(diff)
	}
	for _, name := range []string{"accounts[].role_arn", "accounts[].organization.exclude", "owners.session_names[].trust"} {
		if !slices.ContainsFunc(reference, func(k config.Key) bool { return k.Name == name }) {
			t.Errorf("no %s", name)
		}
	}
}

// The default that the reference has of a key is the one that counts.
func TestReferenceDefaults(t *testing.T) {
	reference, err := config.Reference()
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range reference {
		if k.Default == "" || strings.Contains(k.Name, "[]") {
			continue
		}
		path := strings.Split(k.Name, ".")
		data := strings.Join(path, ": {") + ": " + k.Default + strings.Repeat("}", len(path)-1)
		c, err := config.Load(k.Name, []byte(data))
		if err != nil {
			t.Errorf("%s: %v", data, err)
			continue
		}
		want := config.Default()
		if strings.HasPrefix(k.Name, "checkpoint.dynamodb.") {
			want.Checkpoint.DynamoDB = &config.DynamoDB{Table: "autotagd", Lease: 30_000_000_000}
		}
		if diff := cmp.Diff(&want, c, sameConfig); diff != "" {
			t.Errorf("%s: %s", data, diff)
		}
	}
}

// No description is left of a key that is gone.
func TestNoDescriptionIsLeftOver(t *testing.T) {
	reference, err := config.Reference()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := config.DescribedKeys(), len(reference); len(got) != want {
		for _, name := range got {
			if !slices.ContainsFunc(reference, func(k config.Key) bool { return k.Name == name }) {
				t.Errorf("%s is described, and there is no such key", name)
			}
		}
	}
}
