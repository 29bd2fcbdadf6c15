package event

import (
	"bufio"
	"errors"
	"fmt"
	"io"
)

// maxBytes is the size beyond which one record is refused. CloudTrail's are at most 256 KB, 1 MB in an event data store.
const maxBytes = 32 << 20

// Reader reads CloudTrail records in every form in which they are kept: bare, over one line or many; files with a list
// of Records; EventBridge envelopes; LookupEvents answers; lists of any of these; one after another, mixed. What is
// compressed with gzip is unpacked. It holds one record at a time, and one file of Records never as a whole.
//
// It goes on after a record that cannot be read: with the next line, or where the next record begins.
type Reader struct {
	in     *bufio.Reader
	opened bool
	failed error  // what in gave at last
	back   []byte // at most one byte, to be read before again
	again  []byte // to be read before in
	number int    // of the last answer
	final  error  // after it nothing follows

	queue []value // what was unpacked and is still to be answered

	inList   bool // inside a list that is read element by element
	inObject bool // ... which is a member of an object
	broken   bool // its end may be lost

	buf   []byte // the object that is being read, as far as it was
	frame frame  // and where in it that is
}

// RecordError says that one record could not be read. The Reader goes on with the following one.
type RecordError struct {
	Number int // counted from 1
	Err    error
}

func (e *RecordError) Error() string { return fmt.Sprintf("record %d: %v", e.Number, e.Err) }
func (e *RecordError) Unwrap() error { return e.Err }

// NewReader returns a Reader of r. It reads nothing yet.
func NewReader(r io.Reader) *Reader { return &Reader{in: bufio.NewReaderSize(r, 64<<10)} }

// Next returns the next record and its number, counted from 1 over everything that was given an answer. A *RecordError
// stands for one record; after it comes the next. At the end the error is io.EOF; any other is one of reading, and final.
func (r *Reader) Next() (*Record, int, error) {
	for {
		if len(r.queue) > 0 {
			v := r.queue[0]
			r.queue = r.queue[1:]
			return r.answer(parseValue(v))
		}
		if r.final != nil {
			return nil, r.number, r.final
		}
		b, err := r.next()
		switch {
		case errors.Is(err, ErrNotRecord):
			return r.answer(nil, err)
		case err != nil:
			r.final = err
		case b != nil:
			v := valueOf(b)
			if v == nil {
				return r.answer(nil, fmt.Errorf("%w: %s", ErrNotRecord, whyInvalid(b)))
			}
			r.unpack(v, 0)
		}
	}
}

func (r *Reader) answer(rec *Record, err error) (*Record, int, error) {
	r.number++
	if err != nil {
		return nil, r.number, &RecordError{r.number, err}
	}
	return rec, r.number, nil
}

// maxWrapping bounds how deep a record may be wrapped: an answer's event in an envelope in a list is three.
const maxWrapping = 6

// unpack puts the records in v on the queue, and v itself if it has none.
func (r *Reader) unpack(v value, depth int) {
	var inner []value
	if depth < maxWrapping {
		inner = v.wrapped()
	}
	if inner == nil {
		r.queue = append(r.queue, v)
	}
	for _, list := range inner {
		for element := range list.elements() {
			r.unpack(element, depth+1)
		}
	}
}

// wrapped returns what v wraps; nil if v is not known to wrap anything.
func (v value) wrapped() []value {
	if v.is('[') {
		return []value{v}
	}
	if found := v.find("CloudTrailEvent"); len(found) > 0 { // of a LookupEvents answer: JSON in a string
		if inner := valueOf([]byte(found[0].text())); inner != nil {
			return []value{inner}
		}
		return found[:1] // a string: no record
	}
	if _, err := parseValue(v); err == nil {
		return nil
	}
	for _, name := range [...]string{"detail", "Records", "Events"} {
		for _, inner := range v.find(name) {
			if inner.is('{') || inner.is('[') {
				return []value{inner}
			}
		}
	}
	return nil
}
