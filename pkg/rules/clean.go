package rules

import (
	"fmt"
	"strings"
	"unicode"
)

// What every tag API accepts. Lengths are in UTF-16 code units: AWS says characters, and some services count so.
const (
	MaxTags        = 50
	MaxKeyLength   = 127 // the guide says 128, EC2's model 127
	MaxValueLength = 256
)

const allowedText = "letters, digits, spaces and + - = . _ : / @"

// allowed reports whether every tag API takes r in keys and values: the class [\p{L}\p{Z}\p{N}_.:/=+\-@] of the Resource Groups
// Tagging API, but for the line and paragraph separators, which would break the lines of whoever prints a tag.
func allowed(r rune) bool {
	switch r {
	case '+', '-', '=', '.', '_', ':', '/', '@':
		return true
	case unicode.ReplacementChar:
		return false
	}
	return unicode.IsLetter(r) || unicode.In(r, unicode.N, unicode.Zs)
}

// firstRefused returns the place, in code points, of the first character that allowed refuses, or -1.
func firstRefused(s string) (int, rune) {
	at := 0
	for _, r := range s {
		if !allowed(r) {
			return at, r
		}
		at++
	}
	return -1, 0
}

// Clean makes s a value that every tag API accepts. Characters that one of them refuses become '_', spaces around it go, and
// it is cut to MaxValueLength on a character's boundary. The case is kept. Nothing acceptable gives "".
func Clean(s string) string {
	var b strings.Builder
	length, space := 0, 0 // space: units of trailing spaces, held back until something follows
	var held []rune
	for _, r := range s {
		switch {
		case unicode.Is(unicode.Z, r) || unicode.IsSpace(r):
			if b.Len() == 0 {
				continue
			}
			if !allowed(r) {
				r = ' '
			}
			held = append(held, r)
			space += utf16Width(r)
			if length+space >= MaxValueLength {
				return b.String()
			}
			continue
		case !allowed(r):
			r = '_'
		}
		if length+space+utf16Width(r) > MaxValueLength {
			break
		}
		for _, h := range held {
			b.WriteRune(h)
		}
		b.WriteRune(r)
		length += space + utf16Width(r)
		held, space = held[:0], 0
	}
	return b.String()
}

// CheckKey returns an error unless every tag API accepts key: 1 to MaxKeyLength characters of the allowed ones, and no aws: before them.
func CheckKey(key string) error {
	if _, what, want := checkKey(key); what != "" {
		return fmt.Errorf("tag key %.80q: %s; %s", key, what, want)
	}
	return nil
}

// checkKey also returns where in key the mistake is, in code points.
func checkKey(key string) (offset int, what, want string) {
	if strings.TrimSpace(key) == "" {
		return 0, "an empty tag key", "want a name, as Owner"
	}
	if len(key) >= 4 && strings.EqualFold(key[:4], "aws:") {
		return 0, "tag keys that begin with aws: are AWS's own", "want another name"
	}
	if at, r := firstRefused(key); at >= 0 {
		return at, fmt.Sprintf("character %q cannot be in a tag key", r), "want " + allowedText
	}
	if strings.TrimSpace(key) != key {
		return 0, "spaces around a tag key", "want it without them"
	}
	if n := utf16Len(key); n > MaxKeyLength {
		return 0, fmt.Sprintf("the tag key is %d characters long", n), fmt.Sprintf("want at most %d", MaxKeyLength)
	}
	return 0, "", ""
}

func utf16Width(r rune) int {
	if r > 0xFFFF {
		return 2
	}
	return 1
}

func utf16Len(s string) int {
	n := 0
	for _, r := range s {
		n += utf16Width(r)
	}
	return n
}
