package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/autotagd/autotagd/internal/fakeaws"
	"github.com/autotagd/autotagd/pkg/checkpoint"
	"github.com/autotagd/autotagd/pkg/event"
	"github.com/autotagd/autotagd/pkg/resource"
)

// inProcess runs one command line in this process, with variables as its whole environment.
func inProcess(t *testing.T, variables []string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	values := map[string]string{}
	for _, v := range variables {
		name, value, _ := strings.Cut(v, "=")
		values[name] = value
	}
	var out, errs bytes.Buffer
	code = run(t.Context(), environment{args, strings.NewReader(""), &out, &errs, func(name string) string { return values[name] }})
	return code, out.String(), errs.String()
}

// statusJSON is what `status --format json` printed.
func statusJSON(t *testing.T, out string) []map[string]any {
	t.Helper()
	var all []map[string]any
	if err := json.Unmarshal([]byte(out), &all); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return all
}

// saved puts a State into store: marks so far in the past, and a Job that waits for each reason.
func saved(t *testing.T, store checkpoint.Store, s event.Scope, behind time.Duration, reasons ...resource.Reason) {
	t.Helper()
	l, err := checkpoint.Open(t.Context(), store, s, checkpoint.Options{})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	span := event.Span{Start: now.Add(-5 * time.Hour), End: now.Add(-4 * time.Hour)}
	if err := l.Reset(event.Marks{Floor: now.Add(-behind - 30*time.Minute), Watermark: now.Add(-behind), Backlog: []event.Span{span}}); err != nil {
		t.Fatal(err)
	}
	for i, reason := range reasons {
		at := now.Add(-time.Duration(i+1) * time.Hour)
		j := resource.Job{
			Event: resource.EventRef{ID: fmt.Sprint("event", i), Name: "CreateVolume", Time: at, Scope: s}, LastReason: reason,
			Resource: resource.Resource{ID: fmt.Sprint("vol-", i), Scope: s}, Tags: []resource.Tag{{Key: "Owner", Value: "alice"}},
		}
		l.Begin(event.Live, j.Event.ID, at)
		l.Hold(j.Event.ID, []resource.Job{j})
		l.Defer(j)
	}
	if err := l.Save(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestStatusOfFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	env := []string{"STATE_DIRECTORY=" + dir}
	if code, _, stderr := inProcess(t, env, "status"); code != exitFailed || !strings.Contains(stderr, "no checkpoint is in "+dir) {
		t.Errorf("of an empty directory: exit code %d: %s", code, stderr)
	}
	store, err := checkpoint.OpenFileStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	one, two := event.Scope{AccountID: "111122223333", Region: "eu-central-1"}, event.Scope{AccountID: "111122223333", Region: "us-east-1"}
	saved(t, store, one, 125*time.Second, resource.AccessDenied, resource.Exhausted, resource.AccessDenied)
	saved(t, store, two, 20*time.Minute)
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}

	code, stdout, stderr := inProcess(t, env, "status")
	if code != exitDone || stderr != "" {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	row := func(scope, watermark, floor, rest string) string {
		const instant = `\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`
		return scope + ` +- +` + instant + ` +` + watermark + ` +` + instant + ` +` + floor + ` +1: 1h0m0s +` + rest + `\n`
	}
	want := `^SCOPE +HOLDER +WATERMARK +LAG +FLOOR +LAG +BACKLOG +DEFERRED\n` +
		row(one.String(), `2m\d+s`, `32m\d+s`, `3, oldest 3h0m\d+s: access_denied 2, exhausted 1`) + row(two.String(), `20m\d+s`, `50m\d+s`, `-`) + `$`
	if !regexp.MustCompile(want).MatchString(stdout) {
		t.Errorf("printed\n%swant %s", stdout, want)
	}

	code, stdout, stderr = inProcess(t, env, "status", "--format", "json", "--max-lag", "10m")
	if code != exitFailed || !regexp.MustCompile(`^autotagd: 111122223333/us-east-1: its Watermark is 20m\d+s behind, more than 10m0s\n$`).MatchString(stderr) {
		t.Errorf("beyond the lag: exit code %d: %s", code, stderr)
	}
	all := statusJSON(t, stdout)
	if len(all) != 2 {
		t.Fatalf("%d objects", len(all))
	}
	fields := []string{
		"account_id", "backlog_seconds", "backlog_spans", "deferred", "deferred_by_reason", "deferred_oldest", "error", "floor",
		"floor_lag_seconds", "holder", "region", "saved_at", "watermark", "watermark_lag_seconds",
	}
	if got := slices.Sorted(maps.Keys(all[0])); !slices.Equal(got, fields) {
		t.Errorf("fields %q", got)
	}
	_, help, _ := inProcess(t, env, "status", "--help")
	for _, f := range fields {
		if !regexp.MustCompile(`\b` + f + `\b`).MatchString(help) {
			t.Errorf("the help does not tell of %s", f)
		}
	}
	if diff := cmp.Diff(map[string]any{"access_denied": 2.0, "exhausted": 1.0}, all[0]["deferred_by_reason"]); diff != "" {
		t.Error(diff)
	}
	if l := all[0]["watermark_lag_seconds"].(float64); l < 125 || l > 180 {
		t.Errorf("watermark_lag_seconds %v", l)
	}
	if code, _, stderr := inProcess(t, env, "status", "--max-lag", "1h"); code != exitDone || stderr != "" {
		t.Errorf("within the lag: exit code %d: %s", code, stderr)
	}
}

// A checkpoint that can't be read is said, and the others are shown.
func TestStatusOfDamage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	store, err := checkpoint.OpenFileStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	one, two := event.Scope{AccountID: "111122223333", Region: "eu-central-1"}, event.Scope{AccountID: "111122223333", Region: "us-east-1"}
	saved(t, store, one, time.Minute)
	saved(t, store, two, time.Minute)
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	state := filepath.Join(dir, one.AccountID, one.Region, "state")
	if err := os.WriteFile(state, []byte("\x1b[2J"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := []string{"STATE_DIRECTORY=" + dir}
	code, stdout, stderr := inProcess(t, env, "status")
	lines := strings.Split(stdout, "\n")
	if code != exitFailed || len(lines) != 4 || !strings.Contains(lines[1], state+" is damaged") || !strings.Contains(lines[2], two.String()) ||
		stderr != "autotagd: "+one.String()+": its checkpoint can't be read\n" {
		t.Errorf("exit code %d, %q, %q", code, stdout, stderr)
	}
	_, stdout, _ = inProcess(t, env, "status", "--format", "json")
	if all := statusJSON(t, stdout); len(all) != 2 || all[0]["error"] == "" || all[0]["floor"] != nil || all[1]["error"] != "" || all[1]["floor"] == nil {
		t.Errorf("%s", stdout)
	}
}

// Beside a daemon at work: its pid is named, and it goes on.
func TestStatusBesideADaemon(t *testing.T) {
	t.Parallel()
	cloud := fakeaws.New(fakeaws.Config{})
	env := append(environmentOf(t, cloud, t.TempDir()), "AUTOTAGD_CONFIG_YAML={global_region: off, poll: {interval: 1s}, web: {listen: '127.0.0.1:0'}}")
	daemon := start(t, env, "run")
	var code int
	var stdout, stderr string
	eventually(t, time.Minute, func() string { return stdout + stderr + daemon.tail() }, func() bool {
		code, stdout, stderr = inProcess(t, env, "status", "--max-lag", "15m")
		return code == exitDone
	})
	if holder := fmt.Sprintf(" pid %d on ", daemon.cmd.Process.Pid); !strings.Contains(stdout, holder) {
		t.Errorf("does not name the holder%s:\n%s", holder, stdout)
	}
	daemon.kill()
	if code, stdout, stderr = inProcess(t, env, "status"); code != exitDone || strings.Contains(stdout, " pid ") {
		t.Errorf("after its end: exit code %d\n%s%s", code, stdout, stderr)
	}
}
