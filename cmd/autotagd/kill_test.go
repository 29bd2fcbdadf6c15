package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/autotagd/autotagd/internal/fakeaws"
	"github.com/autotagd/autotagd/test/dynalite"
)

const (
	fewKills  = 25                      // without AUTOTAGD_KILLS
	killLease = 600 * time.Millisecond  // of a replica: its successor has to wait for its end
	fileLife  = 2100 * time.Millisecond // at most
	tableLife = fileLife + killLease    // likewise
)

// A daemon that is killed at any moment loses no event, tags nothing wrong and overwrites no key, whether its State is in files
// or in a DynamoDB that we did not write. AUTOTAGD_KILLS says how often each; `make kill` does it two hundred times.
func TestKilledAtRandomMoments(t *testing.T) {
	t.Parallel()
	n := fewKills
	if text := os.Getenv("AUTOTAGD_KILLS"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil || n < 1 {
			t.Fatalf("AUTOTAGD_KILLS=%s: want how often to kill", text)
		}
	}
	t.Run("file", func(t *testing.T) {
		t.Parallel()
		killed(t, n, fileLife, "{file: {}}", "STATE_DIRECTORY="+t.TempDir())
	})
	t.Run("dynamodb", func(t *testing.T) {
		t.Parallel()
		killed(t, n, tableLife, "{dynamodb: {table: autotagd, lease: "+killLease.String()+"}}", "AWS_ENDPOINT_URL_DYNAMODB="+dynalite.Start(t))
	})
}

// killed kills n lives of a daemon, none older than longest, while an account is at work, lets one more settle all, and audits.
func killed(t *testing.T, n int, longest time.Duration, checkpoints, where string) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	cloud := fakeaws.New(fakeaws.Config{
		Seed: seed, Regions: []string{"eu-central-1", "us-east-1"}, Visibility: time.Second, Consistency: 500 * time.Millisecond,
		ImageTime: 2 * time.Second, Duplicates: 0.05,
	})
	env := []string{
		"AWS_REGION=eu-central-1", "AWS_ENDPOINT_URL=" + serve(t, cloud), where,
		`AUTOTAGD_CONFIG_YAML=
poll: {interval: 500ms, sweep_interval: 3s, lookback: 10s, start: 1m, rate: 2}
tagging: {batch_wait: 100ms, consistency_wait: 4s, defer_after: 20s}
checkpoint: ` + checkpoints + `
web: {listen: "127.0.0.1:0"}
`,
	}
	if _, err := binary(); err != nil { // before the work begins: building can take longer than poll.start
		t.Fatal(err)
	}
	if strings.Contains(checkpoints, "dynamodb") {
		if c := start(t, env, "check", "--aws", "--create-table"); c.wait(t, time.Minute) != exitDone {
			t.Fatalf("the table was not made:\n%s%s", c.stdout, c.tail())
		}
	}
	cloud.SetFaults("", fakeaws.Faults{Throttle: 0.04, ServerError: 0.04, Reset: 0.04, LostAnswer: 0.04, BadToken: 0.05})
	working, stopWork := context.WithCancel(t.Context())
	defer stopWork()
	worked := make(chan error, 1)
	go func() { worked <- cloud.Live(working, fakeaws.Traffic{Creates: 2, Writes: 1, Reads: 1}) }()

	began := time.Now()
	var lives []*child
	for i := range n {
		c := start(t, env, "run")
		lives = append(lives, c)
		life := 100*time.Millisecond + time.Duration(rng.Int64N(int64(longest-100*time.Millisecond)))
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
	ended := time.Now()
	c := start(t, env, "run")
	lives = append(lives, c)
	unsettled := func() string {
		status := start(t, env, "status", "--format", "json")
		status.wait(t, time.Minute)
		metrics := ""
		if answer, err := http.Get("http://" + c.logged("listening", "addr") + "/metrics"); err == nil {
			body, _ := io.ReadAll(answer.Body) // a test that fails anyway
			_ = answer.Body.Close()
			for line := range strings.Lines(string(body)) {
				if strings.HasPrefix(line, "autotagd_") && !strings.HasSuffix(line, " 0\n") && !strings.Contains(line, "_bucket") {
					metrics += line
				}
			}
		}
		return "not settled: " + problems(cloud) + "\n" + history(cloud, lives) + "\n" + status.stdout.String() + status.stderr.String() + metrics
	}
	// Each life that ends in the middle of a reading leaves a span of the backlog, and those that overlap are read one after another.
	eventually(t, 5*time.Minute+time.Duration(n)*3*time.Second, unsettled, func() bool {
		hidden := slices.ContainsFunc(cloud.Resources(), func(r fakeaws.Resource) bool { return r.VisibleAt.After(cloud.Now()) })
		return !hidden && len(cloud.Audit(0)) == 0
	})
	settled := time.Since(ended)
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := c.wait(t, 20*time.Second); code != exitDone {
		t.Errorf("exit code after SIGTERM = %d, want %d\n%s", code, exitDone, c.tail())
	}
	wrong := len(cloud.Audit(0))
	if wrong > 0 {
		t.Error(problems(cloud))
	}
	made := len(cloud.Resources())
	busy, again := repeated(lives)
	if made < 4*n || busy < n/10 {
		t.Errorf("%d resources, %d of %d lives tagged some: the test shows little", made, busy, n)
	}
	t.Logf("%d kills in %s, %d lives of which had tagged something; %d resources, %d lost or wrong, %d Outcomes came twice; settled %s after the last kill",
		n, ended.Sub(began).Round(time.Second), busy, made, wrong, again, settled.Round(100*time.Millisecond))
}

// repeated returns how many lives logged that they tagged something, and how many resources of an event were logged so by two.
func repeated(lives []*child) (busy, again int) {
	said := map[[2]string]bool{}
	for _, c := range lives {
		tagged := false
		for line := range strings.Lines(c.stderr.String()) {
			var l struct {
				Msg, Resource string
				EventID       string `json:"event_id"`
			}
			if json.Unmarshal([]byte(line), &l) != nil || l.Msg != "tagged" { // a killed process may end in the middle of a line
				continue
			}
			tagged = true
			if k := [2]string{l.EventID, l.Resource}; said[k] {
				again++
			} else {
				said[k] = true
			}
		}
		if tagged {
			busy++
		}
	}
	return busy, again
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
			if strings.Contains(line, r.EventID) || strings.Contains(line, "span") || strings.Contains(line, "LookupEvents") {
				out = append(out, fmt.Sprintf("life %d: %s", i, strings.TrimSpace(line)))
			}
		}
	}
	return strings.Join(out, "\n")
}

const timeOnly = "15:04:05.000"
