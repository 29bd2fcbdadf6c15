package directory

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxFileSize bounds a file, in bytes: three hundred thousand people.
const maxFileSize = 16 << 20

// nameColumn is the first column of every file.
const nameColumn = "name"

// Parse reads the CSV in data. file is what messages call it. Its error is an Errors with every mistake.
//
// Cells are separated by commas, and quoted where they hold one. Spaces around a cell don't count, nor do blank lines and the
// mark that spreadsheets put before UTF-8.
func Parse(file string, data []byte) (*Directory, error) {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	p := &parser{
		data: data, d: &Directory{exact: make(map[string]row)},
		shared: make(map[string]map[string]string), errs: mistakes{file: file},
	}
	switch {
	case len(data) > maxFileSize:
		p.errs.add(1, 1, fmt.Sprintf("has more than %d bytes", maxFileSize), "want fewer rows, with globs for people who have all in common")
	case bytes.HasPrefix(data, []byte("\xff\xfe")), bytes.HasPrefix(data, []byte("\xfe\xff")):
		p.errs.add(1, 1, "is UTF-16", "want the file saved as CSV in UTF-8")
	default:
		p.checkEncoding()
		p.read()
	}
	if err := p.errs.located(data); err != nil {
		return nil, err
	}
	return p.d, nil
}

// parser fills a Directory from one file.
type parser struct {
	data   []byte
	d      *Directory
	header []string                     // with name; nil where it can't be read
	shared map[string]map[string]string // by the cells after the name: people of one department have one map
	errs   mistakes
}

// checkEncoding finds the lines that are not UTF-8.
func (p *parser) checkEncoding() {
	if utf8.Valid(p.data) {
		return
	}
	line := 0
	for text := range bytes.Lines(p.data) {
		line++
		for at := 0; at < len(text); {
			r, size := utf8.DecodeRune(text[at:])
			if r == utf8.RuneError && size == 1 {
				p.errs.add(line, at+1, "not UTF-8", "want the file saved as CSV in UTF-8")
				break
			}
			at += size
		}
	}
}

func (p *parser) read() {
	r := csv.NewReader(bytes.NewReader(p.data))
	r.FieldsPerRecord = -1 // counted here, so that all that are wrong are told
	r.TrimLeadingSpace = true
	for first := true; ; {
		cells, err := r.Read()
		switch bad := (*csv.ParseError)(nil); {
		case errors.Is(err, io.EOF):
			if first {
				p.errs.add(1, 1, "the file is empty", "want a header, as name,department,cost_center")
			}
			return
		case errors.As(err, &bad):
			p.badQuote(bad)
			first = false // a header that can't be read is reported: what follows is rows all the same
			continue
		case err != nil: // there is none: the reader is in memory
			p.errs.add(1, 1, err.Error(), "want CSV")
			return
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		switch {
		case len(cells) == 1 && cells[0] == "": // a blank line
		case first:
			p.readHeader(r, cells)
			first = false
		default:
			p.readRow(r, cells)
		}
	}
}

func (p *parser) badQuote(bad *csv.ParseError) {
	const want = "want a cell with quotes in it in quotes itself, and each quote in it twice"
	switch {
	case errors.Is(bad.Err, csv.ErrBareQuote):
		p.errs.add(bad.Line, bad.Column, "a quote inside a cell that does not begin with one", want)
	case bad.Line != bad.StartLine:
		p.errs.add(bad.StartLine, 1, "a quote in this row is never closed, or text follows where it is closed", want)
	default:
		p.errs.add(bad.Line, bad.Column, "a quote is never closed, or text follows where it is closed", want)
	}
}

func (p *parser) readHeader(r *csv.Reader, cells []string) {
	p.header = cells
	p.d.columns = cells[1:]
	seen := make(map[string]string, len(cells))
	for i, column := range cells {
		line, at := r.FieldPos(i)
		fail := func(what, want string) { p.errs.add(line, at, what, want) }
		other, twice := seen[fold(column)]
		seen[fold(column)] = column
		switch {
		case i == 0 && column != nameColumn && strings.ContainsAny(column, ";\t"):
			fail("no header with the column name: the first is "+quote(column), "want commas between the cells, as name,department,cost_center")
		case i == 0 && column != nameColumn:
			fail("no header with the column name: the first is "+quote(column), "want a header, as name,department,cost_center")
		case i == 0:
		case column == "":
			fail("a column without a name", "want one, as department, or no comma there")
		case twice && other == column:
			fail("the column is there twice: "+quote(column), "want it once")
		case twice:
			fail(fmt.Sprintf("the column %s differs from %s in case alone", quote(column), quote(other)), "want it once")
		}
	}
}

func (p *parser) readRow(r *csv.Reader, cells []string) {
	p.d.rows++
	line, at := r.FieldPos(0)
	if n := len(p.header); n > 0 && len(cells) != n {
		at := at
		if len(cells) > n {
			_, at = r.FieldPos(n)
		}
		p.errs.add(line, at, fmt.Sprintf("the row has %s, and the header %d", count(len(cells)), n),
			"want as many, an empty one where nothing is known, and quotes around a cell with a comma")
	}
	name := cells[0]
	switch {
	case name == "":
		p.errs.add(line, at, "an empty name", "want an owner's name, or * for everyone who is in no row before it")
		return
	case len(name) > maxName:
		p.errs.add(line, at, "too long a name: "+quote(name), fmt.Sprintf("want at most %d bytes", maxName))
		return
	}
	g, text, err := readName(name)
	if err != nil {
		p.errs.add(line, at, fmt.Sprintf("not a glob: %s: %v", quote(name), err), `want a name, with * for any characters, ? for one, [a-z] for one of these, and \ before one of these that is meant itself`)
		return
	}
	if len(p.errs.all) > 0 {
		return // only mistakes matter by now
	}
	found := row{p.d.rows, p.attributes(cells)}
	if g != nil {
		p.d.globs = append(p.d.globs, globRow{found, g})
	} else if _, before := p.d.exact[text]; !before {
		p.d.exact[text] = found
	}
}

func count(cells int) string {
	if cells == 1 {
		return "1 cell"
	}
	return strconv.Itoa(cells) + " cells"
}

// attributes returns the cells after the name by column, without the empty ones.
func (p *parser) attributes(cells []string) map[string]string {
	var key strings.Builder
	for _, cell := range cells[1:] {
		key.WriteString(strconv.Itoa(len(cell)))
		key.WriteByte(' ')
		key.WriteString(cell)
	}
	m, ok := p.shared[key.String()]
	if !ok {
		m = make(map[string]string, len(cells)-1)
		for i, cell := range cells[1:] {
			if cell != "" {
				m[p.header[i+1]] = strings.Clone(cell) // not the whole line with it
			}
		}
		p.shared[key.String()] = m
	}
	return m
}
