package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/autotagd/autotagd/internal/fakeaws"
	"github.com/autotagd/autotagd/pkg/checkpoint"
)

const (
	replicaLease = 3 * time.Second
	// What comes on top of lease times, at most: turns of the replicas, calls that faults make longer, and most of it for a busy machine. How
	// long it took is logged.
	replicaAllowance = 30 * time.Second
)

// replicas is processes of the binary that share the Scopes of an AWS over a table.
type replicas struct {
	t     *testing.T
	cloud *fakeaws.AWS
	env   []string
	lives map[string]*child // that should be at work, by the replica's name
	names map[string]string // by access key: who writes what into the table
}

// accountsWithRoles returns n accounts and a role in each, and the configuration's list of them.
func accountsWithRoles(n int) (accounts []string, roles []fakeaws.Role, list string) {
	var items []string
	for i := range n {
		id := fmt.Sprintf("%012d", 200000000000+i)
		if i == 0 {
			id = fakeaws.DefaultAccount
		}
		arn := "arn:aws:iam::" + id + ":role/autotagd"
		accounts, roles = append(accounts, id), append(roles, fakeaws.Role{ARN: arn})
		items = append(items, `{role_arn: "`+arn+`"}`)
	}
	return accounts, roles, strings.Join(items, ", ")
}

// logged returns a member of the first line of c's log with that message; "" if there is none yet.
func (c *child) logged(message, member string) string {
	for line := range strings.Lines(c.stderr.String()) {
		var l map[string]any
		if json.Unmarshal([]byte(line), &l) == nil && l["msg"] == message {
			value, _ := l[member].(string)
			return value
		}
	}
	return ""
}

// start begins a replica with an access key of its own.
func (r *replicas) start() string {
	r.t.Helper()
	key := fmt.Sprintf("AKIAREPLICA%d", len(r.names))
	c := start(r.t, append(slices.Clone(r.env), "AWS_ACCESS_KEY_ID="+key), "run")
	name := ""
	eventually(r.t, time.Minute, func() string { return "a replica has not begun:\n" + c.tail() }, func() bool {
		name = c.logged("checkpoints", "replica")
		return name != ""
	})
	r.names[key], r.lives[name] = name, c
	return name
}

// signal sends a signal to a replica.
func (r *replicas) signal(name string, s syscall.Signal) {
	r.t.Helper()
	if err := r.lives[name].cmd.Process.Signal(s); err != nil {
		r.t.Fatal(err)
	}
}

// end asks a replica to end and waits for that.
func (r *replicas) end(name string) {
	r.t.Helper()
	c := r.lives[name]
	r.signal(name, syscall.SIGTERM)
	if code := c.wait(r.t, 25*time.Second); code != exitDone {
		r.t.Errorf("exit code after SIGTERM = %d, want %d\n%s", code, exitDone, c.tail())
	}
	delete(r.lives, name)
}

// held returns how many Scopes each live replica owns by the table's items, and how many none of them owns.
func (r *replicas) held() (counts map[string]int, orphans int) {
	counts = map[string]int{}
	for name := range r.lives {
		counts[name] = 0
	}
	orphans = len(r.cloud.Scopes())
	for _, item := range r.cloud.TableItems(r.cloud.Scope(), "autotagd") {
		if owner := item["owner"].Value; item["part"].Value == checkpoint.StatePart && r.lives[owner] != nil {
			counts[owner]++
			orphans--
		}
	}
	return counts, orphans
}

// owned fails the test unless every Scope has a live owner within d. It returns how long that took.
func (r *replicas) owned(d time.Duration) time.Duration {
	r.t.Helper()
	began := time.Now()
	eventually(r.t, d, func() string {
		counts, orphans := r.held()
		return fmt.Sprintf("%d Scopes have no live owner, the replicas hold %v\n%s", orphans, counts, r.tails())
	}, func() bool { _, orphans := r.held(); return orphans == 0 })
	return time.Since(began)
}

// even waits until each live replica holds its part of the Scopes, give or take a fifth or one.
func (r *replicas) even(d time.Duration) time.Duration {
	r.t.Helper()
	began := time.Now()
	eventually(r.t, d, func() string {
		counts, orphans := r.held()
		return fmt.Sprintf("the replicas hold %v Scopes, %d are nobody's\n%s", counts, orphans, r.tails())
	}, func() bool {
		counts, orphans := r.held()
		part := float64(len(r.cloud.Scopes())) / float64(len(counts))
		for _, n := range counts {
			if off := max(float64(n)-part, part-float64(n)); off > max(part/5, 1) {
				return false
			}
		}
		return orphans == 0
	})
	return time.Since(began)
}

func (r *replicas) tails() string {
	var out []string
	for name, c := range r.lives {
		out = append(out, name+":\n"+c.tail())
	}
	return strings.Join(out, "\n")
}

// ownersAlone fails the test if the table took a write of a state that its rules forbid: a save or a release by somebody
// else than its owner, or a claim of what a replica owned whose last beat was less than a lease ago.
func (r *replicas) ownersAlone() {
	type state struct{ owner, version string }
	states, beats := map[string]state{}, map[string]time.Time{}
	saves, claims, refused := 0, 0, 0
	for _, w := range r.cloud.TableWrites(r.cloud.Scope(), "autotagd") {
		writer := r.names[w.AccessKey]
		switch {
		case w.Hash == "#replica" && w.Deleted:
			delete(beats, w.Sort)
		case w.Hash == "#replica":
			beats[w.Sort] = w.Time
		}
		if w.Sort != checkpoint.StatePart {
			continue
		}
		if w.Refused {
			refused++
			continue
		}
		was, is := states[w.Hash], state{w.Attributes["owner"], w.Attributes["version"]}
		states[w.Hash] = is
		beat, beaten := beats[was.owner]
		switch {
		case writer == "" || w.Deleted:
			r.t.Errorf("%s: %s by %q (%s)", w.Hash, w.Op, writer, w.AccessKey)
		case is.version != was.version:
			if saves++; was.owner != writer || is.owner != writer {
				r.t.Errorf("%s at %s: %s saved what %q owned, and %q then", w.Hash, w.Time.Format(timeOnly), writer, was.owner, is.owner)
			}
		case is.owner == "":
			if was.owner != writer && was.owner != "" {
				r.t.Errorf("%s at %s: %s released what %s owned", w.Hash, w.Time.Format(timeOnly), writer, was.owner)
			}
		case is.owner != writer:
			r.t.Errorf("%s at %s: %s made %s the owner", w.Hash, w.Time.Format(timeOnly), writer, is.owner)
		case was.owner != "" && was.owner != writer && beaten && w.Time.Sub(beat) < replicaLease:
			r.t.Errorf("%s at %s: %s claimed what %s owned, which had beaten %s before", w.Hash, w.Time.Format(timeOnly), writer, was.owner, w.Time.Sub(beat))
		default:
			claims++
		}
	}
	if saves == 0 || claims < len(r.cloud.Scopes()) {
		r.t.Errorf("only %d saves and %d claims: the test shows little", saves, claims)
	}
	r.t.Logf("%d saves of a state, %d claims, %d writes refused", saves, claims, refused)
}

// Invariants 1 and 5 with processes: of three replicas one is killed, one stands still for three leases, one is asked to end,
// and a fourth comes, under a workload with faults.
func TestReplicaProcesses(t *testing.T) {
	if os.Getenv("AUTOTAGD_SLOW") == "" {
		t.Skip("takes most of a minute: AUTOTAGD_SLOW=1 runs it, as make check does")
	}
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	accounts, roles, list := accountsWithRoles(30)
	cloud := fakeaws.New(fakeaws.Config{
		Seed: seed, Accounts: accounts, Roles: roles, Regions: []string{"us-east-1", "eu-west-1"}, TableTime: -1,
		Visibility: time.Second, Consistency: 500 * time.Millisecond, ImageTime: 2 * time.Second, Duplicates: 0.02,
	})
	r := &replicas{t: t, cloud: cloud, lives: map[string]*child{}, names: map[string]string{}}
	r.env = []string{
		"AWS_REGION=us-east-1", "AWS_ENDPOINT_URL=" + serve(t, cloud),
		`AUTOTAGD_CONFIG_YAML=
regions: [us-east-1, eu-west-1]
accounts: [` + list + `]
poll: {interval: 5s, sweep_interval: 15s, lookback: 15s, start: 5m}
tagging: {batch_wait: 100ms, consistency_wait: 4s, defer_after: 20s}
checkpoint: {dynamodb: {table: autotagd, lease: ` + replicaLease.String() + `}}
web: {listen: "127.0.0.1:0"}
`,
	}
	if code := start(t, r.env, "check", "--aws", "--create-table").wait(t, time.Minute); code != exitDone && len(cloud.Calls("CreateTable")) == 0 {
		t.Fatalf("the table was not made: exit code %d", code)
	}
	cloud.SetFaults("", fakeaws.Faults{Throttle: 0.01, ServerError: 0.01, Reset: 0.01, LostAnswer: 0.01, BadToken: 0.05, Partial: 0.01})
	working, stopWork := context.WithCancel(t.Context())
	defer stopWork()
	worked := make(chan error, 1)
	go func() { worked <- cloud.Live(working, fakeaws.Traffic{Creates: 0.06, Writes: 0.03}) }()

	a, b, c := r.start(), r.start(), r.start()
	t.Logf("three share all after %s", r.even(time.Minute))

	r.signal(a, syscall.SIGKILL)
	delete(r.lives, a)
	t.Logf("every Scope has an owner %s after the kill", r.owned(2*replicaLease+replicaAllowance))

	stopped := r.lives[b]
	r.signal(b, syscall.SIGSTOP)
	delete(r.lives, b)
	stood := time.Now()
	d := r.start()
	time.Sleep(time.Until(stood.Add(3 * replicaLease)))
	r.owned(replicaAllowance)
	r.lives[b] = stopped
	r.signal(b, syscall.SIGCONT)
	t.Logf("three share all again after %s", r.even(time.Minute))

	r.end(c)
	t.Logf("every Scope has an owner %s after the end of one", r.owned(2*replicaLease+replicaAllowance))
	stopWork()
	if err := <-worked; err != nil {
		t.Fatal(err)
	}
	eventually(t, 2*time.Minute, func() string { return "not settled: " + problems(cloud) }, func() bool {
		hidden := slices.ContainsFunc(cloud.Resources(), func(r fakeaws.Resource) bool { return r.VisibleAt.After(cloud.Now()) })
		return !hidden && len(cloud.Audit(0)) == 0
	})
	r.even(time.Minute)
	r.end(b)
	r.end(d)
	if p := problems(cloud); p != "" {
		t.Error(p)
	}
	r.ownersAlone()
	made := cloud.Resources()
	if len(made) < 50 {
		t.Errorf("only %d resources were made: the test shows little", len(made))
	}
	t.Logf("%d resources", len(made))
}
