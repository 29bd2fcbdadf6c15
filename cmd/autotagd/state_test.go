package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/autotagd/autotagd/internal/fakeaws"
)

// environmentOf is what a child needs to run against cloud with its checkpoint in dir.
func environmentOf(t testing.TB, cloud *fakeaws.AWS, dir string) []string {
	return []string{
		"AWS_REGION=" + cloud.Scope().Region, "AWS_ENDPOINT_URL=" + serve(t, cloud), "STATE_DIRECTORY=" + dir,
		"AUTOTAGD_CONFIG_YAML={global_region: off, web: {listen: '127.0.0.1:0'}}",
	}
}

// lookups waits until cloud was asked for events, and returns when that was first.
func lookups(t testing.TB, cloud *fakeaws.AWS, c *child) time.Time {
	t.Helper()
	eventually(t, time.Minute, func() string { return "no LookupEvents\n" + c.tail() }, func() bool { return len(cloud.Calls("LookupEvents")) > 0 })
	return cloud.Calls("LookupEvents")[0].Time
}

// A second daemon on the same State refuses and names the first.
func TestSecondDaemonIsRefused(t *testing.T) {
	t.Parallel()
	cloud := fakeaws.New(fakeaws.Config{})
	env := environmentOf(t, cloud, t.TempDir())
	first := start(t, env, "run")
	lookups(t, cloud, first)
	second := start(t, env, "run")
	if code := second.wait(t, time.Minute); code != exitFailed {
		t.Errorf("exit code = %d, want %d", code, exitFailed)
	}
	if pid := strconv.Itoa(first.cmd.Process.Pid); !strings.Contains(second.stderr.String(), pid) {
		t.Errorf("does not name the pid %s of the first:\n%s", pid, second.stderr)
	}
	// Beside the first in everything: the web port is the same too.
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	env = append(env, "AUTOTAGD_CONFIG_YAML={global_region: off, web: {listen: '"+busy.Addr().String()+"'}}")
	dry := start(t, env, "run", "--dry-run", "--once")
	if code := dry.wait(t, time.Minute); code != exitDone {
		t.Errorf("a dry run beside it: exit code %d, want %d\n%s", code, exitDone, dry.tail())
	}
}

// A damaged State is refused: the message names the file and the way out.
func TestDamagedStateIsRefused(t *testing.T) {
	t.Parallel()
	cloud := fakeaws.New(fakeaws.Config{})
	dir := t.TempDir()
	env := environmentOf(t, cloud, dir)
	c := start(t, env, "run", "--once")
	if code := c.wait(t, time.Minute); code != exitDone {
		t.Fatalf("exit code %d, want %d\n%s", code, exitDone, c.tail())
	}
	states, err := filepath.Glob(filepath.Join(dir, "*", "*", "state"))
	if err != nil || len(states) != 1 {
		t.Fatalf("states %q: %v", states, err)
	}
	data, err := os.ReadFile(states[0])
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(states[0], data, 0o600); err != nil {
		t.Fatal(err)
	}
	c = start(t, env, "run")
	if code := c.wait(t, time.Minute); code != exitFailed {
		t.Errorf("exit code = %d, want %d", code, exitFailed)
	}
	if text := c.stderr.String(); !strings.Contains(text, "damaged") || !strings.Contains(text, states[0]) {
		t.Errorf("does not say what is damaged:\n%s", text)
	}
	after, err := os.ReadFile(states[0])
	if err != nil || !bytes.Equal(after, data) {
		t.Errorf("the damaged state was changed: %v", err)
	}
}

// Access denied in every Scope at a start ends it, naming what to grant.
func TestDeniedAtStart(t *testing.T) {
	t.Parallel()
	cloud := fakeaws.New(fakeaws.Config{})
	cloud.Deny("cloudtrail:LookupEvents")
	c := start(t, environmentOf(t, cloud, t.TempDir()), "run")
	if code := c.wait(t, time.Minute); code != exitFailed || !strings.Contains(c.stderr.String(), "grant cloudtrail:LookupEvents") {
		t.Errorf("exit code %d, want %d and what to grant:\n%s", code, exitFailed, c.tail())
	}
}

// BenchmarkStart measures from the start of the process to its first LookupEvents call, and what the process then keeps
// in memory when it has nothing to do.
func BenchmarkStart(b *testing.B) {
	var times []time.Duration
	var resident []float64
	if _, err := binary(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		for range 11 { // a start is short, what follows it is not: one turn of the loop is all there would be
			cloud := fakeaws.New(fakeaws.Config{})
			env := environmentOf(b, cloud, b.TempDir())
			began := time.Now()
			c := start(b, env, "run")
			times = append(times, lookups(b, cloud, c).Sub(began))
			time.Sleep(time.Second)
			resident = append(resident, residentMiB(b, c.cmd.Process.Pid))
			if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
				b.Fatal(err)
			}
			c.wait(b, 20*time.Second)
		}
	}
	slices.Sort(times)
	slices.Sort(resident)
	b.ReportMetric(float64(times[len(times)/2].Milliseconds()), "median-ms-to-LookupEvents")
	b.ReportMetric(resident[len(resident)-1], "max-idle-MiB-RSS")
	b.ReportMetric(0, "ns/op")
}

// residentMiB is the resident set of a process.
func residentMiB(t testing.TB, pid int) float64 {
	t.Helper()
	return memoryMiB(t, pid, "VmRSS:")
}

// memoryMiB is a line of /proc/PID/status.
func memoryMiB(t testing.TB, pid int, name string) float64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Skipf("no /proc on this system: %v", err)
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			kib, err := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")))
			if err != nil {
				t.Fatal(err)
			}
			return float64(kib) / 1024
		}
	}
	t.Fatalf("no %s", name)
	return 0
}
