package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"

	"github.com/autotagd/autotagd/pkg/rules"
)

// maxFileSize bounds the file, in bytes. A thousand accounts take a tenth of it.
const maxFileSize = 1 << 20

// Load reads the configuration in data. name is what messages call it. Its error is an Errors with every mistake, unless
// the text is no YAML at all: then it is an Errors with the first place where it is not. Beside an error the Config has
// defaults where the file is wrong: it is for finding further mistakes only.
func Load(name string, data []byte) (*Config, error) {
	d := &decoder{file: name, nodes: make(map[string]*yaml.Node)}
	c := Default()
	root := d.parse(data)
	if root != nil {
		d.lines = strings.Split(string(data), "\n")
		d.schema = schema(&c)
		d.value(root, "", d.schema)
		d.checkLists(&c)
		d.checkRules(&c)
	}
	c.origin = origin{file: name, places: make(map[string]place, len(d.nodes))}
	for key, n := range d.nodes {
		c.origin.places[key] = place{n.Line, n.Column}
	}
	return &c, d.errs.orNil()
}

// YAML writes the effective configuration, defaults included, with a comment at each key. Load reads it back to an equal Config.
func (c *Config) YAML() ([]byte, error) {
	root := schema(c).encode()
	comment(root, "")
	out, err := yaml.Dump(root, yaml.WithLineWidth(-1))
	if err != nil {
		return nil, fmt.Errorf("write the configuration as YAML: %w", err)
	}
	return out, nil
}

// decoder collects the mistakes of one Load.
type decoder struct {
	file     string
	lines    []string // of the file
	schema   section
	nodes    map[string]*yaml.Node // by key, every value met
	tags     []tagNodes            // as in Config.Tags
	existing []tagNodes            // of existing_tags by key
	errs     Errors
}

// tagNodes are a tag key and what is said of it, in the file.
type tagNodes struct {
	key         string
	name, value *yaml.Node
}

func (d *decoder) failAt(p place, key, what, want string) {
	d.errs = append(d.errs, &Error{File: d.file, Line: p.line, Column: p.column, Key: key, What: what, Want: want})
}

func (d *decoder) fail(n *yaml.Node, key, what, want string) {
	d.failAt(place{n.Line, n.Column}, key, what, want)
}

// failKey is fail at the value of key, which was met.
func (d *decoder) failKey(key, what, want string) { d.fail(d.nodes[key], key, what, want) }

// has reports whether the file says name inside key.
func (d *decoder) has(key, name string) bool { return d.nodes[member(key, name)] != nil }

// parse returns the root of the one document in data, or nil where it is empty or wrong.
func (d *decoder) parse(data []byte) *yaml.Node {
	if len(data) > maxFileSize {
		d.failAt(place{1, 1}, "", fmt.Sprintf("the configuration has %d bytes", len(data)), fmt.Sprintf("want at most %d", maxFileSize))
		return nil
	}
	for i, line := range bytes.Split(data, []byte("\n")) {
		if !utf8.Valid(line) {
			valid := bytes.ToValidUTF8(line, []byte("\xff"))
			d.failAt(place{i + 1, utf8.RuneCount(valid[:bytes.IndexByte(valid, 0xff)]) + 1}, "", "not UTF-8", "want the file in UTF-8")
			return nil
		}
	}
	loader, err := yaml.NewLoader(bytes.NewReader(data))
	if err != nil {
		d.failYAML(err)
		return nil
	}
	var doc, second yaml.Node
	switch err := loader.Load(&doc); {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		d.failYAML(err)
		return nil
	}
	switch err := loader.Load(&second); {
	case err == nil:
		d.fail(&second, "", "a second document", "want one")
		return nil
	case !errors.Is(err, io.EOF):
		d.failYAML(err)
		return nil
	}
	if len(doc.Content) != 1 || isNull(doc.Content[0]) {
		return nil
	}
	return doc.Content[0]
}

func (d *decoder) failYAML(err error) {
	const want = `want YAML; text that has ": " or " #" in it needs quotes`
	var e *yaml.LoadError
	if !errors.As(err, &e) {
		d.failAt(place{1, 1}, "", strings.Join(strings.Fields(err.Error()), " "), want)
		return
	}
	what := e.Message
	if e.ContextMsg != "" {
		what = e.ContextMsg + ": " + what
	}
	d.failAt(place{max(e.Mark.Line, 1), max(e.Mark.Column, 1)}, "", "not YAML: "+what, want)
}

// value decodes n, which stands under key, into v.
func (d *decoder) value(n *yaml.Node, key string, v value) {
	if key != "" {
		d.nodes[key] = n
	}
	switch tag := n.ShortTag(); {
	case n.Kind == yaml.AliasNode:
		d.fail(n, key, "an alias", "want the value itself, since a configuration has no aliases")
	case n.Style&yaml.TaggedStyle != 0 && tag != "!!str":
		d.fail(n, key, "the YAML tag "+tag, "want the value without it")
	default:
		v.decode(d, n, key)
	}
}

// scalar returns the text of n as written. It fails for what is none, and for nothing at all.
func (d *decoder) scalar(n *yaml.Node, key, want string) (string, bool) {
	if n.Kind == yaml.ScalarNode && !isNull(n) {
		return n.Value, true
	}
	d.fail(n, key, "is "+kindOf(n), want)
	return "", false
}

// mapping calls each for every key of n and its value, once a key. It returns false where n is no mapping; nothing is an empty one.
func (d *decoder) mapping(n *yaml.Node, key string, each func(name, v *yaml.Node, key string)) bool {
	switch {
	case isNull(n):
		return true
	case n.Kind != yaml.MappingNode:
		d.fail(n, key, "is "+kindOf(n), "want a mapping, as key: value")
		return false
	}
	lines := make(map[string]int, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, v := n.Content[i], n.Content[i+1]
		if name.Kind != yaml.ScalarNode {
			d.fail(name, key, "a key that is "+kindOf(name), "want a name")
			continue
		}
		inner := member(key, name.Value)
		if line, ok := lines[name.Value]; ok {
			d.fail(name, inner, fmt.Sprintf("said twice, first in line %d", line), "want it once")
			continue
		}
		lines[name.Value] = name.Line
		each(name, v, inner)
	}
	return true
}

// section decodes n into the fields of s.
func (d *decoder) section(n *yaml.Node, key string, s section) bool {
	names := s.names()
	if !d.mapping(n, key, func(name, v *yaml.Node, key string) {
		i := slices.Index(names, name.Value)
		if i < 0 {
			d.fail(name, key, "unknown key", d.suggest(name.Value, names))
			return
		}
		d.value(v, key, s[i].value)
	}) {
		return false
	}
	for _, f := range s {
		if _, ok := f.value.(required); ok && !d.has(key, f.name) {
			d.fail(n, key, "has no "+f.name, "want it")
		}
	}
	return true
}

// suggest says which key was perhaps meant by name, where names are known.
func (d *decoder) suggest(name string, names []string) string {
	if near := nearest(name, names); near != "" {
		return suggestion(near, "")
	}
	paths := make(map[string][]string) // of the keys in sections, by their last name
	for _, path := range d.schema.paths("") {
		if i := strings.LastIndexByte(path, '.'); i >= 0 {
			paths[path[i+1:]] = append(paths[path[i+1:]], path)
		}
	}
	if near := nearest(name, slices.Sorted(maps.Keys(paths))); near != "" {
		return suggestion(oneOf(paths[near]), "")
	}
	return "want " + oneOf(names)
}

// checkLists finds what is wrong with items only because of the others.
func (d *decoder) checkLists(c *Config) {
	d.unique("regions", c.Regions)
	d.unique("services", c.Services)
	d.checkAccounts(c)
	if i := slices.Index(c.Regions, AllRegions); i >= 0 && len(c.Regions) > 1 {
		d.failKey(index("regions", i), "all beside other Regions", "want [all], or a list of Regions")
	}
	if len(c.Owners.SessionNames) == 0 {
		d.failKey("owners.session_names", "is empty", `want at least one item, as {role: "*", trust: true}`)
	}
	for i, s := range c.Owners.SessionNames {
		if s.Role == "*" && i+1 < len(c.Owners.SessionNames) {
			d.failKey(index("owners.session_names", i+1), "never reached, since the item before it matches every role", `want role: "*" last`)
			break
		}
	}
	for _, e := range d.existing {
		if len(c.Tags) > 0 && !slices.ContainsFunc(c.Tags, func(t rules.Tag) bool { return t.Key == e.name.Value }) {
			keys := make([]string, len(c.Tags))
			for i, t := range c.Tags {
				keys[i] = t.Key
			}
			d.fail(e.name, e.key, "no such key in tags", suggestion(nearest(e.name.Value, keys), "want "+oneOf(keys)))
		}
	}
}

// checkAccounts finds what is wrong with accounts only because of the others. An organization may stand beside roles: of
// accounts outside it, or for accounts of it that need another role.
func (d *decoder) checkAccounts(c *Config) {
	var organization bool
	first := make(map[string]string) // the role of each account
	partition := ""
	for i, a := range c.Accounts {
		if a.Organization != nil {
			if organization {
				d.failKey(index("accounts", i), "a second organization", "want one, of which the credentials are a member")
			}
			organization = true
			d.unique(member(member(index("accounts", i), "organization"), "exclude"), a.Organization.Exclude)
		}
		if a.RoleARN == "" {
			continue
		}
		key, parts := member(index("accounts", i), "role_arn"), strings.Split(a.RoleARN, ":")
		if partition == "" {
			partition = parts[1]
		}
		switch other := first[parts[4]]; {
		case other == a.RoleARN:
			d.failKey(key, "said twice: "+quote(a.RoleARN), "want it once")
		case other != "":
			d.failKey(key, "a second role in account "+parts[4], "want one role an account")
		case parts[1] != partition:
			d.failKey(key, "a role in another partition: "+quote(a.RoleARN), "want roles of the partition "+partition+", since no credentials work in two")
		default:
			first[parts[4]] = a.RoleARN
		}
	}
}

// unique refuses what a list has twice.
func (d *decoder) unique(key string, items []string) {
	for i, s := range items {
		if s != "" && slices.Index(items, s) < i {
			d.failKey(index(key, i), "said twice: "+quote(s), "want it once")
		}
	}
}

// checkRules compiles the tags and filters.
func (d *decoder) checkRules(c *Config) {
	_, err := rules.Compile(c.ruleOptions())
	if err == nil {
		return
	}
	mistakes := rules.Mistakes(err)
	failed := make(map[string]bool) // what has no text, and is reported already
	for _, e := range d.errs {
		failed[e.Key] = true
	}
	if len(mistakes) == 0 {
		d.failAt(place{1, 1}, "", err.Error(), "want expressions that compile")
	}
	for _, m := range mistakes {
		key, n := "tags", d.nodes["tags"]
		switch m.Part {
		case rules.InTagKey:
			key, n = d.tags[m.Index].key, d.tags[m.Index].name
		case rules.InTagValue:
			key, n = d.tags[m.Index].key, d.tags[m.Index].value
		case rules.InFilter:
			key = index("filters", m.Index)
			n = d.nodes[key]
		}
		unread := m.Part == rules.InTags && len(d.tags) < len(n.Content)/2 // reported already, and so not counted
		if !failed[key] && !unread {
			d.failAt(locate(d.lines, n, m.Offset), key, m.What, m.Want)
		}
	}
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// kindOf names what n is, for messages.
func kindOf(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Kind == yaml.AliasNode:
		return "an alias"
	case isNull(n):
		return "empty"
	}
	return "text"
}
