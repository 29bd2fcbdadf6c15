package main

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/autotagd/autotagd/internal/fakeaws"
)

// What the daemon is to manage for minutes of real time, on an AWS whose delays are a tenth of the real ones. The time from event
// to tag can't be a tenth: 1.5 calls a second are what they are, and at 30 events a second head scans are a minute or two apart.
const (
	loadVisibility = 15 * time.Second // six times that at most
	loadWarm       = 3 * time.Minute
	loadP50        = 150 * time.Second // event to tag
	loadP99        = 5 * time.Minute
	loadLag        = 5 * time.Minute // of the Watermark
	loadGrows      = 2.0             // what is this much later in the second half than in the first has no bound
	loadMiB        = 150
	loadCores      = 0.5
	settleWithin   = 30 * time.Minute // a start reads again what no final pass has read, some hundred pages

	soakP50     = 30 * time.Second
	soakSettled = 3 * time.Minute // what RSS and goroutines are compared with
	soakShare   = 0.10            // by which they may be more at the end
)

// TestLoad has one Scope write 30 events a second, 6 of them creates, with the configuration as it is by default. `make load` runs
// it.
func TestLoad(t *testing.T) {
	measured := durationOf(t, "AUTOTAGD_LOAD", "make load")
	w := newWorkload(t, fakeaws.Config{
		Seed: 1, Visibility: loadVisibility, Consistency: time.Second, ImageTime: 5 * time.Second, Duplicates: 0.01,
	}, "global_region: off")
	w.begin(fakeaws.Traffic{Creates: 6, Writes: 24, Reads: 10})
	w.watch(loadWarm, nil)
	pid, began := w.c.cmd.Process.Pid, time.Now()
	cpu := cpuTime(t, pid)
	var lags []float64
	w.watch(measured, func(s sample) { lags = append(lags, s.lag) })
	took, ended := time.Since(began), time.Now()
	cores := (cpuTime(t, pid) - cpu).Seconds() / took.Seconds()
	rss := memoryMiB(t, pid, "VmHWM:")
	w.end()

	middle := began.Add(took / 2)
	n1, p50a, p99a := w.late(began, middle)
	n2, p50b, p99b := w.late(middle, ended)
	lag := time.Duration(slices.Max(lags) * float64(time.Second)).Round(time.Second)
	judge(t, []goal{
		{"measured for", took.Round(time.Second), false},
		{"resources tagged in the first and in the second half", fmt.Sprint(n1, " ", n2), n1+n2 < int(took.Seconds())*6},
		{fmt.Sprintf("event to tag, median, in each half (goal: at most %s)", loadP50), fmt.Sprint(p50a, " ", p50b), max(p50a, p50b) > loadP50},
		{fmt.Sprintf("... in the second, of the first (goal: at most %.1f)", loadGrows), fmt.Sprintf("%.2f", p50b.Seconds()/p50a.Seconds()), p50b.Seconds() > loadGrows*p50a.Seconds()},
		{fmt.Sprintf("event to tag, 99 %%, in each half (goal: at most %s)", loadP99), fmt.Sprint(p99a, " ", p99b), max(p99a, p99b) > loadP99},
		{fmt.Sprintf("Watermark behind, at most (goal: %s)", loadLag), lag, lag > loadLag},
		{fmt.Sprintf("max RSS MiB (goal: at most %d)", loadMiB), int(rss), rss > loadMiB},
		{fmt.Sprintf("CPU cores (goal: at most %.1f)", loadCores), fmt.Sprintf("%.3f", cores), cores > loadCores},
		{"resources by outcome, before the restart at the end", w.outcomes, false},
		{"not as they should be after it", len(w.cloud.Audit(0)), len(w.cloud.Audit(0)) > 0},
		{"all settled after the last event, with that restart", w.settled.Round(time.Second), false},
	})
}

// TestSoak works for long at twenty times the demo's load, with faults, and looks for what grows. The load is spread over ten Regions:
// in the demo's two, AWS's two calls a second could not read it. `make soak` runs it.
func TestSoak(t *testing.T) {
	measured := durationOf(t, "AUTOTAGD_SOAK", "make soak")
	if least := soakSettled + 5*time.Minute; measured < least {
		t.Fatalf("AUTOTAGD_SOAK=%s: want at least %s", measured, least)
	}
	w := newWorkload(t, fakeaws.Config{
		Seed: 1, Regions: scaleRegions()[:10], Visibility: demoVisibility, Consistency: time.Second, ImageTime: 5 * time.Second, Duplicates: 0.02,
	}, "regions: ["+strings.Join(scaleRegions()[:10], ", ")+"], poll: {interval: 1s, sweep_interval: 15s, lookback: 20s, start: 1m, rate: 2}, tagging: {batch_wait: 500ms, consistency_wait: 10s}")
	w.cloud.SetFaults("", fakeaws.Faults{Throttle: 0.01, ServerError: 0.01, Reset: 0.01, LostAnswer: 0.01, Slow: 0.001, BadToken: 0.02})
	const times = 20 * 2 / 10.0 // of what one of the demo's two Scopes has
	w.begin(fakeaws.Traffic{Creates: times * 0.7, Writes: times * 1.5, Reads: times * 2})
	pid, began := w.c.cmd.Process.Pid, time.Now()
	cpu := cpuTime(t, pid)
	var all []sample
	w.watch(measured, func(s sample) { all = append(all, s) })
	took := time.Since(began)
	cores := (cpuTime(t, pid) - cpu).Seconds() / took.Seconds()
	hwm := memoryMiB(t, pid, "VmHWM:")
	w.end()

	// One reading of RSS depends on where the collector is, which a minute's mean does not. How many goroutines there are depends on
	// the calls under way: those that never end show in the least of some readings.
	minute := int(time.Minute / scrapeEvery)
	start := int(soakSettled / scrapeEvery)
	mean := func(s []sample, of func(sample) float64) (sum float64) {
		for _, x := range s {
			sum += of(x)
		}
		return sum / float64(len(s))
	}
	least := func(s []sample) float64 {
		return slices.MinFunc(s, func(x, y sample) int { return cmp.Compare(x.goroutines, y.goroutines) }).goroutines
	}
	rss, heap := func(s sample) float64 { return s.rss }, func(s sample) float64 { return s.heap }
	early, end := all[start:start+minute], all[len(all)-minute:]
	grown := mean(end, rss)/mean(early, rss) - 1
	routines, routinesEnd := least(all[start:start+2*minute]), least(all[len(all)-2*minute:])
	n, p50, p99 := w.late(began, began.Add(took))
	judge(t, []goal{
		{"ran for", took.Round(time.Second), false},
		{"resources tagged", n, n < int(took.Seconds())*20},
		{fmt.Sprintf("event to tag, median (goal: at most %s) and 99 %%", soakP50), fmt.Sprint(p50, " ", p99), p50 > soakP50},
		{"RSS MiB after three minutes and at the end", fmt.Sprintf("%.1f %.1f, at most %.1f", mean(early, rss), mean(end, rss), hwm), false},
		{fmt.Sprintf("RSS grew by (goal: at most %.0f %%)", 100*soakShare), fmt.Sprintf("%.1f %%", 100*grown), grown > soakShare},
		{"heap in use, MiB, after three minutes and at the end", fmt.Sprintf("%.1f %.1f", mean(early, heap), mean(end, heap)), false},
		{
			fmt.Sprintf("least goroutines in two minutes, then and at the end (goal: at most %.0f %% more)", 100*soakShare),
			fmt.Sprint(routines, " ", routinesEnd), routinesEnd > routines*(1+soakShare),
		},
		{"CPU cores", fmt.Sprintf("%.3f", cores), false},
		{"resources by outcome, before the restart at the end", w.outcomes, false},
		{"not as they should be after it", len(w.cloud.Audit(0)), len(w.cloud.Audit(0)) > 0},
		{"all settled after the last event, with that restart", w.settled.Round(time.Second), false},
	})
}

// goal is one line of a measurement's result.
type goal struct {
	what   string
	value  any
	missed bool
}

// judge prints the figures, and fails t where a goal was missed.
func judge(t *testing.T, goals []goal) {
	t.Helper()
	for _, g := range goals {
		verdict := ""
		if g.missed {
			verdict = "   MISSED"
			t.Fail()
		}
		fmt.Printf("%-75s %v%s\n", g.what, g.value, verdict)
	}
}

// durationOf skips t unless the environment says how long it is to take.
func durationOf(t *testing.T, name, target string) time.Duration {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		t.Skipf("a measurement of some minutes: %s", target)
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		t.Fatalf("%s=%s: want a duration", name, text)
	}
	return d
}

// workload is the binary on an AWS at work.
type workload struct {
	t      *testing.T
	cloud  *fakeaws.AWS
	c      *child
	env    []string
	addr   string // of the web port
	stop   context.CancelFunc
	worked chan error

	// From end:
	settled  time.Duration      // since the work ended
	outcomes map[string]float64 // of resources
}

func newWorkload(t *testing.T, cfg fakeaws.Config, yaml string) *workload {
	t.Helper()
	if _, err := binary(); err != nil {
		t.Fatal(err)
	}
	w := &workload{t: t, cloud: fakeaws.New(cfg), worked: make(chan error, 1)}
	w.env = []string{
		"AWS_REGION=" + w.cloud.Scope().Region, "AWS_ENDPOINT_URL=" + serve(t, w.cloud), "STATE_DIRECTORY=" + t.TempDir(),
		"AUTOTAGD_CONFIG_YAML={" + yaml + ", web: {listen: '127.0.0.1:0'}}",
	}
	return w
}

// begin starts the account's work and the daemon.
func (w *workload) begin(work fakeaws.Traffic) {
	var working context.Context
	working, w.stop = context.WithCancel(w.t.Context())
	go func() { w.worked <- w.cloud.Live(working, work) }()
	w.c = start(w.t, w.env, "run")
	eventually(w.t, time.Minute, func() string { return "it does not listen:\n" + w.c.tail() }, func() bool {
		w.addr = w.c.logged("listening", "addr")
		return w.addr != ""
	})
}

// sample is one reading of /metrics. Memory is in MiB, the lag of the Watermark in seconds.
type sample struct{ rss, heap, goroutines, lag, floor float64 }

// watch reads the metrics as Prometheus would until d has passed, and gives each reading to note.
func (w *workload) watch(d time.Duration, note func(sample)) {
	w.t.Helper()
	began, end := time.Now(), time.After(d)
	tick := time.NewTicker(scrapeEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-end:
			return
		case <-w.c.exited:
			w.t.Fatalf("the daemon has ended: %v\n%s", w.c.err, w.c.tail())
		}
		m := scrape(w.t, w.addr)
		now := float64(time.Now().UnixNano()) / 1e9
		s := sample{
			rss: m.least(w.t, "process_resident_memory_bytes") / (1 << 20), heap: m.least(w.t, "go_memstats_heap_inuse_bytes") / (1 << 20),
			goroutines: m.least(w.t, "go_goroutines"), lag: now - m.least(w.t, "autotagd_checkpoint_watermark_timestamp_seconds"),
			floor: now - m.least(w.t, "autotagd_checkpoint_floor_timestamp_seconds"),
		}
		if note != nil {
			note(s)
			fmt.Printf("%4.0fs  RSS %5.1f MiB  heap %5.1f MiB  %3.0f goroutines  Watermark %4.0f s behind  Floor %4.0f s\n",
				time.Since(began).Seconds(), s.rss, s.heap, s.goroutines, s.lag, s.floor)
		}
	}
}

// end stops the account's work and lets the daemon settle all, in a second life: what head scans did not find waits for a final
// pass, and where those go by name that can be an hour, but a start begins with one. Then it audits.
func (w *workload) end() {
	w.t.Helper()
	w.stop()
	if err := <-w.worked; err != nil {
		w.t.Fatal(err)
	}
	ended := time.Now()
	w.cloud.Heal()
	hidden := func() bool {
		return slices.ContainsFunc(w.cloud.Resources(), func(r fakeaws.Resource) bool { return r.VisibleAt.After(w.cloud.Now()) })
	}
	for hidden() {
		time.Sleep(time.Second)
	}
	w.watch(2*scrapeEvery, nil)
	w.outcomes = scrape(w.t, w.addr).outcomes
	w.quit()
	w.c = start(w.t, w.env, "run")
	for len(w.cloud.Audit(0)) > 0 { // which takes a while, of tens of thousands of resources
		if time.Since(ended) > settleWithin {
			all := strings.Split(problems(w.cloud), "\n")
			w.t.Fatalf("%d problems, first:\n%s\n%s", len(all), strings.Join(all[:min(len(all), 20)], "\n"), w.c.tail())
		}
		time.Sleep(2 * time.Second)
	}
	w.settled = time.Since(ended)
	w.quit()
	if p := problems(w.cloud); p != "" {
		w.t.Error(p)
	}
}

// quit ends the daemon as an operator does.
func (w *workload) quit() {
	w.t.Helper()
	if err := w.c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		w.t.Fatal(err)
	}
	if code := w.c.wait(w.t, 30*time.Second); code != exitDone {
		w.t.Errorf("exit code after SIGTERM = %d, want %d\n%s", code, exitDone, w.c.tail())
	}
}

// late returns how long after their events resources got their Owner from us: of those made from from to to, the median and what
// 99 % were within.
func (w *workload) late(from, to time.Time) (n int, p50, p99 time.Duration) {
	var all []time.Duration
	for _, r := range w.cloud.Resources() {
		i := slices.IndexFunc(r.Writes, func(t fakeaws.TagWrite) bool { return t.Ours && t.Key == "Owner" })
		if i >= 0 && !r.CreatedAt.Before(from) && r.CreatedAt.Before(to) {
			all = append(all, r.Writes[i].Time.Sub(r.CreatedAt))
		}
	}
	if len(all) == 0 {
		return 0, 0, 0
	}
	slices.Sort(all)
	return len(all), all[len(all)/2].Round(100 * time.Millisecond), all[len(all)*99/100].Round(100 * time.Millisecond)
}

// readings are a scrape's gauges and counters.
type readings struct {
	values   map[string][]float64 // over all labels, by name
	outcomes map[string]float64   // resources by outcome, over all Scopes
}

func scrape(t *testing.T, addr string) readings {
	t.Helper()
	answer, err := http.Get("http://" + addr + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	r := readings{map[string][]float64{}, map[string]float64{}}
	for name, f := range families {
		for _, m := range f.GetMetric() {
			v := cmp.Or(m.GetGauge().GetValue(), m.GetCounter().GetValue())
			r.values[name] = append(r.values[name], v)
			if name == "autotagd_resources_total" {
				for _, l := range m.GetLabel() {
					if l.GetName() == "outcome" {
						r.outcomes[l.GetValue()] += v
					}
				}
			}
		}
	}
	return r
}

// least is the least value; a metric that is missing fails the test.
func (r readings) least(t *testing.T, name string) float64 {
	t.Helper()
	if len(r.values[name]) == 0 {
		t.Fatalf("no %s on /metrics", name)
	}
	return slices.Min(r.values[name])
}
