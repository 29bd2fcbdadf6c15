package checkpoint_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/autotagd/autotagd/internal/fakeaws"
	"github.com/autotagd/autotagd/pkg/event"
)

// What an hour costs of a Scope with twenty creates a second, which CloudTrail shows minutes late: docs/dynamodb.md says it.
func TestWhatABusyHourCosts(t *testing.T) {
	if os.Getenv("AUTOTAGD_SLOW") == "" {
		t.Skip("with the race detector it takes half a minute: AUTOTAGD_SLOW=1 runs it, as make check does")
	}
	synctest.Test(t, func(t *testing.T) {
		const round, perRound, rounds = 15, 20 * 15, 3600 / 15
		f, table := slowly(fakeaws.Config{})
		if err := table.Create(t.Context()); err != nil {
			t.Fatal(err)
		}
		l := started(t, replica(t, table, "a"))
		rng := rand.New(rand.NewPCG(1, 1))
		shown := map[int][]int{} // times of events, by the round that shows them
		events := 0
		before := 0
		for n := range 2 * rounds { // the first hour is until the Floor moves as it will
			if n == rounds {
				before = len(f.TableWrites(f.Scope(), table.Name))
			}
			for range perRound {
				delay := min(150*math.Exp(0.6*rng.NormFloat64()-0.18), 900) // the fake's
				r := n + 1 + int(delay)/round
				shown[r] = append(shown[r], n*round+rng.IntN(round))
			}
			for _, seconds := range shown[n] {
				events++
				id := fmt.Sprint("event-", events)
				begin(t, l, event.Live, id, seconds, event.New)
				l.Done(id)
			}
			delete(shown, n)
			l.HeadRead(at(n * round))
			if n%20 == 0 {
				l.FloorRead(at(n*round - 1800))
			}
			if l.Due(time.Now()) {
				save(t, l)
			}
			time.Sleep(round * time.Second)
		}
		writes, units := f.TableWrites(f.Scope(), table.Name)[before:], 0
		for _, w := range writes {
			units += w.Units()
		}
		t.Logf("%d writes and %d write units an hour", len(writes), units)
		if len(writes) > 3000 || units > 42_000 {
			t.Errorf("%d writes and %d write units an hour, the documentation says 2,900 and 40,000", len(writes), units)
		}
	})
}
