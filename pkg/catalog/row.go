package catalog

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"

	"github.com/autotagd/autotagd/pkg/event"
	"github.com/autotagd/autotagd/pkg/resource"
)

// Row says what one event makes. Several rows may share an event: of those without the option "also" the first whose
// condition holds is taken, of the others each whose condition holds.
type Row struct {
	Services     []string // the SDK's name of the service; several where their records can't be told apart
	EventSources []string // every spelling
	EventNames   []string // every spelling
	ResourceType string   // CloudFormation type, else prefix:type
	IAMAction    string   // for the tag call; several are joined by "+"
	Confidence   resource.Confidence
	Common       int    // rank among the commonest create events, from 1; 0 for the others
	Note         string // for people
	Line         int    // in its table, from 1

	cells cells // those that are only needed for an event of the row
	once  sync.Once
	read  rules
	err   error // what is wrong with cells
}

// cells are columns of the table as they are written there.
type cells struct{ arn, id, template, tagAPIs, tags, options string }

// rules are a Row's cells, parsed. That happens when the first event of the row comes, or else a start would take longer
// than most processes need them.
type rules struct {
	operation string // the first of the Row's names
	ec2       bool
	arn       event.Path
	tags      event.Path
	ids       []idPath
	template  arnTemplate
	calls     []tagCall
	// account is where EC2's response says whose the resource is ("The ID of the Amazon Web Services account that owns the ...",
	// in every model that has an OwnerId beside the id). In a subnet that is shared it need not be the record's account.
	account event.Path
	many    bool // its resources stand in a list, which a call that succeeded may leave empty
	options
}

// options are a Row's rare properties.
type options struct {
	when   []condition // all must hold, or the row is passed over
	upsert bool        // the call may not have made the resource...
	onlyIf []condition // ...if all of these hold; none: always
	also   bool        // made besides what another row of the event names; there may be none
	except event.Path  // ids that the call was given and did not make
	expand resource.Expand
	region event.Path // of the resource, where it may differ from the record's
}

// idPath is where an id, or a part of the ARN, stands in the record.
type idPath struct {
	name     string // as in the template; "id" when it is the only one
	path     event.Path
	fallback string // used when the record has none; "" is none
}

// condition is about a path: that there is something, or nothing, or that it is, or isn't, a certain text.
type condition struct {
	path   event.Path
	negate bool
	value  string // "" compares nothing
}

func (k condition) holds(r *event.Record) bool {
	values := r.Lookup(k.path)
	if k.value == "" {
		return (len(values) > 0) != k.negate
	}
	return slices.Contains(values, k.value) != k.negate
}

func allHold(conditions []condition, r *event.Record) bool {
	for _, k := range conditions {
		if !k.holds(r) {
			return false
		}
	}
	return true
}

// OfService reports whether the row belongs to one of the services.
func (row *Row) OfService(services []string) bool {
	return slices.ContainsFunc(row.Services, func(s string) bool { return slices.Contains(services, s) })
}

// told reports whether the event only tells of what the event of a call made. It leaves the other cells unread.
func (row *Row) told() bool { return slices.Contains(strings.Fields(row.cells.options), "told") }

func (row *Row) keys() iter.Seq[eventKey] {
	return func(yield func(eventKey) bool) {
		for _, source := range row.EventSources {
			for _, name := range row.EventNames {
				if !yield(eventKey{source, name}) {
					return
				}
			}
		}
	}
}

// rules returns the row's cells, parsed. A row of a Catalog has no malformed ones.
func (row *Row) rules() (*rules, error) {
	row.once.Do(func() {
		row.read.operation = row.EventNames[0]
		row.read.ec2 = slices.Contains(row.EventSources, "ec2.amazonaws.com")
		row.err = row.read.parse(row.cells)
		if row.IAMAction == "" && len(row.read.calls) > 0 && row.read.calls[0].api != resource.NoTagAPI {
			row.err = errors.Join(row.err, fmt.Errorf("no iam_action for %s; want the permission that it needs, as service:Action", row.read.calls[0].api))
		}
	})
	return &row.read, row.err
}
