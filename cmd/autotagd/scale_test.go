package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/autotagd/autotagd/internal/fakeaws"
	"github.com/autotagd/autotagd/pkg/config"
	"github.com/autotagd/autotagd/pkg/event"
)

// What one process is to manage at 1,700 Scopes.
const (
	goalMiB    = 400
	goalCores  = 0.5
	goalSeries = 100_000
	goalPolls  = 2 // intervals between two polls of a Scope, at most

	scrapeEvery = 15 * time.Second // as Prometheus would
)

// scaleRegions are those that every account has from the start.
func scaleRegions() []string {
	return []string{
		"us-east-1", "us-east-2", "us-west-1", "us-west-2", "ca-central-1", "sa-east-1", "eu-central-1", "eu-west-1", "eu-west-2",
		"eu-west-3", "eu-north-1", "ap-south-1", "ap-northeast-1", "ap-northeast-2", "ap-northeast-3", "ap-southeast-1", "ap-southeast-2",
	}
}

// TestScale runs the daemon as it is by default over 100 accounts in 17 Regions, one of them without its role, with a writing
// event a minute in each Scope, and compares what it takes with the goals. The fake is in the test's process, not the daemon's, and
// needs a quarter of a core. `make bench-scale` runs it.
func TestScale(t *testing.T) {
	text := os.Getenv("AUTOTAGD_SCALE")
	if text == "" {
		t.Skip("a measurement of some minutes: make bench-scale")
	}
	measured, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("AUTOTAGD_SCALE: %v", err)
	}
	if _, err := binary(); err != nil {
		t.Fatal(err)
	}
	accounts, roles, list := accountsWithRoles(100)
	cloud := fakeaws.New(fakeaws.Config{Seed: 1, Accounts: accounts, Roles: roles[:99], Regions: scaleRegions()})
	busy := fakeaws.Traffic{Creates: 0.1 / 60, Writes: 0.9 / 60}
	cloud.Past(time.Now().Add(-config.Default().Poll.Start), time.Now(), busy)
	working, stopWork := context.WithCancel(t.Context())
	defer stopWork()
	go func() { _ = cloud.Live(working, busy) }() // it returns nil
	fakeBefore := cpuTime(t, os.Getpid())
	began := time.Now()
	c := start(t, []string{
		"AWS_REGION=us-east-1", "AWS_ENDPOINT_URL=" + serve(t, cloud), "STATE_DIRECTORY=" + t.TempDir(),
		"AUTOTAGD_CONFIG_YAML={regions: [" + strings.Join(scaleRegions(), ", ") + "], accounts: [" + list + "], web: {listen: '127.0.0.1:0'}}",
	}, "run")
	pid := c.cmd.Process.Pid
	healthy := len(cloud.Scopes()) - len(scaleRegions())
	eventually(t, 10*time.Minute, func() string {
		return fmt.Sprintf("%d of %d Scopes were read\n%s", len(polls(cloud)), healthy, c.tail())
	}, func() bool { return len(polls(cloud)) >= healthy })
	allBegun := time.Since(began)
	starting := cpuTime(t, pid)

	from, end := time.Now(), time.After(measured)
	scrapes := time.NewTicker(scrapeEvery)
	defer scrapes.Stop()
	series, slowest := 0, time.Duration(0)
	for measuring := true; measuring; {
		select {
		case <-scrapes.C:
		case <-end:
			measuring = false
		case <-c.exited:
			t.Fatalf("the daemon has ended: %v\n%s", c.err, c.tail())
		}
		n, scrape := scrapeSeries(t, c.logged("listening", "addr"))
		series, slowest = max(series, n), max(slowest, scrape)
	}
	took := time.Since(from)
	cores := (cpuTime(t, pid) - starting).Seconds() / took.Seconds()
	rss, now := memoryMiB(t, pid, "VmHWM:"), memoryMiB(t, pid, "VmRSS:")
	longest, where, calls := longestGap(polls(cloud), cloud.Now())
	most := goalPolls * config.Default().Poll.Interval

	for _, m := range []struct {
		what   string
		value  any
		missed bool
	}{
		{"Scopes", len(cloud.Scopes()), false},
		{"Scopes without a role", len(scaleRegions()), false},
		{"time until all were begun", allBegun.Round(100 * time.Millisecond), false},
		{"CPU time until then", starting.Round(10 * time.Millisecond), false},
		{"measured after that for", took.Round(time.Second), false},
		{fmt.Sprintf("max RSS MiB (goal: at most %d)", goalMiB), int(rss), rss > goalMiB},
		{"RSS MiB at the end", int(now), false},
		{fmt.Sprintf("CPU cores (goal: at most %.1f)", goalCores), fmt.Sprintf("%.3f", cores), cores > goalCores},
		{"LookupEvents calls", calls, false},
		{fmt.Sprintf("longest time between two polls of a Scope (goal: at most %s)", most), fmt.Sprint(longest.Round(100*time.Millisecond), " in ", where), longest > most},
		{fmt.Sprintf("series on /metrics (goal: fewer than %d)", goalSeries), series, series >= goalSeries},
		{fmt.Sprintf("longest scrape of one every %s", scrapeEvery), slowest.Round(time.Millisecond), false},
		{"CPU cores of the fake", fmt.Sprintf("%.3f", (cpuTime(t, os.Getpid())-fakeBefore).Seconds()/time.Since(began).Seconds()), false},
	} {
		verdict := ""
		if m.missed {
			verdict = "   MISSED"
			t.Fail()
		}
		fmt.Printf("%-75s %v%s\n", m.what, m.value, verdict)
	}
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	ending := time.Now()
	if code := c.wait(t, 30*time.Second); code != exitDone {
		t.Errorf("exit code after SIGTERM = %d, want %d\n%s", code, exitDone, c.tail())
	}
	fmt.Printf("%-75s %v\n", "time to end", time.Since(ending).Round(10*time.Millisecond))
}

// polls returns when each Scope's events were asked for.
func polls(cloud *fakeaws.AWS) map[event.Scope][]time.Time {
	times := map[event.Scope][]time.Time{}
	for _, call := range cloud.Calls("LookupEvents") {
		times[call.Scope] = append(times[call.Scope], call.Time)
	}
	return times
}

// longestGap returns the longest time that a Scope which was read once was not read again.
func longestGap(polls map[event.Scope][]time.Time, end time.Time) (longest time.Duration, where event.Scope, calls int) {
	for s, times := range polls {
		calls += len(times)
		times = append(slices.Clone(times), end)
		for i := range len(times) - 1 {
			if gap := times[i+1].Sub(times[i]); gap > longest {
				longest, where = gap, s
			}
		}
	}
	return longest, where, calls
}

// scrapeSeries counts the series that Prometheus would read, and says how long that takes.
func scrapeSeries(t testing.TB, addr string) (int, time.Duration) {
	t.Helper()
	began := time.Now()
	answer, err := http.Get("http://" + addr + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	took, n := time.Since(began), 0
	for line := range strings.Lines(string(body)) {
		if !strings.HasPrefix(line, "#") {
			n++
		}
	}
	return n, took
}

// cpuTime is what a process has used, from /proc.
func cpuTime(t testing.TB, pid int) time.Duration {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Skipf("no /proc on this system: %v", err)
	}
	_, rest, _ := strings.Cut(string(stat), ") ") // what follows the name, from the third field on
	fields := strings.Fields(rest)
	ticks := 0
	for _, f := range fields[11:13] { // utime and stime
		n, err := strconv.Atoi(f)
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / 100 // USER_HZ is 100 on every Linux that Go runs on
}
