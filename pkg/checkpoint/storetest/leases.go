package storetest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/autotagd/autotagd/pkg/checkpoint"
	"github.com/autotagd/autotagd/pkg/event"
)

// Replica is a Store with Leases, as one of several processes has it.
type Replica interface {
	checkpoint.Store
	checkpoint.Leases
}

// ErrNoAnswer is the error of a call that lost its answer.
var ErrNoAnswer = errors.New("injected: no answer")

// Answers decide what becomes of the calls that a Replica makes, by their names: "UpdateItem". The zero value lets all pass.
type Answers struct {
	mu    sync.Mutex // guards faults
	calls map[string][]Fault
}

// Fail makes the next call fail: Lost on its way, or Kept and only its answer lost.
func (a *Answers) Fail(call string, f Fault) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.calls == nil {
		a.calls = map[string][]Fault{}
	}
	a.calls[call] = append(a.calls[call], f)
}

// Take returns what is to become of a call.
func (a *Answers) Take(call string) Fault {
	a.mu.Lock()
	defer a.mu.Unlock()
	faults := a.calls[call]
	if len(faults) == 0 {
		return None
	}
	a.calls[call] = faults[1:]
	return faults[0]
}

// replicas are those of one test, over one content.
type replicas struct {
	*testing.T
	open func(replica string, answers *Answers) Replica
}

func (r replicas) replica(name string) (Replica, *Answers) {
	a := &Answers{}
	return r.open(name, a), a
}

func (r replicas) two() (Replica, Replica) {
	a, _ := r.replica("a")
	b, _ := r.replica("b")
	return a, b
}

type leaseTest struct {
	name string
	run  func(t replicas)
}

// RunLeaseTests runs the conformance suite of Leases and of a Store that has them. open returns what opens a replica, over the
// same content within one test, and over none at first; its calls are to go the way that its Answers say.
func RunLeaseTests(t *testing.T, open func(t *testing.T) func(replica string, answers *Answers) Replica) {
	tests := []leaseTest{
		{"a Scope never saved has no owner", func(t replicas) {
			a, _ := t.replica("a")
			wantOwners(t, a, map[event.Scope]checkpoint.Owner{here: {}, there: {}})
		}},
		{"no Scopes have no owners", func(t replicas) {
			a, _ := t.replica("a")
			wantOwners(t, a, map[event.Scope]checkpoint.Owner{})
		}},
		{"a claim on a Scope never saved is no saved State", func(t replicas) {
			a, b := t.two()
			claim(t, a, here, checkpoint.Owner{})
			wantOwners(t, b, map[event.Scope]checkpoint.Owner{here: {Replica: "a"}, there: {}})
			if l := load(t.T, b, here); l.Version != "" || l.State != nil || len(l.Parts) != 0 {
				t.Errorf("Load = %+v, want nothing", l)
			}
			if l, err := checkpoint.Open(t.Context(), a, here, checkpoint.Options{}); err != nil || !l.Fresh() {
				t.Errorf("a Ledger on it: %v, want a fresh one", err)
			}
			wantFenced(t, b, here, "")
			v := mustSwap(t, a, here, "", "one")
			wantOwners(t, b, map[event.Scope]checkpoint.Owner{here: {Replica: "a", Version: v}})
		}},
		{"nobody writes a state without a claim", func(t replicas) {
			a, _ := t.replica("a")
			wantFenced(t, a, here, "")
			claim(t, a, here, checkpoint.Owner{})
			v := mustSwap(t, a, here, "", "one")
			release(t, a, here)
			wantFenced(t, a, here, v)
		}},
		{"a claim holds only for what was seen", func(t replicas) {
			a, b := t.two()
			claim(t, a, here, checkpoint.Owner{})
			v1 := mustSwap(t, a, here, "", "one")
			v2 := mustSwap(t, a, here, v1, "two")
			for _, stale := range []checkpoint.Owner{
				{}, {Replica: "a"}, {Version: v2}, {Replica: "a", Version: v1}, {Replica: "b", Version: v2}, {Replica: "a", Version: "7"},
			} {
				wantTaken(t, b, here, stale)
			}
			wantTaken(t, b, there, checkpoint.Owner{Replica: "a", Version: v2})
			wantOwners(t, b, map[event.Scope]checkpoint.Owner{here: {Replica: "a", Version: v2}, there: {}})
			claim(t, b, here, checkpoint.Owner{Replica: "a", Version: v2})
			claim(t, b, here, checkpoint.Owner{Replica: "b", Version: v2}) // again
			if l := load(t.T, a, here); l.Version != v2 || string(l.State) != "two" {
				t.Errorf("state = %q at %q after a claim, want two at %q", l.State, l.Version, v2)
			}
		}},
		{"a holder that was taken over writes nothing", func(t replicas) {
			a, b := t.two()
			claim(t, a, here, checkpoint.Owner{})
			v := mustSwap(t, a, here, "", "a's")
			claim(t, b, here, checkpoint.Owner{Replica: "a", Version: v})
			wantFenced(t, a, here, v)
			release(t, a, here) // not its own any more
			wantOwners(t, a, map[event.Scope]checkpoint.Owner{here: {Replica: "b", Version: v}})
			v = mustSwap(t, b, here, v, "b's")
			wantFenced(t, a, here, v)
			// Parts it may write, to nobody's harm.
			put(t.T, a, here, seenA, "0123456789abcdef")
			if l := load(t.T, b, here); string(l.State) != "b's" || l.Version != v || len(l.Parts) != 1 {
				t.Errorf("Load = %+v", l)
			}
		}},
		{"of several claimers one wins", func(t replicas) {
			all := make([]Replica, 4)
			for i := range all {
				all[i], _ = t.replica(fmt.Sprint("replica", i))
			}
			for round := range 8 {
				s := event.Scope{AccountID: here.AccountID, Region: fmt.Sprint("xx-race-", round)}
				if round%2 == 1 { // taken from a dead one, with a state
					dead, _ := t.replica("dead")
					claim(t, dead, s, checkpoint.Owner{})
					mustSwap(t, dead, s, "", "one")
				}
				seen := owners(t, all[0], s)[s]
				if winner := raceFor(t, all, s, seen); owners(t, all[0], s)[s].Replica != fmt.Sprint("replica", winner) {
					t.Errorf("replica %d has won, and the owner is %+v", winner, owners(t, all[0], s)[s])
				}
			}
		}},
		{"release leaves no owner and keeps the state", func(t replicas) {
			a, b := t.two()
			release(t, a, here) // never saved
			claim(t, a, here, checkpoint.Owner{})
			release(t, a, here)
			wantOwners(t, b, map[event.Scope]checkpoint.Owner{here: {}})
			claim(t, b, here, checkpoint.Owner{})
			v := mustSwap(t, b, here, "", "one")
			release(t, b, here)
			release(t, b, here)
			wantOwners(t, a, map[event.Scope]checkpoint.Owner{here: {Version: v}})
			claim(t, a, here, checkpoint.Owner{Version: v})
			mustSwap(t, a, here, v, "two")
		}},
		{"every beat changes the counter of one replica", func(t replicas) {
			a, b := t.two()
			wantReplicas(t, a)
			beat(t, a)
			beat(t, b)
			wantReplicas(t, a, "a", "b")
			before := counters(t, b)
			beat(t, a)
			after := counters(t, b)
			if after["a"] == before["a"] || after["b"] != before["b"] {
				t.Errorf("counters %v, then %v; want a's alone changed", before, after)
			}
			again, _ := t.replica("a")
			beat(t, again)
			if now := counters(t, b); now["a"] == after["a"] {
				t.Errorf("counters %v, then %v; want a's changed", after, now)
			}
		}},
		{"who is forgotten comes back with a beat", func(t replicas) {
			a, b := t.two()
			beat(t, a)
			beat(t, b)
			for range 2 {
				if err := a.Forget(t.Context(), "b"); err != nil {
					t.Fatal(err)
				}
				wantReplicas(t, a, "a")
			}
			beat(t, b)
			wantReplicas(t, a, "a", "b")
		}},
		{"more Scopes and replicas than go into a page", func(t replicas) {
			want := map[event.Scope]checkpoint.Owner{}
			for n := range 230 {
				want[event.Scope{AccountID: fmt.Sprintf("%012d", n), Region: "eu-west-1"}] = checkpoint.Owner{}
			}
			a, _ := t.replica("a")
			for n := range 5 {
				s := event.Scope{AccountID: fmt.Sprintf("%012d", n*50), Region: "eu-west-1"}
				claim(t, a, s, checkpoint.Owner{})
				want[s] = checkpoint.Owner{Replica: "a", Version: mustSwap(t, a, s, "", "one")}
			}
			wantOwners(t, a, want)
			if got := owners(t, a, here, here); len(got) != 1 {
				t.Errorf("Owners of a Scope named twice = %v", got)
			}
		}},
		{"what is no Scope is refused", func(t replicas) {
			a, _ := t.replica("a")
			for _, s := range []event.Scope{{}, {AccountID: "#replica"}, {AccountID: "123456789012", Region: "../x"}} {
				_, err := a.Owners(t.Context(), []event.Scope{s})
				for _, err := range []error{err, a.Claim(t.Context(), s, checkpoint.Owner{}), a.Release(t.Context(), s)} {
					if err == nil {
						t.Errorf("%+v was taken for a Scope", s)
					}
				}
			}
		}},
	}
	for _, tt := range append(tests, lostAnswers()...) {
		t.Run(tt.name, func(t *testing.T) { tt.run(replicas{t, open(t)}) })
	}
}

// raceFor has all claim at once. It returns the one that did; others were told that it is taken.
func raceFor(t replicas, all []Replica, s event.Scope, seen checkpoint.Owner) int {
	t.Helper()
	var wg sync.WaitGroup
	start, errs := make(chan struct{}), make([]error, len(all))
	for i, r := range all {
		wg.Go(func() {
			<-start
			errs[i] = r.Claim(t.Context(), s, seen)
		})
	}
	close(start)
	wg.Wait()
	winner := -1
	for i, err := range errs {
		switch {
		case err == nil && winner >= 0:
			t.Errorf("%v: %d and %d have both won", s, winner, i)
		case err == nil:
			winner = i
		case !errors.Is(err, checkpoint.ErrTaken):
			t.Errorf("Claim: %v, want ErrTaken", err)
		}
	}
	if winner < 0 {
		t.Fatalf("%v: nobody has won: %v", s, errs)
	}
	return winner
}

func claim(t replicas, r Replica, s event.Scope, seen checkpoint.Owner) {
	t.Helper()
	if err := r.Claim(t.Context(), s, seen); err != nil {
		t.Fatalf("Claim with %+v: %v", seen, err)
	}
}

func wantTaken(t replicas, r Replica, s event.Scope, seen checkpoint.Owner) {
	t.Helper()
	if err := r.Claim(t.Context(), s, seen); !errors.Is(err, checkpoint.ErrTaken) {
		t.Errorf("Claim with %+v: %v, want ErrTaken", seen, err)
	}
}

func release(t replicas, r Replica, s event.Scope) {
	t.Helper()
	if err := r.Release(t.Context(), s); err != nil {
		t.Fatal(err)
	}
}

// mustSwap is a Swap by one that has claimed the Scope.
func mustSwap(t replicas, r Replica, s event.Scope, old checkpoint.Version, state string) checkpoint.Version {
	t.Helper()
	v, err := r.Swap(t.Context(), s, old, []byte(state))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func wantFenced(t replicas, r Replica, s event.Scope, old checkpoint.Version) {
	t.Helper()
	if _, err := r.Swap(t.Context(), s, old, []byte("no")); !errors.Is(err, checkpoint.ErrFenced) {
		t.Errorf("Swap on %q: %v, want ErrFenced", old, err)
	}
}

func owners(t replicas, r Replica, scopes ...event.Scope) map[event.Scope]checkpoint.Owner {
	t.Helper()
	got, err := r.Owners(t.Context(), scopes)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func wantOwners(t replicas, r Replica, want map[event.Scope]checkpoint.Owner) {
	t.Helper()
	var scopes []event.Scope
	for s := range want {
		scopes = append(scopes, s)
	}
	if diff := cmp.Diff(want, owners(t, r, scopes...)); diff != "" {
		t.Errorf("owners (-want +got):\n%s", diff)
	}
}

func beat(t replicas, r Replica) {
	t.Helper()
	if err := r.Beat(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func counters(t replicas, r Replica) map[string]int64 {
	t.Helper()
	got, err := r.Replicas(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func wantReplicas(t replicas, r Replica, want ...string) {
	t.Helper()
	var got []string
	for name := range counters(t, r) {
		got = append(got, name)
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("replicas %q, want %q", got, want)
	}
}
