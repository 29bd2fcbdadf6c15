package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/autotagd/autotagd/internal/fakeaws"
)

const kills = 25

// A daemon that is killed at any moment loses no event, tags nothing wrong and overwrites no key.
func TestKilledAtRandomMoments(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	cloud := fakeaws.New(fakeaws.Config{
		Seed: seed, Regions: []string{"eu-central-1", "us-east-1"}, Visibility: time.Second, Consistency: 500 * time.Millisecond,
		ImageTime: 2 * time.Second, Duplicates: 0.05,
	})
	cloud.SetFaults("", fakeaws.Faults{Throttle: 0.04, ServerError: 0.04, Reset: 0.04, LostAnswer: 0.04, BadToken: 0.05})
	env := []string{
		"AWS_REGION=eu-central-1", "AWS_ENDPOINT_URL=" + serve(t, cloud), "STATE_DIRECTORY=" + t.TempDir(),
		`AUTOTAGD_CONFIG_YAML=
poll: {interval: 500ms, sweep_interval: 3s, lookback: 10s, start: 1m, rate: 2}
tagging: {batch_wait: 100ms, consistency_wait: 4s, defer_after: 20s}
web: {listen: "127.0.0.1:0"}
`,
	}
	if _, err := binary(); err != nil { // before the work begins: building can take longer than poll.start
		t.Fatal(err)
	}
	working, stopWork := context.WithCancel(t.Context())
	defer stopWork()
	worked := make(chan error, 1)
	go func() { worked <- cloud.Live(working, fakeaws.Traffic{Creates: 2, Writes: 1, Reads: 1}) }()

	var lives []*child
	for i := range kills {
		c := start(t, env, "run")
		lives = append(lives, c)
		life := 100*time.Millisecond + time.Duration(rng.Int64N(int64(2*time.Second)))
		select {
		case <-time.After(life):
		case <-c.exited:
			t.Fatalf("life %d: autotagd ended by itself: %v\n%s", i, c.err, c.tail())
		}
		c.kill()
	}
	stopWork()
	if err := <-worked; err != nil {
		t.Fatal(err)
	}
	c := start(t, env, "run")
	lives = append(lives, c)
	eventually(t, 5*time.Minute, func() string { return "not settled: " + problems(cloud) + "\n" + history(cloud, lives) }, func() bool {
		hidden := slices.ContainsFunc(cloud.Resources(), func(r fakeaws.Resource) bool { return r.VisibleAt.After(cloud.Now()) })
		return !hidden && len(cloud.Audit(0)) == 0
	})
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := c.wait(t, 20*time.Second); code != exitDone {
		t.Errorf("exit code after SIGTERM = %d, want %d\n%s", code, exitDone, c.tail())
	}
	if p := problems(cloud); p != "" {
		t.Error(p)
	}
	made := cloud.Resources()
	if len(made) < 100 {
		t.Errorf("only %d resources were made: the test shows little", len(made))
	}
	t.Logf("%d resources, %d kills", len(made), kills)
}

func problems(cloud *fakeaws.AWS) string {
	var all []string
	for _, p := range cloud.Audit(0) {
		all = append(all, fmt.Sprint(p))
	}
	return strings.Join(all, "\n")
}

// history is what each life of the daemon logged of the first event that is not as it should be, and when it began.
func history(cloud *fakeaws.AWS, lives []*child) string {
	p := cloud.Audit(0)
	if len(p) == 0 {
		return ""
	}
	r := p[0].Resource
	out := []string{fmt.Sprintf("event %s at %s, visible at %s", r.EventID, r.CreatedAt.UTC().Format(timeOnly), r.VisibleAt.UTC().Format(timeOnly))}
	for i, c := range lives {
		for line := range strings.Lines(c.stderr.String()) {
			if strings.Contains(line, r.EventID) || strings.Contains(line, `"started"`) || strings.Contains(line, "span") || strings.Contains(line, "LookupEvents") {
				out = append(out, fmt.Sprintf("life %d: %s", i, strings.TrimSpace(line)))
			}
		}
	}
	return strings.Join(out, "\n")
}

const timeOnly = "15:04:05.000"
