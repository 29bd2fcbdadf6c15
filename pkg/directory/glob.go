package directory

import (
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"
)

// glob is a compiled pattern over a whole name: * is any characters, also none; ? is one; [a-z] is one of these and [^a-z] one
// that is none of them; \ takes the next character for itself. The rest is literal. It is what path.Match takes, but that * and
// ? also match a slash, and that the case of letters does not count.
type glob []token

type token struct {
	kind    tokenKind
	literal rune // folded
	spans   []span
	negated bool
}

type tokenKind int

const (
	literal tokenKind = iota
	anyText
	anyOne
	class
)

type span struct{ low, high rune }

// The ways in which a glob is malformed.
var (
	errEscape = errors.New(`\ ends it`)
	errClass  = errors.New("[ without its ]")
	errEmpty  = errors.New("[ without a character in it")
	errRange  = errors.New("a range in [ ] that is not two characters, the lower one first")
)

// readName returns the glob that a row's name is, or, where it matches one name alone, that one, folded. It fails with one of
// the errors above.
func readName(name string) (glob, string, error) {
	if !strings.ContainsAny(name, `*?[\`) { // nearly every row
		return nil, fold(name), nil
	}
	g, err := compileGlob(name)
	if err != nil {
		return nil, "", err
	}
	var text strings.Builder
	for _, t := range g {
		if t.kind != literal {
			return g, "", nil
		}
		text.WriteRune(t.literal)
	}
	return nil, text.String(), nil
}

func compileGlob(pattern string) (glob, error) {
	var g glob
	in := []rune(pattern)
	for i := 0; i < len(in); i++ {
		switch in[i] {
		case '*':
			if len(g) == 0 || g[len(g)-1].kind != anyText { // two are one
				g = append(g, token{kind: anyText})
			}
		case '?':
			g = append(g, token{kind: anyOne})
		case '[':
			t, end, err := compileClass(in, i+1)
			if err != nil {
				return nil, err
			}
			g = append(g, t)
			i = end
		case '\\':
			if i++; i == len(in) {
				return nil, errEscape
			}
			fallthrough
		default:
			g = append(g, token{literal: foldRune(in[i])})
		}
	}
	return g, nil
}

// compileClass reads what is between brackets, from in[i]; end is where the closing one is.
func compileClass(in []rune, i int) (t token, end int, err error) {
	t.kind = class
	if i < len(in) && in[i] == '^' {
		t.negated = true
		i++
	}
	// one reads a character that stands for itself.
	one := func() (rune, error) {
		if i < len(in) && in[i] == '\\' {
			i++
		} else if i < len(in) && (in[i] == '-' || in[i] == ']') {
			return 0, errRange
		}
		if i >= len(in) {
			return 0, errClass
		}
		i++
		return in[i-1], nil
	}
	for i < len(in) && in[i] != ']' {
		var s span
		if s.low, err = one(); err != nil {
			return t, 0, err
		}
		s.high = s.low
		if i < len(in) && in[i] == '-' {
			i++
			if s.high, err = one(); err != nil {
				return t, 0, err
			}
		}
		if s.high < s.low {
			return t, 0, errRange
		}
		t.spans = append(t.spans, s)
	}
	switch {
	case i >= len(in):
		return t, 0, errClass
	case len(t.spans) == 0:
		return t, 0, errEmpty
	}
	return t, i, nil
}

// match reports whether g matches the folded name. It goes back to the last * alone, so that it takes at most the product of
// both lengths.
func (g glob) match(name []rune) bool {
	at, i := 0, 0
	star, from := -1, 0 // the last * met, and where in name what follows it was tried
	for i < len(name) {
		switch {
		case at < len(g) && g[at].kind == anyText:
			star, from = at, i
			at++
		case at < len(g) && g[at].takes(name[i]):
			at++
			i++
		case star >= 0:
			from++
			at, i = star+1, from
		default:
			return false
		}
	}
	for at < len(g) && g[at].kind == anyText {
		at++
	}
	return at == len(g)
}

// takes reports whether t, which is no *, matches the folded r.
func (t *token) takes(r rune) bool {
	switch t.kind {
	case literal:
		return t.literal == r
	case class:
		return t.has(r) != t.negated
	case anyOne, anyText:
	}
	return true
}

// has reports whether r, in any of its cases, is in the class: a range may cover one case of a letter only.
func (t *token) has(r rune) bool {
	for other := r; ; {
		for _, s := range t.spans {
			if s.low <= other && other <= s.high {
				return true
			}
		}
		if other = unicode.SimpleFold(other); other == r {
			return false
		}
	}
}

// foldRune returns the one rune that stands for r and all its other cases.
func foldRune(r rune) rune {
	if r < utf8.RuneSelf && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') {
		return r
	}
	least := r
	for other := unicode.SimpleFold(r); other != r; other = unicode.SimpleFold(other) {
		least = min(least, other)
	}
	if 'A' <= least && least <= 'Z' {
		return least - 'A' + 'a' // names are lower case mostly: then fold need not copy them
	}
	return least
}
