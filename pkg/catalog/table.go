package catalog

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/autotagd/autotagd/pkg/resource"
)

// columns of a table, in order.
const columns = "service\tsource\tevent\ttype\tarn\tid\ttemplate\ttag_api\tiam_action\ttags\tconfidence\tcommon\toptions\tnote"

const columnCount = 14

// maxTableBytes bounds an extra table. The embedded one has half a megabyte.
const maxTableBytes = 16 << 20

// Errors are all mistakes of a table, in its order.
type Errors []error

func (e Errors) Error() string { return errors.Join(e...).Error() }

// Unwrap returns them for errors.Is and errors.As.
func (e Errors) Unwrap() []error { return e }

// RowError is a malformed row.
type RowError struct {
	Table string // file name, as far as known
	Line  int    // from 1
	Err   error
}

func (e *RowError) Error() string { return fmt.Sprintf("%s:%d: %v", e.Table, e.Line, e.Err) }

// Unwrap returns what is wrong.
func (e *RowError) Unwrap() error { return e.Err }

// readTable reads the i-th extra table, counted from 0. A reader with a Name method, such as a file, is called by it in errors.
func readTable(i int, r io.Reader) ([]*Row, error) {
	name := fmt.Sprintf("extra catalog %d", i+1)
	if named, ok := r.(interface{ Name() string }); ok {
		name = named.Name()
	}
	b, err := io.ReadAll(io.LimitReader(r, maxTableBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if len(b) > maxTableBytes {
		return nil, fmt.Errorf("%s: more than %d MB; want a table of a few rows", name, maxTableBytes>>20)
	}
	return parseTable(name, string(b), true)
}

// parseTable reads a table. The error is Errors, one for each malformed row; without thorough it leaves cells unread that
// are not needed yet. Rows keep parts of s.
func parseTable(name, s string, thorough bool) ([]*Row, error) {
	rows := make([]*Row, 0, strings.Count(s, "\n"))
	var bad Errors
	number, headed := 0, false
	for line := range strings.Lines(s) {
		number++
		line = strings.TrimRight(line, "\r\n")
		if line == "" || line[0] == '#' {
			continue
		}
		if !headed {
			headed = true
			if line != columns {
				return nil, Errors{&RowError{name, number, fmt.Errorf("wrong heading; want these columns, a tab between: %s", strings.ReplaceAll(columns, "\t", " "))}}
			}
			continue
		}
		row, err := parseRow(line)
		if err == nil && thorough {
			_, err = row.rules()
		}
		if err != nil {
			bad = append(bad, &RowError{name, number, err})
			continue
		}
		row.Line = number
		rows = append(rows, row)
	}
	if !headed && len(bad) == 0 {
		bad = append(bad, &RowError{name, number, errors.New("no heading")})
	}
	if len(bad) > 0 {
		return nil, bad
	}
	return rows, nil
}

// parseRow reads one line. What a row needs only for its events is left for Row.rules.
func parseRow(line string) (*Row, error) {
	var c [columnCount]string
	n := 0
	for cell := range strings.SplitSeq(line, "\t") {
		if n < columnCount {
			c[n] = cell
		}
		n++
	}
	if n != columnCount {
		return nil, fmt.Errorf("%d columns; want %d, a tab between", n, columnCount)
	}
	for i, column := range [...]string{"service", "source", "event", "type"} {
		if c[i] == "" {
			return nil, fmt.Errorf("no %s", column)
		}
	}
	row := &Row{
		Services:     strings.Split(c[0], "|"),
		EventSources: strings.Split(c[1], "|"),
		EventNames:   strings.Split(c[2], "|"),
		ResourceType: c[3],
		IAMAction:    c[8],
		Confidence:   resource.Confidence(c[10]),
		Note:         c[13],
		cells:        cells{arn: c[4], id: c[5], template: c[6], tagAPIs: c[7], tags: c[9], options: c[12]},
	}
	switch row.Confidence {
	case resource.Verified, resource.Model, resource.Guess:
	default:
		return nil, fmt.Errorf("bad confidence %.40q; want verified, model or guess", c[10])
	}
	if c[11] != "" {
		rank, err := strconv.Atoi(c[11])
		if err != nil || rank < 1 {
			return nil, fmt.Errorf("bad rank %.20q; want a number from 1, or nothing", c[11])
		}
		row.Common = rank
	}
	return row, nil
}
