package daemon

import (
	"maps"
	"slices"
	"time"
)

// rota decides how many Scopes this replica holds, and whose are free. Every replica decides alike from the same lease items, so
// that there is no leader. It does nothing by itself: it is told what was seen, and when that was on our own clock. Clocks of
// different hosts are never compared: what counts is whether a counter stood still here for as long as a lease lasts.
type rota struct {
	me    string
	lease time.Duration
	seen  map[string]beat // by replica
}

// beat is a replica's counter as last seen to change.
type beat struct {
	counter int64
	changed time.Time
}

func newRota(me string, lease time.Duration) *rota {
	return &rota{me: me, lease: lease, seen: map[string]beat{}}
}

// saw notes the counters of the lease items, all that there are. One that was not seen before counts as alive for a lease.
func (r *rota) saw(counters map[string]int64, now time.Time) {
	for id, n := range counters {
		if old, ok := r.seen[id]; !ok || old.counter != n {
			r.seen[id] = beat{n, now}
		}
	}
	maps.DeleteFunc(r.seen, func(id string, _ beat) bool { _, there := counters[id]; return !there })
}

// alive returns the replicas at work, sorted, this one among them.
func (r *rota) alive(now time.Time) []string {
	ids := []string{r.me}
	for id, b := range r.seen {
		if id != r.me && now.Sub(b.changed) < r.lease {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// dead returns the replicas whose lease items are of no use any more: their counters stood still for ten leases.
func (r *rota) dead(now time.Time) []string {
	var ids []string
	for id, b := range r.seen {
		if id != r.me && now.Sub(b.changed) >= 10*r.lease {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// share is how many of so many Scopes this replica is to hold. The shares of all add up to all Scopes: the first ones, by
// name, hold one more where that leaves a rest.
func (r *rota) share(scopes int, now time.Time) int {
	ids := r.alive(now)
	n := scopes / len(ids)
	if slices.Index(ids, r.me) < scopes%len(ids) {
		n++
	}
	return n
}

// free reports whether nobody at work holds what owner is written on. What names us without our holding it was ours in an
// earlier life, if anybody's.
func (r *rota) free(owner string, now time.Time) bool {
	return owner == "" || owner == r.me || !slices.Contains(r.alive(now), owner)
}
