package daemon

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"go.uber.org/zap"

	"github.com/autotagd/autotagd/internal/awsclient"
	"github.com/autotagd/autotagd/internal/fakeaws"
	"github.com/autotagd/autotagd/pkg/checkpoint"
	"github.com/autotagd/autotagd/pkg/event"
)

const testLease = 30 * time.Second

// organization is a world of so many accounts in two Regions, with roles, and a table.
func organization(t *testing.T, seed uint64, accounts int) *world {
	t.Helper()
	cloud := fakeaws.Config{Regions: []string{"us-east-1", "eu-west-1"}, Consistency: 5 * time.Second}
	var roles []string
	for i := range accounts {
		id := fmt.Sprintf("%012d", 200000000000+i)
		if i == 0 {
			id = fakeaws.DefaultAccount
		}
		cloud.Accounts = append(cloud.Accounts, id)
		cloud.Roles = append(cloud.Roles, fakeaws.Role{ARN: roleIn(id)})
		roles = append(roles, `{role_arn: "`+roleIn(id)+`"}`)
	}
	w := newWorld(t, seed, `{regions: [us-east-1, eu-west-1], accounts: [`+strings.Join(roles, ", ")+`], checkpoint: {dynamodb: {table: autotagd, lease: 30s}}}`, cloud)
	if err := w.table(w.cloud.HTTPClient()).Create(t.Context()); err != nil {
		t.Fatal(err)
	}
	return w
}

// replica begins a life that shares the table with others, by a way to AWS of its own.
func (w *world) replica(name string, opts ...func(*Options)) (*running, *plug) {
	w.t.Helper()
	p := &plug{client: w.cloud.HTTPClient(), key: "AKIA" + name}
	clients, err := awsclient.FromConfig(aws.Config{
		Region: w.cloud.Scope().Region, Credentials: credentials.NewStaticCredentialsProvider("AKIATEST", "secret", ""),
	}, awsclient.Options{Version: "test", Log: zap.New(w.core), HTTP: p})
	if err != nil {
		w.t.Fatal(err)
	}
	store := checkpoint.NewDynamoDBStore(w.table(p), name)
	return w.start(append(opts, func(o *Options) { o.Clients, o.Store, o.Leases, o.Replica = clients, store, store, name })...), p
}

// shares fails the test unless the lives hold every Scope once, and as many each as the others, give or take one.
func (w *world) shares(lives ...*running) {
	w.t.Helper()
	holders := map[event.Scope]int{}
	var counts []int
	for _, r := range lives {
		held := r.daemon.fleet.all()
		counts = append(counts, len(held))
		for _, s := range held {
			holders[s.id]++
		}
	}
	for _, s := range w.cloud.Scopes() {
		if holders[s] != 1 {
			w.t.Errorf("%s is held by %d replicas\n\t%s", s, holders[s], strings.Join(w.about(s), "\n\t"))
		}
	}
	if slices.Max(counts)-slices.Min(counts) > 1 {
		w.t.Errorf("the replicas hold %v Scopes", counts)
	}
}

// leases fails the test unless the metrics of each life show every Scope, and all together one holder of each.
func (w *world) leases(lives ...*running) {
	w.t.Helper()
	for _, s := range w.cloud.Scopes() {
		holders := 0
		for i, r := range lives {
			text := gather(w.t, r)
			series := fmt.Sprintf("autotagd_lease_held{account_id=%q,region=%q} ", s.AccountID, s.Region)
			switch {
			case strings.Contains(text, series+"1\n"):
				holders++
			case !strings.Contains(text, series+"0\n"):
				w.t.Errorf("replica %d does not show whether it holds %s", i, s)
			}
		}
		if holders != 1 {
			w.t.Errorf("by the metrics %s has %d holders", s, holders)
		}
	}
}

// about returns the last lines that were logged of a Scope, or of the leases.
func (w *world) about(s event.Scope) []string {
	var out []string
	for _, e := range w.logs.All() {
		m := e.ContextMap()
		if m["scope"] == s.String() || m["region"] == s.Region && m["account_id"] == s.AccountID && e.Level > zap.InfoLevel || e.Level == zap.ErrorLevel && m["scope"] == nil {
			out = append(out, fmt.Sprint(e.Time.Format(time.TimeOnly), " ", e.Message, " ", m["wait"], " ", m["error"]))
		}
	}
	return out[max(0, len(out)-30):]
}

// Invariant 5, and 1 with it: replicas die, hang, come and go, under a workload with faults. Every Scope has one holder, soon
// again, and no write of one that lost its lease has an effect on what only holders may write.
func TestReplicasShareTheScopes(t *testing.T) {
	t.Parallel()
	seed := seedOf(t)
	synctest.Test(t, func(t *testing.T) {
		w := organization(t, seed, 10)
		w.cloud.SetFaults("", faults)
		working, stopWork := context.WithCancel(t.Context())
		worked := make(chan error, 1)
		go func() { worked <- w.cloud.Live(working, fakeaws.Traffic{Creates: 0.02, Writes: 0.02}) }()

		a, plugA := w.replica("a")
		b, plugB := w.replica("b")
		c, _ := w.replica("c")
		time.Sleep(2 * time.Minute)
		w.shares(a, b, c)

		plugA.pulled.Store(true) // a dies: nobody hears of it any more
		a.cancel()
		<-a.done
		time.Sleep(2*testLease + 10*time.Second)
		w.shares(b, c)

		plugB.pulled.Store(true) // b hangs for three leases and comes back
		time.Sleep(3 * testLease)
		w.shares(c)
		plugB.pulled.Store(false)
		d, _ := w.replica("d")
		time.Sleep(2 * time.Minute)
		w.shares(b, c, d)

		c.cancel() // c is asked to end, and hands over what the faults let it
		<-c.done
		time.Sleep(testLease + 10*time.Second)
		w.shares(b, d)

		stopWork()
		if err := <-worked; err != nil {
			t.Fatal(err)
		}
		time.Sleep(45 * time.Minute)
		w.cloud.Heal()
		b.stop()
		d.stop()
		w.audit()
		w.holdersAlone("b", "d")
	})
}

// holdersAlone fails the test if a state was saved or released by a replica that did not own it at that moment, by the table's
// own word; or if one that has ended is still taken for alive.
func (w *world) holdersAlone(ended ...string) {
	w.t.Helper()
	type state struct{ owner, version string }
	states, saves := map[string]state{}, 0
	for _, write := range w.cloud.TableWrites(w.cloud.Scope(), "autotagd") {
		if write.Sort != checkpoint.StatePart || write.Refused {
			continue
		}
		was, is := states[write.Hash], state{write.Attributes["owner"], write.Attributes["version"]}
		states[write.Hash] = is
		writer := strings.TrimPrefix(write.AccessKey, "AKIA")
		switch {
		case is.version != was.version:
			if saves++; was.owner != writer || is.owner != writer {
				w.t.Errorf("%s: %s saved what %q owns", write.Hash, writer, was.owner)
			}
		case is.owner == "":
			if was.owner != "" && was.owner != writer {
				w.t.Errorf("%s: %s released what %s owns", write.Hash, writer, was.owner)
			}
		case is.owner != writer:
			w.t.Errorf("%s: %s made %s the owner", write.Hash, writer, is.owner)
		}
	}
	if saves == 0 {
		w.t.Error("no state was ever written")
	}
	for _, item := range w.cloud.TableItems(w.cloud.Scope(), "autotagd") {
		for _, name := range ended {
			if text := fmt.Sprint(item["part"]); strings.Contains(text, " "+name+"}") {
				w.t.Errorf("the lease of %s, which was asked to end, is still there", name)
			}
		}
	}
}

// Who is asked to end hands over at once: nobody waits for the end of a lease.
func TestHandOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := organization(t, 1, 5)
		a, _ := w.replica("a")
		b, _ := w.replica("b")
		time.Sleep(time.Minute)
		w.shares(a, b)
		w.leases(a, b)
		a.stop()
		time.Sleep(testLease/3 + 2*time.Second)
		w.shares(b)
		w.leases(b)
		b.stop()
	})
}

// What a replica claims before others can see its lease they would take at once.
func TestNothingIsClaimedBeforeABeat(t *testing.T) {
	t.Parallel()
	for _, once := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := organization(t, 1, 2)
			w.cloud.Fail("UpdateItem", 2, fakeaws.ServerError)
			r, _ := w.replica("a", func(o *Options) { o.Once = once })
			if once {
				if err := <-r.done; err != nil {
					t.Error(err)
				}
			} else {
				time.Sleep(5 * time.Second)
				w.shares(r)
				r.stop()
			}
			writes := w.cloud.TableWrites(w.cloud.Scope(), "autotagd")
			if len(writes) == 0 || writes[0].Hash != "#replica" {
				t.Errorf("the first of %d writes is %v, want a beat", len(writes), writes[:min(1, len(writes))])
			}
		})
	}
}

// A process that stands still for longer than its lease stops everything first when it goes on.
func TestAReplicaThatStoodStill(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := organization(t, 1, 2)
		a, plugA := w.replica("a")
		time.Sleep(time.Minute)
		w.shares(a)
		plugA.pulled.Store(true)
		time.Sleep(testLease + 11*time.Second)
		if held := a.daemon.fleet.all(); len(held) != 0 {
			t.Errorf("%d Scopes are held though no beat was answered for a lease", len(held))
		}
		plugA.pulled.Store(false)
		time.Sleep(time.Minute)
		w.shares(a)
		a.stop()
	})
}

// What leases cost while nothing changes, each replica: docs/dynamodb.md says it.
func TestALeaseCosts360BeatsAnHour(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := organization(t, 1, 3)
		a, _ := w.replica("a")
		b, _ := w.replica("b")
		time.Sleep(10 * time.Minute)
		count := func() map[string]int {
			n := map[string]int{}
			for _, op := range []string{"Query", "BatchGetItem", "DeleteItem"} {
				n[op] = len(w.cloud.Calls(op))
			}
			for _, write := range w.cloud.TableWrites(w.cloud.Scope(), "autotagd") {
				if write.Hash == "#replica" {
					n["beats"]++
					n["units"] += write.Units()
				}
			}
			return n
		}
		before := count()
		time.Sleep(time.Hour)
		after := count()
		w.shares(a, b)
		a.stop()
		b.stop()
		for what, want := range map[string]int{"beats": 2 * 360, "units": 2 * 360, "Query": 2 * 360, "BatchGetItem": 0, "DeleteItem": 0} {
			if got := after[what] - before[what]; got > want+2 || got < want*9/10 {
				t.Errorf("%s: %d in an hour of two replicas, want %d", what, got, want)
			}
		}
	})
}
