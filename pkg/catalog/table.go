package catalog

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/autotagd/autotagd/pkg/resource"
	"github.com/autotagd/autotagd/pkg/tagapi"
)

// columns of a table, in order.
const columns = "service\tsource\tevent\ttype\tarn\tid\ttemplate\ttag_api\tiam_action\ttags\tconfidence\tcommon\toptions\tnote"

const columnCount = 14

// maxTableBytes bounds an extra table. The embedded one has half a megabyte.
const maxTableBytes = 16 << 20

// Errors are all mistakes of the tables, in their order.
type Errors []*RowError

func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, err := range e {
		lines[i] = err.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns them for errors.Is and errors.As.
func (e Errors) Unwrap() []error {
	errs := make([]error, len(e))
	for i, err := range e {
		errs[i] = err
	}
	return errs
}

// RowError is one mistake in a row, or in a table as a whole.
type RowError struct {
	Table string // file name, as far as known
	Line  int    // from 1; 0 for the table as a whole
	Err   error  // what is wrong, and what is wanted
}

func (e *RowError) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("%s: %v", e.Table, e.Err)
	}
	return fmt.Sprintf("%s:%d: %v", e.Table, e.Line, e.Err)
}

// Unwrap returns what is wrong.
func (e *RowError) Unwrap() error { return e.Err }

// readTable reads the i-th extra table, counted from 0. A reader with a Name method, such as a file, is called by it in errors.
func readTable(i int, r io.Reader, calls *tagapi.Table) ([]*Row, Errors) {
	name := fmt.Sprintf("extra catalog %d", i+1)
	if named, ok := r.(interface{ Name() string }); ok {
		name = named.Name()
	}
	b, err := io.ReadAll(io.LimitReader(r, maxTableBytes+1))
	if err != nil {
		return nil, Errors{{name, 0, fmt.Errorf("cannot be read: %w; want a table", err)}}
	}
	if len(b) > maxTableBytes {
		return nil, Errors{{name, 0, fmt.Errorf("more than %d MB; want a table of a few rows", maxTableBytes>>20)}}
	}
	return parseTable(name, string(b), calls)
}

// parseTable reads a table. It returns rows with mistakes too, as long as their columns can be told apart. It is thorough where it
// is given the calls that there are; without, it leaves cells unread that are not needed yet, and takes their form on trust. Rows keep parts of s.
func parseTable(name, s string, thorough *tagapi.Table) ([]*Row, Errors) {
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
				return nil, Errors{{name, number, fmt.Errorf("wrong heading; want these columns, a tab between: %s", strings.ReplaceAll(columns, "\t", " "))}}
			}
			continue
		}
		row, errs := parseRow(line)
		if thorough != nil && row != nil {
			errs = append(errs, row.check(line, thorough)...)
		}
		for _, err := range errs {
			bad = append(bad, &RowError{name, number, err})
		}
		if row != nil {
			row.Line = number
			rows = append(rows, row)
		}
	}
	if !headed {
		bad = append(bad, &RowError{name, number, fmt.Errorf("no heading; want these columns, a tab between: %s", strings.ReplaceAll(columns, "\t", " "))})
	}
	return rows, bad
}

// parseRow reads one line. What a row needs only for its events is left for Row.rules. Where there is no telling the columns
// apart it returns no Row.
func parseRow(line string) (*Row, []error) {
	var c [columnCount]string
	n := 0
	for cell := range strings.SplitSeq(line, "\t") {
		if n < columnCount {
			c[n] = cell
		}
		n++
	}
	if n != columnCount {
		return nil, []error{fmt.Errorf("%d columns; want %d, a tab between", n, columnCount)}
	}
	var bad []error
	for i, column := range [...]string{"service", "source", "event", "type"} {
		if c[i] == "" {
			bad = append(bad, fmt.Errorf("no %s; want one in column %d", column, i+1))
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
		bad = append(bad, fmt.Errorf("bad confidence %.40q; want verified, model or guess", c[10]))
	}
	if c[11] != "" {
		rank, err := strconv.Atoi(c[11])
		if err != nil || rank < 1 {
			bad = append(bad, fmt.Errorf("bad rank %.20q; want a number from 1, or nothing", c[11]))
		}
		row.Common = rank
	}
	return row, bad
}

// check returns what is wrong with the row beside what parseRow finds: the form of its names, which go into log lines,
// metrics and policies, and its cells.
func (row *Row) check(line string, calls *tagapi.Table) []error {
	var bad []error
	if !utf8.ValidString(line) || strings.ContainsFunc(line, func(r rune) bool { return r != '\t' && !unicode.IsPrint(r) }) {
		bad = append(bad, errors.New("a character that cannot be printed; want text in UTF-8"))
	}
	each := func(names []string, ok func(string) bool, column, want string) {
		for _, name := range names {
			if name != "" && ok(name) || name == "" && len(names) == 1 { // parseRow reports an empty cell
				continue
			}
			bad = append(bad, fmt.Errorf("bad %s %.80q; want %s", column, name, want))
		}
	}
	each(row.Services, isService, "service", `its short name, as ec2 or s3; several joined by "|"`)
	each(row.EventSources, func(s string) bool { return isName(s, "-.") }, "source", `CloudTrail's eventSource, as ec2.amazonaws.com; several joined by "|"`)
	each(row.EventNames, func(s string) bool { return isName(s, "_-.:") }, "event", `CloudTrail's eventName, as RunInstances; several joined by "|"`)
	each([]string{row.ResourceType}, func(s string) bool { return strings.Contains(s, ":") && isName(s, "_-.:/") }, "type", "a CloudFormation type, as AWS::S3::Bucket, or prefix:type")
	each(strings.Split(row.IAMAction, "+"), isAction, "iam_action", `service:Action, several joined by "+"`)
	_, err := row.rules()
	return append(append(bad, apart(err)...), row.checkCalls(calls)...)
}

// apart takes errors that were joined apart again.
func apart(err error) []error {
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var all []error
	for _, inner := range joined.Unwrap() {
		all = append(all, apart(inner)...)
	}
	return all
}

// isName reports whether s has at most 128 characters, all of them ASCII letters, digits or in others.
func isName(s, others string) bool {
	return s != "" && len(s) <= 128 && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune(others, r)
	})
}

// isService reports whether s has the form of a service's name, as in services.
func isService(s string) bool {
	return isName(s, "-") && len(s) <= 64 && s == strings.ToLower(s) && s[0] != '-'
}

// isAction reports whether s names one IAM action, whole: a policy may be made of it.
func isAction(s string) bool {
	service, action, ok := strings.Cut(s, ":")
	return ok && isName(service, "-") && isName(action, "")
}
