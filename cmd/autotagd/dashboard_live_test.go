package main

import (
	"context"
	"encoding/json"
	"maps"
	"math"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/autotagd/autotagd/internal/fakeaws"
	"github.com/autotagd/autotagd/pkg/resource"
)

// How long an account works in each of the daemon's two lives.
const dashboardLife = 25 * time.Second

// TestDashboardShowsTheTruth has a real Prometheus scrape the binary through faults, a denial and a restart, asks it every query of
// the dashboard as Grafana would, and compares what 'Are we covered?' says with what the daemon said of each resource.
func TestDashboardShowsTheTruth(t *testing.T) {
	if os.Getenv("AUTOTAGD_SLOW") == "" {
		t.Skip("takes two minutes and needs Prometheus: AUTOTAGD_SLOW=1 runs it, as make check does")
	}
	t.Parallel()
	p := startPrometheus(t, time.Second)
	s := newShow(t, p, fakeaws.DefaultRegion, "us-east-1")
	s.live(dashboardLife, fakeaws.Faults{Throttle: 0.05, ServerError: 0.03, Reset: 0.01, LostAnswer: 0.01, BadToken: 0.03}, "")
	now := time.Now()
	s.agree("By service", s.answer("By service", now, "outcome"), s.truth().outcomes)
	s.live(dashboardLife, fakeaws.Faults{Throttle: 0.05}, "tag:TagResources")
	s.everyQueryAnswers()
	s.totalsAreTrue()
}

// show is a daemon that Prometheus watches, over several lives.
type show struct {
	t     *testing.T
	p     *prometheus
	cloud *fakeaws.AWS
	env   []string
	begun time.Time
	c     *child   // the last life
	lines []string // of the logs of the lives before
}

func newShow(t *testing.T, p *prometheus, regions ...string) *show {
	t.Helper()
	if _, err := binary(); err != nil {
		t.Fatal(err)
	}
	cloud := fakeaws.New(fakeaws.Config{Seed: 4, Regions: regions, Visibility: demoVisibility, Consistency: time.Second, ImageTime: 5 * time.Second})
	s := &show{t: t, p: p, cloud: cloud}
	s.begun = time.Now().Add(-5 * time.Second) // Linux says when a process started by the second only, and early
	s.env = []string{
		"AWS_REGION=" + regions[0], "AWS_ENDPOINT_URL=" + serve(t, cloud), "STATE_DIRECTORY=" + t.TempDir(),
		`AUTOTAGD_CONFIG_YAML={poll: {interval: 1s, sweep_interval: 15s, lookback: 20s, start: 1m}, web: {listen: "127.0.0.1:0"},
			tagging: {batch_wait: 500ms, consistency_wait: 10s, defer_after: 5s, give_up_after: 20s}}`,
	}
	return s
}

// live lets the account work for d, with faults and an action that is denied, and the daemon until all is settled and scraped.
func (s *show) live(d time.Duration, f fakeaws.Faults, denied string) {
	s.t.Helper()
	if s.c != nil {
		s.p.scrapes("")
		if err := s.c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			s.t.Fatal(err)
		}
		if code := s.c.wait(s.t, time.Minute); code != exitDone {
			s.t.Fatalf("exit code after SIGTERM = %d, want %d\n%s", code, exitDone, s.c.tail())
		}
		s.lines = slices.AppendSeq(s.lines, strings.Lines(s.c.stderr.String()))
	}
	s.cloud.SetFaults("", f)
	if denied != "" {
		s.cloud.Deny(denied)
	}
	s.c = start(s.t, s.env, "run")
	eventually(s.t, time.Minute, func() string { return "it does not listen:\n" + s.c.tail() }, func() bool {
		addr := s.c.logged("listening", "addr")
		if addr != "" {
			s.p.scrapes(addr)
		}
		return addr != ""
	})
	// What a life has done before its first scrape would hide a restart: see the comment on counted in dashboard.py.
	s.await("it is not scraped", func() bool { return s.number("sum(autotagd_resources_total)") == 0 })
	working, stop := context.WithTimeout(s.t.Context(), d)
	defer stop()
	if err := s.cloud.Live(working, fakeaws.Traffic{Creates: 0.7, Writes: 1.5, Reads: 2}); err != nil {
		s.t.Fatal(err)
	}
	if denied != "" {
		s.await("nothing waits for the permission that is denied", func() bool { return s.number("sum(autotagd_resources_deferred)") > 0 })
		s.await("what waited was not given up", func() bool { return s.number("sum(autotagd_resources_deferred)") == 0 })
		s.cloud.Allow(denied)
	}
	s.cloud.SetFaults("", fakeaws.Faults{})
	s.settled()
}

// settled waits until nothing is left to do, and Prometheus has heard of all that was done in this life.
func (s *show) settled() {
	s.t.Helper()
	s.await("events stay hidden", func() bool {
		return !slices.ContainsFunc(s.cloud.Resources(), func(r fakeaws.Resource) bool { return r.VisibleAt.After(s.cloud.Now()) })
	})
	quiet, since := 0, time.Now()
	s.await("not every outcome of the log is scraped", func() bool {
		n := sum(s.outcomes(slices.Collect(strings.Lines(s.c.stderr.String()))))
		if n != quiet {
			quiet, since = n, time.Now()
		}
		// Longer than a final pass takes to come round.
		return n > 0 && time.Since(since) > 20*time.Second && s.number("sum(autotagd_resources_deferred)") == 0 &&
			int(s.number("sum(autotagd_resources_total)")) == n
	})
}

func (s *show) await(what string, ok func() bool) {
	s.t.Helper()
	eventually(s.t, 5*time.Minute, func() string { return what + "\n" + s.c.tail() }, ok)
}

// number is the one value that an expression has now; NaN if it has none.
func (s *show) number(expr string) float64 {
	s.t.Helper()
	got, err := s.p.at(time.Now(), expr)
	if err != nil {
		s.t.Fatalf("%s: %v", expr, err)
	}
	if len(got) != 1 {
		return math.NaN()
	}
	return got[0].Values[0]
}

// An ending is what a line of the log says of one resource.
type ending struct{ outcome, reason, region string }

// outcomes counts the lines that say how a resource ended.
func (s *show) outcomes(lines []string) map[ending]int {
	s.t.Helper()
	counts := map[ending]int{}
	for _, line := range lines {
		var l struct{ Msg, Reason, Region string }
		if json.Unmarshal([]byte(line), &l) != nil {
			continue
		}
		if slices.Contains(resource.OutcomeKinds(), resource.OutcomeKind(l.Msg)) {
			if l.Msg != string(resource.Missed) {
				l.Reason = ""
			}
			counts[ending{l.Msg, l.Reason, l.Region}]++
		}
		if strings.HasPrefix(l.Msg, "outcome lines left out") {
			s.t.Fatal("the log does not say how every resource ended: too many at once")
		}
	}
	return counts
}

func sum[K comparable](counts map[K]int) (n int) {
	for _, c := range counts {
		n += c
	}
	return n
}

// window is all of the show until now.
func (s *show) window(now time.Time) window {
	return window{p: s.p, from: s.begun, to: now, step: 5 * time.Second, scrape: time.Second}
}

// everyQueryAnswers asks each query over the time of the show, for all accounts and for one, and at its end.
func (s *show) everyQueryAnswers() {
	s.t.Helper()
	d := readDashboard(s.t)
	now := time.Now()
	chosen := map[string][2]string{
		"all": {d.allValue(s.t, "account"), d.allValue(s.t, "region")}, "one": {fakeaws.DefaultAccount, regexp.QuoteMeta(fakeaws.DefaultRegion)},
		"two": {fakeaws.DefaultAccount, "(us-east-1|eu-central-1)"},
	}
	for name, c := range chosen {
		for _, p := range d.queried() {
			for _, q := range p.Targets {
				expr := s.window(now).fill(q.Expr, c[0], c[1])
				answers, err := s.p.at(now, expr)
				if q.Range && err == nil {
					answers, err = s.window(now).over(expr)
				}
				switch {
				case err != nil:
					s.t.Errorf("panel %q, query %s, %s: %v\n%s", p.Title, q.RefID, name, err, expr)
				case !slices.ContainsFunc(answers, series.hasNumber):
					s.t.Errorf("panel %q, query %s, %s: no data\n%s", p.Title, q.RefID, name, expr)
				}
			}
		}
	}
	for _, a := range d.Annotations.List {
		expr := s.window(now).fill(a.Target.Expr, ".+", ".+")
		if answers, err := s.window(now).over(expr); err != nil || len(answers) == 0 {
			s.t.Errorf("the annotation of a start: %v %v, want the restart", answers, err)
		}
	}
}

func (d dashboard) allValue(t *testing.T, variable string) string {
	t.Helper()
	for _, v := range d.Templating.List {
		if v.Name == variable && v.Multi && v.IncludeAll && v.AllValue != "" {
			return v.AllValue
		}
	}
	t.Fatalf("variable %s: want several values, or all of them", variable)
	return ""
}

// answer returns what a panel's queries give now, by the values of a label.
func (s *show) answer(title string, now time.Time, label string) map[string]float64 {
	s.t.Helper()
	d := readDashboard(s.t)
	i := slices.IndexFunc(d.Panels, func(p dashboardPanel) bool { return p.Title == title })
	if i < 0 {
		s.t.Fatalf("no panel %q", title)
	}
	by := map[string]float64{}
	for _, q := range d.Panels[i].Targets {
		got, err := s.p.at(now, s.window(now).fill(q.Expr, d.allValue(s.t, "account"), d.allValue(s.t, "region")))
		if err != nil {
			s.t.Fatal(err)
		}
		for _, g := range got {
			by[g.Metric[label]] += g.Values[0]
		}
	}
	return by
}

// truth is what the logs of all lives say of how resources ended.
type truth struct{ outcomes, reasons, scopes map[string]int }

func (s *show) truth() truth {
	s.t.Helper()
	all := truth{map[string]int{}, map[string]int{}, map[string]int{}}
	for e, n := range s.outcomes(slices.AppendSeq(slices.Clone(s.lines), strings.Lines(s.c.stderr.String()))) {
		all.outcomes[e.outcome] += n
		all.scopes[fakeaws.DefaultAccount+" "+e.region] += n
		if e.reason != "" {
			all.reasons[e.reason] += n
		}
	}
	return all
}

// totalsAreTrue compares the numbers of 'Are we covered?' with the logs of both lives.
func (s *show) totalsAreTrue() {
	s.t.Helper()
	now, truth := time.Now(), s.truth()
	for _, want := range []string{"tagged", "kept", "skipped", "missed"} {
		if truth.outcomes[want] == 0 {
			s.t.Errorf("no resource was %s: the show is too short to prove anything", want)
		}
	}
	// The log could be wrong as the metrics are; what is of a kind that nothing tags, AWS knows too.
	untaggable := 0
	for _, r := range s.cloud.Resources() {
		if r.NoCall && len(r.Owners()) > 0 {
			untaggable++
		}
	}
	if n := truth.reasons[string(resource.Unsupported)]; n != untaggable {
		s.t.Errorf("the log has %d resources that nothing tags, AWS made %d", n, untaggable)
	}
	s.agree("Resources", s.answer("Resources", now, "outcome"), truth.outcomes)
	s.agree("Missed, by reason", s.answer("Missed, by reason", now, "reason"), truth.reasons)
	s.agree("By account and Region", s.answer("By account and Region", now, "scope"), truth.scopes)

	covered := float64(truth.outcomes["tagged"] + truth.outcomes["kept"])
	want := covered / (covered + float64(truth.outcomes["missed"]))
	if got := s.answer("Share tagged", now, "")[""]; math.Abs(got-want) > 0.002 {
		s.t.Errorf("Share tagged = %.4f, want %.4f", got, want)
	}
}

// agree allows for what increase() estimates for the ends of the range: half the mean time between scrapes at each, as if as much
// had been counted then as at other times. That mean is a second; on a slow machine, which misses scrapes, more.
func (s *show) agree(panel string, got map[string]float64, want map[string]int) {
	s.t.Helper()
	all := maps.Clone(got)
	for k, n := range want {
		all[k] -= float64(n)
	}
	for k, difference := range all {
		if math.Abs(difference) > 0.5+float64(want[k])*4/time.Since(s.begun).Seconds() {
			s.t.Errorf("%s: %s = %.2f, want %d", panel, k, got[k], want[k])
		}
	}
	s.t.Logf("%s: %v, by the log %v", panel, got, want)
}
