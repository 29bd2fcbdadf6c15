package catalog

import (
	"errors"
	"fmt"
	"strings"

	"github.com/autotagd/autotagd/pkg/event"
	"github.com/autotagd/autotagd/pkg/resource"
)

// parse reads cells into rules that know their operation. Its error joins every mistake.
func (u *rules) parse(c cells) error {
	calls := u.parseCalls(c.tagAPIs)
	u.many = strings.Contains(c.arn+c.id, "[]")
	var arn, tags, template error
	u.arn, arn = u.parsePath(c.arn)
	u.tags, tags = u.parsePath(c.tags)
	ids := u.parseIDs(c.id)
	if ids == nil { // or else what the template lacks is not known
		u.template, template = parseTemplate(c.template, u.ids)
	}
	if ids == nil && u.ec2 {
		u.account, ids = u.parsePath(beside(c.id, "ownerId"))
	}
	return errors.Join(arn, ids, template, calls, tags, u.parseOptions(c.options))
}

// beside returns the path of a member next to where column id has the resource's own id in the response; "" when it isn't there.
func beside(id, member string) string {
	id = id[strings.LastIndexByte(id, ';')+1:]
	id, _, _ = strings.Cut(id[strings.IndexByte(id, '=')+1:], "|")
	if end := strings.LastIndexByte(id, '.'); end > 0 && strings.HasPrefix(id, "responseElements.") {
		return id[:end+1] + member
	}
	return ""
}

// parsePath reads a path of a row and adds the other places where the same member may be: EC2 wraps newer calls in
// OPERATIONResponse and writes lists in two ways, other services leave out the outer member of a response.
func (u *rules) parsePath(s string) (event.Path, error) {
	if s == "" {
		return event.Path{}, nil
	}
	var all []string
	for alternative := range strings.SplitSeq(s, "|") {
		top, rest, nested := strings.Cut(alternative, ".")
		wrapper := map[string]string{"responseElements": "Response", "requestParameters": "Request"}[top]
		switch {
		case nested && u.ec2 && wrapper != "":
			all = append(all,
				top+"."+strings.ReplaceAll(rest, "[]", ".items[]"),
				top+"."+u.operation+wrapper+"."+strings.ReplaceAll(rest, "[]", ".item[]"))
		default:
			all = append(all, alternative)
			outer, inner, ok := strings.Cut(rest, ".")
			if ok && top == "responseElements" && !strings.HasSuffix(outer, "[]") {
				all = append(all, top+"."+inner)
			}
		}
	}
	return event.ParsePath(strings.Join(all, "|"))
}

// parseIDs reads "PATH" or "Name=PATH;Name=PATH". A last alternative "=TEXT" of a path is used when the record has none.
func (u *rules) parseIDs(s string) error {
	if s == "" {
		return nil
	}
	for part := range strings.SplitSeq(s, ";") {
		id := idPath{name: "id"}
		if name, path, ok := strings.Cut(part, "="); ok && !strings.ContainsAny(name, ".|") {
			id.name, part = name, path
		}
		part, id.fallback, _ = strings.Cut(part, "|=")
		var err error
		if id.path, err = u.parsePath(part); err != nil {
			return err
		}
		u.ids = append(u.ids, id)
	}
	return nil
}

// parseOptions reads words with spaces between, as the head of the table explains them.
func (u *rules) parseOptions(s string) error {
	var bad []error
	for word := range strings.FieldsSeq(s) {
		name, arg, _ := strings.Cut(word, "=")
		var err error
		switch {
		case name == "when" && arg != "":
			u.when, err = u.parseConditions(arg)
		case word == "upsert":
			u.upsert = true
		case name == "upsert" && arg != "":
			u.upsert = true
			u.onlyIf, err = u.parseConditions(arg)
		case word == "also":
			u.also = true
		case name == "except" && arg != "":
			u.except, err = u.parsePath(arg)
		case name == "region" && arg != "":
			u.region, err = u.parsePath(arg)
		case word == "told": // Row.told reads it
		case name == "expand" && (arg == string(resource.ExpandInstanceVolumes) || arg == string(resource.ExpandImageSnapshots)):
			u.expand = resource.Expand(arg)
		default:
			bad = append(bad, fmt.Errorf("unknown option %.80q; want when=CONDITION, upsert, upsert=CONDITION, also, except=PATH, region=PATH, told or expand=KIND", word))
		}
		if err != nil {
			bad = append(bad, fmt.Errorf("option %s: %w", name, err))
		}
	}
	return errors.Join(bad...)
}

// parseConditions reads "PATH", "!PATH", "PATH=TEXT" or "PATH!=TEXT", several joined by ";".
func (u *rules) parseConditions(s string) ([]condition, error) {
	var conditions []condition
	for part := range strings.SplitSeq(s, ";") {
		var k condition
		path, value, compared := strings.Cut(part, "=")
		switch {
		case compared && value == "":
			return nil, fmt.Errorf("condition %.80q compares with nothing; want PATH=TEXT", part)
		case compared:
			k.value = value
			path, k.negate = strings.CutSuffix(path, "!")
		default:
			path, k.negate = strings.CutPrefix(path, "!")
		}
		var err error
		if k.path, err = u.parsePath(path); err != nil {
			return nil, err
		}
		conditions = append(conditions, k)
	}
	return conditions, nil
}
