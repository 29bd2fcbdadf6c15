package daemon

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/autotagd/autotagd/pkg/checkpoint"
)

func TestRota(t *testing.T) {
	began := time.Now()
	at := func(d time.Duration) time.Time { return began.Add(d) }
	const lease = 30 * time.Second
	r := newRota("b", lease)
	r.saw(map[string]int64{"a": 1, "b": 1, "old": 7}, at(0))
	if got := r.share(10, at(0)); got != 3 { // a: 4, b: 3, old: 3
		t.Errorf("share %d while one may be alive, want 3", got)
	}
	r.saw(map[string]int64{"a": 2, "b": 2, "old": 7}, at(29*time.Second))
	if r.free("old", at(29*time.Second)) {
		t.Error("taken over within the lease")
	}
	now := at(30 * time.Second)
	if got := r.alive(now); fmt.Sprint(got) != "[a b]" || !r.free("old", now) || r.free("a", now) || !r.free("b", now) || !r.free("", now) {
		t.Errorf("alive %v", got)
	}
	if got := r.share(11, now); got != 5 {
		t.Errorf("share %d of 11, want 5", got)
	}
	// A counter that begins again is a beat like any other: only whether it changes counts.
	r.saw(map[string]int64{"a": 1, "b": 3, "old": 7}, at(50*time.Second))
	if got := r.alive(at(70 * time.Second)); fmt.Sprint(got) != "[a b]" {
		t.Errorf("alive %v", got)
	}
	// We are alive whatever our own item says, and others go when theirs does.
	r.saw(map[string]int64{"b": 3}, at(5*time.Minute))
	if got := r.share(11, at(5*time.Minute)); got != 11 {
		t.Errorf("share %d alone, want all 11", got)
	}
}

// The shares of all replicas add up to all Scopes, and none is more than one above another.
func TestSharesAddUp(t *testing.T) {
	now := time.Now()
	for replicas := 1; replicas <= 9; replicas++ {
		counters := map[string]int64{}
		for i := range replicas {
			counters[fmt.Sprint("replica-", i)] = int64(i)
		}
		for _, scopes := range []int{0, 1, 5, 60, 1700} {
			sum, least, most := 0, scopes, 0
			for id := range counters {
				r := newRota(id, time.Minute)
				r.saw(counters, now)
				n := r.share(scopes, now)
				sum, least, most = sum+n, min(least, n), max(most, n)
			}
			if sum != scopes || most-least > 1 {
				t.Errorf("%d Scopes, %d replicas: shares from %d to %d, %d in all", scopes, replicas, least, most, sum)
			}
		}
	}
}

func TestTheDeadAreForgottenLater(t *testing.T) {
	began := time.Now()
	r := newRota("b", time.Second)
	r.saw(map[string]int64{"a": 1}, began)
	for after, want := range map[time.Duration]int{time.Second: 0, 9 * time.Second: 0, 10 * time.Second: 1} {
		if got := r.dead(began.Add(after)); len(got) != want {
			t.Errorf("after %v: dead %v", after, got)
		}
	}
}

// A counter that changes while the leases are read is dated no earlier than its change: its replica counts from there.
func TestACounterThatChangesDuringARead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRota("b", testLease)
		began := time.Now()
		beat := 3 * time.Second // after the read began, and before its answer
		c := &crew{Daemon: &Daemon{}, rota: r, leases: slowLeases{counters: map[string]int64{"a": 7, "b": 1}, takes: beat + time.Second}}
		c.beaten.Store(&began)
		c.look(t.Context(), time.Now())
		time.Sleep(time.Until(began.Add(beat + testLease - time.Millisecond)))
		if r.free("a", time.Now()) {
			t.Error("its Scopes are free before its lease has ended")
		}
		time.Sleep(2 * time.Second)
		if !r.free("a", time.Now()) {
			t.Error("its Scopes are not free after its lease has ended")
		}
	})
}

// slowLeases answers late who is at work.
type slowLeases struct {
	checkpoint.Leases
	counters map[string]int64
	takes    time.Duration
}

func (s slowLeases) Replicas(context.Context) (map[string]int64, error) {
	time.Sleep(s.takes)
	return s.counters, nil
}
