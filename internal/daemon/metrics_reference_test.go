package daemon

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/autotagd/autotagd/internal/fakeaws"
)

//go:generate go test -count=1 -run=^TestMetricsDocument$ . -update

// docs/metrics.md is made of what the packages register.
func TestMetricsDocument(t *testing.T) {
	const name = "../../docs/metrics.md"
	want := metricsDocument(t)
	if *update {
		if err := os.WriteFile(name, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(have), want); diff != "" {
		t.Errorf("%s is out of date, run go generate ./internal/daemon (-have +want):\n%s", name, diff)
	}
}

// describedAs is what a Desc says of itself, which has no other way to be read.
var describedAs = regexp.MustCompile(`^Desc\{fqName: "(\w+)", help: "(.*?)"(?:, unit: "")?, constLabels: \{\}, variableLabels: \{([\w,]*)\}\}$`)

// closedLabels have few values, all of which are there from the start, at zero.
var closedLabels = []string{"outcome", "reason", "scan", "by"}

// metricsDocument looks at the metrics of a daemon that has tagged something.
func metricsDocument(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, "{global_region: off}", fakeaws.Config{})
		r := w.start()
		time.Sleep(time.Minute)
		w.cloud.Create(w.cloud.Scope(), "CreateVolume", fakeaws.IAMUser("alice"), fakeaws.Spec{Delay: -1})
		time.Sleep(time.Minute)
		families, err := r.daemon.registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		descs := make(chan *prometheus.Desc, 1000)
		r.daemon.registry.Describe(descs)
		r.stop()
		close(descs)
		var rows []string
		for desc := range descs {
			if strings.HasPrefix(desc.String(), `Desc{fqName: "autotagd_`) {
				rows = append(rows, metricsRow(t, desc.String(), families))
			}
		}
		if len(rows) < 20 {
			t.Fatalf("only %d metrics", len(rows))
		}
		b.WriteString(metricsHead + strings.Join(slices.Sorted(slices.Values(rows)), "") + metricsFoot)
	})
	return b.String()
}

// metricsRow is a row of the document. What has no series yet, as nothing of its kind has happened, counts: all else has some.
func metricsRow(t *testing.T, desc string, families []*dto.MetricFamily) string {
	t.Helper()
	m := describedAs.FindStringSubmatch(desc)
	if m == nil {
		t.Fatalf("not understood: %s", desc)
	}
	name, help, kind := m[1], m[2], "counter"
	if !strings.HasSuffix(help, ".") {
		t.Errorf("%s: the help text is no sentence: %q", name, help)
	}
	values := map[string]map[string]bool{}
	i := slices.IndexFunc(families, func(f *dto.MetricFamily) bool { return f.GetName() == name })
	switch {
	case i >= 0:
		kind = strings.ToLower(families[i].GetType().String())
		for _, series := range families[i].GetMetric() {
			for _, l := range series.GetLabel() {
				if values[l.GetName()] == nil {
					values[l.GetName()] = map[string]bool{}
				}
				values[l.GetName()][l.GetValue()] = true
			}
		}
	case !strings.HasSuffix(name, "_total"):
		t.Errorf("%s has no series: is it a counter?", name)
	}
	var labels []string
	for _, l := range slices.Sorted(strings.SplitSeq(m[3], ",")) {
		if l == "" { // it has no label
			continue
		}
		label := "`" + l + "`"
		if slices.Contains(closedLabels, l) && len(values[l]) > 1 {
			label += " (" + strings.Join(slices.Sorted(maps.Keys(values[l])), ", ") + ")"
		}
		labels = append(labels, label)
	}
	return fmt.Sprintf("| `%s` | %s | %s | %s |\n", name, kind, strings.Join(labels, ", "), help)
}

const metricsHead = `<!-- Made by go generate ./internal/daemon of the help texts in the sources: change them there. -->
# Metrics

` + "`/metrics`" + ` of the [web port](web.md), for Prometheus. Times are in seconds; no label holds the name of a person or a resource. What has
` + "`account_id` and `region`" + ` is there for every Scope that this process holds from its start, at zero; a label that events fill has at most
500 values, and then ` + "`other`" + `. Histograms leave the backlog out: what is read late on purpose is no delay.

| metric | type | labels | is |
| --- | --- | --- | --- |
`

const metricsFoot = `
Beside these are the usual ones of Go programs: ` + "`go_*` and `process_*`" + `.

Outcomes of a resource are explained [in the README](../README.md#why-was-this-not-tagged), what happens when something fails in
[reliability.md](reliability.md#when-something-fails).
`
