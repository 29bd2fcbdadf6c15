package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/autotagd/autotagd/internal/daemon"
	"github.com/autotagd/autotagd/pkg/catalog"
	"github.com/autotagd/autotagd/pkg/config"
)

// accountsYAML has accounts, which loadConfig refuses in this release.
const accountsYAML = `{services: [sqs], regions: [all], accounts: [{organization: {exclude: [ou-ab12-12345678]}}, {role_arn: arn:aws:iam::444455556666:role/x}]}`

func policiesOfAccounts(t *testing.T, role bool, dir string) (stdout, stderr string) {
	t.Helper()
	cfg, err := config.Load("test", []byte(accountsYAML))
	if err != nil {
		t.Fatal(err)
	}
	cat, err := catalog.Load()
	if err != nil {
		t.Fatal(err)
	}
	planner, err := daemon.NewPlanner(cfg, cat, nil)
	if err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	env := environment{nil, nil, &out, &errs, func(string) string { return "" }}
	if err := printPolicies(env, cfg, planner, role, dir); err != nil {
		t.Fatal(err)
	}
	return out.String(), errs.String()
}

// What is printed is of one identity, so that it can be piped; files have both, by name.
func TestPolicyOfAccounts(t *testing.T) {
	own, hint := policiesOfAccounts(t, false, "")
	if !strings.Contains(own, "sts:AssumeRole") || !strings.Contains(own, "sqs:TagQueue") || !strings.Contains(hint, "autotagd policy --role") {
		t.Errorf("printed %s, and on stderr %q", own, hint)
	}
	role, hint := policiesOfAccounts(t, true, "")
	if strings.Contains(role, "sts:AssumeRole") || !strings.Contains(role, "sqs:TagQueue") || hint != "" {
		t.Errorf("printed for the role %s, and on stderr %q", role, hint)
	}
	dir := t.TempDir()
	stale := filepath.Join(dir, "role-policy-2.json")
	if err := os.WriteFile(stale, []byte("{}"), 0o666); err != nil {
		t.Fatal(err)
	}
	names, hint := policiesOfAccounts(t, false, dir)
	if want := filepath.Join(dir, "policy-1.json") + "\n" + filepath.Join(dir, "role-policy-1.json") + "\n"; names != want || hint != "" {
		t.Errorf("printed %q, want %q; on stderr %q", names, want, hint)
	}
	for name, want := range map[string]string{"policy-1.json": own, "role-policy-1.json": role} {
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || string(got) != want {
			t.Errorf("%s has not what is printed: %v", name, err)
		}
	}
	if _, err := os.Stat(stale); err == nil {
		t.Error("a file of an earlier run is still there")
	}
}
