package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v4"

	"github.com/autotagd/autotagd/internal/fakeaws"
)

const (
	rulesDir   = "../../deploy/prometheus"
	runbook    = "../../docs/runbook.md"
	runbookURL = "https://github.com/autotagd/autotagd/blob/main/docs/runbook.md#"
)

// rule is one of rules.yaml, an alert or a record.
type rule struct {
	Alert, Record, Expr string
	Labels, Annotations map[string]string
}

func (r rule) name() string { return r.Alert + r.Record }

// unitTest is a file for promtool, as far as it is looked at here.
type unitTest struct {
	Tests []struct {
		Alerts []struct {
			Name   string `yaml:"alertname"`
			Firing []struct {
				Labels map[string]string `yaml:"exp_labels"`
			} `yaml:"exp_alerts"`
		} `yaml:"alert_rule_test"`
	}
}

func readYAML(t *testing.T, file string, into any) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(data, into); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

func readRules(t *testing.T) []rule {
	t.Helper()
	var file struct{ Groups []struct{ Rules []rule } }
	readYAML(t, filepath.Join(rulesDir, "rules.yaml"), &file)
	var all []rule
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	if len(all) == 0 {
		t.Fatal("there are no rules")
	}
	return all
}

// unitTests are the files for promtool.
func unitTests(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(rulesDir, "tests", "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no unit tests of the rules: %v", err)
	}
	return files
}

// Each alert says what a person needs who is woken by it, and has a unit test that shows it firing and one that does not.
func TestAlerts(t *testing.T) {
	t.Parallel()
	firing, quiet := map[string]bool{}, map[string]bool{}
	for _, file := range unitTests(t) {
		var u unitTest
		readYAML(t, file, &u)
		for _, test := range u.Tests {
			for _, a := range test.Alerts {
				found := map[string]bool{}
				for _, f := range a.Firing {
					found[f.Labels["severity"]] = true
				}
				for _, severity := range []string{"warning", "critical"} {
					key := a.Name + " " + severity
					firing[key] = firing[key] || found[severity]
					quiet[key] = quiet[key] || !found[severity]
				}
			}
		}
	}
	for _, r := range readRules(t) {
		if r.Alert == "" {
			continue
		}
		severity := r.Labels["severity"]
		if !strings.HasPrefix(r.Alert, "Autotagd") || severity != "warning" && severity != "critical" || len(r.Labels) != 1 {
			t.Errorf("%s: labels %v; want a name that begins with Autotagd and the severity alone", r.Alert, r.Labels)
		}
		if r.Annotations["summary"] == "" || r.Annotations["description"] == "" || r.Annotations["runbook_url"] != runbookURL+strings.ToLower(r.Alert) {
			t.Errorf("%s: annotations %v; want a summary, a description, and %s%s as runbook_url", r.Alert, r.Annotations, runbookURL, strings.ToLower(r.Alert))
		}
		if key := r.Alert + " " + severity; !firing[key] || !quiet[key] {
			t.Errorf("%s, %s: a unit test shows it firing: %t, not firing: %t; want both", r.Alert, severity, firing[key], quiet[key])
		}
	}
}

// The runbook has an entry for each alert, and no other, with all its parts; and what it looks for in the log is logged.
func TestRunbook(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(runbook)
	if err != nil {
		t.Fatal(err)
	}
	alerts := map[string]bool{}
	for _, r := range readRules(t) {
		if r.Alert != "" {
			alerts[r.Alert] = true
		}
	}
	for _, entry := range strings.Split(string(data), "\n### ")[1:] {
		name, text, _ := strings.Cut(entry, "\n")
		if !alerts[name] {
			t.Errorf("%s is an entry of the runbook, and no alert; or it is there twice", name)
		}
		delete(alerts, name)
		for _, part := range []string{"**Means:**", "**Causes:**", "**Do:**", "**Events:**"} {
			if _, after, found := strings.Cut(text, part); !found || strings.TrimSpace(after) == "" {
				t.Errorf("%s has no %s", name, part)
			}
		}
	}
	for name := range alerts {
		t.Errorf("%s has no entry in the runbook", name)
	}

	var sources strings.Builder
	for _, dir := range []string{".", "../../internal/*", "../../pkg/*"} {
		files, err := filepath.Glob(dir + "/*.go")
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if data, err := os.ReadFile(file); err != nil {
				t.Fatal(err)
			} else if !strings.HasSuffix(file, "_test.go") {
				sources.Write(data)
			}
		}
	}
	var sought []string
	for _, m := range regexp.MustCompile(`\.msg == ("[^"]+")`).FindAllStringSubmatch(string(data), -1) {
		sought = append(sought, m[1])
	}
	for _, m := range regexp.MustCompile(`\.msg \| test\("([^"]+)"\)`).FindAllStringSubmatch(string(data), -1) {
		sought = append(sought, strings.Split(m[1], "|")...)
	}
	if len(sought) == 0 {
		t.Error("the runbook looks for nothing in the log")
	}
	for _, message := range sought {
		if !strings.Contains(sources.String(), message) {
			t.Errorf("the runbook looks for %s in the log, which nothing logs", message)
		}
	}
}

// Each metric in the rules is one that the daemon has, with the labels and their values.
func TestRulesKnowTheMetrics(t *testing.T) {
	t.Parallel()
	exported := exportedMetrics(t)
	exported["up"] = map[string][]string{} // Prometheus's own
	for _, r := range readRules(t) {
		if r.Record != "" {
			exported[r.Record] = map[string][]string{}
			for _, label := range strings.Split(grouping.FindStringSubmatch(r.Expr)[1], ",") {
				exported[r.Record][strings.TrimSpace(label)] = nil
			}
		}
	}
	for _, r := range readRules(t) {
		selectors := selector.FindAllStringSubmatch(r.Expr, -1)
		if len(selectors) == 0 {
			t.Errorf("%s asks for no metric: %s", r.name(), r.Expr)
		}
		for _, s := range selectors {
			if problem := unknownIn(exported, s[1], s[2], grouping.FindAllStringSubmatch(r.Expr, -1)); problem != "" {
				t.Errorf("%s: %s", r.name(), problem)
			}
		}
	}
}

// exportedMetrics are what a daemon has on /metrics that has seen a call that is in no table: by name, the values of each label.
func exportedMetrics(t *testing.T) map[string]map[string][]string {
	t.Helper()
	cloud := fakeaws.New(fakeaws.Config{})
	aws := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := httptest.NewRecorder()
		cloud.Handler().ServeHTTP(answer, r)
		for key, values := range answer.Header() {
			w.Header()[key] = values
		}
		w.WriteHeader(answer.Code)
		_, _ = w.Write(bytes.ReplaceAll(answer.Body.Bytes(), []byte("CreateLogGroup"), []byte("CreateLogStars")))
	}))
	t.Cleanup(aws.Close)
	cloud.Create(cloud.Scope(), "CreateLogGroup", fakeaws.IAMUser("alice"), fakeaws.Spec{Delay: -1, At: time.Now().Add(-10 * time.Minute)})
	c := start(t, []string{
		"AWS_REGION=" + cloud.Scope().Region, "AWS_ENDPOINT_URL=" + aws.URL, "STATE_DIRECTORY=" + t.TempDir(),
		"AUTOTAGD_CONFIG_YAML={global_region: off, poll: {interval: 1s, lookback: 1m, sweep_interval: 1s}, web: {listen: '127.0.0.1:0'}}",
	}, "run")
	var page string
	eventually(t, time.Minute, func() string { return "no call that is in no table was counted:\n" + page + c.tail() }, func() bool {
		addr := c.logged("listening", "addr")
		if addr == "" {
			return false
		}
		resp, err := http.Get("http://" + addr + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		page = string(body)
		return strings.Contains(page, "autotagd_events_uncataloged_total{")
	})
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	exported := map[string]map[string][]string{}
	for name, f := range families {
		exported[name] = map[string][]string{}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				exported[name][l.GetName()] = append(exported[name][l.GetName()], l.GetValue())
			}
		}
	}
	return exported
}

var (
	selector = regexp.MustCompile(`\b((?:[a-z_]+:)?(?:autotagd|process)_[a-z_]+(?::[a-z0-9]+)?|up)\b(\{[^}]*\})?`)
	matcher  = regexp.MustCompile(`([a-z_]+)(=~|!=|=)"([^"]*)"`)
	grouping = regexp.MustCompile(`\b(?:by|on) \(([^)]+)\)`)
)

// unknownIn says what of a selector, and of the labels by which its expression groups, no series has.
func unknownIn(exported map[string]map[string][]string, metric, matchers string, groups [][]string) string {
	labels, found := exported[metric]
	if !found {
		return fmt.Sprintf("there is no metric %s", metric)
	}
	for _, m := range matcher.FindAllStringSubmatch(matchers, -1) {
		name, values := m[1], []string{m[3]}
		if name == "job" { // Prometheus adds it
			continue
		}
		if m[2] == "=~" {
			values = strings.Split(m[3], "|")
		}
		for _, v := range values {
			if !slices.Contains(labels[name], v) {
				return fmt.Sprintf("no series of %s has %s=%q; there are %q", metric, name, v, labels[name])
			}
		}
	}
	for _, g := range groups {
		for _, name := range strings.Split(g[1], ",") {
			if _, found := labels[strings.TrimSpace(name)]; !found {
				return fmt.Sprintf("%s has no label %s", metric, name)
			}
		}
	}
	return ""
}

// What the check above is worth: it finds what it is to find.
func TestUnknownMetricsAreFound(t *testing.T) {
	t.Parallel()
	exported := map[string]map[string][]string{"autotagd_x_total": {"outcome": {"ok", "failed"}, "region": {"eu-west-1"}}}
	for expr, ok := range map[string]bool{
		`rate(autotagd_x_total[5m])`:                                       true,
		`sum by (region) (autotagd_x_total{outcome=~"ok|failed",job="a"})`: true,
		`autotagd_y_total`:                                                 false,
		`autotagd_x_total{outcome="error"}`:                                false,
		`autotagd_x_total{outcome=~"ok|error"}`:                            false,
		`autotagd_x_total{account_id="1"}`:                                 false,
		`sum by (region, account_id) (autotagd_x_total)`:                   false,
		`a:autotagd_x:sum`:                                                 false,
	} {
		s := selector.FindStringSubmatch(expr)
		if s == nil {
			t.Errorf("%s: no selector found", expr)
			continue
		}
		if problem := unknownIn(exported, s[1], s[2], grouping.FindAllStringSubmatch(expr, -1)); (problem == "") != ok {
			t.Errorf("%s: problem %q", expr, problem)
		}
	}
}

// promtool agrees: the rules are sound, and the unit tests pass.
func TestPromtool(t *testing.T) {
	if os.Getenv("AUTOTAGD_REQUIRE_PROMETHEUS") == "" {
		t.Skip("takes half a minute and needs promtool: AUTOTAGD_REQUIRE_PROMETHEUS=1 runs it, as make check does")
	}
	t.Parallel()
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Fatal("there is no promtool: on Debian, apt-get install prometheus")
	}
	runs := map[string][]string{"rules.yaml": {"check", "rules", "--lint=all", "--lint-fatal", filepath.Join(rulesDir, "rules.yaml")}}
	for _, file := range unitTests(t) {
		runs[filepath.Base(file)] = []string{"test", "rules", file}
	}
	for name, args := range runs {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if out, err := exec.Command(promtool, args...).CombinedOutput(); err != nil {
				t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
			}
		})
	}
}

// A real Prometheus can work out every rule on what a real daemon exports, and while an account is busy and nothing is wrong, no
// alert fires and none is about to.
func TestRulesInPrometheus(t *testing.T) {
	if os.Getenv("AUTOTAGD_REQUIRE_PROMETHEUS") == "" {
		t.Skip("takes half a minute and needs Prometheus: AUTOTAGD_REQUIRE_PROMETHEUS=1 runs it, as make check does")
	}
	t.Parallel()
	w := newWorkload(t, fakeaws.Config{Seed: 4, Regions: []string{"eu-central-1", "us-east-1"}, Visibility: demoVisibility, Consistency: time.Second, ImageTime: 5 * time.Second},
		"poll: {interval: 1s, sweep_interval: 15s, lookback: 20s, start: 1m}, tagging: {batch_wait: 500ms, consistency_wait: 10s}")
	w.begin(fakeaws.Traffic{Creates: 0.7, Writes: 1.5, Reads: 2})
	t.Cleanup(func() { w.stop(); <-w.worked })
	// A start is for the unit tests, which know for how long it may take.
	eventually(t, time.Minute, func() string { return "nothing is tagged, or a Scope has no Floor:\n" + w.c.tail() }, func() bool {
		r := scrape(t, w.addr)
		return r.outcomes["tagged"] > 0 && r.least(t, "autotagd_checkpoint_floor_timestamp_seconds") > 0
	})

	text, err := os.ReadFile(filepath.Join(rulesDir, "rules.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	const slow = "interval: 5m\n"
	if strings.Count(string(text), slow) != 1 {
		t.Fatalf("want one group with %q, to hurry it", slow)
	}
	hurried := filepath.Join(t.TempDir(), "rules.yaml")
	if err := os.WriteFile(hurried, []byte(strings.Replace(string(text), slow, "interval: 1s\n", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	p := startPrometheus(t, time.Second, hurried)
	p.scrapes(w.addr)
	// With the first samples a rate may be none, and a condition hold for a moment.
	var wrong []string
	last := time.Now() // when something was wrong
	eventually(t, 3*time.Minute, func() string { return strings.Join(wrong, "\n") + "\n" + w.c.tail() + "\n" + p.c.tail() }, func() bool {
		if now := p.activeRules(); len(now) > 0 {
			wrong, last = now, time.Now()
		}
		return time.Since(last) > 20*time.Second
	})
}

// activeRules says which rules p has not worked out, and which alerts fire or are about to.
func (p *prometheus) activeRules() []string {
	resp, err := http.Get("http://" + p.addr + "/api/v1/rules")
	if err != nil {
		return []string{err.Error()}
	}
	defer resp.Body.Close()
	var answer struct {
		Data struct {
			Groups []struct {
				Rules []struct{ Name, Health, LastError, State string }
			}
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || len(answer.Data.Groups) == 0 {
		return []string{fmt.Sprintf("Prometheus answers %s: %v", resp.Status, err)}
	}
	var wrong []string
	for _, g := range answer.Data.Groups {
		for _, r := range g.Rules {
			if r.Health != "ok" || r.State != "" && r.State != "inactive" {
				wrong = append(wrong, strings.Join([]string{r.Name, r.Health, r.LastError, r.State}, " "))
			}
		}
	}
	return wrong
}
