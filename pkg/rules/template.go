package rules

import (
	"strings"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
)

// part is a piece of a tag value: literal text, or an expression.
type part struct {
	text    string // the literal, or the expression's source
	offset  int    // of text in the value, in code points
	isExpr  bool
	program cel.Program
}

type templateError struct {
	offset     int
	what, want string
}

// parseTemplate cuts value into literal text and the expressions inside ${...}. There is no escape for "${", since no tag value may hold it.
func parseTemplate(value string) ([]part, *templateError) {
	var parts []part
	start := 0 // of the literal that is being read
	literal := func(end int) {
		if end > start {
			parts = append(parts, part{text: value[start:end], offset: utf8.RuneCountInString(value[:start])})
		}
	}
	for i := 0; i < len(value); {
		switch {
		case strings.HasPrefix(value[i:], "${"):
			literal(i)
			end := exprEnd(value, i+2)
			at := utf8.RuneCountInString(value[:i])
			if end < 0 {
				return nil, &templateError{at, "${ has no } that ends it", "want ${EXPRESSION}"}
			}
			if strings.TrimSpace(value[i+2:end]) == "" {
				return nil, &templateError{at, "${} holds no expression", "want one, as ${owner.name}"}
			}
			parts = append(parts, part{text: value[i+2 : end], offset: at + 2, isExpr: true})
			i = end + 1
			start = i
		default:
			i++
		}
	}
	literal(len(value))
	return parts, nil
}

// exprEnd returns the index of the brace that ends the expression starting at i, or -1. Braces of CEL's own, in map
// literals, strings and comments, don't end it.
func exprEnd(s string, i int) int {
	for depth := 0; i < len(s); {
		switch c := s[i]; c {
		case '{':
			depth++
			i++
		case '}':
			if depth == 0 {
				return i
			}
			depth--
			i++
		case '\'', '"':
			i = stringEnd(s, i)
		case '/':
			i++
			if i < len(s) && s[i] == '/' {
				for i < len(s) && s[i] != '\n' {
					i++
				}
			}
		default:
			i++
		}
	}
	return -1
}

// stringEnd returns the index after the CEL string literal whose opening quote is at i, or len(s) where it never ends.
func stringEnd(s string, i int) int {
	raw := i > 0 && (s[i-1] == 'r' || s[i-1] == 'R')
	quote := s[i : i+1]
	if triple := strings.Repeat(quote, 3); strings.HasPrefix(s[i:], triple) {
		quote = triple
	}
	for i += len(quote); i < len(s); {
		switch {
		case s[i] == '\\' && !raw:
			i += 2
		case strings.HasPrefix(s[i:], quote):
			return i + len(quote)
		default:
			i++
		}
	}
	return len(s)
}
