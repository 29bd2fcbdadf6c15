package checkpoint

import (
	"bytes"
	"crypto/sha256"
	"fmt"

	"github.com/autotagd/autotagd/pkg/event"
)

// A file begins with one line that says what it is:
//
//	autotagd checkpoint 1 123456789012/eu-west-1 state 42 1337 sha256:9f86d0…
//
// that is the format of this line, the Scope, the part, the count of its writes (0 for all but the state), the number of
// bytes that follow, and the checksum of the line up to here and of those bytes.
const (
	frameMagic  = "autotagd checkpoint "
	frameFormat = 1
)

func frame(s event.Scope, part string, version int64, data []byte) []byte {
	head := fmt.Sprintf("%s%d %s %s %d %d", frameMagic, frameFormat, s, part, version, len(data))
	out := make([]byte, 0, len(head)+80+len(data))
	out = fmt.Appendf(out, "%s sha256:%x\n", head, frameSum([]byte(head), data))
	return append(out, data...)
}

// frameSum keeps the line and the data apart by the newline, which the line can't have.
func frameSum(head, data []byte) []byte {
	h := sha256.New()
	h.Write(head)
	h.Write([]byte{'\n'})
	h.Write(data)
	return h.Sum(nil)
}

// unframe is the reverse of frame. The errors are a *DamagedError or a *NewerError.
func unframe(s event.Scope, part, path string, file []byte) (version int64, data []byte, err error) {
	damaged := func(format string, args ...any) error {
		return &DamagedError{Part: part, Place: path, Problem: fmt.Sprintf(format, args...)}
	}
	if len(file) == 0 {
		return 0, nil, damaged("it is empty")
	}
	if !bytes.HasPrefix(file, []byte(frameMagic)) {
		return 0, nil, damaged("it does not begin as a file of autotagd does")
	}
	line, data, ok := bytes.Cut(file, []byte{'\n'})
	head, sum, sums := bytes.Cut(line, []byte(" sha256:"))
	if !ok || !sums || len(head) < len(frameMagic) { // the checksum's mark may begin with the magic's last letter
		return 0, nil, damaged("it is cut off in its first line")
	}
	fields := head[len(frameMagic):]
	var format int
	if _, err := fmt.Sscanf(string(fields), "%d", &format); err != nil {
		return 0, nil, damaged("its first line names no format")
	}
	if string(sum) != fmt.Sprintf("%x", frameSum(head, data)) {
		if format > frameFormat {
			return 0, nil, damaged("its checksum is wrong, unless a newer autotagd wrote it (format %d, this one reads up to %d)", format, frameFormat)
		}
		return 0, nil, damaged("its checksum is wrong (%d bytes)", len(file))
	}
	if format > frameFormat {
		return 0, nil, &NewerError{Place: path, Format: format, Max: frameFormat}
	}
	var scope, name string
	var size int
	if _, err := fmt.Sscanf(string(fields), "%d %s %s %d %d", &format, &scope, &name, &version, &size); err != nil {
		return 0, nil, damaged("its first line can't be read: %v", err)
	}
	switch {
	case scope != s.String() || name != part:
		return 0, nil, damaged("it is the part %s of %s", name, scope)
	case size != len(data):
		return 0, nil, damaged("it has %d bytes of data instead of %d", len(data), size)
	case !bytes.Equal(frame(s, part, version, data), file):
		return 0, nil, damaged("its first line is not as autotagd writes it")
	}
	return version, data, nil
}
