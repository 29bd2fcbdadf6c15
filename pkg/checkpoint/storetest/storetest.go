// Package storetest holds what every checkpoint.Store and all Leases must do, as tests that any implementation runs, and a
// simulated Disk that forgets what was not synced.
package storetest

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/autotagd/autotagd/pkg/checkpoint"
	"github.com/autotagd/autotagd/pkg/event"
)

// The names of parts as a Ledger makes them.
const (
	seenA = "seen#20261122T2336Z"
	seenB = "seen#20261122T2337Z"
	jobA  = "job#00112233445566778899aabbccddeeff#ffeeddccbbaa99887766554433221100"
)

// The Scopes of all tests, and a Floor.
var (
	here  = event.Scope{AccountID: "123456789012", Region: "eu-west-1"}
	there = event.Scope{AccountID: "123456789012", Region: "us-east-1"}
	floor = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
)

// RunStoreTests runs the conformance suite. open returns the store under test over the same content each time it is
// called within one test, as a new process would open it, and empty for each new test. A store that has Leases is the owner of
// a Scope before it swaps.
func RunStoreTests(t *testing.T, open func(t *testing.T) func() checkpoint.Store) {
	tests := []struct {
		name string
		run  func(t *testing.T, reopen func() checkpoint.Store)
	}{
		{"a Scope never saved has no version and no error", func(t *testing.T, reopen func() checkpoint.Store) {
			l := load(t, reopen(), here)
			if l.Version != "" || l.State != nil || len(l.Parts) != 0 {
				t.Errorf("Load = %+v, want nothing", l)
			}
		}},
		{"what is written is read again by another process", func(t *testing.T, reopen func() checkpoint.Store) {
			s := reopen()
			put(t, s, here, seenA, "0123456789abcdef")
			put(t, s, here, jobA, "{}")
			v := swap(t, s, here, "", "one")
			for _, s := range []checkpoint.Store{s, reopen()} {
				l := load(t, s, here)
				if string(l.State) != "one" || l.Version != v {
					t.Errorf("state = %q at %q, want one at %q", l.State, l.Version, v)
				}
				want := map[string]string{seenA: "0123456789abcdef", jobA: "{}"}
				if diff := cmp.Diff(want, parts(l)); diff != "" {
					t.Errorf("parts (-want +got):\n%s", diff)
				}
			}
		}},
		{"parts without a state are kept", func(t *testing.T, reopen func() checkpoint.Store) {
			put(t, reopen(), here, jobA, "{}")
			l := load(t, reopen(), here)
			if l.Version != "" || len(l.Parts) != 1 {
				t.Errorf("Load = %+v, want no version and one part", l)
			}
		}},
		{"Put replaces a part whole", func(t *testing.T, reopen func() checkpoint.Store) {
			s := reopen()
			put(t, s, here, seenA, strings.Repeat("x", 4096))
			put(t, s, here, seenA, "short")
			if got := parts(load(t, reopen(), here))[seenA]; got != "short" {
				t.Errorf("part = %q", got)
			}
		}},
		{"Put takes any bytes, none, and many parts", func(t *testing.T, reopen func() checkpoint.Store) {
			all := make([]byte, 0, 70000)
			for i := range cap(all) {
				all = append(all, byte(i))
			}
			want := []checkpoint.Part{{Name: jobA, Data: nil}, {Name: seenA, Data: all}, {Name: seenB, Data: []byte("\n\n")}}
			if err := reopen().Put(t.Context(), here, want); err != nil {
				t.Fatal(err)
			}
			got := parts(load(t, reopen(), here))
			for _, p := range want {
				if got[p.Name] != string(p.Data) {
					t.Errorf("%s: %d bytes, want %d", p.Name, len(got[p.Name]), len(p.Data))
				}
			}
		}},
		{"more parts than go into a batch, and more bytes than into a page", func(t *testing.T, reopen func() checkpoint.Store) {
			s := reopen()
			want := map[string]string{}
			var all []checkpoint.Part
			var names []string
			for n := range 30 {
				data := strings.Repeat(fmt.Sprintf("%02d", n), 20_000) // together 1.2 MB
				name := fmt.Sprintf("job#%032x#%032x", n, n)
				all = append(all, checkpoint.Part{Name: name, Data: []byte(data)})
				names, want[name] = append(names, name), data
			}
			swap(t, s, here, "", "one")
			if err := s.Put(t.Context(), here, all); err != nil {
				t.Fatal(err)
			}
			if l := load(t, reopen(), here); string(l.State) != "one" || !maps.Equal(parts(l), want) {
				t.Errorf("state %q with %d parts, want one with the %d that were put", l.State, len(l.Parts), len(want))
			}
			if err := s.Delete(t.Context(), here, names[1:]); err != nil {
				t.Fatal(err)
			}
			if got := parts(load(t, reopen(), here)); len(got) != 1 || got[names[0]] != want[names[0]] {
				t.Errorf("%d parts after all but one were deleted", len(got))
			}
		}},
		{"Swap is conditional on the version", func(t *testing.T, reopen func() checkpoint.Store) {
			s := reopen()
			v1 := swap(t, s, here, "", "one")
			v2 := swap(t, s, here, v1, "two")
			if v1 == v2 || v1 == "" || v2 == "" {
				t.Errorf("versions %q and %q, want two different ones", v1, v2)
			}
			for _, stale := range []checkpoint.Version{"", v1, "7"} {
				if _, err := s.Swap(t.Context(), here, stale, []byte("no")); !errors.Is(err, checkpoint.ErrFenced) {
					t.Errorf("Swap on %q: %v, want ErrFenced", stale, err)
				}
			}
			if l := load(t, reopen(), here); string(l.State) != "two" || l.Version != v2 {
				t.Errorf("state = %q at %q after fenced writes", l.State, l.Version)
			}
			if _, err := s.Swap(t.Context(), there, v2, []byte("no")); !errors.Is(err, checkpoint.ErrFenced) {
				t.Errorf("Swap of a Scope never saved: %v, want ErrFenced", err)
			}
		}},
		{"the same state twice has two versions", func(t *testing.T, reopen func() checkpoint.Store) {
			s := reopen()
			v1 := swap(t, s, here, "", "same")
			if v2 := swap(t, s, here, v1, "same"); v1 == v2 {
				t.Error("one version for two writes")
			}
		}},
		{"Delete removes parts, also those that are not there", func(t *testing.T, reopen func() checkpoint.Store) {
			s := reopen()
			put(t, s, here, seenA, "a")
			put(t, s, here, seenB, "b")
			swap(t, s, here, "", "one")
			for range 2 {
				if err := s.Delete(t.Context(), here, []string{seenA, jobA}); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.Delete(t.Context(), there, []string{seenA}); err != nil {
				t.Error(err)
			}
			if diff := cmp.Diff(map[string]string{seenB: "b"}, parts(load(t, reopen(), here))); diff != "" {
				t.Errorf("parts (-want +got):\n%s", diff)
			}
		}},
		{"Scopes are apart", func(t *testing.T, reopen func() checkpoint.Store) {
			s := reopen()
			put(t, s, here, seenA, "here")
			swap(t, s, here, "", "here")
			swap(t, s, there, "", "there")
			if l := load(t, reopen(), there); string(l.State) != "there" || len(l.Parts) != 0 {
				t.Errorf("Load = %+v", l)
			}
		}},
		{"Locate tells parts and Scopes apart", func(t *testing.T, reopen func() checkpoint.Store) {
			s := reopen()
			names := []string{s.Locate(here, checkpoint.StatePart), s.Locate(here, seenA), s.Locate(there, seenA)}
			slices.Sort(names)
			if len(slices.Compact(names)) != 3 {
				t.Errorf("Locate gives %q", names)
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { tt.run(t, open(t)) })
	}
}

func load(t *testing.T, s checkpoint.Store, scope event.Scope) checkpoint.Loaded {
	t.Helper()
	l, err := s.Load(t.Context(), scope)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func put(t *testing.T, s checkpoint.Store, scope event.Scope, name, data string) {
	t.Helper()
	if err := s.Put(t.Context(), scope, []checkpoint.Part{{Name: name, Data: []byte(data)}}); err != nil {
		t.Fatal(err)
	}
}

// swap claims the Scope first, where that must be.
func swap(t *testing.T, s checkpoint.Store, scope event.Scope, old checkpoint.Version, state string) checkpoint.Version {
	t.Helper()
	if leases, ok := s.(checkpoint.Leases); ok {
		seen, err := leases.Owners(t.Context(), []event.Scope{scope})
		if err != nil {
			t.Fatal(err)
		}
		if err := leases.Claim(t.Context(), scope, seen[scope]); err != nil {
			t.Fatal(err)
		}
	}
	v, err := s.Swap(t.Context(), scope, old, []byte(state))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func parts(l checkpoint.Loaded) map[string]string {
	m := map[string]string{}
	for _, p := range l.Parts {
		m[p.Name] = string(p.Data)
	}
	return m
}
