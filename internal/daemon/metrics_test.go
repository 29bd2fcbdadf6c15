package daemon

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/autotagd/autotagd/internal/fakeaws"
	"github.com/autotagd/autotagd/pkg/checkpoint"
	"github.com/autotagd/autotagd/pkg/event"
	"github.com/autotagd/autotagd/pkg/resource"
)

// Every metric that users rely on is there, lints, and starts at zero for a Scope that has seen nothing.
func TestMetrics(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, "{global_region: off}", fakeaws.Config{})
		r := w.start()
		time.Sleep(time.Minute)
		const scope = `{account_id="111122223333",region="eu-central-1"`
		text := gather(t, r)
		for _, want := range []string{
			"autotagd_events_read_total" + scope + "} 0", "autotagd_events_created_total" + scope + "} 0",
			"autotagd_events_duplicate_total" + scope + "} 0", "autotagd_owners_unmapped_total" + scope + "} 0",
			`autotagd_resources_total{account_id="111122223333",outcome="tagged",region="eu-central-1"} 0`, `autotagd_resources_total{account_id="111122223333",outcome="would_tag",region="eu-central-1"} 0`,
			`autotagd_resources_missed_total{account_id="111122223333",reason="access_denied",region="eu-central-1"} 0`, `autotagd_resources_missed_total{account_id="111122223333",reason="exhausted",region="eu-central-1"} 0`,
			"autotagd_resources_deferred" + scope + "} 0", "autotagd_lookup_saturated" + scope + "} 0",
			"autotagd_lookup_scan_period_seconds" + scope + "}", "autotagd_sweep_late_events_total" + scope + "} 0",
			"autotagd_checkpoint_watermark_timestamp_seconds" + scope + "}", "autotagd_checkpoint_floor_timestamp_seconds" + scope + "}",
			"autotagd_lease_held" + scope + "} 1", `autotagd_build_info{commit="test",goversion="go`,
			`api="ec2:CreateTags"`, `api="tagging:TagResources"`, `,by="name",`, `scan="backlog"`,
		} {
			if !strings.Contains(text, want) {
				t.Errorf("no %s", want)
			}
		}
		problems, err := testutil.GatherAndLint(r.daemon.registry)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range problems {
			if strings.HasPrefix(p.Metric, "autotagd_") {
				t.Errorf("%s: %s", p.Metric, p.Text)
			}
		}
		w.cloud.Create(w.cloud.Scope(), "CreateVolume", fakeaws.IAMUser("alice"), fakeaws.Spec{Delay: -1})
		time.Sleep(time.Minute)
		text = gather(t, r)
		for _, want := range []string{
			"autotagd_events_created_total" + scope + "} 1", `autotagd_resources_total{account_id="111122223333",outcome="tagged",region="eu-central-1"} 1`,
			`autotagd_resources_by_service_total{outcome="tagged",service="ec2"} 1`, `autotagd_tag_requests_total{api="ec2:CreateTags",outcome="ok"} 1`,
			`autotagd_event_to_tag_seconds_count{region="eu-central-1"} 1`, `autotagd_event_visibility_delay_seconds_count{region="eu-central-1"} 1`,
		} {
			if !strings.Contains(text, want) {
				t.Errorf("after one volume: no %s", want)
			}
		}
		r.stop()
	})
}

// A Scope that can't be begun shows as one that nobody holds: there is no other sign of it in the metrics.
func TestMetricsOfAScopeThatCannotBeBegun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, `{global_region: off, regions: [us-east-1, eu-west-1], accounts: [{role_arn: "`+roleIn(fakeaws.DefaultAccount)+`"}]}`, fakeaws.Config{
			Regions: []string{"us-east-1", "eu-west-1"}, Roles: []fakeaws.Role{{ARN: roleIn(fakeaws.DefaultAccount)}},
		})
		damaged := &unloadable{Store: checkpoint.NewMemory(), scope: event.Scope{AccountID: fakeaws.DefaultAccount, Region: "eu-west-1"}}
		damaged.fails.Store(true)
		r := w.start(func(o *Options) { o.Store = damaged })
		held := func(region, value string) {
			t.Helper()
			if want := `autotagd_lease_held{account_id="` + fakeaws.DefaultAccount + `",region="` + region + `"} ` + value; !strings.Contains(gather(t, r), want+"\n") {
				t.Errorf("no %s", want)
			}
		}
		time.Sleep(5 * time.Minute)
		held("us-east-1", "1")
		held("eu-west-1", "0")
		damaged.fails.Store(false)
		time.Sleep(2 * time.Minute)
		held("eu-west-1", "1")
		r.stop()
	})
}

// unloadable is a Store that can't load one Scope.
type unloadable struct {
	checkpoint.Store
	scope event.Scope
	fails atomic.Bool
}

func (f *unloadable) Load(ctx context.Context, s event.Scope) (checkpoint.Loaded, error) {
	if s == f.scope && f.fails.Load() {
		return checkpoint.Loaded{}, &checkpoint.DamagedError{}
	}
	return f.Store.Load(ctx, s)
}

// gather is /metrics as text.
func gather(t *testing.T, r *running) string {
	t.Helper()
	families, err := r.daemon.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
			}
			name := fmt.Sprintf("%s{%s}", f.GetName(), strings.Join(labels, ","))
			switch {
			case m.Counter != nil:
				fmt.Fprintf(&b, "%s %v\n", name, m.GetCounter().GetValue())
			case m.Gauge != nil:
				fmt.Fprintf(&b, "%s %v\n", name, m.GetGauge().GetValue())
			case m.Histogram != nil:
				fmt.Fprintf(&b, "%s %v\n", strings.Replace(name, "{", "_count{", 1), m.GetHistogram().GetSampleCount())
			}
		}
	}
	return b.String()
}

func TestLabelBound(t *testing.T) {
	t.Parallel()
	b := newLabelBound(500)
	values := map[string]bool{}
	for i := range 100_000 {
		values[b.value(fmt.Sprint(i, "\x1b["))] = true
	}
	if len(values) != 501 || !values["other"] {
		t.Errorf("%d values, want 500 and other", len(values))
	}
	for v := range values {
		if strings.ContainsRune(v, 0x1b) {
			t.Errorf("value %q", v)
		}
	}
}

// Outcomes by the hundred a second are thinned, and the log says by how many.
func TestOutcomeLogIsThinned(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zapcore.InfoLevel)
		l := newOutcomeLog(zap.New(core))
		const n = 10_000
		for i := range n {
			l.write(resource.Outcome{Kind: resource.Tagged, Job: resource.Job{Event: resource.EventRef{ID: fmt.Sprint(i), Scope: event.Scope{}}}})
		}
		l.sayDropped()
		lines := len(logs.FilterMessage("tagged").All())
		said := logs.FilterMessageSnippet("left out").All()
		if lines < outcomeLinesPerSecond || lines > n/10 {
			t.Errorf("%d lines, want the first %d and a sample", lines, outcomeLinesPerSecond)
		}
		if len(said) != 1 || said[0].ContextMap()["lines"] != int64(n-lines) {
			t.Errorf("said %v, want %d lines left out", said, n-lines)
		}
	})
}

func TestWeb(t *testing.T) {
	t.Parallel()
	down := fmt.Errorf("the head loop made no attempt for 5m")
	var healthy error // of this goroutine, and of requests that it waits for
	reg := New(Options{Log: zap.NewNop(), Version: "test", Commit: "test"}, &Planner{}).registry
	port, err := listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer port.Close()
	w := newWeb(webOptions{Listener: port.lend(), Registry: reg, Page: newStatusPage(func() status { return status{} }, zap.NewNop()), Ready: func() error { return nil }, Healthy: func() error { return healthy }, Log: zap.NewNop()})
	done := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { done <- w.Run(ctx) }()
	get := func(path string) (int, string) {
		resp, err := http.Get("http://" + w.Addr() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body)
	}
	for path, want := range map[string]int{"/": 200, "/metrics": 200, "/-/ready": 200, "/-/healthy": 200, "/debug/pprof/": 404, "/x": 404} {
		if code, _ := get(path); code != want {
			t.Errorf("%s: %d, want %d", path, code, want)
		}
	}
	head, err := http.Head("http://" + w.Addr() + "/")
	if err != nil {
		t.Fatal(err)
	}
	head.Body.Close()
	if head.StatusCode != http.StatusOK || head.ContentLength < 1000 {
		t.Errorf("HEAD /: %d, %d bytes", head.StatusCode, head.ContentLength)
	}
	healthy = down
	if code, body := get("/-/healthy"); code != 503 || !strings.Contains(body, down.Error()) {
		t.Errorf("unhealthy: %d %q", code, body)
	}
	if _, err := listen(w.Addr()); err == nil || !strings.Contains(err.Error(), "web.listen") {
		t.Errorf("address in use: error %v, want one that names web.listen", err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestRegions(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		yaml, own string
		want      []string
	}{
		{"{}", "eu-central-1", []string{"eu-central-1", "us-east-1"}},
		{"{}", "us-east-1", []string{"us-east-1"}},
		{"{global_region: off}", "eu-central-1", []string{"eu-central-1"}},
		{"{regions: [eu-west-1, eu-central-1]}", "us-west-2", []string{"eu-central-1", "eu-west-1", "us-east-1"}},
		{"{}", "cn-northwest-1", []string{"cn-north-1", "cn-northwest-1"}},
		{"{}", "us-gov-east-1", []string{"us-gov-east-1", "us-gov-west-1"}},
		{"{}", "us-iso-east-1", []string{"us-iso-east-1"}},
	} {
		cfg := newWorld(t, 1, c.yaml, fakeaws.Config{}).cfg
		if got := regionsOf(cfg, c.own); !slices.Equal(got, c.want) {
			t.Errorf("%s in %s: %q, want %q", c.yaml, c.own, got, c.want)
		}
	}
}
