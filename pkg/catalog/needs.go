package catalog

import (
	"iter"
	"slices"
	"strings"

	"github.com/autotagd/autotagd/pkg/event"
	"github.com/autotagd/autotagd/pkg/resource"
	"github.com/autotagd/autotagd/pkg/tagapi"
)

// Need is what it takes to tag what one event makes: a policy is made of these.
type Need struct {
	EventSource, EventName string
	Services               []string // as in Row
	ResourceType           string
	TagAPI                 resource.TagAPI
	Calls                  []*tagapi.Call // the services' own that may tag it, in TagAPI's place or instead
	IAMAction              string         // for the call, several joined by "+"
	ARNService             string         // the service part of the resource's ARN; "" where the table doesn't say
	// Of the event as a whole, whichever of its rows says it: see Result.
	Upsert bool
	Expand []resource.Expand
}

// Needs goes through every row of every event, in no order.
func (c *Catalog) Needs() iter.Seq[Need] {
	return func(yield func(Need) bool) {
		for key, rows := range c.byEvent {
			upsert, expand := false, []resource.Expand(nil)
			for _, row := range rows {
				if u, err := row.rules(); err == nil {
					upsert = upsert || u.upsert
					if u.expand != resource.ExpandNone {
						expand = append(expand, u.expand)
					}
				}
			}
			for _, row := range rows {
				u, err := row.rules()
				if err != nil {
					continue // Load refuses such a row
				}
				if !yield(Need{
					EventSource: key.source, EventName: key.name, Services: row.Services, ResourceType: row.ResourceType,
					TagAPI: u.tagAPI(u.mayHaveARN()), Calls: c.callsOf(row, u), IAMAction: row.IAMAction, ARNService: u.template.service(),
					Upsert: upsert, Expand: expand,
				}) {
					return
				}
			}
		}
	}
}

func (c *Catalog) callsOf(row *Row, u *rules) []*tagapi.Call {
	var calls []*tagapi.Call
	for _, call := range u.calls {
		for _, service := range row.Services {
			if made := c.calls.Lookup(service, string(call.api)); made != nil {
				calls = append(calls, made)
			}
		}
	}
	return calls
}

// mayHaveARN reports whether a record can give an ARN: at the row's path, by its template, or in place of the id.
func (u *rules) mayHaveARN() bool {
	return !u.arn.IsZero() || u.template.text != "" || slices.ContainsFunc(u.ids, func(id idPath) bool {
		return strings.HasSuffix(strings.ToLower(id.path.String()), "arn")
	})
}

// service returns the service part of the template, where it is one service's.
func (t arnTemplate) service() string {
	a, err := event.ParseARN(t.text)
	if err != nil || !isName(a.Service, "-") {
		return ""
	}
	return a.Service
}
