package poller

import (
	"maps"
	"slices"
	"time"
)

// names are the event names that readings by name ask for. The reader owns it.
type names struct {
	catalog map[string]bool // read only: pages in flight look into it
	common  []string
	sorted  []string // the catalog's and the spellings seen
	added   map[string]bool
}

// mostSpellings bounds what a Scope's records can add.
const mostSpellings = 500

func newNames(catalog, common []string) names {
	n := names{catalog: make(map[string]bool, len(catalog)), sorted: slices.Clone(catalog), added: map[string]bool{}}
	slices.Sort(n.sorted)
	n.sorted = slices.Compact(n.sorted)
	for _, name := range n.sorted {
		n.catalog[name] = true
	}
	for _, name := range common {
		if n.catalog[name] {
			n.common = append(n.common, name)
		}
	}
	return n
}

// all returns every name, sorted. The slice stays as it is.
func (n *names) all() []string { return n.sorted }

func (n *names) count() int { return len(n.sorted) }

// add takes in a spelling; false when it is known, or when there are too many.
func (n *names) add(name string) bool {
	if n.catalog[name] || n.added[name] || len(n.added) >= mostSpellings {
		return false
	}
	n.added[name] = true
	i, _ := slices.BinarySearch(n.sorted, name)
	n.sorted = slices.Insert(slices.Clone(n.sorted), i, name)
	return true
}

// spellings returns what was added, sorted.
func (n *names) spellings() []string { return slices.Sorted(maps.Keys(n.added)) }

// lively returns the names that a head scan reads, sorted: the commonest, and those seen of late.
func (n *names) lively(seen map[string]time.Time, now time.Time) []string {
	out := slices.Clone(n.common)
	for name, t := range seen {
		if now.Sub(t) < livelyFor && (n.catalog[name] || n.added[name]) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
