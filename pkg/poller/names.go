package poller

import (
	"maps"
	"slices"
	"time"
)

// names are the event names that readings by name ask for. The reader owns it.
type names struct {
	catalog sortedNames // read only: pages in flight look into it, and other Scopes' share it
	common  []string
	sorted  []string // the catalog's and the spellings seen
	added   map[string]bool
}

// mostSpellings bounds what a Scope's records can add.
const mostSpellings = 500

// sortedNames has none twice. There are thousands: a map of them for each of 1,700 Scopes would take 200 MB.
type sortedNames []string

func (s sortedNames) has(name string) bool {
	_, found := slices.BinarySearch(s, name)
	return found
}

// ascending reports whether names is sorted and has none twice.
func ascending(names []string) bool {
	for i := 1; i < len(names); i++ {
		if names[i-1] >= names[i] {
			return false
		}
	}
	return true
}

// newNames keeps catalog itself if it is sorted and has none twice.
func newNames(catalog, common []string) names {
	if !ascending(catalog) {
		catalog = slices.Compact(slices.Sorted(slices.Values(catalog)))
	}
	n := names{catalog: catalog, sorted: catalog, added: map[string]bool{}}
	for _, name := range common {
		if n.catalog.has(name) {
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
	if n.catalog.has(name) || n.added[name] || len(n.added) >= mostSpellings {
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
		if now.Sub(t) < livelyFor && (n.catalog.has(name) || n.added[name]) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
