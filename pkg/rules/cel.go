package rules

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// Bounds of one evaluation. A person's rule needs a few hundred units of cost; a Record can hold a megabyte of user agent.
const (
	maxCost     = 1_000_000
	maxSeen     = 2048      // bytes of any one string that expressions see: as long as the longest ARN
	maxMade     = 64 * 1024 // bytes of any string that our functions make
	maxExprSize = 4096      // code points of an expression's source
	maxRegex    = 1000      // instructions of a regular expression
)

// variable is one name that expressions can use. Each leaf is a variable of its own, so that CEL reports a misspelt member at load.
type variable struct {
	name  string
	about string // for the reference, in Markdown
	kind  *cel.Type
	get   func(*Input) any // a string, a time.Time, or a map[string]string
}

func text(name, about string, get func(*Input) string) variable {
	return variable{name, about, cel.StringType, func(in *Input) any { return get(in) }}
}

func variableTable() []variable {
	words := cel.MapType(cel.StringType, cel.StringType)
	return []variable{
		text("owner.name", "Whom to credit, as in `Owner`: `maria.lopez@example.com`, or a role's name.", func(in *Input) string { return in.Owner.Name }),
		text("owner.kind", "`person`, `workload`, `service` or `none`.", func(in *Input) string { return string(in.Owner.Kind) }),
		{"owner.attributes", "The other columns of the owner's row in the directory: `owner.attributes.department`.", words, func(in *Input) any { return in.Owner.Attributes }},
		text("identity.type", "`userIdentity.type`: `IAMUser`, `AssumedRole`, `Root`, ...", func(in *Input) string { return in.Identity.Type }),
		text("identity.principal_id", "`userIdentity.principalId`, whole: `AROAEXAMPLE:maria.lopez@example.com`.", func(in *Input) string { return in.Identity.PrincipalID }),
		text("identity.arn", "`userIdentity.arn`, of the session for an assumed role.", func(in *Input) string { return in.Identity.ARN }),
		text("identity.account_id", "The account of the caller.", func(in *Input) string { return in.Identity.AccountID }),
		text("identity.user_name", "`userIdentity.userName`, of IAM users and federated ones.", func(in *Input) string { return in.Identity.UserName }),
		text("identity.role_name", "The role that was assumed, without its path.", func(in *Input) string { return in.Identity.RoleName }),
		text("identity.session_name", "The role session's name.", func(in *Input) string { return in.Identity.SessionName }),
		text("identity.source_identity", "`sourceIdentity`, which survives role chaining.", func(in *Input) string { return in.Identity.SourceIdentity }),
		text("identity.invoked_by", "The service that called for somebody: `cloudformation.amazonaws.com`.", func(in *Input) string { return in.Identity.InvokedBy }),
		text("event.id", "`eventID`.", func(in *Input) string { return in.Record.EventID }),
		text("event.source", "The service: `ec2.amazonaws.com`.", func(in *Input) string { return in.Record.EventSource }),
		text("event.name", "The call: `RunInstances`.", func(in *Input) string { return in.Record.EventName }),
		{"event.time", "When it was called.", cel.TimestampType, func(in *Input) any { return in.Record.EventTime }},
		text("event.region", "The Region that recorded it.", func(in *Input) string { return in.Record.AWSRegion }),
		text("event.account_id", "The account that recorded it.", func(in *Input) string { return in.Record.RecipientAccountID }),
		text("event.source_ip", "`sourceIPAddress`; a service's name where one called.", func(in *Input) string { return in.Record.SourceIPAddress }),
		text("event.user_agent", "`userAgent`, at most 2,048 bytes of it.", func(in *Input) string { return in.Record.UserAgent }),
		text("resource.arn", "Its ARN.", func(in *Input) string { return in.Resource.ARN }),
		text("resource.id", "Its id or name: `i-0123456789abcdef0`.", func(in *Input) string { return in.Resource.ID }),
		text("resource.type", "Its kind, as `autotagd catalog` shows it: `AWS::EC2::Instance`.", func(in *Input) string { return in.Resource.Type }),
		text("resource.service", "The service's short name: `ec2`.", func(in *Input) string { return in.Resource.Service }),
		text("resource.region", "The Region where it is.", func(in *Input) string { return in.Resource.Scope.Region }),
		text("resource.account_id", "The account where it is.", func(in *Input) string { return in.Resource.Scope.AccountID }),
		{"resource.tags", "The tags that it was given at its creation.", words, func(in *Input) any { return in.Resource.Tags }},
	}
}

// Variable is a name that expressions can use, for the reference.
type Variable struct{ Name, Type, About string }

// Variables returns every name that expressions can use, in order.
func Variables() []Variable {
	var all []Variable
	for _, v := range variableTable() {
		all = append(all, Variable{v.name, typeName(v.kind), v.about})
	}
	return all
}

// variables resolves names for one evaluation.
type variables struct {
	in    *Input
	table map[string]func(*Input) any
}

// ResolveName implements cel.Activation.
func (v *variables) ResolveName(name string) (any, bool) {
	get, ok := v.table[name]
	if !ok {
		return nil, false
	}
	switch value := get(v.in).(type) {
	case string:
		return types.String(cut(value)), true
	case map[string]string:
		return words{types.NewStringStringMap(types.DefaultTypeAdapter, value), value}, true
	case time.Time:
		return types.Timestamp{Time: value.UTC()}, true
	}
	return nil, false
}

// Parent implements cel.Activation.
func (*variables) Parent() cel.Activation { return nil }

// words is a map in which an absent key reads as "", as every other thing that a Record lacks. Only `in` and has() tell.
type words struct {
	traits.Mapper
	values map[string]string
}

// Find implements traits.Mapper.
func (w words) Find(key ref.Val) (ref.Val, bool) { return w.Get(key), true }

// Get implements traits.Indexer.
func (w words) Get(key ref.Val) ref.Val {
	k, ok := key.(types.String)
	if !ok {
		return types.NewErr("keys are text")
	}
	return types.String(cut(w.values[string(k)]))
}

// Contains implements traits.Container.
func (w words) Contains(key ref.Val) ref.Val {
	k, ok := key.(types.String)
	if !ok {
		return types.False
	}
	_, found := w.values[string(k)]
	return types.Bool(found)
}

// cut bounds s to maxSeen bytes of valid UTF-8.
func cut(s string) string {
	if len(s) > maxSeen {
		end := maxSeen
		for end > 0 && !utf8.RuneStart(s[end]) {
			end--
		}
		s = s[:end]
	}
	return strings.ToValidUTF8(s, string(utf8.RuneError))
}

// newEnv makes the one environment of a Compile: the standard functions without the macros that loop, and a few of CEL's string extensions.
func newEnv(table []variable) (*cel.Env, error) {
	opts := []cel.EnvOption{
		cel.StdLib(),
		cel.ClearMacros(),
		cel.Macros(cel.GlobalMacro("has", 1, expandHas)),
		cel.ParserExpressionSizeLimit(maxExprSize),
		cel.RegexProgramSizeLimit(maxRegex),
		cel.ASTValidators(cel.ValidateRegexLiterals(), cel.ValidateTimestampLiterals(), cel.ValidateDurationLiterals()),
	}
	for _, v := range table {
		opts = append(opts, cel.Variable(v.name, v.kind))
	}
	return cel.NewCustomEnv(append(opts, stringFunctions()...)...)
}

// expandHas turns has(a.b) into a test that suits words and text alike.
func expandHas(eh cel.MacroExprFactory, _ ast.Expr, args []ast.Expr) (ast.Expr, *cel.Error) {
	arg := args[0]
	if arg.Kind() != ast.SelectKind {
		return nil, eh.NewError(arg.ID(), "has() takes a member, as has(owner.attributes.department)")
	}
	member := arg.AsSelect()
	if member.Operand().Kind() == ast.SelectKind {
		return eh.NewCall(operators.In, eh.NewLiteral(types.String(member.FieldName())), member.Operand()), nil
	}
	return eh.NewCall(operators.NotEquals, arg, eh.NewLiteral(types.String(""))), nil
}

// attributesOf returns what the expression reads of owner.attributes, by name: a.b, a["b"], "b" in a.
func attributesOf(checked *cel.Ast) []string {
	const attributes = "owner.attributes"
	is := func(e ast.Expr) bool { return e.Kind() == ast.IdentKind && e.AsIdent() == attributes }
	var names []string
	literal := func(e ast.Expr) {
		if s, ok := e.AsLiteral().(types.String); ok && e.Kind() == ast.LiteralKind {
			names = append(names, string(s))
		}
	}
	ast.PreOrderVisit(checked.NativeRep().Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		switch e.Kind() {
		case ast.SelectKind:
			if s := e.AsSelect(); is(s.Operand()) {
				names = append(names, s.FieldName())
			}
		case ast.CallKind:
			switch call := e.AsCall(); {
			case call.FunctionName() == operators.Index && is(call.Args()[0]):
				literal(call.Args()[1])
			case call.FunctionName() == operators.In && is(call.Args()[1]):
				literal(call.Args()[0])
			}
		}
	}))
	return names
}

// stringFunctions are those of CEL's strings extension that a tag value needs, under the same names. Their results are bounded.
func stringFunctions() []cel.EnvOption {
	str := cel.StringType
	change := func(name string, f func(string) string) cel.EnvOption {
		return cel.Function(name, cel.MemberOverload("string_"+name, []*cel.Type{str}, str,
			cel.UnaryBinding(func(s ref.Val) ref.Val { return made(f(string(s.(types.String)))) })))
	}
	return []cel.EnvOption{
		change("lowerAscii", func(s string) string { return mapASCII(s, 'A', 'Z', 'a') }),
		change("upperAscii", func(s string) string { return mapASCII(s, 'a', 'z', 'A') }),
		change("trim", strings.TrimSpace),
		cel.Function("replace", cel.MemberOverload("string_replace", []*cel.Type{str, str, str}, str,
			cel.FunctionBinding(func(args ...ref.Val) ref.Val {
				s, old, with := string(args[0].(types.String)), string(args[1].(types.String)), string(args[2].(types.String))
				if len(s)+strings.Count(s, old)*(len(with)-len(old)) > maxMade {
					return types.NewErr("replace makes too long a text")
				}
				return made(strings.ReplaceAll(s, old, with))
			}))),
		cel.Function("split", cel.MemberOverload("string_split", []*cel.Type{str, str}, cel.ListType(str),
			cel.BinaryBinding(func(s, sep ref.Val) ref.Val {
				if len(s.(types.String)) > maxMade {
					return types.NewErr("split of too long a text")
				}
				return types.NewStringList(types.DefaultTypeAdapter, strings.Split(string(s.(types.String)), string(sep.(types.String))))
			}))),
	}
}

func made(s string) ref.Val {
	if len(s) > maxMade {
		return types.NewErr("too long a text")
	}
	return types.String(s)
}

func mapASCII(s string, from, to, base rune) string {
	return strings.Map(func(r rune) rune {
		if r >= from && r <= to {
			return r - from + base
		}
		return r
	}, s)
}

// evalCondition returns whether the condition holds.
func evalCondition(p cel.Program, vars *variables) (bool, error) {
	out, err := eval(p, vars)
	if err != nil {
		return false, err
	}
	return out == types.True, nil
}

// evalTemplate returns the value, or "" where one of its expressions gave nothing.
func evalTemplate(parts []part, vars *variables) (string, error) {
	var b strings.Builder
	for _, p := range parts {
		if !p.isExpr {
			b.WriteString(p.text)
			continue
		}
		out, err := eval(p.program, vars)
		if err != nil {
			return "", fmt.Errorf("${%s}: %w", p.text, err)
		}
		s, ok := out.ConvertToType(types.StringType).(types.String)
		if !ok {
			return "", fmt.Errorf("${%s}: gave a %s, which is no text", p.text, out.Type().TypeName())
		}
		if strings.TrimSpace(string(s)) == "" {
			return "", nil
		}
		b.WriteString(string(s))
	}
	return b.String(), nil
}

func eval(p cel.Program, vars *variables) (ref.Val, error) {
	out, _, err := p.Eval(vars)
	if err != nil {
		return nil, errors.New(plainMessage(err.Error()))
	}
	return out, nil
}

// textual reports whether values of type t have an obvious form as text.
func textual(t *cel.Type) bool {
	switch t.Kind() {
	case types.StringKind, types.IntKind, types.UintKind, types.DoubleKind, types.BoolKind, types.TimestampKind, types.DynKind:
		return true
	}
	return false
}

func typeName(t *cel.Type) string { return cel.FormatCELType(t) }

// plainMessage puts CEL's message in plainer words, on one line, without the list of tokens that the parser would have taken.
func plainMessage(s string) string {
	s, _, _ = strings.Cut(s, " expecting ")
	s = strings.TrimPrefix(s, "Syntax error: ")
	s = strings.Replace(s, "mismatched input '<EOF>'", "the expression is cut short", 1)
	s = strings.Replace(s, "mismatched input", "unexpected", 1)
	s = strings.Replace(s, "extraneous input", "unexpected", 1)
	s = strings.Replace(s, "token recognition error at:", "unexpected", 1)
	s = regexp.MustCompile(`'_([-+*/%=!<>&|]+)_'`).ReplaceAllString(s, "'$1'")
	return strings.Join(strings.Fields(s), " ")
}
