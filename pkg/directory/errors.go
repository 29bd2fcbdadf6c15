package directory

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxMistakes are told of one file. It bounds what a log line and a terminal must take.
const maxMistakes = 1000

// Error is one mistake in a file.
type Error struct {
	File         string
	Line, Column int // from 1, in characters; 0 for the count of those that are left out
	What, Want   string
}

// Error has the form FILE:LINE:COLUMN: what is wrong; what is wanted.
func (e *Error) Error() string {
	place := e.File
	if e.Line > 0 {
		place += fmt.Sprintf(":%d:%d", e.Line, e.Column)
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) { // the file's name may hold what a terminal might obey
			return unicode.ReplacementChar
		}
		return r
	}, place+": "+e.What+"; "+e.Want)
}

// Errors are all mistakes of a file, in its order. Error has a line for each.
type Errors []*Error

func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, err := range e {
		lines[i] = err.Error()
	}
	return strings.Join(lines, "\n")
}

// mistakes collects those of one Parse.
type mistakes struct {
	file string
	all  Errors // Column is in bytes until located
	more int
}

func (m *mistakes) add(line, column int, what, want string) {
	if len(m.all) == maxMistakes {
		m.more++
		return
	}
	m.all = append(m.all, &Error{File: m.file, Line: line, Column: column, What: what, Want: want})
}

// located returns what was added as an Errors, its columns in characters of data; nil if there is nothing.
func (m *mistakes) located(data []byte) error {
	if len(m.all) == 0 {
		return nil
	}
	slices.SortStableFunc(m.all, func(a, b *Error) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
	line, next := 0, 0
	for text := range bytes.Lines(data) {
		line++
		text = bytes.TrimSuffix(text, []byte("\n"))
		for ; next < len(m.all) && m.all[next].Line == line; next++ {
			e := m.all[next]
			e.Column = utf8.RuneCount(text[:min(e.Column-1, len(text))]) + 1
		}
		if next == len(m.all) {
			break
		}
	}
	if m.more > 0 {
		m.all = append(m.all, &Error{File: m.file, What: fmt.Sprintf("%d more mistakes", m.more), Want: "want these mended first"})
	}
	return m.all
}

// quote shows s in a message: on one line, printable, not too long.
func quote(s string) string {
	if r := []rune(s); len(r) > 60 {
		return fmt.Sprintf("%+q...", string(r[:57]))
	}
	return fmt.Sprintf("%+q", s)
}
