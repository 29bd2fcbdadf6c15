package event

import (
	"fmt"
	"slices"
	"strings"
)

// Path says where in a record a value is, in the catalog's syntax: names of members joined by dots, as in
// "responseElements.instancesSet.items[].instanceId". The first is any member of the record. "[]" marks a list for the
// reader; it changes nothing, since lists are always gone through. Several paths joined by "|" are alternatives.
// The zero Path leads nowhere.
type Path struct {
	alternatives [][]string
}

// ParsePath reads a Path.
func ParsePath(s string) (Path, error) {
	var p Path
	for alternative := range strings.SplitSeq(s, "|") {
		var names []string
		for part := range strings.SplitSeq(alternative, ".") {
			name := strings.TrimSuffix(part, "[]")
			if name == "" || strings.ContainsFunc(name, notInName) {
				return Path{}, fmt.Errorf("bad path %.200q: %.80q is not the name of a member; want names joined by dots, as in requestParameters.tags", s, part)
			}
			names = append(names, name)
		}
		p.alternatives = append(p.alternatives, names)
	}
	return p, nil
}

func notInName(r rune) bool { return strings.ContainsRune("[]{}()=;,\"", r) || r <= ' ' || r == 0x7f }

// String returns the path in the catalog's syntax, without list marks.
func (p Path) String() string {
	var b strings.Builder
	for i, names := range p.alternatives {
		if i > 0 {
			b.WriteByte('|')
		}
		b.WriteString(strings.Join(names, "."))
	}
	return b.String()
}

// IsZero reports whether p leads nowhere.
func (p Path) IsZero() bool { return len(p.alternatives) == 0 }

// Lookup returns all values at p, in order: strings, numbers as written, booleans as text. Of several alternatives it
// takes the first that gives any. Null, "", objects, and what AWS has hidden give nothing.
func (r *Record) Lookup(p Path) []string {
	for _, names := range p.alternatives {
		var found []string
		for _, v := range r.at(names) {
			if s, ok := v.scalar(); ok && s != "" {
				found = append(found, s)
			}
		}
		if found != nil {
			return found
		}
	}
	return nil
}

// Empty reports whether a member that p leads through, or to, is there and holds nothing: [] or {}, or the "" that EC2 writes
// for an empty list. What p leads to is no list if it is a "": something was there, and has no name.
func (r *Record) Empty(p Path) bool {
	for _, names := range p.alternatives {
		here := r.member(names[0])
		for i, name := range names[1:] {
			here = members(here, name)
			last := i == len(names)-2
			if slices.ContainsFunc(here, func(v value) bool { return v.holdsNothing() && !(last && v.is('"')) }) {
				return true
			}
		}
	}
	return false
}

// at returns the values that names lead to, lists gone through.
func (r *Record) at(names []string) []value {
	here := r.member(names[0])
	for _, name := range names[1:] {
		here = members(here, name)
	}
	var found []value
	for _, v := range here {
		for element := range v.elements() {
			found = append(found, element)
		}
	}
	return found
}

// members returns the members of that name in the elements of all values.
func members(values []value, name string) []value {
	var found []value
	for _, v := range values {
		for element := range v.elements() {
			found = append(found, element.find(name)...)
		}
	}
	return found
}

// member returns a member of the record itself.
func (r *Record) member(name string) []value {
	switch {
	case strings.EqualFold(name, "requestParameters"):
		return raw(r.RequestParameters)
	case strings.EqualFold(name, "responseElements"):
		return raw(r.ResponseElements)
	}
	return value(r.raw).find(name)
}

func raw(b []byte) []value {
	if b == nil {
		return nil
	}
	return []value{value(b)}
}
