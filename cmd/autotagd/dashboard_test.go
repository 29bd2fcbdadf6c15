package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/autotagd/autotagd/internal/fakeaws"
)

//go:generate python3 -B ../../deploy/grafana/dashboard.py ../../deploy/grafana/autotagd.json

const dashboardFile = "../../deploy/grafana/autotagd.json"

// dashboard is what the tests read of Grafana's dashboard; test/grafana checks all of it against Grafana's own schema.
type dashboard struct {
	UID           string
	Title         string
	SchemaVersion int
	Panels        []dashboardPanel
	Templating    struct{ List []dashboardVariable }
	Annotations   struct {
		List []struct {
			Target struct{ Expr string }
		}
	}
	Links []dashboardLink
}

type dashboardLink struct{ Title, URL string }

type dashboardVariable struct {
	Name, Type, Definition, AllValue string
	Multi, IncludeAll                bool
}

type dashboardPanel struct {
	ID                       int
	Type, Title, Description string
	GridPos                  struct{ X, Y, W, H int }
	Targets                  []dashboardQuery
	Links                    []dashboardLink
	FieldConfig              struct {
		Defaults struct {
			Unit       string
			Thresholds struct {
				Steps []struct {
					Color string
					Value *float64
				}
			}
		}
		Overrides []struct {
			Matcher    struct{ ID, Options string }
			Properties []struct {
				ID    string
				Value json.RawMessage
			}
		}
	}
}

type dashboardQuery struct {
	RefID, Expr, LegendFormat, Format string
	Instant, Range                    bool
	Datasource                        struct{ Type, UID string }
}

func readDashboard(t testing.TB) dashboard {
	t.Helper()
	text, err := os.ReadFile(filepath.FromSlash(dashboardFile))
	if err != nil {
		t.Fatal(err)
	}
	var d dashboard
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatalf("%s: %v", dashboardFile, err)
	}
	return d
}

// queried are the panels that show something: all but the headings.
func (d dashboard) queried() []dashboardPanel {
	return slices.DeleteFunc(slices.Clone(d.Panels), func(p dashboardPanel) bool { return p.Type == "row" })
}

// exprs are all queries, with where they stand; the variables' too.
func (d dashboard) exprs() map[string]string {
	all := map[string]string{}
	for _, p := range d.Panels {
		for _, q := range p.Targets {
			all[fmt.Sprintf("panel %q, query %s", p.Title, q.RefID)] = q.Expr
		}
	}
	for _, v := range d.Templating.List {
		if v.Type == "query" {
			all["variable "+v.Name] = v.Definition
		}
	}
	for i, a := range d.Annotations.List {
		all[fmt.Sprintf("annotation %d", i)] = a.Target.Expr
	}
	return all
}

func TestDashboardIsComplete(t *testing.T) {
	t.Parallel()
	d := readDashboard(t)
	if d.UID != "autotagd" {
		t.Errorf("uid = %q; links that people saved need it to stay \"autotagd\"", d.UID)
	}
	ids, titles := map[int]bool{}, map[string]bool{}
	for _, p := range d.Panels {
		if p.ID == 0 || ids[p.ID] || p.Title == "" || titles[p.Title] {
			t.Errorf("panel %d %q: want an id and a title of its own", p.ID, p.Title)
		}
		ids[p.ID], titles[p.Title] = true, true
	}
	for _, p := range d.queried() {
		if p.Description == "" || p.FieldConfig.Defaults.Unit == "" || len(p.Targets) == 0 {
			t.Errorf("panel %q: want a description, a unit and a query", p.Title)
		}
		refs := map[string]bool{}
		for _, q := range p.Targets {
			if q.RefID == "" || refs[q.RefID] {
				t.Errorf("panel %q: refId %q: want one of its own", p.Title, q.RefID)
			}
			refs[q.RefID] = true
			if q.Datasource.UID != "${datasource}" {
				t.Errorf("panel %q: data source %q: want the variable", p.Title, q.Datasource.UID)
			}
			if q.Instant == q.Range {
				t.Errorf("panel %q: query %s is to be either instant or a range", p.Title, q.RefID)
			}
			if q.Range && strings.Contains(q.Expr, "$__range") || q.Instant && strings.Contains(q.Expr, "$__rate_interval") {
				t.Errorf("panel %q: query %s: $__range is for instant queries, $__rate_interval for ranges", p.Title, q.RefID)
			}
		}
	}
}

// What the dashboard leads to is there, and from the panel that shows it to each alert of rules.yaml.
func TestDashboardLeadsToTheRunbook(t *testing.T) {
	t.Parallel()
	d := readDashboard(t)
	links := slices.Clone(d.Links)
	for _, p := range d.Panels {
		links = append(links, p.Links...)
	}
	led := map[string]bool{}
	for _, l := range links {
		file, ours := strings.CutPrefix(l.URL, "https://github.com/autotagd/autotagd/blob/main/")
		file, heading, _ := strings.Cut(file, "#")
		text, err := os.ReadFile(filepath.Join("../..", file))
		if !ours || err != nil {
			t.Errorf("%q leads to %s: %v", l.Title, l.URL, err)
			continue
		}
		found := heading == ""
		for line := range strings.Lines(string(text)) {
			title, is := strings.CutPrefix(strings.TrimLeft(strings.TrimSpace(line), "#"), " ")
			found = found || is && strings.HasPrefix(line, "#") && strings.ReplaceAll(strings.ToLower(title), " ", "-") == heading
		}
		if !found {
			t.Errorf("%q leads to %s, and there is no such heading", l.Title, l.URL)
		}
		led[heading] = true
	}
	for _, r := range readRules(t) {
		if r.Alert != "" && !led[strings.ToLower(r.Alert)] {
			t.Errorf("no panel leads to %s in the runbook", r.Alert)
		}
	}
}

func TestDashboardPanelsDoNotOverlap(t *testing.T) {
	t.Parallel()
	taken := map[[2]int]string{}
	for _, p := range readDashboard(t).Panels {
		g := p.GridPos
		if g.X < 0 || g.Y < 0 || g.W < 1 || g.H < 1 || g.X+g.W > 24 {
			t.Errorf("panel %q is at %+v: Grafana's grid has 24 columns", p.Title, g)
		}
		for x := g.X; x < g.X+g.W; x++ {
			for y := g.Y; y < g.Y+g.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" {
					t.Fatalf("panels %q and %q overlap at column %d, line %d", p.Title, other, x, y)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
	}
}

// One outcome has one color, wherever it is shown: by its name, or in the columns of a table.
func TestDashboardColorsMeanTheSameEverywhere(t *testing.T) {
	t.Parallel()
	colors := map[string]map[string]bool{}
	for _, p := range readDashboard(t).Panels {
		for _, o := range p.FieldConfig.Overrides {
			for _, property := range o.Properties {
				var fixed struct{ FixedColor string }
				if property.ID == "color" && json.Unmarshal(property.Value, &fixed) == nil {
					if colors[o.Matcher.Options] == nil {
						colors[o.Matcher.Options] = map[string]bool{}
					}
					colors[o.Matcher.Options][fixed.FixedColor] = true
				}
			}
		}
	}
	for _, want := range []string{"tagged", "kept", "skipped", "gone", "missed", "would_tag"} {
		if len(colors[want]) == 0 {
			t.Errorf("outcome %q has no color", want)
		}
	}
	for name, c := range colors {
		if len(c) > 1 {
			t.Errorf("%q has several colors: %v", name, c)
		}
	}
}

var (
	metricName   = regexp.MustCompile(`\b(?:autotagd|process|go)_[a-z_]+`)
	variableName = regexp.MustCompile(`\$\{?(\w+)`)
)

func TestDashboardNamesOnlyVariablesThatItHas(t *testing.T) {
	t.Parallel()
	d := readDashboard(t)
	known := []string{"__range", "__range_s", "__rate_interval", "__interval", "__interval_ms"}
	for _, v := range d.Templating.List {
		known = append(known, v.Name)
	}
	for where, expr := range d.exprs() {
		for _, m := range variableName.FindAllStringSubmatch(expr, -1) {
			if !slices.Contains(known, m[1]) {
				t.Errorf("%s: no variable $%s", where, m[1])
			}
		}
	}
}

// Every metric that a query names is one that the binary has.
func TestDashboardNamesOnlyMetricsThatExist(t *testing.T) {
	t.Parallel()
	d := readDashboard(t)
	named := map[string]string{} // metric to one place
	for where, expr := range d.exprs() {
		for _, name := range metricName.FindAllString(expr, -1) {
			named[name] = where
		}
	}
	if len(named) < 20 {
		t.Fatalf("the dashboard names %d metrics; is it read rightly?", len(named))
	}
	// A metric of what a record says begins with the first such record.
	cloud := fakeaws.New(fakeaws.Config{Seed: 1, Visibility: -1})
	cloud.Past(time.Now().Add(-time.Minute), time.Now(), fakeaws.Traffic{Creates: 1})
	c := start(t, []string{
		"AWS_REGION=" + cloud.Scope().Region, "AWS_ENDPOINT_URL=" + serve(t, cloud), "STATE_DIRECTORY=" + t.TempDir(),
		"AUTOTAGD_CONFIG_YAML={global_region: off, poll: {interval: 1s}, tagging: {batch_wait: 100ms}, web: {listen: '127.0.0.1:0'}}",
	}, "run")
	delete(named, "autotagd_events_uncataloged_total") // only of a call that no model of AWS's has: see internal/daemon
	eventually(t, time.Minute, func() string { return fmt.Sprintf("metrics that are not there: %v\n%s", named, c.tail()) }, func() bool {
		answer, err := http.Get("http://" + c.logged("listening", "addr") + "/metrics")
		if err != nil {
			return false
		}
		defer answer.Body.Close()
		parser := expfmt.NewTextParser(model.UTF8Validation)
		families, err := parser.TextToMetricFamilies(answer.Body)
		if err != nil {
			return false
		}
		for name, f := range families {
			delete(named, name)
			if f.GetType().String() == "HISTOGRAM" {
				for _, suffix := range []string{"_bucket", "_sum", "_count"} {
					delete(named, name+suffix)
				}
			}
		}
		return len(named) == 0
	})
}

// setupGrafana installs what test/grafana needs, unless it is there.
func setupGrafana(t *testing.T) {
	t.Helper()
	if err := installGrafana(); err != nil {
		t.Fatal(err)
	}
}

var installGrafana = sync.OnceValue(func() error {
	if out, err := exec.Command("../../test/grafana/setup").CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return nil
})

// Grafana ignores what it does not know, so a misspelt key is a panel that silently looks otherwise: test/grafana finds it.
func TestDashboardFitsGrafanasSchema(t *testing.T) {
	if os.Getenv("AUTOTAGD_SLOW") == "" {
		t.Skip("needs Node.js: AUTOTAGD_SLOW=1 runs it, as make check does")
	}
	t.Parallel()
	setupGrafana(t)
	check := func(file string) (string, error) {
		out, err := exec.Command("node", "../../test/grafana/check.js", file).CombinedOutput()
		return string(out), err
	}
	if out, err := check(dashboardFile); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	text, err := os.ReadFile(dashboardFile)
	if err != nil {
		t.Fatal(err)
	}
	for right, wrong := range map[string]string{
		`"schemaVersion": 42`: `"schemaversion": 42`, `"decimals": 1`: `"decimal": 1`, `"colorMode": "value"`: `"colorMode": "valeu"`,
		`"fillOpacity": 10`: `"fillopacity": 10`, `"id": "custom.width"`: `"id": "custom.widht"`, `"renameByName": {`: `"renamesByName": {`,
		`"mode": "absolute"`: `"mode": "absolut"`, `"includeAll": true`: `"includesAll": true`, `"type": "heatmap"`: `"type": "heatmaps"`,
	} {
		t.Run(wrong, func(t *testing.T) {
			t.Parallel()
			broken := strings.Replace(string(text), right, wrong, 1)
			file := filepath.Join(t.TempDir(), "broken.json")
			if broken == string(text) {
				t.Fatalf("the dashboard has no %s", right)
			}
			if err := os.WriteFile(file, []byte(broken), 0o600); err != nil {
				t.Fatal(err)
			}
			var exit *exec.ExitError
			if out, err := check(file); !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(out, file+": ") {
				t.Errorf("the check says %v, want exit code 1 and the place\n%s", err, out)
			}
		})
	}
}
