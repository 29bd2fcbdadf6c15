package checkpoint_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/autotagd/autotagd/internal/fakeaws"
	"github.com/autotagd/autotagd/pkg/checkpoint"
	"github.com/autotagd/autotagd/pkg/checkpoint/storetest"
	"github.com/autotagd/autotagd/pkg/event"
)

// A grabber is a replica that takes what it can get, whoever has it, and saves until it is told that it has lost it. What it
// believes is in held.
type grabber struct {
	t     *testing.T
	name  string
	store *checkpoint.DynamoDBStore
	rng   *rand.Rand
	held  map[event.Scope]checkpoint.Version
	saved map[checkpoint.Version]bool // confirmed
	taken int                         // claims confirmed
}

func (g *grabber) run(scopes []event.Scope, steps int) {
	for n := range steps {
		time.Sleep(time.Duration(g.rng.IntN(40)) * time.Millisecond)
		s := scopes[g.rng.IntN(len(scopes))]
		v, held := g.held[s]
		switch {
		case !held:
			g.claim(s)
		case g.rng.IntN(8) == 0:
			delete(g.held, s)
			_ = g.store.Release(g.t.Context(), s) // when it is lost another takes the Scope all the same
		default:
			g.save(s, v, fmt.Sprint(g.name, " ", n))
		}
	}
}

func (g *grabber) claim(s event.Scope) {
	owners, err := g.store.Owners(g.t.Context(), []event.Scope{s})
	if err != nil {
		return
	}
	time.Sleep(time.Duration(g.rng.IntN(20)) * time.Millisecond)
	switch err := g.store.Claim(g.t.Context(), s, owners[s]); {
	case err == nil:
		g.taken++
		g.load(s, owners[s].Version)
	case errors.Is(err, checkpoint.ErrTaken), owners[s].Replica == g.name:
	case errors.Is(err, checkpoint.ErrFenced):
		g.t.Errorf("Claim: %v", err)
	}
}

func (g *grabber) save(s event.Scope, v checkpoint.Version, state string) {
	next, err := g.store.Swap(g.t.Context(), s, v, []byte(state))
	switch {
	case err == nil:
		g.held[s], g.saved[next] = next, true
	case errors.Is(err, checkpoint.ErrFenced):
		delete(g.held, s)
	default:
		g.load(s, v)
	}
}

// load goes on with what is stored if it is what was there before or this replica's own, as a Ledger does.
func (g *grabber) load(s event.Scope, before checkpoint.Version) {
	delete(g.held, s)
	for range 10 {
		l, err := g.store.Load(g.t.Context(), s)
		if err != nil {
			continue
		}
		if l.Version == before || strings.HasPrefix(string(l.State), g.name+" ") {
			g.held[s] = l.Version
		}
		return
	}
}

// Invariant 5: one holder a Scope; whatever is lost, late or refused, no state is written over one that its writer has not
// seen, nor by one that is not the owner.
func TestNobodyWritesWhatAnotherOwns(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	synctest.Test(t, func(t *testing.T) {
		f := fakeaws.New(fakeaws.Config{Seed: seed})
		table := checkpoint.Table{Name: "autotagd", Region: tableRegion, Calls: served(aws.Config{HTTPClient: f.HTTPClient()}).calls(&storetest.Answers{})}
		if err := table.Create(t.Context()); err != nil {
			t.Fatal(err)
		}
		f.SetFaults("", fakeaws.Faults{Throttle: 0.03, ServerError: 0.03, Reset: 0.03, LostAnswer: 0.06, Slow: 0.02})
		scopes := []event.Scope{{AccountID: "123456789012", Region: "eu-west-1"}, {AccountID: "123456789012", Region: "us-east-1"}}
		var all []*grabber
		var wg sync.WaitGroup
		for i := range 4 {
			g := &grabber{
				t: t, name: fmt.Sprint("replica", i), rng: rand.New(rand.NewPCG(seed, uint64(i))),
				held: map[event.Scope]checkpoint.Version{}, saved: map[checkpoint.Version]bool{},
			}
			d := served(aws.Config{HTTPClient: f.HTTPClient()})
			d.config.Credentials = credentials.NewStaticCredentialsProvider(g.name, "secret", "")
			g.store = checkpoint.NewDynamoDBStore(checkpoint.Table{Name: "autotagd", Region: tableRegion, Calls: d.calls(&storetest.Answers{})}, g.name)
			all = append(all, g)
			wg.Go(func() { g.run(scopes, 300) })
		}
		wg.Wait()
		stored := map[checkpoint.Version]bool{}
		for _, s := range scopes {
			follow(t, s, f.TableWrites(f.Scope(), "autotagd"), stored)
		}
		saves, taken := 0, 0
		for _, g := range all {
			saves, taken = saves+len(g.saved), taken+g.taken
			for v := range g.saved {
				if !stored[v] {
					t.Errorf("%s was told that %s is saved, and it is not", g.name, v)
				}
			}
		}
		t.Logf("%d saves and %d claims confirmed, %d states stored", saves, taken, len(stored))
		if saves < 50 || taken < 50 {
			t.Errorf("%d saves and %d claims: too few to tell anything", saves, taken)
		}
	})
}

// follow checks what was written to one Scope's state, in order.
func follow(t *testing.T, s event.Scope, writes []fakeaws.TableWrite, stored map[checkpoint.Version]bool) {
	t.Helper()
	owner, version := "", 0
	for _, w := range writes {
		if w.Hash != s.String() || w.Sort != checkpoint.StatePart || w.Refused {
			continue
		}
		now := w.Attributes["owner"]
		count := 0
		if n := w.Attributes["version"]; n != "" {
			var err error
			if count, err = strconv.Atoi(n); err != nil {
				t.Fatal(err)
			}
		}
		switch {
		case count != version:
			if owner != w.AccessKey || now != owner || count != version+1 {
				t.Errorf("%v: %s wrote state %d after %d; the owner was %q, is %q", s, w.AccessKey, count, version, owner, now)
			}
			stored[checkpoint.Version(fmt.Sprint(count, "-", w.Attributes["attempt"]))] = true
		case now == "":
			if owner != w.AccessKey {
				t.Errorf("%v: %s released what %q has", s, w.AccessKey, owner)
			}
		case now != w.AccessKey:
			t.Errorf("%v: %s made %s the owner", s, w.AccessKey, now)
		}
		owner, version = now, count
	}
}
