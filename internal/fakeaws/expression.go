package fakeaws

import (
	"maps"
	"slices"
	"strings"
)

// expressions are those of one call, with what they refer to. It is strict: every name is given by #name, because most words
// one would take are reserved; what is given must be used, as DynamoDB wants it.
type expressions struct {
	ExpressionAttributeNames  map[string]string `json:",omitempty"`
	ExpressionAttributeValues Item              `json:",omitempty"`

	used map[string]bool
	err  error // the first
}

func (x *expressions) fail(message string) {
	if x.err == nil {
		x.err = invalid("Invalid expression: " + message)
	}
}

func (x *expressions) use(token string) {
	if x.used == nil {
		x.used = map[string]bool{}
	}
	x.used[token] = true
}

func (x *expressions) name(token string) string {
	name, ok := x.ExpressionAttributeNames[token]
	if !ok || !strings.HasPrefix(token, "#") {
		x.fail("An expression attribute name used in the document path is not defined; attribute name: " + token)
	}
	x.use(token)
	return name
}

func (x *expressions) value(token string) Attribute {
	v, ok := x.ExpressionAttributeValues[token]
	if !ok || !strings.HasPrefix(token, ":") {
		x.fail("An expression attribute value used in expression is not defined; attribute value: " + token)
	} else if err := v.check(); err != nil && x.err == nil {
		x.err = err
	}
	x.use(token)
	return v
}

// holds evaluates a ConditionExpression: terms joined by AND, each `attribute_exists(#a)`, `attribute_not_exists(#a)` or
// `#a = :v`.
func (x *expressions) holds(condition string, i Item) bool {
	all := true
	if condition == "" {
		return true
	}
	for _, term := range strings.Split(condition, " AND ") {
		term = strings.TrimSpace(term)
		if name, ok := function(term, "attribute_exists"); ok {
			_, has := i[x.name(name)]
			all = all && has
		} else if name, ok := function(term, "attribute_not_exists"); ok {
			_, has := i[x.name(name)]
			all = all && !has
		} else if name, value, ok := strings.Cut(term, " = "); ok {
			v, has := i[x.name(name)]
			all = x.value(value) == v && has && all
		} else {
			x.fail("the fake cannot read the condition " + term)
		}
	}
	return all
}

// function takes NAME(argument) apart.
func function(term, name string) (string, bool) {
	rest, ok := strings.CutPrefix(term, name+"(")
	argument, closed := strings.CutSuffix(rest, ")")
	return argument, ok && closed
}

// update evaluates an UpdateExpression: sections SET `#a = :v, ...`, REMOVE `#a, ...` and ADD `#a :number, ...`. It returns
// the new item and the names that changed.
func (x *expressions) update(expression string, old Item) (Item, []string) {
	item := maps.Clone(old)
	if item == nil {
		item = Item{}
	}
	var changed []string
	for section, actions := range sections(expression) {
		for _, action := range strings.Split(actions, ",") {
			action = strings.TrimSpace(action)
			var name string
			switch section {
			case "SET":
				left, right, _ := strings.Cut(action, " = ")
				name = x.name(left)
				item[name] = x.value(right)
			case "REMOVE":
				name = x.name(action)
				delete(item, name)
			case "ADD":
				left, right, _ := strings.Cut(action, " ")
				name = x.name(left)
				was, ok := item[name]
				if !ok {
					was = Attribute{'N', "0"}
				}
				sum, err := was.plus(x.value(right))
				if err != nil && x.err == nil {
					x.err = err
				}
				item[name] = sum
			default:
				x.fail("the fake cannot read the update " + expression)
			}
			if slices.Contains(changed, name) {
				x.fail("Two document paths overlap with each other: " + name)
			}
			changed = append(changed, name)
		}
	}
	return item, changed
}

// sections gives the clauses of an update by their first word.
func sections(expression string) map[string]string {
	out, word := map[string]string{}, ""
	for field := range strings.FieldsSeq(expression) {
		switch field {
		case "SET", "REMOVE", "ADD", "DELETE":
			word = field
			if _, twice := out[word]; twice {
				word = "twice " + word
			}
			out[word] = ""
		default:
			out[word] = strings.TrimSpace(out[word] + " " + field)
		}
	}
	return out
}

// names evaluates a ProjectionExpression; nil for none.
func (x *expressions) names(projection string) []string {
	if projection == "" {
		return nil
	}
	var names []string
	for _, token := range strings.Split(projection, ",") {
		names = append(names, x.name(strings.TrimSpace(token)))
	}
	return names
}

// done returns the first error, or what was given and not used.
func (x *expressions) done() error {
	if x.err != nil {
		return x.err
	}
	for token := range x.ExpressionAttributeNames {
		if !x.used[token] {
			return invalid("Value provided in ExpressionAttributeNames unused in expressions: keys: {" + token + "}")
		}
	}
	for token := range x.ExpressionAttributeValues {
		if !x.used[token] {
			return invalid("Value provided in ExpressionAttributeValues unused in expressions: keys: {" + token + "}")
		}
	}
	return nil
}
