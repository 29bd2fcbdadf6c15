package event

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Printable returns s for a person to read: what could steer a terminal or mislead the eye (control characters, escape
// sequences, marks that turn the direction of writing, invisible characters, invalid UTF-8) is written out, as in \x1b
// or \u202e; every kind of space is one plain space. At most max bytes are returned, cut between characters, with "..."
// at the end where something was cut and there is room for it.
func Printable(s string, max int) string {
	const more = "..."
	var b strings.Builder
	fits := 0 // length of the longest prefix that leaves room for more
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		piece := s[i : i+size]
		switch {
		case r == utf8.RuneError && size == 1:
			piece = `\x` + strconv.FormatUint(uint64(s[i])|0x100, 16)[1:]
		case unicode.Is(unicode.Zs, r):
			piece = " "
		case !unicode.IsPrint(r):
			piece = strings.Trim(strconv.QuoteRuneToASCII(r), "'")
		}
		if b.Len()+len(piece) > max {
			if len(more) <= max {
				return b.String()[:fits] + more
			}
			return b.String()
		}
		b.WriteString(piece)
		if b.Len() <= max-len(more) {
			fits = b.Len()
		}
		i += size
	}
	return b.String()
}
