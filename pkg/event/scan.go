package event

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"strings"
)

// This file is the part of Reader that finds where records begin and end.

func notRecord(why string) error { return fmt.Errorf("%w: %s", ErrNotRecord, why) }

// next returns the bytes of the next object, list or scalar; nil if there was only punctuation. An error that wraps
// ErrNotRecord stands for one record, and reading goes on; any other is final.
func (r *Reader) next() ([]byte, error) {
	if err := r.open(); err != nil {
		return nil, err
	}
	c, err := r.skipSpace()
	switch {
	case err == io.EOF && r.inList && !r.broken:
		r.inList = false
		return nil, notRecord("the data end inside a list of records")
	case err != nil:
		return nil, err
	case r.inList:
		return r.element(c)
	}
	switch c {
	case '{':
		return r.object()
	case '[':
		r.inList, r.inObject, r.broken = true, false, false
		return nil, nil
	case ',':
		return nil, nil
	}
	return r.scalar(c, "")
}

// object reads an object that is in no list; its first byte was read. If it turns out to be a file of Records it returns
// nil, and the records come one by one.
func (r *Reader) object() ([]byte, error) {
	oneLine := len(r.again) > 0 // read again by resync, and not a third time
	r.begin()
	c := byte('{')
	for {
		if c == '[' && r.atRecords() {
			r.inList, r.inObject, r.broken = true, true, false
			return nil, nil
		}
		done, err := r.take(c)
		switch {
		case done:
			return r.end(), nil
		case err == nil && oneLine && c == '\n':
			return nil, notRecord("the line ends inside a record")
		case err != nil && oneLine:
			if c != '\n' {
				r.skipLine()
			}
			return nil, notRecord(err.Error())
		case err != nil:
			return nil, r.resync(err, c)
		}
		c, err = r.readByte()
		if err == io.EOF {
			return nil, r.resync(errEnd, 0)
		} else if err != nil {
			return nil, err
		}
	}
}

var errEnd = errors.New("the data end inside a record")

// atRecords reports whether a list that begins here is the Records of a log file or the Events of a LookupEvents answer.
func (r *Reader) atRecords() bool {
	if len(r.frame.open) != 1 || r.frame.prev != ':' || r.frame.inString {
		return false
	}
	key := bytes.TrimRight(r.buf, jsonSpace)
	key = bytes.TrimRight(bytes.TrimSuffix(key, []byte(":")), jsonSpace)
	for _, name := range [...]string{`"Records"`, `"Events"`} {
		if n := len(key) - len(name); n >= 0 && strings.EqualFold(string(key[n:]), name) {
			return true
		}
	}
	return false
}

// resync decides where to go on after the object in r.buf broke, at its last byte c or, if c is 0, at the end of the data.
// A line that was cut off makes what follows it look like its inside. So where the lines look like one record each, the
// object was its first line alone, and the others are read again, each for itself. Otherwise it is given up.
func (r *Reader) resync(cause error, c byte) error {
	broken := notRecord(cause.Error())
	line := bytes.IndexByte(r.buf, '\n') + 1
	first, second := r.buf[:line], r.buf[line:]
	switch {
	case line == 0 && c != 0:
		r.skipLine()
	case line == 0, len(second) == 0:
	case wholeLine(first) && wholeLine(second) && strings.IndexByte(" \t\r\n\"]},", second[0]) < 0:
		r.again = bytes.Clone(second)
	case c != 0:
		if len(r.frame.open) == 0 { // a bracket of the wrong kind: the last line's is still to come
			r.frame.open = append(r.frame.open, '{')
		}
		r.giveUp(c)
	}
	return broken
}

// wholeLine reports whether the line that b begins with could hold a record, rather than the first bracket of one.
func wholeLine(b []byte) bool {
	line, _, more := bytes.Cut(b, []byte("\n"))
	return !more || len(bytes.TrimRight(line, jsonSpace)) > 1
}

// element reads the next element of a list; its first byte c was read. A missing comma is forgiven.
func (r *Reader) element(c byte) ([]byte, error) {
	switch c {
	case '{', '[':
	case ',':
		return nil, nil
	case ']':
		r.inList = false
		if !r.inObject {
			return nil, nil
		}
		r.begin()
		r.frame.open = append(r.frame.open, '{')
		if closed := r.skipRest(c); !closed && !r.broken { // whatever else the object has
			return nil, notRecord("the data end inside the object that has the records")
		}
		return nil, nil
	case '}':
		if r.broken {
			return nil, nil
		}
		fallthrough
	default:
		return r.scalar(c, ",]}")
	}
	r.begin()
	for {
		done, err := r.take(c)
		if done {
			return r.end(), nil
		}
		if err != nil {
			r.broken = true
			r.giveUp(c)
			return nil, notRecord(err.Error())
		}
		c, err = r.readByte()
		if err == io.EOF {
			r.broken = true // one answer is enough
			return nil, notRecord(errEnd.Error())
		} else if err != nil {
			return nil, err
		}
	}
}

// begin prepares for taking an object or list.
func (r *Reader) begin() {
	const keep = 1 << 20
	if cap(r.buf) > keep {
		r.buf = nil
	}
	r.buf = r.buf[:0]
	r.frame = frame{open: r.frame.open[:0]}
}

var errLong = fmt.Errorf("longer than %d MiB", maxBytes>>20)

// take adds c to what is being read; done is set when that is complete.
func (r *Reader) take(c byte) (done bool, err error) {
	done, err = r.frame.step(c)
	if len(r.buf) < maxBytes {
		r.buf = append(r.buf, c)
	} else if err == nil {
		return false, errLong
	}
	if err == nil && r.frame.inString {
		r.takeText()
	}
	return done, err
}

// takeText takes what needs no look: most bytes of a record are inside strings.
func (r *Reader) takeText() {
	if r.frame.escaped || len(r.back)+len(r.again) > 0 {
		return
	}
	b, _ := r.in.Peek(min(r.in.Buffered(), maxBytes-len(r.buf)))
	n := 0
	for n < len(b) && b[n] != '"' && b[n] != '\\' && b[n] != '\n' {
		n++
	}
	r.buf = append(r.buf, b[:n]...)
	_, _ = r.in.Discard(n) // it is buffered: this cannot fail
}

// end returns what was taken.
func (r *Reader) end() []byte { return bytes.Clone(r.buf) }

// giveUp skips the rest of what broke at its last byte c: to its closing bracket, or to a line that begins with an
// opening one.
func (r *Reader) giveUp(c byte) {
	if n := len(r.buf); (c == '{' || c == '[') && n > 1 && r.buf[n-2] == '\n' {
		r.unread(c)
		return
	}
	r.skipRest(c)
}

// skipRest skips until all open brackets are closed, or until a line begins with an opening one; closed is false if the
// data end before. prev is the byte read last.
func (r *Reader) skipRest(prev byte) (closed bool) {
	depth, inString, escaped := len(r.frame.open), r.frame.inString && prev != '\n', r.frame.escaped
	for depth > 0 {
		c, err := r.readByte()
		switch {
		case err != nil:
			return false
		case c == '\n':
			inString, escaped = false, false
		case escaped:
			escaped = false
		case inString:
			escaped, inString = c == '\\', c != '"'
		case c == '"':
			inString = true
		case c == '{' || c == '[':
			if prev == '\n' {
				r.unread(c)
				return true
			}
			depth++
		case c == '}' || c == ']':
			depth--
		}
		prev = c
	}
	return true
}

// scalar reads what is neither object nor list, from its first byte c to the end of the line or, outside of strings, to a
// byte in stops. Only its beginning is kept: it is no record anyhow.
func (r *Reader) scalar(c byte, stops string) ([]byte, error) {
	const keep = 4096
	var kept []byte
	inString, escaped := false, false
	for {
		switch {
		case escaped:
			escaped = false
		case inString:
			escaped, inString = c == '\\', c != '"'
		case c == '"':
			inString = true
		}
		if len(kept) < keep {
			kept = append(kept, c)
		}
		var err error
		c, err = r.readByte()
		switch {
		case err == io.EOF || err == nil && c == '\n':
			return kept, nil
		case err != nil:
			return nil, err
		case !inString && strings.IndexByte(stops, c) >= 0:
			r.unread(c)
			return kept, nil
		}
	}
}

// skipLine skips the rest of the line.
func (r *Reader) skipLine() {
	for {
		if c, err := r.readByte(); err != nil || c == '\n' {
			return
		}
	}
}

// skipSpace returns the next byte that is not space.
func (r *Reader) skipSpace() (byte, error) {
	for {
		c, err := r.readByte()
		if err != nil || strings.IndexByte(jsonSpace, c) < 0 {
			return c, err
		}
	}
}

// readByte returns the next byte. Once it has failed it fails for ever, so whoever skips need not look at the error.
func (r *Reader) readByte() (byte, error) {
	if len(r.back) > 0 {
		c := r.back[0]
		r.back = nil
		return c, nil
	}
	if len(r.again) > 0 {
		c := r.again[0]
		r.again = r.again[1:]
		return c, nil
	}
	if r.failed != nil {
		return 0, r.failed
	}
	c, err := r.in.ReadByte()
	if err != nil && err != io.EOF {
		err = fmt.Errorf("read records: %w", err)
	}
	r.failed = err
	return c, err
}

// unread gives back the byte read last.
func (r *Reader) unread(c byte) { r.back = []byte{c} }

// open looks at the first bytes of the data: gzip is unpacked, a byte order mark left out.
func (r *Reader) open() error {
	if r.opened {
		return nil
	}
	r.opened = true
	if magic, _ := r.in.Peek(2); string(magic) == "\x1f\x8b" { // an error comes again when reading
		z, err := gzip.NewReader(r.in)
		if err != nil {
			return fmt.Errorf("read records: %w", err)
		}
		r.in = bufio.NewReaderSize(z, 64<<10)
	}
	if mark, _ := r.in.Peek(3); string(mark) == "\xef\xbb\xbf" {
		_, err := r.in.Discard(len(mark))
		return err
	}
	return nil
}
