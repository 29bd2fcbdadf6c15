// Package catalog knows which calls create what: which event makes taggable resources, where its record names them, and
// which API tags them.
//
// Its knowledge is a table, catalog.tsv, that a person can read and extend; the head of the file explains it. Code is for
// what holds of every row, or of all rows of EC2. A record is data from strangers: nothing in one makes Resolve panic or
// take more than time and memory in proportion to it.
//
// Invariants: every row of the embedded table is well-formed (a test reads it); Known allocates nothing, because it is
// asked about every event of an account; a Catalog never changes once it is loaded, so that any goroutine may use it.
package catalog

import (
	_ "embed"
	"io"
	"slices"
	"strings"

	"github.com/autotagd/autotagd/pkg/resource"
	"github.com/autotagd/autotagd/pkg/tagapi"
)

//go:embed catalog.tsv
var table string

//go:generate ../../test/moto/.venv/bin/python untaggable.py
//go:embed untaggable.tsv
var untaggable string

// Catalog is the table, ready for look-ups.
type Catalog struct {
	rows    []*Row
	byEvent map[eventKey][]*Row // in the order of the table
	// untaggable are the create-like calls that AWS's models have and that make nothing that takes tags.
	untaggable map[eventKey]struct{}
	calls      *tagapi.Table
}

// eventKey is how CloudTrail tells calls apart.
type eventKey struct{ source, name string }

// Load reads the embedded table and then extra ones, in the same form. The rows of an extra table replace all earlier rows
// of the same event. The error is an Errors with every mistake of every extra table, with its line. Beside it the Catalog has
// what could be read: it is for finding further mistakes only. A mistake in the embedded table gives no Catalog.
func Load(extra ...io.Reader) (*Catalog, error) {
	rows, bad := parseTable("catalog.tsv", table, nil)
	if len(bad) > 0 {
		return nil, bad
	}
	c := &Catalog{byEvent: make(map[eventKey][]*Row, 2*len(rows)), calls: tagapi.New()}
	c.add(rows)
	for i, r := range extra {
		more, mistakes := readTable(i, r, c.calls)
		bad = append(bad, mistakes...)
		c.replace(more)
	}
	c.untaggable = parseUntaggable(untaggable)
	if len(bad) > 0 {
		return c, bad
	}
	return c, nil
}

func (c *Catalog) add(rows []*Row) {
	for _, row := range rows {
		c.rows = append(c.rows, row)
		for key := range row.keys() {
			c.byEvent[key] = append(c.byEvent[key], row)
		}
	}
}

// replace forgets what is known of the events in rows before it adds them.
func (c *Catalog) replace(rows []*Row) {
	for _, row := range rows {
		for key := range row.keys() {
			delete(c.byEvent, key)
		}
	}
	c.add(rows)
	c.rows = slices.DeleteFunc(c.rows, func(row *Row) bool {
		for key := range row.keys() {
			if slices.Contains(c.byEvent[key], row) {
				return false
			}
		}
		return true
	})
}

// lookup returns the rows of an event, also of one whose name ends in the date of an API version that the table lacks.
func (c *Catalog) lookup(source, name string) []*Row {
	if rows := c.byEvent[eventKey{source, name}]; rows != nil {
		return rows
	}
	if bare := Undated(name); bare != name {
		return c.byEvent[eventKey{source, bare}]
	}
	return nil
}

// Known reports whether a successful call of this name is a create event. It allocates nothing.
func (c *Catalog) Known(source, name string) bool { return len(c.lookup(source, name)) > 0 }

// KnownOf reports whether a successful call of this name is a create event of one of services, or of any if there are none
// given. It allocates nothing.
func (c *Catalog) KnownOf(services []string, source, name string) bool {
	rows := c.lookup(source, name)
	if len(services) == 0 {
		return len(rows) > 0
	}
	for _, row := range rows {
		if row.OfService(services) {
			return true
		}
	}
	return false
}

// Undated returns name without the date of an API version at its end: CreateFunction for CreateFunction20150331v2,
// CreateDistribution for CreateDistribution2020_05_31. A name without one is returned as it is.
func Undated(name string) string {
	end := len(name)
	i := end
	for i > 0 && isDigit(name[i-1]) {
		i--
	}
	if i < end && i > 0 && name[i-1] == 'v' { // ...v2
		end = i - 1
	}
	for _, digits := range [...]int{2, 2, 4} { // day, month, year
		if end < digits {
			return name
		}
		for range digits {
			if end--; !isDigit(name[end]) {
				return name
			}
		}
		if end > 0 && name[end-1] == '_' {
			end--
		}
	}
	if end == 0 {
		return name
	}
	return name[:end]
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// Calls returns the services' own tag calls, which rows name.
func (c *Catalog) Calls() *tagapi.Table { return c.calls }

// Names returns every spelling of every event name of these services, or of all services if there are none given; sorted,
// none twice. They are what LookupEvents is asked for when an account is read by name.
func (c *Catalog) Names(services []string) []string {
	var names []string
	for _, row := range c.rows {
		if (len(services) == 0 || row.OfService(services)) && !row.told() {
			names = append(names, row.EventNames...)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Common returns the names of the n commonest create events, commonest first. The table ranks 60.
func (c *Catalog) Common(n int) []string {
	var ranked []*Row
	for _, row := range c.rows {
		if row.Common > 0 {
			ranked = append(ranked, row)
		}
	}
	slices.SortStableFunc(ranked, func(a, b *Row) int { return a.Common - b.Common })
	var names []string
	for _, row := range ranked {
		if name := row.EventNames[0]; len(names) < n && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// Services returns the services of the table, sorted: what `services` in the configuration may name.
func (c *Catalog) Services() []string {
	var services []string
	for _, row := range c.rows {
		services = append(services, row.Services...)
	}
	slices.Sort(services)
	return slices.Compact(services)
}

// Pair is one create event, as `autotagd catalog` shows it.
type Pair struct {
	EventSource  string              `json:"event_source"`
	EventName    string              `json:"event_name"`
	Service      string              `json:"service"`
	ResourceType string              `json:"resource_type"`
	TagAPI       resource.TagAPI     `json:"tag_api"`
	IAMAction    string              `json:"iam_action"`
	Confidence   resource.Confidence `json:"confidence"`
}

// Pairs returns every pair of event source and event name once, sorted. Where an event belongs to several rows it shows
// the first.
func (c *Catalog) Pairs() []Pair {
	pairs := make([]Pair, 0, len(c.byEvent))
	for key, rows := range c.byEvent {
		row := rows[0]
		u, err := row.rules()
		if err != nil || row.told() { // Load refuses a row with a mistake
			continue
		}
		pairs = append(pairs, Pair{key.source, key.name, row.Services[0], row.ResourceType, u.tagAPI(u.mayHaveARN()), row.IAMAction, row.Confidence})
	}
	slices.SortFunc(pairs, func(a, b Pair) int {
		if a.EventSource != b.EventSource {
			return strings.Compare(a.EventSource, b.EventSource)
		}
		return strings.Compare(a.EventName, b.EventName)
	})
	return pairs
}

// Uncataloged reports whether a call looks as if it created something, while neither the table nor AWS's models of this
// release have it: a call newer than this release, most likely.
func (c *Catalog) Uncataloged(source, name string) bool {
	if made(name) == "" || c.Known(source, name) {
		return false
	}
	_, known := c.untaggable[eventKey{source, Undated(name)}]
	return !known
}

// made returns what the call makes by its name, which is what follows a verb that all but always makes something; "" for other
// names. Put and Start are left out: most of those calls change or run what is there.
func made(name string) string {
	for _, verb := range [...]string{
		"Allocate", "Clone", "Copy", "Create", "Import", "Launch", "Provision", "Purchase", "Register", "Replicate", "Request", "Restore", "Run",
	} {
		if rest, ok := strings.CutPrefix(name, verb); ok && rest != "" && !('a' <= rest[0] && rest[0] <= 'z') {
			return rest
		}
	}
	return ""
}

// parseUntaggable reads lines of event sources, joined by "|", a tab, and names with spaces between.
func parseUntaggable(s string) map[eventKey]struct{} {
	known := make(map[eventKey]struct{}, 4096)
	for line := range strings.Lines(s) {
		sources, names, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		if !ok || strings.HasPrefix(line, "#") {
			continue
		}
		for source := range strings.SplitSeq(sources, "|") {
			for name := range strings.SplitSeq(names, " ") {
				known[eventKey{source, name}] = struct{}{}
			}
		}
	}
	return known
}
