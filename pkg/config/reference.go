package config

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v4"
)

// Key is one key of the configuration, for the reference.
type Key struct {
	Name    string // as "poll.interval"; one inside a list as "accounts[].role_arn"
	Section bool   // a mapping of the keys that follow
	Kind    string // what its value may be
	Default string // in YAML; "" for a Section and for what has to be given
	Line    string // what it does, in one line
	More    string // limits and what to consider, in Markdown; may be ""
	Example string // a configuration in YAML that sets it
}

// Reference returns every key, in the schema's order.
func Reference() ([]Key, error) {
	c := Default()
	c.Checkpoint.DynamoDB = checkpoint{new(Checkpoint)}.table() // its keys have defaults too
	var keys []Key
	err := eachField(schema(&c), "", func(name string, v value) error {
		d := descriptions()[name]
		k := Key{Name: name, Kind: v.kind(), Line: d.line, More: d.more, Example: d.example}
		k.Section = fields(v) != nil
		if _, ok := v.(required); !ok && !k.Section {
			text, err := flow(v)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			k.Default = text
		}
		keys = append(keys, k)
		return nil
	})
	return keys, err
}

// eachField calls do for every key of s, of the sections in it, and of the items of its lists.
func eachField(s section, prefix string, do func(name string, v value) error) error {
	for _, f := range s {
		name := member(prefix, f.name)
		if err := do(name, f.value); err != nil {
			return err
		}
		inner, below := fields(f.value), name
		if l, ok := f.value.(interface{ zero() value }); ok {
			inner, below = fields(l.zero()), name+"[]"
		}
		if err := eachField(inner, below, do); err != nil {
			return err
		}
	}
	return nil
}

// fields returns the keys inside v, or nil.
func fields(v value) section {
	switch v := v.(type) {
	case section:
		return v
	case interface{ section() section }:
		return v.section()
	case interface{ keys() section }:
		return v.keys()
	}
	return nil
}

// flow is v's value on one line of YAML.
func flow(v value) (string, error) {
	n := v.encode()
	if n == nil {
		return "", nil
	}
	n.Style |= yaml.FlowStyle
	out, err := yaml.Dump(n, yaml.WithLineWidth(-1))
	return strings.TrimSpace(string(out)), err
}

// comment says at each key in n what it does.
func comment(n *yaml.Node, prefix string) {
	about := descriptions()
	for i := 0; i+1 < len(n.Content) && n.Kind == yaml.MappingNode; i += 2 {
		key := member(prefix, n.Content[i].Value)
		if d, ok := about[key]; ok {
			n.Content[i].HeadComment = "# " + d.line
			comment(n.Content[i+1], key)
		}
	}
}
