// Package directory knows what an organization says of the owners of resources: the department, the cost center, or whatever
// else a CSV file has a column for.
//
// The file has a header. Its first column is name: an owner's name, or a glob that stands for many. The first row that
// matches wins, so that exceptions come first and a catch-all comes last. Names match whole and literally, but for the case
// of letters: nothing is normalized, no domain is cut off. See glob for what * ? [ and \ mean.
//
// Invariants: a Directory is immutable and safe for concurrent use, and no name, however long or odd, makes an answer take
// long: see maxName. A file with any mistake gives no Directory, but every mistake with its place; so a File keeps the last
// good one while an operator mends the next.
package directory

import "strings"

// maxName bounds a name, in bytes: the longest that AWS has for a caller are half as long. A longer one matches no row, since
// a Record can hold a megabyte where a name should be.
const maxName = 512

// Directory is what one reading of a file gave.
type Directory struct {
	columns []string // without name, in the file's order
	rows    int
	exact   map[string]row // by folded name: the rows whose name stands for itself
	globs   []globRow      // in the file's order
}

// row is what the directory has of an owner, and where in the file's order that stands.
type row struct {
	at         int
	attributes map[string]string
}

type globRow struct {
	row
	glob glob
}

// Attributes returns what the columns say of the owner of that name, by column: of the first row that matches, the cells that
// are not empty. It reports whether any row matches. The map is shared and must not be changed.
func (d *Directory) Attributes(name string) (map[string]string, bool) {
	if len(name) > maxName {
		return nil, false
	}
	folded := fold(name)
	found, ok := d.exact[folded]
	var runes []rune
	for i := range d.globs {
		g := &d.globs[i]
		if ok && found.at < g.at {
			break
		}
		if runes == nil {
			runes = []rune(folded)
		}
		if g.glob.match(runes) {
			return g.attributes, true
		}
	}
	return found.attributes, ok
}

// Columns returns the names of the columns after name, in the file's order.
func (d *Directory) Columns() []string { return append([]string(nil), d.columns...) }

// Rows returns how many rows the file has below its header.
func (d *Directory) Rows() int { return d.rows }

// fold makes texts equal that differ in case alone, as strings.EqualFold compares.
func fold(s string) string { return strings.Map(foldRune, s) }
