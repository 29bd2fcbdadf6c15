package daemon

import (
	"context"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/autotagd/autotagd/internal/awsclient"
	"github.com/autotagd/autotagd/internal/fakeaws"
	"github.com/autotagd/autotagd/pkg/catalog"
	"github.com/autotagd/autotagd/pkg/checkpoint"
	"github.com/autotagd/autotagd/pkg/checkpoint/storetest"
	"github.com/autotagd/autotagd/pkg/config"
	"github.com/autotagd/autotagd/pkg/event"
	"github.com/autotagd/autotagd/pkg/poller"
	"github.com/autotagd/autotagd/pkg/resource"
	"github.com/autotagd/autotagd/pkg/tagger"
)

const stateDir = "/state"

// world is an AWS, a disk, and a daemon between them, in a synctest bubble.
type world struct {
	t     *testing.T
	cloud *fakeaws.AWS
	disk  *storetest.Disk
	cfg   *config.Config
	rng   *rand.Rand
	logs  *observer.ObservedLogs
	core  zapcore.Core
}

func newWorld(t *testing.T, seed uint64, yaml string, cfg fakeaws.Config) *world {
	t.Helper()
	c, err := config.Load("test", []byte(yaml))
	if err != nil {
		t.Fatal(err)
	}
	cfg.Seed = seed
	core, logs := observer.New(zapcore.InfoLevel)
	return &world{
		t: t, cloud: fakeaws.New(cfg), disk: storetest.NewDisk(stateDir), cfg: c,
		rng: rand.New(rand.NewPCG(seed, 7)), logs: logs, core: core,
	}
}

// clients are the SDK's, on the world's AWS.
func (w *world) clients() *awsclient.Clients {
	w.t.Helper()
	clients, err := awsclient.FromConfig(aws.Config{
		Region: w.cloud.Scope().Region, Credentials: credentials.NewStaticCredentialsProvider("AKIATEST", "secret", ""),
	}, awsclient.Options{Version: "test", Log: zap.New(w.core), HTTP: w.cloud.HTTPClient()})
	if err != nil {
		w.t.Fatal(err)
	}
	return clients
}

// running is one life of the daemon.
type running struct {
	world  *world
	daemon *Daemon
	cancel context.CancelFunc
	done   chan error
}

// start begins a life: everything but the web port, whose socket a bubble cannot wait for.
func (w *world) start(options ...func(*Options)) *running {
	w.t.Helper()
	log := zap.New(w.core)
	cat, err := catalog.Load()
	if err != nil {
		w.t.Fatal(err)
	}
	people, err := OpenDirectory(w.cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	planner, err := NewPlanner(w.cfg, cat, people)
	if err != nil {
		w.t.Fatal(err)
	}
	o := Options{Config: w.cfg, Clients: w.clients(), Store: checkpoint.NewFileStore(w.disk, stateDir), Log: log, Version: "test", Commit: "test"}
	for _, set := range options {
		set(&o)
	}
	ctx, cancel := context.WithCancel(w.t.Context())
	r := &running{world: w, daemon: New(o, planner), cancel: cancel, done: make(chan error, 1)}
	go func() { r.done <- r.daemon.work(ctx) }()
	return r
}

// stop ends a life as SIGTERM does.
func (r *running) stop() {
	r.world.t.Helper()
	began := time.Now()
	r.cancel()
	if err := <-r.done; err != nil {
		r.world.t.Errorf("shutdown: %v", err)
	}
	if took := time.Since(began); took > 20*time.Second {
		r.world.t.Errorf("shutdown took %s, want at most 20s", took)
	}
}

// crash ends a life as a power cut does: nothing more reaches the disk, and what was not synced may be lost.
func (r *running) crash() {
	r.world.disk.Stop()
	r.cancel()
	<-r.done // its last save fails; that is the point
	r.world.disk.Reboot(r.world.rng)
}

// audit fails the test for everything that is not as it should be.
func (w *world) audit() {
	w.t.Helper()
	for i, p := range w.cloud.Audit(0) {
		if i == 20 {
			w.t.Error("... and more")
			return
		}
		w.t.Errorf("%s\n\t%s", p, strings.Join(w.history(p.Resource.EventID), "\n\t"))
	}
}

// pace fails the test if LookupEvents was called faster than rate in any Scope: invariant 4.
func (w *world) pace(rate float64) {
	w.t.Helper()
	last := map[event.Scope]time.Time{}
	least := time.Duration(float64(time.Second)/rate) - 20*time.Millisecond // the way to AWS takes a few ms more or less
	for _, c := range w.cloud.Calls("LookupEvents") {
		if at, ok := last[c.Scope]; ok && c.Time.Sub(at) < least {
			w.t.Errorf("%s: LookupEvents at %s and %s after: want at least %s between", c.Scope, at.Format(time.TimeOnly), c.Time.Sub(at), least)
			return
		}
		last[c.Scope] = c.Time
	}
}

// outcomes returns the log lines about a resource or event.
func (w *world) outcomes(id string) []string {
	var out []string
	for _, e := range w.logs.All() {
		m := e.ContextMap()
		if m["event_id"] == id || m["resource"] == id || strings.HasSuffix(fmt.Sprint(m["resource"]), "/"+id) {
			out = append(out, strings.TrimSpace(e.Message+" "+fmt.Sprint(m["reason"])))
		}
	}
	return out
}

// history returns what was logged of an event, for people.
func (w *world) history(id string) []string {
	var out []string
	for _, e := range w.logs.All() {
		if m := e.ContextMap(); m["event_id"] == id {
			out = append(out, fmt.Sprint(e.Time.Format(time.TimeOnly), " ", e.Message, " ", m["resource"], " ", m["reason"], " ", m["detail"]))
		}
	}
	return out
}

var faults = fakeaws.Faults{Throttle: 0.03, ServerError: 0.03, Reset: 0.02, LostAnswer: 0.03, Slow: 0.01, BadToken: 0.03}

func seedOf(t *testing.T) uint64 {
	t.Helper()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return seed
}

// Invariants 1, 3 and 4, in one long life with everything that AWS does to its users.
func TestBusyAccountWithFaults(t *testing.T) {
	t.Parallel()
	seed := seedOf(t)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, seed, "{}", fakeaws.Config{
			Regions: []string{"eu-central-1", "us-east-1"}, Consistency: 20 * time.Second, Duplicates: 0.02,
		})
		w.cloud.SetFaults("", faults)
		r := w.start()
		working, stopWork := context.WithTimeout(t.Context(), 15*time.Minute)
		defer stopWork()
		if err := w.cloud.Live(working, fakeaws.Traffic{Creates: 0.2, Writes: 0.2, Reads: 0.1}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(40 * time.Minute) // the lookback, and a final pass
		r.stop()
		w.audit()
		w.pace(1.5)
		r.settledUpTo(time.Now().Add(-37 * time.Minute))
	})
}

// settledUpTo fails the test if a saved Floor is before at: nothing may hold a mark up for good.
func (r *running) settledUpTo(at time.Time) {
	r.world.t.Helper()
	for _, s := range r.daemon.fleet.all() {
		if floor := s.ledger.Marks().Floor; floor.Before(at) {
			r.world.t.Errorf("%s: the Floor is at %s, want at least %s", s.id, floor.Format(time.TimeOnly), at.Format(time.TimeOnly))
		}
	}
}

// Invariants 1 and 2: power cuts at any moment, on a disk that loses what was not synced.
func TestCrashes(t *testing.T) {
	t.Parallel()
	seed := seedOf(t)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, seed, "{global_region: off}", fakeaws.Config{Consistency: 10 * time.Second, Duplicates: 0.02})
		w.cloud.SetFaults("", faults)
		working, stopWork := context.WithCancel(t.Context())
		worked := make(chan error, 1)
		go func() { worked <- w.cloud.Live(working, fakeaws.Traffic{Creates: 0.3, Writes: 0.1}) }()
		for range 14 {
			r := w.start()
			time.Sleep(time.Duration(w.rng.Int64N(int64(2 * time.Minute))))
			r.crash()
			time.Sleep(time.Duration(w.rng.Int64N(int64(20 * time.Second))))
		}
		stopWork()
		if err := <-worked; err != nil {
			t.Fatal(err)
		}
		r := w.start()
		time.Sleep(45 * time.Minute)
		r.stop()
		w.audit()
	})
}

// A life that was ended with Jobs in hand hands them to the next one.
func TestShutdownKeepsJobsInHand(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, "{global_region: off}", fakeaws.Config{})
		w.cloud.Fail("CreateTags", -1, fakeaws.ServerError)
		made := w.cloud.Create(w.cloud.Scope(), "CreateVolume", fakeaws.IAMUser("alice"), fakeaws.Spec{Delay: -1})
		r := w.start()
		time.Sleep(30 * time.Second)
		r.stop()
		w.cloud.Heal()
		if got := w.outcomes(made.EventID); !slices.Contains(got, "deferred exhausted") && !slices.ContainsFunc(got, func(s string) bool { return strings.HasPrefix(s, "deferred") }) {
			t.Errorf("outcomes of the first life = %q, want deferred", got)
		}
		before := len(w.cloud.Calls("LookupEvents"))
		r = w.start()
		time.Sleep(90 * time.Second)
		r.stop()
		if before == len(w.cloud.Calls("LookupEvents")) {
			t.Error("the second life read nothing")
		}
		w.audit()
	})
}

// What may not be tagged waits, and is tagged when an operator grants it; another service is not held up.
func TestDeniedUntilGranted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, "{global_region: off}", fakeaws.Config{Visibility: 30 * time.Second})
		w.cloud.Deny("sqs:TagQueue")
		alice := fakeaws.IAMUser("alice")
		queue := w.cloud.Create(w.cloud.Scope(), "CreateQueue", alice)
		volume := w.cloud.Create(w.cloud.Scope(), "CreateVolume", alice)
		r := w.start()
		time.Sleep(10 * time.Minute)
		if got, _ := w.cloud.Resource(volume.Resources[0].ARN); got.Tags["Owner"] != "alice" {
			t.Errorf("volume: tags %v, want Owner alice: one service's denial held up another", got.Tags)
		}
		if got := w.outcomes(queue.EventID); !slices.Contains(got, "deferred access_denied") {
			t.Errorf("queue: outcomes %q, want deferred access_denied", got)
		}
		r.crash() // the deferred Job is durable
		w.cloud.Allow("sqs:TagQueue")
		r = w.start()
		time.Sleep(3 * time.Minute)
		r.stop()
		w.audit()
	})
}

// A Job that a release deferred which knew no own calls: a role's tags are read before they are written all the same.
func TestDeferredByAnEarlierRelease(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, "{global_region: off}", fakeaws.Config{Visibility: 30 * time.Second})
		w.cloud.Deny("iam:TagRole")
		role := w.cloud.Create(w.cloud.Scope(), "CreateRole", fakeaws.IAMUser("alice"))
		r := w.start()
		time.Sleep(10 * time.Minute)
		r.stop()
		if got := w.outcomes(role.EventID); !slices.Contains(got, "deferred access_denied") {
			t.Fatalf("outcomes %q, want deferred access_denied", got)
		}
		store := checkpoint.NewFileStore(w.disk, stateDir)
		loaded, err := store.Load(t.Context(), w.cloud.Scope())
		if err != nil {
			t.Fatal(err)
		}
		without := 0
		for _, part := range loaded.Parts {
			old := regexp.MustCompile(`"own":\[[^\]]*\],`).ReplaceAll(part.Data, nil)
			if len(old) == len(part.Data) {
				continue
			}
			without++
			if err := store.Put(t.Context(), w.cloud.Scope(), []checkpoint.Part{{Name: part.Name, Data: old}}); err != nil {
				t.Fatal(err)
			}
		}
		if without != 1 {
			t.Fatalf("%d deferred Jobs with own calls, want one", without)
		}
		w.cloud.Tag(role.Resources[0].ARN, fakeaws.IAMUser("bob"), map[string]string{"Owner": "bob"})
		w.cloud.Allow("iam:TagRole")
		r = w.start()
		time.Sleep(5 * time.Minute)
		r.stop()
		w.audit()
		got, _ := w.cloud.Resource(role.Resources[0].ARN)
		if got.Tags["Owner"] != "bob" || got.Tags["PrincipalId"] == "" {
			t.Errorf("tags %v, want bob's Owner and alice's PrincipalId", got.Tags)
		}
	})
}

// More denied Jobs than are stored: they are counted as missed, and read again once an operator grants the permission.
func TestDeniedByTheThousand(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, "{global_region: off, poll: {lookback: 5m, sweep_interval: 1m}}", fakeaws.Config{Visibility: 30 * time.Second})
		w.cloud.Deny("sqs:TagQueue")
		for range 320 {
			w.cloud.Create(w.cloud.Scope(), "CreateQueue", fakeaws.IAMUser("alice"))
		}
		r := w.start()
		time.Sleep(12 * time.Minute) // beyond the lookback: every mark has passed them
		r.crash()
		if missed := len(w.logs.FilterMessage("missed").All()); missed == 0 {
			t.Error("no Job was counted as missed, want those beyond the bound of 200")
		}
		w.cloud.Allow("sqs:TagQueue")
		r = w.start()
		time.Sleep(75 * time.Minute) // replays come at most once an hour
		r.stop()
		w.audit()
	})
}

// Invariant 7, between Scopes: a Region where nothing works delays no other.
func TestOneScopeFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, "{regions: [eu-central-1, eu-west-1], global_region: off}", fakeaws.Config{
			Regions: []string{"eu-central-1", "eu-west-1"}, Visibility: 30 * time.Second,
		})
		bad := event.Scope{AccountID: fakeaws.DefaultAccount, Region: "eu-west-1"}
		w.cloud.Deny("cloudtrail:LookupEvents", bad)
		w.cloud.Fail("CreateTags", -1, fakeaws.Slow, bad)
		made := w.cloud.Create(w.cloud.Scope(), "CreateVolume", fakeaws.IAMUser("alice"))
		r := w.start()
		time.Sleep(3 * time.Minute)
		if got, _ := w.cloud.Resource(made.Resources[0].ARN); got.Tags["Owner"] != "alice" {
			t.Errorf("tags %v, want Owner alice", got.Tags)
		}
		if err := r.daemon.health.ready(); err != nil {
			t.Errorf("not ready: %v", err)
		}
		if err := r.daemon.health.healthy(); err != nil {
			t.Errorf("AWS's errors in one Scope make the daemon unhealthy: %v", err)
		}
		r.stop()
	})
}

func TestDeniedEverywhereAtStart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, "{}", fakeaws.Config{Regions: []string{"eu-central-1", "us-east-1"}})
		w.cloud.Deny("cloudtrail:LookupEvents")
		r := w.start()
		err := <-r.done
		if err == nil || !strings.Contains(err.Error(), "grant cloudtrail:LookupEvents") {
			t.Errorf("error = %v, want one that says what to grant", err)
		}
		r.cancel()
	})
}

// A reset or a 5xx at a start passes.
func TestStartWhileAWSFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, "{global_region: off}", fakeaws.Config{})
		w.cloud.Fail("GetCallerIdentity", 2, fakeaws.Reset)
		w.cloud.Fail("LookupEvents", 3, fakeaws.ServerError)
		made := w.cloud.Create(w.cloud.Scope(), "CreateVolume", fakeaws.IAMUser("alice"), fakeaws.Spec{Delay: -1})
		r := w.start()
		time.Sleep(3 * time.Minute)
		r.stop()
		if got, _ := w.cloud.Resource(made.Resources[0].ARN); got.Tags["Owner"] != "alice" {
			t.Errorf("tags %v, want Owner alice", got.Tags)
		}
	})
}

// A record that is not JSON, under the name of a create event, is missed and settled.
func TestRecordThatCannotBeRead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, "{global_region: off}", fakeaws.Config{})
		r := w.start()
		time.Sleep(time.Minute)
		synctest.Wait()
		s := r.daemon.fleet.all()[0]
		at := time.Now()
		if v := s.ledger.Begin(event.Live, "broken", at); v != event.New {
			t.Fatalf("verdict = %v, want New", v)
		}
		err := s.Handle(t.Context(), []poller.Event{{ID: "broken", Source: "ec2.amazonaws.com", Name: "CreateVolume", Time: at, Seen: at, Raw: `{"eventID":`}})
		if err != nil {
			t.Fatal(err)
		}
		if got := w.outcomes("broken"); !slices.Equal(got, []string{"missed unresolved"}) {
			t.Errorf("outcomes = %q, want missed unresolved", got)
		}
		if n, _ := s.ledger.Unsettled(); n != 0 {
			t.Errorf("%d events are unsettled", n)
		}
		r.stop()
	})
}

// --dry-run makes no writing call and keeps nothing.
func TestDryRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, "{global_region: off, dry_run: true}", fakeaws.Config{})
		made := w.cloud.Create(w.cloud.Scope(), "CreateVolume", fakeaws.IAMUser("alice"), fakeaws.Spec{Delay: -1})
		r := w.start(func(o *Options) { o.Store = nil })
		time.Sleep(2 * time.Minute)
		r.stop()
		if got := w.outcomes(made.EventID); !slices.Contains(got, "would_tag <nil>") {
			t.Errorf("outcomes = %q, want would_tag", got)
		}
		if n := len(w.cloud.Calls("CreateTags")) + len(w.cloud.Calls("TagResources")); n != 0 {
			t.Errorf("%d writing calls", n)
		}
		if files := w.disk.Files(); len(files) != 0 {
			t.Errorf("files were written: %q", files)
		}
	})
}

// --once reads what is visible, tags it, saves and ends; a second time there is nothing to do.
func TestOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, "{global_region: off}", fakeaws.Config{})
		w.cloud.Past(time.Now().Add(-40*time.Minute), time.Now(), fakeaws.Traffic{Creates: 0.05, Writes: 0.05})
		var ended []resource.Outcome
		once := func(o *Options) {
			o.Once = true
			o.OnOutcome = func(out resource.Outcome) { ended = append(ended, out) }
		}
		time.Sleep(16 * time.Minute) // until all of it is visible
		if err := <-w.start(once).done; err != nil {
			t.Fatal(err)
		}
		if len(ended) == 0 {
			t.Fatal("nothing was done")
		}
		w.audit()
		writes := len(w.cloud.Calls("CreateTags"))
		if err := <-w.start(once).done; err != nil {
			t.Fatal(err)
		}
		if again := len(w.cloud.Calls("CreateTags")); again != writes {
			t.Errorf("the second time made %d more CreateTags calls, want none", again-writes)
		}
	})
}

// A call that the catalog does not know is counted and said once a day.
func TestUncataloged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, "{global_region: off}", fakeaws.Config{})
		for _, name := range []string{"CreateWarpDrive", "CreateWarpDrive", "DescribeWarpDrives"} {
			w.cloud.Other(w.cloud.Scope(), "warp.amazonaws.com", name, false, fakeaws.IAMUser("alice"), fakeaws.Spec{Delay: -1})
		}
		r := w.start()
		time.Sleep(2 * time.Hour)
		r.stop()
		said := w.logs.FilterMessageSnippet("not in the catalog").All()
		if len(said) != 1 || said[0].ContextMap()["event_name"] != "CreateWarpDrive" {
			t.Errorf("said %v, want CreateWarpDrive once", said)
		}
	})
}

// An expansion that a restart has brought back may end between an event's beginning and its Jobs becoming known: that settles
// nothing.
func TestExpansionDoesNotSettleAnEventThatIsBegunAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, "{global_region: off}", fakeaws.Config{})
		r := w.start()
		time.Sleep(time.Minute)
		synctest.Wait()
		s := r.daemon.fleet.all()[0]
		at := time.Now()
		ref := resource.EventRef{ID: "launch", Time: at, Scope: s.id}
		expansion := resource.Job{Event: ref, Resource: resource.Resource{ID: "i-1"}, Expand: resource.ExpandInstanceVolumes}
		s.ledger.Begin(event.Live, ref.ID, at)
		r.daemon.report(tagger.Result{Kind: tagger.Expanded, Job: expansion, Scope: s.id})
		if n, _ := s.ledger.Unsettled(); n != 1 {
			t.Errorf("%d events are unsettled, want the launch: its Jobs are not known yet", n)
		}
		s.ledger.Done(ref.ID)
		r.stop()
	})
}

// A State from before what CloudTrail keeps: the time that is lost for good must not stop the start.
func TestStartAfterAHundredDays(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, "{global_region: off}", fakeaws.Config{Visibility: 30 * time.Second})
		r := w.start()
		time.Sleep(10 * time.Minute)
		r.stop()
		time.Sleep(100 * 24 * time.Hour)
		w.cloud.Create(w.cloud.Scope(), "CreateVolume", fakeaws.IAMUser("alice"))
		r = w.start()
		time.Sleep(10 * time.Minute)
		r.stop()
		w.audit()
	})
}

// --once: a denied Region is said at the end, and the others are done.
func TestOnceWithADeniedScope(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, "{}", fakeaws.Config{Regions: []string{"eu-central-1", "us-east-1"}})
		w.cloud.Deny("cloudtrail:LookupEvents", event.Scope{AccountID: fakeaws.DefaultAccount, Region: "us-east-1"})
		w.cloud.Create(w.cloud.Scope(), "CreateVolume", fakeaws.IAMUser("alice"), fakeaws.Spec{Delay: -1})
		time.Sleep(time.Minute)
		err := <-w.start(func(o *Options) { o.Once = true }).done
		if err == nil || !strings.Contains(err.Error(), "us-east-1") {
			t.Errorf("error = %v, want one about us-east-1", err)
		}
		w.audit()
	})
}

// --once tries each Job for a bounded time, however many there are; the rest is deferred, not missed.
func TestOnceIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, "{global_region: off}", fakeaws.Config{})
		w.cloud.Fail("TagResources", -1, fakeaws.ServerError)
		for range 200 {
			w.cloud.Create(w.cloud.Scope(), "CreateQueue", fakeaws.IAMUser("alice"), fakeaws.Spec{Delay: -1})
		}
		time.Sleep(time.Minute)
		began := time.Now()
		if err := <-w.start(func(o *Options) { o.Once = true }).done; err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > 3*time.Minute {
			t.Errorf("took %s", took)
		}
		if n := len(w.logs.FilterMessage("missed").All()); n != 0 {
			t.Errorf("%d lines of missed Jobs, want all deferred", n)
		}
		w.cloud.Heal()
		r := w.start()
		time.Sleep(45 * time.Minute)
		r.stop()
		w.audit()
	})
}
