package checkpoint

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/autotagd/autotagd/pkg/event"
)

var (
	here  = event.Scope{AccountID: "123456789012", Region: "eu-west-1"}
	start = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
)

func sec(n int) time.Time { return start.Add(time.Duration(n) * time.Second) }

// What is accepted is, byte for byte, what this release writes.
func FuzzUnframe(f *testing.F) {
	f.Add(frame(here, StatePart, 42, []byte("{}\n")))
	f.Add(frame(here, StatePart, 0, nil))
	f.Add([]byte("autotagd checkpoint 2 123456789012/eu-west-1 state 0 0 sha256:00\n"))
	f.Add([]byte("autotagd checkpoint  \n"))
	f.Fuzz(func(t *testing.T, file []byte) {
		version, data, err := unframe(here, StatePart, "p", file)
		var damaged *DamagedError
		var newer *NewerError
		switch {
		case err == nil && !bytes.Equal(frame(here, StatePart, version, data), file):
			t.Errorf("accepted a file that it would write otherwise")
		case err != nil && !errors.As(err, &damaged) && !errors.As(err, &newer):
			t.Errorf("error of another kind: %v", err)
		}
	})
}

// Whatever the content of a state, opening it gives a Ledger or one of the two errors.
func FuzzState(f *testing.F) {
	f.Add([]byte(`{"format":1,"scope":{"account_id":"123456789012","region":"eu-west-1"},"marks":{"floor":"2026-11-22T12:00:00Z","watermark":"2026-11-22T12:30:00Z","backlog":[{"start":"2026-11-22T11:00:00Z","end":"2026-11-22T10:00:00Z","names":["B","A"]}],"cursor":{"name":"A"}},"denials":[{"action":"x"}]}`))
	f.Add([]byte(`{"format":2}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, state []byte) {
		store := NewMemory()
		if _, err := store.Swap(t.Context(), here, "", state); err != nil {
			t.Fatal(err)
		}
		l, err := Open(t.Context(), store, here, Options{})
		var damaged *DamagedError
		var newer *NewerError
		if err != nil {
			if !errors.As(err, &damaged) && !errors.As(err, &newer) {
				t.Errorf("error of another kind: %v", err)
			}
			return
		}
		m := l.Marks()
		l.AddBacklog(event.Span{Start: m.Floor.Add(-time.Hour), End: m.Floor})
		if err := l.Save(t.Context()); err != nil {
			t.Fatal(err)
		}
		if l, err = Open(t.Context(), store, here, Options{}); err != nil {
			t.Fatalf("saved, and can't be loaded: %v", err)
		}
		if !l.Marks().Floor.Equal(m.Floor) {
			t.Errorf("the Floor was %v and is %v", m.Floor, l.Marks().Floor)
		}
	})
}

// The dumb model of both marks: a list of every event begun, and of whether it is settled.
func TestMarksAgainstAModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var floor Floor
		var mark Watermark
		floor.put(sec(0))
		mark.put(sec(0))
		open := map[int]int{} // events not settled, by second
		floorRead, markRead := 0, 0
		oldest := func() (at time.Time) {
			for s, n := range open {
				if n > 0 && (at.IsZero() || sec(s).Before(at)) {
					at = sec(s)
				}
			}
			return at
		}
		t.Repeat(map[string]func(*rapid.T){
			"begin":  func(t *rapid.T) { open[rapid.IntRange(floorRead, floorRead+50).Draw(t, "at")]++ },
			"settle": func(t *rapid.T) { s := rapid.IntRange(0, floorRead+50).Draw(t, "at"); open[s] = max(0, open[s]-1) },
			"floor read": func(t *rapid.T) {
				end := rapid.IntRange(0, floorRead+30).Draw(t, "end")
				floorRead = max(floorRead, end)
				floor.Read(sec(end).Add(time.Duration(rapid.IntRange(0, 999).Draw(t, "ms")) * time.Millisecond))
			},
			"head read": func(t *rapid.T) {
				end := rapid.IntRange(0, floorRead+60).Draw(t, "end")
				markRead = max(markRead, end)
				mark.Read(sec(end))
			},
			"": func(t *rapid.T) {
				was, wasMark := floor.Time(), mark.Time()
				floor.Advance(oldest())
				mark.Advance(oldest())
				wantFloor, wantMark := sec(floorRead), sec(markRead) // as far as was read, but not past what is open
				if o := oldest(); !o.IsZero() && o.Before(wantFloor) {
					wantFloor = o
				}
				if o := oldest(); !o.IsZero() && !o.After(wantMark) {
					wantMark = o.Add(-time.Second)
				}
				if wantFloor.Before(was) { // or where it stood
					wantFloor = was
				}
				if wantMark.Before(wasMark) {
					wantMark = wasMark
				}
				if !floor.Time().Equal(wantFloor) || !mark.Time().Equal(wantMark) {
					t.Fatalf("Floor %v, Watermark %v; want %v, %v", floor.Time(), mark.Time(), wantFloor, wantMark)
				}
			},
		})
	})
}

// Joining spans may ask for more, never for less, and never for a ninth.
func TestJoinSpansLosesNothing(t *testing.T) {
	names := rapid.SliceOfN(rapid.SampledFrom([]string{"A", "B", "C"}), 0, 3)
	rapid.Check(t, func(t *rapid.T) {
		var spans []event.Span
		for range rapid.IntRange(0, 20).Draw(t, "spans") {
			from := rapid.IntRange(0, 200).Draw(t, "start")
			spans = append(spans, event.Span{Start: sec(from), End: sec(from + rapid.IntRange(0, 30).Draw(t, "length")), Names: names.Draw(t, "names")})
		}
		joined := joinSpans(spans)
		if len(joined) > maxSpans {
			t.Fatalf("%d spans", len(joined))
		}
		if !slices.IsSortedFunc(joined, func(a, b event.Span) int { return a.Start.Compare(b.Start) }) {
			t.Fatalf("not in order: %v", joined)
		}
		for _, s := range spans {
			if !slices.ContainsFunc(joined, func(j event.Span) bool {
				if j.Start.After(s.Start) || j.End.Before(s.End) {
					return false
				}
				if j.Names == nil || len(s.Names) == 0 {
					return j.Names == nil
				}
				return !slices.ContainsFunc(s.Names, func(n string) bool { return !slices.Contains(j.Names, n) })
			}) {
				t.Fatalf("%v is lost in %v", s, joined)
			}
		}
	})
}

// What /proc/locks says of a file's lock.
func TestLockHolder(t *testing.T) {
	const table = `1: POSIX  ADVISORY  READ 10 08:01:77 128 128
2: FLOCK  ADVISORY  WRITE 20 08:01:77 0 EOF
2: -> FLOCK  ADVISORY  WRITE 30 08:01:77 0 EOF
3: FLOCK  ADVISORY  WRITE 40 00:2f:78 0 EOF
4: FLOCK  ADVISORY  WRITE 0 08:01:79 0 EOF
5: FLOCK
`
	const device = 8<<8 | 1
	for _, c := range []struct {
		name          string
		device, inode uint64
		last, want    int
	}{
		{"held", device, 77, 20, 20},
		{"held by another than wrote its pid, in a container", device, 77, 1, 20},
		{"another device, the holder's pid", device, 78, 40, 40},
		{"another device, another pid", device, 78, 1, 0},
		{"a holder that can't be seen", device, 79, 1, 0},
		{"not held", device, 80, 20, 0},
		{"another inode that ends so", device, 7, 20, 0},
	} {
		if got := lockHolder(table, c.device, c.inode, c.last); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

// hiding is a disk whose listings pass by the state, as one may that is replaced meanwhile.
type hiding struct{ osDisk }

func (h hiding) ReadDir(dir string) ([]string, error) {
	names, err := h.osDisk.ReadDir(dir)
	return slices.DeleteFunc(names, func(name string) bool { return name == StatePart }), err
}

// Who looks beside the holder takes no Scope for one that was never saved.
func TestReadOnlyFindsAStateThatIsBeingReplaced(t *testing.T) {
	dir := t.TempDir()
	scope := event.Scope{AccountID: "123456789012", Region: "eu-west-1"}
	s, err := OpenFileStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Swap(t.Context(), scope, "", []byte("{}")); err != nil {
		t.Fatal(err)
	}
	looking := NewFileStore(hiding{}, dir)
	looking.readOnly = true
	if l, err := looking.Load(t.Context(), scope); err != nil || l.Version == "" {
		t.Errorf("Load = %+v, %v", l, err)
	}
}
