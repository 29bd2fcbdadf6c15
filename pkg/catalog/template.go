package catalog

import (
	"fmt"
	"slices"
	"strings"

	"github.com/autotagd/autotagd/pkg/event"
)

// arnTemplate is an ARN with places for values: arn:{partition}:sqs:{region}:{account}:{id|base}.
type arnTemplate struct {
	parts []templatePart
	text  string
}

// templatePart is a literal, or a place for the value called name, changed by mod.
type templatePart struct {
	literal, name string
	mod           modifier
}

// modifier says how a value is changed before it is put into an ARN.
type modifier string

const (
	asIs  modifier = ""
	lower modifier = "lower" // the service keeps its names in lower case, whatever the request says
	base  modifier = "base"  // what follows the last slash
	trim  modifier = "trim"  // without a slash at the front
)

func (m modifier) apply(s string) string {
	switch m {
	case lower:
		return strings.ToLower(s)
	case base:
		return s[strings.LastIndexByte(s, '/')+1:]
	case trim:
		return strings.TrimPrefix(s, "/")
	}
	return s
}

// parseTemplate reads a template. Each of its places other than partition, region and account must be among ids, and each
// of ids among its places.
func parseTemplate(s string, ids []idPath) (arnTemplate, error) {
	t := arnTemplate{text: s}
	if s == "" {
		return t, nil
	}
	if _, err := event.ParseARN(s); err != nil {
		return t, err
	}
	for rest := s; rest != ""; {
		literal, after, found := strings.Cut(rest, "{")
		if literal != "" {
			t.parts = append(t.parts, templatePart{literal: literal})
		}
		if !found {
			break
		}
		place, tail, closed := strings.Cut(after, "}")
		if !closed {
			return t, fmt.Errorf("ARN template %.200q: no closing bracket; want {NAME}", s)
		}
		name, mod, _ := strings.Cut(place, "|")
		p := templatePart{name: name, mod: modifier(mod)}
		switch {
		case p.mod != asIs && p.mod != lower && p.mod != base && p.mod != trim:
			return t, fmt.Errorf("ARN template %.200q: unknown change %q; want lower, base or trim", s, mod)
		case !standard(name) && !slices.ContainsFunc(ids, func(id idPath) bool { return id.name == name }):
			return t, fmt.Errorf("ARN template %.200q: nothing says what {%.40s} is; want it in column id, as NAME=PATH, or as PATH for {id}", s, name)
		}
		t.parts = append(t.parts, p)
		rest = tail
	}
	for _, id := range ids {
		if !slices.ContainsFunc(t.parts, func(p templatePart) bool { return p.name == id.name }) {
			return t, fmt.Errorf("ARN template %.200q has no {%.40s}; want a place for each name that column id gives", s, id.name)
		}
	}
	return t, nil
}

// standard reports whether the value comes from the record itself.
func standard(name string) bool {
	return name == "partition" || name == "region" || name == "account"
}

// mod returns the modifier of the value called name.
func (t arnTemplate) mod(name string) modifier {
	for _, p := range t.parts {
		if p.name == name {
			return p.mod
		}
	}
	return asIs
}

// fill puts values in their places. They are changed already.
func (t arnTemplate) fill(value func(name string) string) string {
	var b strings.Builder
	for _, p := range t.parts {
		b.WriteString(p.literal)
		if p.name != "" {
			b.WriteString(value(p.name))
		}
	}
	return b.String()
}

// matches reports whether a is of the template's service and kind of resource.
func (t arnTemplate) matches(a event.ARN) bool {
	want, err := event.ParseARN(t.text)
	if err != nil || a.Service != want.Service {
		return false
	}
	kind := t.kind()
	rest, ok := strings.CutPrefix(a.Resource, kind)
	return ok && rest != "" && (kind == "" || rest[0] == '/' || rest[0] == ':')
}

// kind returns the literal that the resource part begins with: "instance" of instance/{id}, "db" of db:{id}.
func (t arnTemplate) kind() string {
	a, err := event.ParseARN(t.text)
	if err != nil {
		return ""
	}
	end := strings.IndexAny(a.Resource, "/:{")
	if end < 0 {
		return a.Resource
	}
	return a.Resource[:end]
}
