package event

import (
	"bytes"
	"errors"
)

// frame follows a JSON object or list byte by byte to where it ends. It is deliberately less strict than JSON: it looks
// at brackets and strings only, so that a record with a small mistake still has an end, and the next one a beginning.
// But it notices early that a record was cut off and that another begins on the next line.
type frame struct {
	open              []byte // the brackets that are open
	prev              byte   // the last byte of { [ , : or 'v' after a value
	inString, escaped bool
}

// maxDepth is encoding/json's own limit.
const maxDepth = 10000

var (
	errLineBreak = errors.New("a line ends inside a string")
	errBracket   = errors.New("a bracket that does not fit")
	errDepth     = errors.New("nested deeper than 10000")
)

// step takes the next byte; done is set when it closes the outermost bracket. After an error the frame can go no further:
// open is then what a reader who wants to skip the rest has to see closed.
func (f *frame) step(c byte) (done bool, err error) {
	if f.inString {
		switch {
		case c == '\n':
			return false, errLineBreak
		case f.escaped:
			f.escaped = false
		case c == '\\':
			f.escaped = true
		case c == '"':
			f.inString = false
		}
		return false, nil
	}
	switch c {
	case ' ', '\t', '\r', '\n':
	case '"':
		f.inString = true
		f.prev = 'v'
	case '{', '[':
		fits := f.mayOpen()
		f.open = append(f.open, c)
		f.prev = c
		if !fits {
			return false, errBracket
		}
		if len(f.open) > maxDepth {
			return false, errDepth
		}
	case '}', ']':
		const toOpening = 2 // in ASCII, each is two after the one it closes
		i := bytes.LastIndexByte(f.open, c-toOpening)
		if i < 0 {
			return false, errBracket
		}
		fits := i == len(f.open)-1
		f.open = f.open[:i]
		f.prev = 'v'
		if !fits {
			return false, errBracket
		}
		return i == 0, nil
	case ',', ':':
		f.prev = c
	default:
		f.prev = 'v'
	}
	return false, nil
}

// mayOpen reports whether an object or a list may begin here.
func (f *frame) mayOpen() bool {
	if len(f.open) == 0 {
		return true
	}
	if f.open[len(f.open)-1] == '{' {
		return f.prev == ':'
	}
	return f.prev == '[' || f.prev == ','
}
