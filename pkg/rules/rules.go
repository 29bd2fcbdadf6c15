// Package rules turns an event, its Owner and a Resource into the tags to write, or into a reason to write none.
//
// Tag values are text with CEL expressions inside ${...}; filters are CEL conditions. Everything is compiled and
// type-checked when the configuration is loaded, so that a mistake is found then and not at the first event that meets it.
//
// Invariants: Apply is pure, deterministic, safe for concurrent use and bounded in time and memory whatever a Record holds:
// expressions have no loops, what they see of a Record is cut, and each evaluation has a cost limit. What Apply returns
// satisfies the rules of every tag API: see CheckKey and Clean. It never returns an empty set of tags without saying why.
package rules

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"

	"github.com/autotagd/autotagd/pkg/event"
	"github.com/autotagd/autotagd/pkg/identity"
	"github.com/autotagd/autotagd/pkg/resource"
)

// Tag is one tag of the configuration: its key, and a value that may hold expressions in ${...}.
type Tag struct {
	Key, Value string
}

// ServiceOwned says what becomes of a Resource that a service made for itself.
type ServiceOwned string

// The ways to treat what a service made for itself.
const (
	SkipServiceOwned ServiceOwned = "skip"
	TagServiceOwned  ServiceOwned = "tag" // the Owner is then the service's name
)

// Options are what Compile needs of the configuration.
type Options struct {
	Tags         []Tag
	Filters      []string // CEL conditions; all must hold
	Services     []string // none means every service
	ServiceOwned ServiceOwned
}

// Rules are compiled Options.
type Rules struct {
	tags         []compiledTag // sorted by key
	filters      []filter
	services     []string
	serviceOwned ServiceOwned
	variables    map[string]func(*Input) any // by name; read only
	attributes   []string
}

type compiledTag struct {
	key   string
	parts []part
}

type filter struct {
	source  string
	program cel.Program
	partial cel.Program // the same, with variables that are not known
}

// Part of Options that an Error is about.
type Part string

// The parts of Options.
const (
	InTags     Part = "tags" // the set of tags as a whole
	InTagKey   Part = "tag key"
	InTagValue Part = "tag value"
	InFilter   Part = "filter"
)

// Error is one mistake in Options.
type Error struct {
	Part   Part
	Index  int // of the tag or the filter
	Offset int // where in the key, value or filter it is, in code points from 0
	What   string
	Want   string // the remedy
}

// Error says what is wrong and what is wanted.
func (e *Error) Error() string { return e.What + "; " + e.Want }

// Compile checks o and makes Rules of it. Its error joins an *Error for each mistake: Mistakes takes them apart.
func Compile(o Options) (*Rules, error) {
	table := variableTable()
	env, err := newEnv(table)
	if err != nil {
		return nil, fmt.Errorf("set up CEL: %w", err)
	}
	c := compiler{env: env, variables: table}
	r := &Rules{services: slices.Clone(o.Services), serviceOwned: o.ServiceOwned, variables: make(map[string]func(*Input) any, len(table))}
	for _, v := range table {
		r.variables[v.name] = v.get
	}
	c.checkKeys(o.Tags)
	for i, t := range o.Tags {
		r.tags = append(r.tags, compiledTag{key: t.Key, parts: c.template(i, t.Value)})
	}
	slices.SortFunc(r.tags, func(a, b compiledTag) int { return strings.Compare(a.key, b.key) })
	for i, source := range o.Filters {
		r.filters = append(r.filters, c.condition(i, source))
	}
	if len(c.errs) > 0 {
		return nil, errors.Join(c.errs...)
	}
	slices.Sort(c.attributes)
	r.attributes = slices.Compact(c.attributes)
	return r, nil
}

// Attributes returns which attributes of the owner the tags and filters name, as `owner.attributes.department`: sorted.
func (r *Rules) Attributes() []string { return r.attributes }

// Mistakes returns every *Error that Compile joined into err.
func Mistakes(err error) []*Error {
	var joined interface{ Unwrap() []error }
	if !errors.As(err, &joined) {
		return nil
	}
	var all []*Error
	for _, err := range joined.Unwrap() {
		var e *Error
		if errors.As(err, &e) {
			all = append(all, e)
		}
	}
	return all
}

// Input is what expressions see.
type Input struct {
	Record   *event.Record
	Identity identity.Identity
	Owner    identity.Owner
	Resource resource.Resource
	// Services are all that the event may be of, where records can't be told apart; none: the Resource's own.
	Services []string
}

// Decision is what is to become of one Resource. Either Tags or Skip is set, never both.
type Decision struct {
	Tags []resource.Tag // sorted by key, at most 50, all of them acceptable to every tag API
	Skip string         // why the Resource is not tagged, for people
	// Problems are expressions that failed on this Record, for the log. They gave nothing: a tag was left out.
	Problems []string
}

// Apply decides about in.Resource.
func (r *Rules) Apply(in Input) Decision {
	if !r.ofServices(&in) {
		return Decision{Skip: "service " + in.Resource.Service + " is not among the configured services"}
	}
	switch {
	case in.Owner.Kind == identity.None:
		return Decision{Skip: "nobody to credit: " + in.Owner.Reason}
	case in.Owner.Kind == identity.Service && r.serviceOwned != TagServiceOwned:
		return Decision{Skip: "a service made it for itself: " + in.Owner.Name}
	}
	if in.Record == nil {
		in.Record = &event.Record{}
	}
	vars := &variables{in: &in, table: r.variables}
	for i, f := range r.filters {
		switch holds, err := evalCondition(f.program, vars); {
		case err != nil:
			return Decision{Skip: fmt.Sprintf("filter %d failed: %s: %v", i+1, f.source, err)}
		case !holds:
			return Decision{Skip: fmt.Sprintf("filter %d does not hold: %s", i+1, f.source)}
		}
	}
	var d Decision
	for _, t := range r.tags {
		value, err := evalTemplate(t.parts, vars)
		if err != nil {
			d.Problems = append(d.Problems, fmt.Sprintf("tag %s left out: %v", t.key, err))
			continue
		}
		if value = Clean(value); value != "" {
			d.Tags = append(d.Tags, resource.Tag{Key: t.key, Value: value})
		}
	}
	if len(d.Tags) == 0 {
		d.Skip = "no tag has a value for it"
	}
	return d
}

// Possible reports whether Apply may give tags where no more is known of in than the variables named in known, written as in
// expressions ("event.source"), and its Services. It says false only where no Record, Owner and Resource can change that.
func (r *Rules) Possible(in Input, known ...string) bool {
	if !r.ofServices(&in) {
		return false
	}
	if in.Record == nil {
		in.Record = &event.Record{}
	}
	var unknown []*cel.AttributePatternType
	for name := range r.variables {
		if !slices.Contains(known, name) {
			unknown = append(unknown, cel.AttributePattern(name))
		}
	}
	vars, err := cel.PartialVars(&variables{in: &in, table: r.variables}, unknown...)
	if err != nil {
		return true
	}
	return !slices.ContainsFunc(r.filters, func(f filter) bool {
		out, _, err := f.partial.Eval(vars)
		return err == nil && out == types.False
	})
}

// ofServices reports whether the Resource is of a configured service.
func (r *Rules) ofServices(in *Input) bool {
	return len(r.services) == 0 || slices.Contains(r.services, in.Resource.Service) ||
		slices.ContainsFunc(in.Services, func(s string) bool { return slices.Contains(r.services, s) })
}

// Keys returns the keys of the tags that Apply may give, sorted.
func (r *Rules) Keys() []string {
	keys := make([]string, len(r.tags))
	for i, t := range r.tags {
		keys[i] = t.key
	}
	return keys
}

// compiler collects the mistakes of one Compile.
type compiler struct {
	env        *cel.Env
	variables  []variable
	attributes []string
	errs       []error
}

func (c *compiler) fail(p Part, index, offset int, what, want string) {
	c.errs = append(c.errs, &Error{Part: p, Index: index, Offset: offset, What: what, Want: want})
}

func (c *compiler) checkKeys(tags []Tag) {
	if len(tags) == 0 {
		c.fail(InTags, 0, 0, "no tag is left to write", "want at least one, as Owner: ${owner.name}")
	}
	if len(tags) > MaxTags {
		c.fail(InTags, 0, 0, fmt.Sprintf("%d tags", len(tags)), fmt.Sprintf("want at most %d, all that AWS keeps on a resource", MaxTags))
	}
	seen := make(map[string]string, len(tags))
	for i, t := range tags {
		if offset, what, want := checkKey(t.Key); what != "" {
			c.fail(InTagKey, i, offset, what, want)
		}
		folded := strings.ToLower(t.Key)
		if other, ok := seen[folded]; ok {
			c.fail(InTagKey, i, 0, fmt.Sprintf("differs from %s in case alone", other), "want one spelling, since some services take the two for one key")
		}
		seen[folded] = t.Key
	}
}

// template compiles the value of tag index.
func (c *compiler) template(index int, value string) []part {
	parts, bad := parseTemplate(value)
	if bad != nil {
		c.fail(InTagValue, index, bad.offset, bad.what, bad.want)
		return nil
	}
	if strings.TrimSpace(value) == "" {
		c.fail(InTagValue, index, 0, "is empty", "want text, or an expression as ${owner.name}")
	}
	literal := 0
	for i := range parts {
		p := &parts[i]
		if !p.isExpr {
			literal += utf16Len(p.text)
			if at, r := firstRefused(p.text); at >= 0 {
				c.fail(InTagValue, index, p.offset+at, fmt.Sprintf("character %q cannot be in a tag value", r), "want "+allowedText)
			}
			continue
		}
		ast := c.compile(InTagValue, index, p.offset, p.text, "want a CEL expression over owner, identity, event and resource")
		if ast == nil {
			continue
		}
		if !textual(ast.OutputType()) {
			c.fail(InTagValue, index, p.offset+leadingSpace(p.text), "the expression gives a "+typeName(ast.OutputType()), "want text, a number, a time, or true and false")
			continue
		}
		p.program = c.program(InTagValue, index, p.offset, ast)
	}
	if literal > MaxValueLength {
		c.fail(InTagValue, index, 0, fmt.Sprintf("is %d characters long without its expressions", literal), fmt.Sprintf("want at most %d", MaxValueLength))
	}
	return parts
}

// condition compiles filter index.
func (c *compiler) condition(index int, source string) filter {
	const want = `want a CEL condition over owner, identity, event and resource, as event.source != "iam.amazonaws.com"`
	if strings.TrimSpace(source) == "" {
		c.fail(InFilter, index, 0, "is empty", want)
		return filter{}
	}
	if strings.HasPrefix(strings.TrimSpace(source), "${") {
		c.fail(InFilter, index, leadingSpace(source), "a filter is CEL as it is", "want it without the ${ and the }")
		return filter{}
	}
	ast := c.compile(InFilter, index, 0, source, want)
	if ast == nil {
		return filter{}
	}
	if !ast.OutputType().IsExactType(cel.BoolType) {
		c.fail(InFilter, index, leadingSpace(source), "the condition gives a "+typeName(ast.OutputType()), "want true or false, as in owner.kind == \"person\"")
		return filter{}
	}
	f := filter{source: source, program: c.program(InFilter, index, 0, ast)}
	if f.program != nil {
		f.partial = c.program(InFilter, index, 0, ast, cel.EvalOptions(cel.OptPartialEval))
	}
	return f
}

func (c *compiler) compile(p Part, index, offset int, source, want string) *cel.Ast {
	ast, issues := c.env.Compile(source)
	if issues.Err() == nil {
		c.attributes = append(c.attributes, attributesOf(ast)...)
		return ast
	}
	for _, e := range issues.Errors() {
		at := startOfName(source, offsetOf(source, e.Location.Line(), e.Location.Column()), e.Message)
		c.fail(p, index, offset+at, plainMessage(e.Message), c.members(e.Message, want))
	}
	return nil
}

const undeclared = "undeclared reference to '"

// startOfName returns where the unknown name that message is of begins, since CEL points at its last dot; else it returns at.
func startOfName(source string, at int, message string) int {
	name, found := strings.CutPrefix(message, undeclared)
	name, _, _ = strings.Cut(name, "'")
	dot := strings.LastIndexByte(name, '.')
	if before := []rune(source)[:at]; found && dot > 0 && strings.HasSuffix(string(before), name[:dot]) {
		return at - utf8.RuneCountInString(name[:dot])
	}
	return at
}

// members lists what there is in owner, identity, event or resource where message is of a name in there that is unknown, else says want.
func (c *compiler) members(message, want string) string {
	name, unknown := strings.CutPrefix(message, undeclared)
	group := name[:len(name)-len(strings.TrimLeft(name, "abcdefghijklmnopqrstuvwxyz"))]
	if !unknown || strings.Contains(message, "did you mean") {
		return want
	}
	var names []string
	for _, v := range c.variables {
		if strings.HasPrefix(v.name, group+".") {
			names = append(names, v.name)
		}
	}
	if len(names) == 0 {
		return want
	}
	return "want one of " + strings.Join(names, ", ")
}

func (c *compiler) program(p Part, index, offset int, ast *cel.Ast, opts ...cel.ProgramOption) cel.Program {
	program, err := c.env.Program(ast, append(opts, cel.CostLimit(maxCost))...)
	if err != nil {
		c.fail(p, index, offset, plainMessage(err.Error()), "want an expression that can be evaluated")
	}
	return program
}

// offsetOf turns CEL's line (from 1) and column (from 0) into code points from the start of source.
func offsetOf(source string, line, column int) int {
	if line < 1 || column < 0 {
		return 0
	}
	rest, offset := source, 0
	for range line - 1 {
		before, after, found := strings.Cut(rest, "\n")
		if !found {
			break
		}
		offset += utf8.RuneCountInString(before) + 1
		rest = after
	}
	return min(offset+column, utf8.RuneCountInString(source))
}

func leadingSpace(s string) int { return len(s) - len(strings.TrimLeft(s, " \t\r\n")) }
