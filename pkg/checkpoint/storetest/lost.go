package storetest

import (
	"errors"

	"github.com/autotagd/autotagd/pkg/checkpoint"
	"github.com/autotagd/autotagd/pkg/event"
)

// lostAnswers are the tests of writes that fail in both ways.
func lostAnswers() []leaseTest {
	var tests []leaseTest
	for _, fault := range []Fault{Lost, Kept} {
		kept, word := fault == Kept, map[Fault]string{Lost: "that was lost", Kept: "whose answer was lost"}[fault]
		add := func(name string, run func(t replicas)) {
			tests = append(tests, leaseTest{name + " " + word, run})
		}
		add("a Swap", func(t replicas) {
			a, answers := t.replica("a")
			claim(t, a, here, checkpoint.Owner{})
			old := mustSwap(t, a, here, "", "one")
			answers.Fail("UpdateItem", fault)
			if _, err := a.Swap(t.Context(), here, old, []byte("two")); !errors.Is(err, ErrNoAnswer) || errors.Is(err, checkpoint.ErrFenced) {
				t.Fatalf("Swap: %v, want %v", err, ErrNoAnswer)
			}
			l := load(t.T, a, here)
			if (l.Version != old) != kept || (string(l.State) == "two") != kept {
				t.Errorf("state = %q at %q, was at %q; the write happened: %v", l.State, l.Version, old, kept)
			}
			mustSwap(t, a, here, l.Version, "three")
		})
		add("a Ledger's save", func(t replicas) {
			a, answers := t.replica("a")
			b, _ := t.replica("b")
			claim(t, a, here, checkpoint.Owner{})
			l := ledger(t, a)
			answers.Fail("UpdateItem", fault)
			if err := l.Save(t.Context()); !errors.Is(err, ErrNoAnswer) {
				t.Fatalf("Save: %v, want %v", err, ErrNoAnswer)
			}
			if err := l.Save(t.Context()); err != nil {
				t.Fatalf("the save after: %v", err)
			}
			claim(t, b, here, owners(t, b, here)[here])
			l.AddBacklog(event.Span{Start: floor.AddDate(0, 0, -2), End: floor.AddDate(0, 0, -1)})
			for range 2 {
				if err := l.Save(t.Context()); !errors.Is(err, checkpoint.ErrFenced) {
					t.Errorf("Save after another's claim: %v, want ErrFenced", err)
				}
			}
		})
		add("a Ledger's save, then taken over,", func(t replicas) {
			a, answers := t.replica("a")
			b, _ := t.replica("b")
			claim(t, a, here, checkpoint.Owner{})
			l := ledger(t, a)
			answers.Fail("UpdateItem", fault)
			if err := l.Save(t.Context()); !errors.Is(err, ErrNoAnswer) {
				t.Fatalf("Save: %v, want %v", err, ErrNoAnswer)
			}
			claim(t, b, here, owners(t, b, here)[here])
			if err := l.Save(t.Context()); !errors.Is(err, checkpoint.ErrFenced) {
				t.Errorf("Save after another's claim: %v, want ErrFenced", err)
			}
		})
		add("a claim", func(t replicas) {
			a, answers := t.replica("a")
			answers.Fail("UpdateItem", fault)
			if err := a.Claim(t.Context(), here, checkpoint.Owner{}); !errors.Is(err, ErrNoAnswer) || errors.Is(err, checkpoint.ErrTaken) {
				t.Fatalf("Claim: %v, want %v", err, ErrNoAnswer)
			}
			seen := owners(t, a, here)[here]
			if (seen.Replica == "a") != kept {
				t.Errorf("owner = %q; the claim happened: %v", seen.Replica, kept)
			}
			claim(t, a, here, seen)
			mustSwap(t, a, here, "", "one")
		})
		add("a release", func(t replicas) {
			a, answers := t.replica("a")
			b, _ := t.replica("b")
			claim(t, a, here, checkpoint.Owner{})
			answers.Fail("UpdateItem", fault)
			if err := a.Release(t.Context(), here); !errors.Is(err, ErrNoAnswer) {
				t.Fatalf("Release: %v, want %v", err, ErrNoAnswer)
			}
			if kept {
				claim(t, b, here, checkpoint.Owner{})
			}
			release(t, a, here)
			want := map[bool]string{true: "b", false: ""}[kept]
			wantOwners(t, a, map[event.Scope]checkpoint.Owner{here: {Replica: want}})
		})
		add("a beat", func(t replicas) {
			a, answers := t.replica("a")
			beat(t, a)
			before := counters(t, a)["a"]
			answers.Fail("UpdateItem", fault)
			if err := a.Beat(t.Context()); !errors.Is(err, ErrNoAnswer) {
				t.Fatalf("Beat: %v, want %v", err, ErrNoAnswer)
			}
			if after := counters(t, a)["a"]; (after != before) != kept {
				t.Errorf("counter %d, then %d; the beat happened: %v", before, after, kept)
			}
		})
		add("a Put and a Delete", func(t replicas) {
			a, answers := t.replica("a")
			answers.Fail("BatchWriteItem", fault)
			parts := []checkpoint.Part{{Name: seenA, Data: []byte("a")}}
			if err := a.Put(t.Context(), here, parts); !errors.Is(err, ErrNoAnswer) {
				t.Fatalf("Put: %v, want %v", err, ErrNoAnswer)
			}
			put(t.T, a, here, seenA, "b")
			answers.Fail("BatchWriteItem", fault)
			if err := a.Delete(t.Context(), here, []string{seenA}); !errors.Is(err, ErrNoAnswer) {
				t.Fatalf("Delete: %v, want %v", err, ErrNoAnswer)
			}
			if n := len(load(t.T, a, here).Parts); (n == 0) != kept {
				t.Errorf("%d parts; the delete happened: %v", n, kept)
			}
		})
	}
	return tests
}

// ledger returns one with something to save.
func ledger(t replicas, s checkpoint.Store) *checkpoint.Ledger {
	t.Helper()
	l, err := checkpoint.Open(t.Context(), s, here, checkpoint.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Reset(event.Marks{Floor: floor}); err != nil {
		t.Fatal(err)
	}
	return l
}
