package config

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// Error is one mistake in the configuration, or in a file that it names.
type Error struct {
	File         string
	Line, Column int    // from 1, in characters; 0 where the mistake has none
	Key          string // "accounts[1].role_arn"; "" for the file as a whole
	What         string
	Want         string // "" where What says it
}

// Error has the form FILE:LINE:COLUMN: key: what is wrong; what is wanted.
func (e *Error) Error() string {
	var b strings.Builder
	if e.File != "" {
		b.WriteString(e.File)
		if e.Line > 0 {
			fmt.Fprintf(&b, ":%d", e.Line)
		}
		if e.Column > 0 {
			fmt.Fprintf(&b, ":%d", e.Column)
		}
		b.WriteString(": ")
	}
	if e.Key != "" {
		b.WriteString(e.Key + ": ")
	}
	b.WriteString(e.What)
	if e.Want != "" {
		b.WriteString("; " + e.Want)
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) { // text of the file, in a name or a message of a parser, that a terminal might obey
			return unicode.ReplacementChar
		}
		return r
	}, b.String())
}

// Errors are all mistakes of a configuration, in the order of its file; those of files that it names come after. Error has a
// line for each.
type Errors []*Error

func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, err := range e {
		lines[i] = err.Error()
	}
	return strings.Join(lines, "\n")
}

// Join returns the mistakes of all errs as one Errors, in order, file by file as they first come; nil if there is none. What
// is no Errors comes back alone.
func Join(errs ...error) error {
	var all Errors
	for _, err := range errs {
		var mistakes Errors
		switch {
		case err == nil:
		case errors.As(err, &mistakes):
			all = append(all, mistakes...)
		default:
			return err
		}
	}
	return all.orNil()
}

// orNil returns e as an error, and no error where there is no mistake.
func (e Errors) orNil() error {
	if len(e) == 0 {
		return nil
	}
	files := make(map[string]int)
	for _, mistake := range e {
		if _, ok := files[mistake.File]; !ok {
			files[mistake.File] = len(files)
		}
	}
	slices.SortStableFunc(e, func(a, b *Error) int {
		return cmp.Or(files[a.File]-files[b.File], a.Line-b.Line, a.Column-b.Column)
	})
	return e
}

// origin is where a Config came from, for mistakes that are found after Load.
type origin struct {
	file   string
	places map[string]place // by key, of the value
}

type place struct{ line, column int }

func (o origin) mistake(key, what, want string) *Error {
	p := o.places[key]
	return &Error{File: o.file, Line: p.line, Column: p.column, Key: key, What: what, Want: want}
}

// index is the key of a list's item i.
func index(key string, i int) string { return fmt.Sprintf("%s[%d]", key, i) }

// member is the key of name inside key: tags.Owner, but tags["a b"].
func member(key, name string) string {
	plain := name != "" && strings.IndexFunc(name, func(r rune) bool {
		return r != '_' && r != '-' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	}) < 0
	switch {
	case !plain:
		return key + "[" + quote(name) + "]"
	case key == "":
		return name
	}
	return key + "." + name
}

// quote shows s in a message: on one line, printable, not too long.
func quote(s string) string {
	if r := []rune(s); len(r) > 60 {
		return fmt.Sprintf("%+q...", string(r[:57]))
	}
	return fmt.Sprintf("%+q", s)
}

func contains(list []string, s string) bool { return slices.Contains(list, s) }

// suggestion asks whether near was meant, and says want where there is none.
func suggestion(near, want string) string {
	if near == "" {
		return want
	}
	return "did you mean " + near + "?"
}

// nearest returns the one of names that s may be a slip of, or "".
func nearest(s string, names []string) string {
	best, bestDistance := "", min(1+len(s)/4, 3)
	for _, name := range names {
		if len(s) > 64 {
			break
		}
		if d := distance(strings.ToLower(s), strings.ToLower(name)); d < bestDistance || best == "" && d == bestDistance {
			best, bestDistance = name, d
		}
	}
	return best
}

// distance is how many insertions, deletions, replacements and swaps of neighbours turn a into b.
func distance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(last[j+1]+1, row[j]+1, last[j]+cost)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
