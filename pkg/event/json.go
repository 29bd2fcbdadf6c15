package event

import (
	"bytes"
	"encoding/json"
	"iter"
	"strings"
	"unicode/utf8"
)

// value is one JSON value, valid and without space around it. Its methods walk it in place: they copy nothing, and their
// memory does not depend on how deep it is. On bytes that are not valid JSON they give something meaningless, but end.
type value []byte

// valueOf returns the JSON value in b, or nil if b is not valid JSON.
func valueOf(b []byte) value {
	if !json.Valid(b) { // also refuses nesting beyond 10,000
		return nil
	}
	return value(bytes.Trim(b, jsonSpace))
}

const jsonSpace = " \t\r\n"

func (v value) is(first byte) bool { return len(v) > 0 && v[0] == first }
func (v value) isNull() bool       { return len(v) == 0 || v[0] == 'n' }

// members yields the members of an object, in order; nothing if v is no object. Keys are decoded.
func (v value) members() iter.Seq2[string, value] {
	return func(yield func(string, value) bool) {
		if !v.is('{') {
			return
		}
		for i := next(v, 1); i < len(v) && v[i] == '"'; {
			keyEnd := skip(v, i)
			start := next(v, next(v, keyEnd)+1) // past the colon
			end := skip(v, start)
			if start >= len(v) || !yield(value(v[i:keyEnd]).text(), v[start:end]) {
				return
			}
			i = next(v, next(v, end)+1) // past the comma
		}
	}
}

// elements yields the elements of a list, the elements of lists in it, and v itself if it is no list: AWS writes one
// thing as one element or without a list, and several as a list.
func (v value) elements() iter.Seq[value] {
	return func(yield func(value) bool) {
		for i := 0; i < len(v); {
			switch v[i] {
			case '[', ']', ',', ' ', '\t', '\r', '\n':
				i++
				continue
			}
			end := skip(v, i)
			if !yield(v[i:end]) {
				return
			}
			i = end
		}
	}
}

// holdsNothing reports whether v is an empty list, object or string.
func (v value) holdsNothing() bool {
	switch {
	case v.is('['):
		for range v.elements() {
			return false
		}
		return true
	case v.is('{'):
		for range v.members() {
			return false
		}
		return true
	}
	return len(v) == 2 && v[0] == '"'
}

// text returns a string's content, with invalid UTF-8 replaced; "" if v is no string.
func (v value) text() string {
	if len(v) < 2 || v[0] != '"' {
		return ""
	}
	if inner := v[1 : len(v)-1]; bytes.IndexByte(inner, '\\') < 0 && utf8.Valid(inner) {
		return string(inner)
	}
	var s string
	if json.Unmarshal(v, &s) != nil {
		return ""
	}
	return s
}

// hidden is what CloudTrail writes in place of a value that it must not show.
const hidden = "HIDDEN_DUE_TO_SECURITY_REASONS"

// scalar returns a string, number or boolean as text; ok is false for anything else, and for what was hidden.
func (v value) scalar() (s string, ok bool) {
	if len(v) == 0 {
		return "", false
	}
	switch v[0] {
	case '{', '[', 'n':
		return "", false
	case '"':
		s = v.text()
	default:
		s = string(v)
	}
	return s, s != hidden
}

// find returns the values of the members called name: those spelled exactly so or, failing that, in another case. (EC2
// writes a counter "tag" beside the list "Tag".) Members that are null are not there.
func (v value) find(name string) []value {
	var exact, folded []value
	for key, val := range v.members() {
		switch {
		case val.isNull():
		case key == name:
			exact = append(exact, val)
		case len(exact) == 0 && strings.EqualFold(key, name):
			folded = append(folded, val)
		}
	}
	if len(exact) > 0 {
		return exact
	}
	return folded
}

// next returns the index of the first byte from i on that is not space.
func next(b []byte, i int) int {
	for i < len(b) && strings.IndexByte(jsonSpace, b[i]) >= 0 {
		i++
	}
	return min(i, len(b))
}

// skip returns the end of the value that begins at i.
func skip(b []byte, i int) int {
	depth := 0
	for i < len(b) {
		switch b[i] {
		case '"':
			i = skipString(b, i)
		case '{', '[':
			depth++
			i++
			continue
		case '}', ']':
			depth--
			i++
		case ',', ':', ' ', '\t', '\r', '\n':
			i++
			continue
		default:
			for i++; i < len(b) && strings.IndexByte(",:]} \t\r\n", b[i]) < 0; {
				i++
			}
		}
		if depth <= 0 {
			return i
		}
	}
	return len(b)
}

// skipString returns the index past the string that begins at i.
func skipString(b []byte, i int) int {
	for i++; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(b)
}
