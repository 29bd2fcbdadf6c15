package config

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v4"

	"github.com/autotagd/autotagd/pkg/rules"
)

// value is a key's value: where it is kept, how it is checked, how it is written.
type value interface {
	// decode sets the field from n, or tells d what is wrong with n.
	decode(d *decoder, n *yaml.Node, key string)
	// encode returns the field in YAML, or nil where it is better left out.
	encode() *yaml.Node
	// kind says for people what the value may be.
	kind() string
}

// section is a mapping with known keys.
type section []field

type field struct {
	name string
	value
}

func (s section) decode(d *decoder, n *yaml.Node, key string) { d.section(n, key, s) }

func (s section) encode() *yaml.Node {
	out := &yaml.Node{Kind: yaml.MappingNode}
	for _, f := range s {
		if v := f.value.encode(); v != nil {
			out.Content = append(out.Content, textNode(f.name), v)
		}
	}
	return out
}

func (section) kind() string { return "mapping" }

// names returns the section's own keys.
func (s section) names() []string {
	names := make([]string, len(s))
	for i, f := range s {
		names[i] = f.name
	}
	return names
}

// paths returns every key of s and of the sections in it, as "poll.interval".
func (s section) paths(prefix string) []string {
	var all []string
	for _, f := range s {
		key := member(prefix, f.name)
		all = append(all, key)
		if inner, ok := f.value.(interface{ paths(string) []string }); ok {
			all = append(all, inner.paths(key)...)
		}
	}
	return all
}

// required marks a key that its section cannot do without.
type required struct{ value }

// optional is a section that is absent unless given; it then starts from the defaults in at.
type optional[T any] struct {
	p  **T
	at *T
	section
}

func (o optional[T]) decode(d *decoder, n *yaml.Node, key string) {
	if d.section(n, key, o.section) {
		*o.p = o.at
	}
}

func (o optional[T]) encode() *yaml.Node {
	if *o.p == nil {
		return nil
	}
	return o.section.encode()
}

func (o optional[T]) keys() section { return o.section }

// list is a sequence of values of one kind.
type list[T any] struct {
	p    *[]T
	item func(*T) value
}

func (l list[T]) decode(d *decoder, n *yaml.Node, key string) {
	switch {
	case isNull(n):
		*l.p = nil
		return
	case n.Kind != yaml.SequenceNode:
		d.fail(n, key, "is "+kindOf(n), "want a list, as [a, b]")
		return
	}
	items := make([]T, len(n.Content))
	for i, c := range n.Content {
		d.value(c, index(key, i), l.item(&items[i]))
	}
	if *l.p = items; len(items) == 0 {
		*l.p = nil
	}
}

func (l list[T]) encode() *yaml.Node {
	out := &yaml.Node{Kind: yaml.SequenceNode}
	for i := range *l.p {
		out.Content = append(out.Content, l.item(&(*l.p)[i]).encode())
	}
	if len(out.Content) == 0 {
		out.Style = yaml.FlowStyle
	}
	return out
}

// zero is an item of the list that nothing was said of.
func (l list[T]) zero() value { return l.item(new(T)) }

func (l list[T]) kind() string { return "list of " + plural(l.zero().kind()) }

// plural is of a kind; every one that lists have makes it with an s.
func plural(kind string) string { return kind + "s" }

// text is any scalar, as it is written.
type text struct {
	p     *string
	check check
}

func (t text) decode(d *decoder, n *yaml.Node, key string) {
	s, ok := d.scalar(n, key, "want text")
	if !ok {
		return
	}
	if t.check != nil {
		if what, want := t.check(s); what != "" {
			d.fail(n, key, what, want)
			return
		}
	}
	*t.p = s
}

func (t text) encode() *yaml.Node { return textNode(*t.p) }

func (text) kind() string { return "text" }

// choice is one of a few words.
type choice[T ~string] struct {
	p     *T
	words []T
}

func (c choice[T]) decode(d *decoder, n *yaml.Node, key string) {
	words := make([]string, len(c.words))
	for i, w := range c.words {
		words[i] = string(w)
	}
	want := "want " + oneOf(words)
	s, ok := d.scalar(n, key, want)
	if !ok {
		return
	}
	if !slices.Contains(words, s) {
		d.fail(n, key, "not one of its values: "+quote(s), want)
		return
	}
	*c.p = T(s)
}

func (c choice[T]) encode() *yaml.Node { return textNode(string(*c.p)) }

func (c choice[T]) kind() string {
	words := make([]string, len(c.words))
	for i, w := range c.words {
		words[i] = "`" + string(w) + "`"
	}
	return oneOf(words)
}

func serviceOwned(c *Config) value {
	return choice[rules.ServiceOwned]{&c.ServiceOwned, []rules.ServiceOwned{rules.SkipServiceOwned, rules.TagServiceOwned}}
}

// duration is a positive duration as Prometheus writes it, at most max unless that is 0.
type duration struct {
	p   *time.Duration
	max time.Duration
}

func (t duration) decode(d *decoder, n *yaml.Node, key string) {
	const want = "want digits and units, as 15s, 1h30m or 90d"
	s, ok := d.scalar(n, key, want)
	if !ok {
		return
	}
	if _, err := strconv.ParseFloat(s, 64); err == nil {
		d.fail(n, key, "a duration without a unit: "+quote(s), want)
		return
	}
	parsed, err := model.ParseDuration(s)
	switch v := time.Duration(parsed); {
	case err != nil:
		d.fail(n, key, "not a duration: "+quote(s), want)
	case v <= 0:
		d.fail(n, key, "no time at all: "+quote(s), "want a duration above 0")
	case t.max > 0 && v > t.max:
		d.fail(n, key, "too long: "+quote(s), "want at most "+model.Duration(t.max).String())
	default:
		*t.p = v
	}
}

func (t duration) encode() *yaml.Node { return textNode(model.Duration(*t.p).String()) }

func (t duration) kind() string {
	if t.max > 0 {
		return "duration, at most " + model.Duration(t.max).String()
	}
	return "duration"
}

// number is a number above 0, at most max.
type number struct {
	p   *float64
	max float64
}

func (f number) decode(d *decoder, n *yaml.Node, key string) {
	want := "want a number above 0, at most " + formatNumber(f.max)
	s, ok := d.scalar(n, key, want)
	if !ok {
		return
	}
	v, err := strconv.ParseFloat(s, 64)
	if tag := n.ShortTag(); err != nil || tag != "!!int" && tag != "!!float" || math.IsNaN(v) || math.IsInf(v, 0) {
		d.fail(n, key, "not a number: "+quote(s), want)
		return
	}
	if v <= 0 || v > f.max {
		d.fail(n, key, "out of range: "+s, want)
		return
	}
	*f.p = v
}

func (f number) encode() *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Value: formatNumber(*f.p)}
}

func (f number) kind() string { return "number above 0, at most " + formatNumber(f.max) }

func formatNumber(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

// count is a whole number from 1 to max.
type count struct {
	p   *int
	max int
}

func (c count) decode(d *decoder, n *yaml.Node, key string) {
	want := fmt.Sprintf("want a whole number from 1 to %d", c.max)
	s, ok := d.scalar(n, key, want)
	if !ok {
		return
	}
	v, err := strconv.Atoi(s)
	if err != nil || n.ShortTag() != "!!int" || strconv.Itoa(v) != s {
		d.fail(n, key, "not a whole number: "+quote(s), want)
		return
	}
	if v < 1 || v > c.max {
		d.fail(n, key, "out of range: "+s, want)
		return
	}
	*c.p = v
}

func (c count) encode() *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Value: strconv.Itoa(*c.p)}
}

func (c count) kind() string { return fmt.Sprintf("whole number from 1 to %d", c.max) }

// flag is true or false.
type flag struct{ p *bool }

func (f flag) decode(d *decoder, n *yaml.Node, key string) {
	const want = "want true or false"
	s, ok := d.scalar(n, key, want)
	if !ok {
		return
	}
	if n.ShortTag() != "!!bool" || s != "true" && s != "false" {
		d.fail(n, key, "not a truth value: "+quote(s), want)
		return
	}
	*f.p = s == "true"
}

func (f flag) encode() *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Value: strconv.FormatBool(*f.p)}
}

func (flag) kind() string { return "`true` or `false`" }

// tags is a mapping of tag keys to values with expressions. What is in them is for rules to check.
type tags struct{ p *[]rules.Tag }

func (t tags) decode(d *decoder, n *yaml.Node, key string) {
	var all []rules.Tag
	if !d.mapping(n, key, func(name, v *yaml.Node, key string) {
		if s, ok := d.scalar(v, key, "want text, or an expression as ${owner.name}"); ok {
			all = append(all, rules.Tag{Key: name.Value, Value: s})
			d.tags = append(d.tags, tagNodes{key, name, v})
		}
	}) {
		return
	}
	*t.p = all
}

func (t tags) encode() *yaml.Node {
	out := &yaml.Node{Kind: yaml.MappingNode}
	for _, tag := range *t.p {
		out.Content = append(out.Content, textNode(tag.Key), textNode(tag.Value))
	}
	return out
}

func (tags) kind() string { return "mapping of tag keys to text with expressions" }

// existingTags is one policy, or one by tag key.
type existingTags struct{ p *ExistingTags }

func (e existingTags) decode(d *decoder, n *yaml.Node, key string) {
	policies := []Policy{Keep, Overwrite}
	if n.Kind == yaml.ScalarNode && !isNull(n) {
		choice[Policy]{&e.p.Default, policies}.decode(d, n, key)
		return
	}
	byKey := make(map[string]Policy)
	if !d.mapping(n, key, func(name, v *yaml.Node, key string) {
		p := Keep
		d.value(v, key, choice[Policy]{&p, policies})
		byKey[name.Value] = p
		d.existing = append(d.existing, tagNodes{key, name, v})
	}) || len(byKey) == 0 {
		return
	}
	*e.p = ExistingTags{Default: Keep, ByKey: byKey}
}

func (e existingTags) encode() *yaml.Node {
	if e.p.ByKey == nil {
		return textNode(string(e.p.Default))
	}
	out := &yaml.Node{Kind: yaml.MappingNode}
	for _, key := range slices.Sorted(maps.Keys(e.p.ByKey)) {
		out.Content = append(out.Content, textNode(key), textNode(string(e.p.ByKey[key])))
	}
	return out
}

func (existingTags) kind() string {
	return "`keep`, `overwrite`, or a mapping of tag keys to one of the two"
}

// textNode is s, quoted where YAML would take it for something else.
func textNode(s string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s}
	if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || r > 0x7e && r < 0xa0 }) || strings.TrimSpace(s) != s || s == "" {
		n.Style = yaml.DoubleQuotedStyle
	}
	return n
}

func oneOf(words []string) string {
	if len(words) == 1 {
		return words[0]
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}
