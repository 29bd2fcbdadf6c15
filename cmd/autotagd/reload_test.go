package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/autotagd/autotagd/internal/fakeaws"
)

// reloadYAML is a quick daemon's configuration, to which a test adds tags and so on.
const reloadYAML = `global_region: off
poll: {interval: 200ms, sweep_interval: 2s, lookback: 10s, start: 1m, rate: 2}
tagging: {batch_wait: 100ms, consistency_wait: 4s}
`

const (
	reloadWeb  = `web: {listen: "127.0.0.1:0"}` + "\n"
	reloadTags = "tags: {Owner: '${owner.name}', Team: %s}\n"
	inForce    = "reloaded: the new configuration is in force"
	refused    = "not reloaded: the configuration of before stays in force"
)

// reloader is a daemon with a configuration file that a test changes.
type reloader struct {
	*child
	t     *testing.T
	cloud *fakeaws.AWS
	file  string
	state string
	addr  string
}

func startReloader(t *testing.T, yaml string, env ...string) *reloader {
	t.Helper()
	r := &reloader{
		t: t, file: filepath.Join(t.TempDir(), "autotagd.yaml"), state: t.TempDir(),
		cloud: fakeaws.New(fakeaws.Config{Seed: 1, Regions: []string{"eu-central-1", "eu-west-1"}, Visibility: time.Second, Consistency: -1}),
	}
	r.write(yaml)
	r.child = start(t, append([]string{
		"AWS_REGION=eu-central-1", "AWS_ENDPOINT_URL=" + serve(t, r.cloud), "STATE_DIRECTORY=" + r.state, "AUTOTAGD_CONFIG=" + r.file,
	}, env...), "run")
	r.until("started", 1)
	r.addr = r.logged("listening", "addr")
	return r
}

func (r *reloader) write(yaml string) {
	r.t.Helper()
	if err := os.WriteFile(r.file, []byte(reloadYAML+yaml), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

func (r *reloader) hangup() {
	r.t.Helper()
	if err := r.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		r.t.Fatal(err)
	}
}

// reload changes the configuration and waits until a line of the log says for the nth time how that ended.
func (r *reloader) reload(yaml, said string, n int) {
	r.t.Helper()
	r.write(yaml)
	r.hangup()
	r.until(said, n)
}

// until waits for the nth line of the log with that message.
func (r *reloader) until(message string, n int) {
	r.t.Helper()
	eventually(r.t, time.Minute, func() string { return fmt.Sprintf("the log has not %d times %q:\n%s", n, message, r.tail()) }, func() bool {
		select {
		case <-r.exited:
			r.t.Fatalf("autotagd has ended: %v\n%s", r.err, r.tail())
		default:
		}
		return strings.Count(r.stderr.String(), `"msg":"`+message+`"`) >= n
	})
}

// tagged makes a volume and waits until it has that team.
func (r *reloader) tagged(team string) {
	r.t.Helper()
	made := r.cloud.Create(r.cloud.Scope(), "CreateVolume", fakeaws.IAMUser("alice"), fakeaws.Spec{Delay: -1})
	id := made.IDs("volume")[0]
	eventually(r.t, time.Minute, func() string { return id + " is not tagged for " + team + ":\n" + r.tail() }, func() bool {
		v, _ := r.cloud.Resource(id)
		if got := v.Tags["Team"]; got != "" && got != team {
			r.t.Fatalf("%s has team %q, want %q", id, got, team)
		}
		return v.Tags["Owner"] == "alice" && v.Tags["Team"] == team
	})
}

// metric returns the value of a metric without labels, as it is written; "" if it can't be had.
func (r *reloader) metric(name string) string {
	resp, err := http.Get("http://" + r.addr + "/metrics")
	if err != nil {
		return ""
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(body)) {
		if value, found := strings.CutPrefix(line, name+" "); found {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func (r *reloader) wantMetric(name, want string) {
	r.t.Helper()
	eventually(r.t, time.Minute, func() string { return name + " is not " + want + " but " + r.metric(name) }, func() bool { return r.metric(name) == want })
}

func (r *reloader) end() {
	r.t.Helper()
	if err := r.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		r.t.Fatal(err)
	}
	if code := r.wait(r.t, 30*time.Second); code != exitDone {
		r.t.Errorf("exit code %d, want %d\n%s", code, exitDone, r.tail())
	}
}

const lastReload = "autotagd_config_last_reload_successful"

// With SIGHUP a good file comes into force, and one with mistakes is refused with the text of `check`: tagging goes on as before.
func TestReload(t *testing.T) {
	t.Parallel()
	const when = "autotagd_config_last_reload_success_timestamp_seconds"
	r := startReloader(t, fmt.Sprintf(reloadTags, "red")+reloadWeb)
	r.tagged("red")
	r.wantMetric(lastReload, "1")
	began := r.metric(when)

	r.reload(fmt.Sprintf(reloadTags, "blue")+reloadWeb, inForce, 1)
	r.tagged("blue")
	r.wantMetric(lastReload, "1")
	if now := r.metric(when); now == began {
		t.Errorf("the time of the reload is still %s", now)
	}
	if n := strings.Count(r.stderr.String(), r.addr); n != 2 {
		t.Errorf("the port was said %d times, want twice: the same after the reload\n%s", n, r.tail())
	}

	// Refused, with every mistake and its place.
	r.reload("tags: {Owner: '${owner.nam}'}\n"+reloadWeb+"regions: [mars]\n", refused, 1)
	said, _, _ := strings.Cut(r.stderr.String(), refused)
	code, _, checked := command(t, []string{"AUTOTAGD_CONFIG=" + r.file}, "check")
	if code != exitUsage || strings.Count(checked, "\n") != 2 || !strings.Contains(checked, r.file+":4:18: tags.Owner") || !strings.Contains(checked, r.file+":6:11: regions[0]") {
		t.Fatalf("check: exit code %d\n%s", code, checked)
	}
	for line := range strings.Lines(checked) {
		quoted, err := json.Marshal(strings.TrimSpace(line))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(said, `"mistake":`+string(quoted)) {
			t.Errorf("the log does not say %s\n%s", quoted, r.tail())
		}
	}
	r.wantMetric(lastReload, "0")
	r.tagged("blue")

	// The file is mended.
	r.reload(fmt.Sprintf(reloadTags, "green")+reloadWeb, inForce, 2)
	r.tagged("green")
	r.wantMetric(lastReload, "1")
	r.end()
}

// A file that is gone, an address that is taken, a certificate that is not there: what was in force stays so.
func TestReloadOfWhatCannotBe(t *testing.T) {
	t.Parallel()
	needSlow(t)
	tags := fmt.Sprintf(reloadTags, "red")
	r := startReloader(t, tags+reloadWeb)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	nodir := filepath.Join(r.file, "state") // below a file no directory can be
	n := 0
	for _, c := range []struct{ yaml, want string }{
		{tags + `web: {listen: "` + taken.Addr().String() + `"}`, "address already in use"},
		{tags + reloadWeb + "checkpoint: {file: {path: " + nodir + "}}\n", "checkpoint directory"},
		{tags + `web: {listen: "127.0.0.1:0", config_file: gone.yml}`, r.file + ":5:43: web.config_file"},
		{tags + reloadWeb + "directory: {file: gone.csv}\n", r.file + ":6:19: directory.file"},
		{tags + reloadWeb + "checkpoint: {dynamodb: {table: gone}}\n", "it does not exist; make it with"},
	} {
		n++
		r.reload(c.yaml, refused, n)
		said := r.stderr.String()
		if last := said[strings.LastIndex(said, `SIGHUP: reading the configuration again`):]; !strings.Contains(last, c.want) {
			t.Errorf("the log does not say %q:\n%s", c.want, last)
		}
	}
	if err := os.Remove(r.file); err != nil {
		t.Fatal(err)
	}
	r.hangup()
	r.until(refused, n+1)
	r.tagged("red")
	r.wantMetric(lastReload, "0")

	// Another address that is free is taken, and the old one given back.
	was := r.addr
	r.reload(fmt.Sprintf(reloadTags, "blue")+`web: {listen: "localhost:0"}`, inForce, 1)
	const listening = `"msg":"listening","addr":"`
	said := r.stderr.String()
	r.addr, _, _ = strings.Cut(said[strings.LastIndex(said, listening)+len(listening):], `"`)
	if r.addr == was {
		t.Errorf("the port is still %s", was)
	}
	r.wantMetric(lastReload, "1")
	if c, err := net.Dial("tcp", was); err == nil {
		c.Close()
		t.Errorf("the port before, %s, is still open", was)
	}
	r.tagged("blue")

	// The same port with a password from now on.
	web := filepath.Join(t.TempDir(), "web.yml")
	if err := os.WriteFile(web, []byte("basic_auth_users: {prometheus: '"+passwordHash(t)+"'}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.reload(fmt.Sprintf(reloadTags, "green")+`web: {listen: "localhost:0", config_file: "`+web+`"}`, inForce, 2)
	resp, err := http.Get("http://" + r.addr + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("without the new password: %s", resp.Status)
	}
	r.tagged("green")
	r.end()
}

// A configuration that is good as far as can be seen before, and fails when the daemon begins by it, gives way to the one before.
func TestReloadGoesBack(t *testing.T) {
	t.Parallel()
	needSlow(t)
	const back = "not reloaded: the new configuration does not work; going back to the one before"
	r := startReloader(t, fmt.Sprintf(reloadTags, "red")+reloadWeb)
	r.tagged("red")
	west := filepath.Join(r.state, fakeaws.DefaultAccount, "eu-west-1")
	if err := os.MkdirAll(west, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(west, "state"), []byte("rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	for n, c := range []struct{ yaml, why string }{
		{"regions: [eu-central-1, eu-west-1]\n", filepath.Join(west, "state") + " is damaged"},
		{`accounts: [{role_arn: "arn:aws:iam::444455556666:role/gone"}]` + "\n", "LookupEvents is denied in every Scope: 444455556666/eu-central-1"},
	} {
		r.reload(fmt.Sprintf(reloadTags, "blue")+reloadWeb+c.yaml, back, n+1)
		r.until("the configuration of before works again", n+1)
		if !strings.Contains(r.stderr.String(), c.why) {
			t.Errorf("the log does not say why:\n%s", r.tail())
		}
		r.tagged("red")
		r.wantMetric(lastReload, "0")
	}
	// It is no trap: the next good one is taken.
	r.reload(fmt.Sprintf(reloadTags, "green")+reloadWeb, inForce, 1)
	r.tagged("green")
	r.end()
}

// When nothing works any more at a reload, the daemon goes on trying the configuration that did, and then takes a new one again.
func TestReloadWhileAWSDenies(t *testing.T) {
	t.Parallel()
	needSlow(t)
	r := startReloader(t, fmt.Sprintf(reloadTags, "red")+reloadWeb)
	r.tagged("red")
	r.cloud.Deny("cloudtrail:LookupEvents")
	r.reload(fmt.Sprintf(reloadTags, "blue")+reloadWeb, "the configuration of before does not work now; trying again", 1)
	r.cloud.Heal()
	r.until("the configuration of before works again", 1)
	r.tagged("red")
	r.reload(fmt.Sprintf(reloadTags, "blue")+reloadWeb, inForce, 1)
	r.tagged("blue")
	r.end()
}

// Without a file there is nothing to read again, and that is said.
func TestReloadWithoutAFile(t *testing.T) {
	t.Parallel()
	r := startReloader(t, "", "AUTOTAGD_CONFIG=", "AUTOTAGD_CONFIG_YAML="+reloadYAML+fmt.Sprintf(reloadTags, "red")+reloadWeb)
	r.hangup()
	r.until("SIGHUP: there is no configuration file to read again; a restart reads the environment again", 1)
	r.tagged("red")
	r.end()
}

// Reloads in the midst of work lose no event and tag nothing wrong, and who asks the web port is never refused; with leases nobody waits for
// them to run out.
func TestReloadsLoseNothing(t *testing.T) {
	t.Parallel()
	needSlow(t)
	for name, checkpoints := range map[string]string{"files": "", "table": "checkpoint: {dynamodb: {table: autotagd, lease: 1m}}\n"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			yaml := "regions: [eu-central-1, eu-west-1]\n" + reloadWeb + checkpoints
			cloud := fakeaws.New(fakeaws.Config{
				Seed: 2, Regions: []string{"eu-central-1", "eu-west-1"}, Visibility: time.Second, Consistency: 500 * time.Millisecond, Duplicates: 0.05,
			})
			r := &reloader{t: t, cloud: cloud, file: filepath.Join(t.TempDir(), "autotagd.yaml")}
			r.write(yaml)
			env := []string{
				"AWS_REGION=eu-central-1", "AWS_ENDPOINT_URL=" + serve(t, cloud), "STATE_DIRECTORY=" + t.TempDir(), "AUTOTAGD_CONFIG=" + r.file,
			}
			if checkpoints != "" {
				if code, _, stderr := command(t, env, "check", "--aws", "--create-table"); code != exitDone {
					t.Fatal(stderr)
				}
			}
			r.child = start(t, env, "run")
			r.until("started", 1)
			r.addr = r.logged("listening", "addr")
			working, stop := context.WithCancel(t.Context())
			defer stop()
			worked := make(chan error, 1)
			go func() { worked <- cloud.Live(working, fakeaws.Traffic{Creates: 4, Writes: 2, Reads: 1}) }()
			asked := make(chan error, 1)
			go func() { asked <- r.ask(working) }()
			const reloads = 5
			for i := range reloads {
				r.reload(yaml+fmt.Sprintf("owners: {session_names: [{role: r%d, trust: true}, {role: '*', trust: true}]}\n", i), inForce, i+1)
			}
			stop()
			if err := <-worked; err != nil {
				t.Fatal(err)
			}
			if err := <-asked; err != nil {
				t.Errorf("the web port: %v", err)
			}
			eventually(t, 2*time.Minute, func() string { return problems(cloud) + r.tail() }, func() bool {
				for _, res := range cloud.Resources() {
					if res.VisibleAt.After(cloud.Now()) {
						return false
					}
				}
				return len(cloud.Audit(0)) == 0
			})
			r.end()
			t.Logf("%d reloads, %d resources, none lost or wrong", reloads, len(cloud.Resources()))
		})
	}
}

// ask asks the web port again and again until ctx ends or there is no answer.
func (r *reloader) ask(ctx context.Context) error {
	for ctx.Err() == nil {
		resp, err := http.Get("http://" + r.addr + "/-/healthy")
		if err != nil {
			return err
		}
		resp.Body.Close()
		time.Sleep(5 * time.Millisecond)
	}
	return nil
}

func needSlow(t *testing.T) {
	t.Helper()
	if os.Getenv("AUTOTAGD_SLOW") == "" {
		t.Skip("takes up to a minute; AUTOTAGD_SLOW=1 runs it")
	}
}
