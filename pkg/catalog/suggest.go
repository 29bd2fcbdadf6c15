package catalog

import (
	"bytes"
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/autotagd/autotagd/pkg/event"
)

// Bounds of what Suggest looks at: a record may be as deep and as wide as whoever made it likes.
const (
	maxSuggestDepth = 6
	maxSuggestNodes = 10_000
	maxCell         = 300
)

// Suggest returns a row for an event that the table lacks, guessed from one record of it: for a person to begin from. It is
// well-formed, of plain ASCII with tabs, and has less than 3 KB, whatever the record holds. It returns "" where the event's
// name or source is no name that a row can have, or says nothing of what was made.
func (c *Catalog) Suggest(r *event.Record) string {
	name := Undated(r.EventName)
	thing := made(name)
	service, _, _ := strings.Cut(r.EventSource, ".")
	if thing == "" || !isName(name, "_") || !isName(r.EventSource, "-.") || !isService(service) {
		return ""
	}
	s := suggestion{
		ec2: r.EventSource == "ec2.amazonaws.com", event: r.EventName, thing: strings.ToLower(thing[:1]) + thing[1:], prefix: service,
		given: make(map[string]bool), service: service, tagAPIs: "tagging:TagResources(ResourceARNList)", action: service + ":TagResource",
	}
	sibling := c.sibling(r.EventSource)
	if sibling != nil {
		s.service, s.tagAPIs, s.action = strings.Join(sibling.Services, "|"), sibling.cells.tagAPIs, sibling.IAMAction
		if prefix, _, ok := strings.Cut(s.action, ":"); ok {
			s.prefix = prefix
		}
	}
	request := decode(r.RequestParameters)
	walkStrings(request, func(v string) {
		if strings.HasPrefix(v, "arn:") {
			s.given[v] = true
		}
	})
	s.walk("responseElements", "responseElements", "", decode(r.ResponseElements), 0)
	s.walk("requestParameters", "requestParameters", "", request, 0)
	arn, id, template := s.arn.path, s.id.path, ""
	if s.arn.path != "" && sibling == nil { // the prefix of ARNs is that of actions
		s.prefix = s.arn.service
		s.tagAPIs, s.action = "tagging:TagResources(ResourceARNList)", s.prefix+":TagResource"
	}
	if arn == "" && id != "" {
		template = "arn:{partition}:" + s.prefix + ":{region}:{account}:" + s.kind() + "/{id}"
	}
	return strings.Join([]string{
		s.service, r.EventSource, name, s.prefix + ":" + s.thing, arn, id, template, s.tagAPIs, s.action, s.tags, "guess", "", "", "",
	}, "\t")
}

// sibling returns a row of the source whose calls most of its rows have, or nil.
func (c *Catalog) sibling(source string) *Row {
	count := make(map[[2]string]int)
	var best *Row
	for _, row := range c.rows {
		if !slices.Contains(row.EventSources, source) || row.IAMAction == "" || len(row.cells.tagAPIs) > maxCell || len(row.IAMAction) > maxCell || len(row.Services) > 3 {
			continue
		}
		key := [2]string{row.cells.tagAPIs, row.IAMAction}
		count[key]++
		if best == nil || count[key] > count[[2]string{best.cells.tagAPIs, best.IAMAction}] {
			best = row
		}
	}
	return best
}

// suggestion is a row in the making.
type suggestion struct {
	ec2             bool
	event           string // its name
	thing           string // what was made, as in type: vectorBucket
	prefix          string // of the service in ARNs and types
	service         string
	tagAPIs, action string
	arn, id         candidate
	tags            string
	given           map[string]bool // ARNs of the request
	nodes           int             // looked at
}

// candidate is a path, and how well it fits: less is better.
type candidate struct {
	path    string
	rank    int
	service string // of the ARN there
}

// worseThan reports whether other fits better; of equals it is the one with the shorter path, which is found less deep.
func (c candidate) worseThan(other candidate) bool {
	return c.path == "" || cmp.Or(cmp.Compare(other.rank, c.rank), cmp.Compare(len(other.path), len(c.path)), cmp.Compare(other.path, c.path)) < 0
}

// decode returns nil for what is no JSON.
func decode(raw json.RawMessage) any {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil {
		return nil
	}
	return v
}

// walk visits v, which is called key, is at path and in an object called parent.
func (s *suggestion) walk(path, key, parent string, v any, depth int) {
	if s.nodes++; s.nodes > maxSuggestNodes || depth > maxSuggestDepth || len(path) > maxCell {
		return
	}
	switch v := v.(type) {
	case map[string]any:
		s.isTags(path, key)
		for _, name := range slices.Sorted(maps.Keys(v)) {
			if !isName(name, "_-") {
				continue
			}
			inner := path + "." + name
			if s.ec2 && (name == s.event+"Response" || name == s.event+"Request" || name == "items" || name == "item") {
				inner = path // EC2's wrapping goes without saying
			}
			s.walk(inner, name, key, v[name], depth+1)
		}
	case []any:
		if len(v) > 0 {
			s.walk(strings.TrimSuffix(path, "[]")+"[]", key, parent, v[0], depth+1)
		}
		s.isTags(path, key)
	case string:
		s.scalar(path, key, parent, v)
	case json.Number:
		s.scalar(path, key, parent, v.String())
	}
}

// isTags notes where the request gives tags.
func (s *suggestion) isTags(path, key string) {
	switch strings.ToLower(key) {
	case "tags", "taglist", "tagset":
		if s.tags == "" && !s.ec2 && strings.HasPrefix(path, "requestParameters.") {
			s.tags = strings.TrimSuffix(path, "[]")
		}
	}
}

// scalar notes v where it may name what was made.
func (s *suggestion) scalar(path, key, parent, v string) {
	key, parent = strings.ToLower(key), strings.ToLower(parent)
	thing := strings.ToLower(s.thing)
	response := strings.HasPrefix(path, "responseElements.")
	if a, err := event.ParseARN(v); err == nil {
		if response {
			s.isARN(path, key, parent, thing, a)
		}
		return
	}
	ours := parent == thing || parent == "responseelements" || parent == "requestparameters"
	rank := -1
	switch stem, isID := strings.CutSuffix(key, "id"); {
	case key == thing+"id":
		rank = 0
	case key == "id":
		rank = 1
	case key == thing+"identifier", isID && strings.HasSuffix(thing, stem): // groupId of a security group
		rank = 2
	case key == thing+"name":
		rank = 3
	case key == "name":
		rank = 4
	}
	if rank < 0 || v == "" || v == hidden || (key == "id" || key == "name") && !ours {
		return
	}
	if !response {
		rank += 5
	}
	if found := (candidate{path: path, rank: rank}); s.id.worseThan(found) {
		s.id = found
	}
}

// isARN notes a, which the response has, where it may be of what was made.
func (s *suggestion) isARN(path, key, parent, thing string, a event.ARN) {
	rank := 3
	switch {
	case key == thing+"arn":
		rank = 0
	case a.Service != s.prefix && a.Service != s.service:
		return // of another service, as the role that it may use
	case key == "arn" && (parent == thing || parent == "responseelements"):
		rank = 1
	case strings.Contains(strings.ToLower(a.Resource), thing):
		rank = 2
	}
	found := candidate{path: path, rank: rank, service: a.Service}
	if isService(a.Service) && !s.given[a.String()] && s.arn.worseThan(found) { // what is given it was made from
		s.arn = found
	}
}

// kind returns the thing as ARNs write it: EC2's in words with hyphens, others' mostly as the call does.
func (s *suggestion) kind() string {
	if !s.ec2 {
		return s.thing
	}
	var b strings.Builder
	for i, c := range s.thing {
		if i > 0 && 'A' <= c && c <= 'Z' {
			b.WriteByte('-')
		}
		b.WriteRune(c)
	}
	return strings.ToLower(b.String())
}
