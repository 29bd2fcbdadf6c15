package directory_test

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/autotagd/autotagd/pkg/directory"
)

func parse(t testing.TB, text string) *directory.Directory {
	t.Helper()
	d, err := directory.Parse("people.csv", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestAttributes(t *testing.T) {
	const people = `name,department,cost_center
maria.lopez@example.com,Data Science,4711
contractor-*@example.com,Purchasing,
*@lab.example.com, Research ,4712
anna@lab.example.com,Board,1
maria.lopez@example.com,Second,2
ci-[a-c]?,Platform,4713
CORP\\bob,Sales,4714
a\*,Stars,
straße,Roads,
ÅNGSTRÖM,Units,
carl,,
slash/*,Paths,
`
	department := func(s string) map[string]string { return map[string]string{"department": s} }
	both := func(s, c string) map[string]string { return map[string]string{"department": s, "cost_center": c} }
	for _, test := range []struct {
		name, owner string
		want        map[string]string // nil: no row
	}{
		{"a name", "maria.lopez@example.com", both("Data Science", "4711")},
		{"another case", "Maria.Lopez@EXAMPLE.com", both("Data Science", "4711")},
		{"part of a name", "maria.lopez", nil},
		{"more than a name", "maria.lopez@example.com.evil.example", nil},
		{"a dot is a dot", "mariaxlopez@example.com", nil},
		{"space around", " maria.lopez@example.com", nil},
		{"a star, and an empty cell", "contractor-12@example.com", department("Purchasing")},
		{"a star takes nothing too", "contractor-@example.com", department("Purchasing")},
		{"spaces around a cell", "bert@lab.example.com", both("Research", "4712")},
		{"a glob before the name", "anna@lab.example.com", both("Research", "4712")},
		{"a class and a question mark", "CI-b7", both("Platform", "4713")},
		{"out of the class", "ci-d7", nil},
		{"too short for a question mark", "ci-a", nil},
		{"a backslash before a backslash", `corp\bob`, both("Sales", "4714")},
		{"a backslash before a star", "a*", department("Stars")},
		{"which is none any more", "ab", nil},
		{"letters beyond ASCII", "STRAßE", department("Roads")},
		{"in other case", "ångström", department("Units")},
		{"the Kelvin sign's relative", "\u212bngström", department("Units")},
		{"a row of empty cells", "carl", map[string]string{}},
		{"a star takes a slash", "slash/a/b", department("Paths")},
		{"nobody", "", nil},
		{"as long as can be", "contractor-" + strings.Repeat("x", 489) + "@example.com", department("Purchasing")},
		{"longer", "contractor-" + strings.Repeat("x", 490) + "@example.com", nil},
		{"a megabyte", strings.Repeat("contractor-", 100_000), nil},
		{"not UTF-8", "maria.lopez@example.com\xff", nil},
		{"control characters", "contractor-\x00\x1b[31m\u202e@example.com", department("Purchasing")},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, ok := parse(t, people).Attributes(test.owner)
			if ok != (test.want != nil) {
				t.Errorf("found = %t, want %t", ok, test.want != nil)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestForms(t *testing.T) {
	for _, test := range []struct{ name, text string }{
		{"plain", "name,department\nalice,Sales\n"},
		{"without a last line break", "name,department\nalice,Sales"},
		{"as Excel writes it", "\ufeffname,department\r\nalice,Sales\r\n"},
		{"blank lines", "\n\nname,department\n\n  \nalice,Sales\n\n"},
		{"quoted", "\"name\", \"department\"\nalice, \"Sales\"\n"},
		{"a catch-all", "name,department\nbob,Board\n*,Sales\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := parse(t, test.text)
			got, ok := d.Attributes("alice")
			if !ok || got["department"] != "Sales" {
				t.Errorf("alice: %v, %t", got, ok)
			}
			if diff := cmp.Diff([]string{"department"}, d.Columns()); diff != "" {
				t.Error(diff)
			}
		})
	}
	d := parse(t, "name,team\nalice,\"Sales, \"\"EMEA\"\"\nand more\"\n")
	if got, _ := d.Attributes("alice"); got["team"] != "Sales, \"EMEA\"\nand more" || d.Rows() != 1 {
		t.Errorf("%q in %d rows", got, d.Rows())
	}
	d = parse(t, "name,Cost Center,in,1st,--,\xc3\xa9t\xc3\xa9\nalice,4711,a,b,c,d\n")
	want := map[string]string{"Cost Center": "4711", "in": "a", "1st": "b", "--": "c", "\u00e9t\u00e9": "d"}
	if got, _ := d.Attributes("alice"); !maps.Equal(got, want) {
		t.Errorf("columns of any name: %q, want %q", got, want)
	}
	if d := parse(t, "name\nalice\n"); d.Rows() != 1 || len(d.Columns()) != 0 {
		t.Errorf("names alone: %d rows, columns %q", d.Rows(), d.Columns())
	}
}

func TestMistakes(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"all at once", "name,Cost Center,department,Department,department,,name\nalice,1,2\n,1,2,3,4,5,6\n[a,1,2,3,4,5,6\nb\xffb,1,2,3,4,5,6\nalice,1,2,3,4,5,6,7,8\n", `
people.csv:1:29: the column "Department" differs from "department" in case alone; want it once
people.csv:1:40: the column "department" differs from "Department" in case alone; want it once
people.csv:1:51: a column without a name; want one, as department, or no comma there
people.csv:1:52: the column is there twice: "name"; want it once
people.csv:2:1: the row has 3 cells, and the header 7; want as many, an empty one where nothing is known, and quotes around a cell with a comma
people.csv:3:1: an empty name; want an owner's name, or * for everyone who is in no row before it
people.csv:4:1: not a glob: "[a": [ without its ]; want a name, with * for any characters, ? for one, [a-z] for one of these, and \ before one of these that is meant itself
people.csv:5:2: not UTF-8; want the file saved as CSV in UTF-8
people.csv:6:19: the row has 9 cells, and the header 7; want as many, an empty one where nothing is known, and quotes around a cell with a comma`},
		{"empty", "", `
people.csv:1:1: the file is empty; want a header, as name,department,cost_center`},
		{"blank", "\n \n", `
people.csv:1:1: the file is empty; want a header, as name,department,cost_center`},
		{"no header", "alice,Sales\nbob\n", `
people.csv:1:1: no header with the column name: the first is "alice"; want a header, as name,department,cost_center
people.csv:2:1: the row has 1 cell, and the header 2; want as many, an empty one where nothing is known, and quotes around a cell with a comma`},
		{"name in another place", "department,name\n", `
people.csv:1:1: no header with the column name: the first is "department"; want a header, as name,department,cost_center`},
		{"name in another case", "Name,department\n", `
people.csv:1:1: no header with the column name: the first is "Name"; want a header, as name,department,cost_center`},
		{"semicolons", "name;department\nalice;Sales\n", `
people.csv:1:1: no header with the column name: the first is "name;department"; want commas between the cells, as name,department,cost_center`},
		{"columns are characters, not bytes", "name,a\n\"äöü\",\"ß\",x\n", `
people.csv:2:11: the row has 3 cells, and the header 2; want as many, an empty one where nothing is known, and quotes around a cell with a comma`},
		{"quotes", "name,a\nal\"ice,Sales\n\"bob\"by,x\ncarl,\"x\n\"y\"\n,1\n", `
people.csv:2:3: a quote inside a cell that does not begin with one; want a cell with quotes in it in quotes itself, and each quote in it twice
people.csv:3:5: a quote is never closed, or text follows where it is closed; want a cell with quotes in it in quotes itself, and each quote in it twice
people.csv:4:1: a quote in this row is never closed, or text follows where it is closed; want a cell with quotes in it in quotes itself, and each quote in it twice
people.csv:6:1: an empty name; want an owner's name, or * for everyone who is in no row before it`},
		{"a header that can't be read", "na\"me,a\nalice,Sales\n,x\n", `
people.csv:1:3: a quote inside a cell that does not begin with one; want a cell with quotes in it in quotes itself, and each quote in it twice
people.csv:3:1: an empty name; want an owner's name, or * for everyone who is in no row before it`},
		{"globs", "name\n[\n[]\n[a-]\n[z-a]\na\\\n[\\\n", `
people.csv:2:1: not a glob: "[": [ without its ]; want GLOB
people.csv:3:1: not a glob: "[]": [ without a character in it; want GLOB
people.csv:4:1: not a glob: "[a-]": a range in [ ] that is not two characters, the lower one first; want GLOB
people.csv:5:1: not a glob: "[z-a]": a range in [ ] that is not two characters, the lower one first; want GLOB
people.csv:6:1: not a glob: "a\\": \ ends it; want GLOB
people.csv:7:1: not a glob: "[\\": [ without its ]; want GLOB`},
		{"UTF-16", "\xff\xfen\x00a\x00", `
people.csv:1:1: is UTF-16; want the file saved as CSV in UTF-8`},
		{"too long a name", "name\n" + strings.Repeat("x", 513) + "\n", `
people.csv:2:1: too long a name: "` + strings.Repeat("x", 57) + `"...; want at most 512 bytes`},
		{"too large", "name\n" + strings.Repeat("x\n", 8<<20), `
people.csv:1:1: has more than 16777216 bytes; want fewer rows, with globs for people who have all in common`},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := directory.Parse("people.csv", []byte(test.text))
			want := strings.ReplaceAll(strings.TrimPrefix(test.want, "\n"), "GLOB",
				`a name, with * for any characters, ? for one, [a-z] for one of these, and \ before one of these that is meant itself`)
			if diff := cmp.Diff(want, fmt.Sprint(err)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestManyMistakesAreBounded(t *testing.T) {
	_, err := directory.Parse("people.csv", []byte("name,department\n"+strings.Repeat(",\n", 5000)))
	var all directory.Errors
	if !errors.As(err, &all) || len(all) != 1001 || all[1000].Error() != "people.csv: 4000 more mistakes; want these mended first" {
		t.Errorf("%d mistakes, the last %v", len(all), all[len(all)-1])
	}
}

func TestMessagesActOnNoTerminal(t *testing.T) {
	_, err := directory.Parse("a\x1b[2J.csv", []byte("\x1b[31m,\u202e\n"))
	if err == nil || strings.ContainsAny(err.Error(), "\x1b\u202e") {
		t.Errorf("error %q", err)
	}
}

// rowOf is a directory as simple as can be: the first row whose glob, written as a regular expression, matches.
func rowOf(text, owner string) (map[string]string, bool) {
	if len(owner) > 512 {
		return nil, false
	}
	r := csv.NewReader(strings.NewReader(strings.TrimPrefix(text, "\ufeff")))
	r.FieldsPerRecord, r.TrimLeadingSpace = -1, true
	var header []string
	for {
		cells, err := r.Read()
		if errors.Is(err, io.EOF) {
			return nil, false
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		switch {
		case len(cells) == 1 && cells[0] == "":
		case header == nil:
			header = cells
		case regexpOf(cells[0]).MatchString(string([]rune(owner))): // a rune for each byte that is none
			attributes := map[string]string{}
			for i := 1; i < len(cells); i++ {
				if cells[i] != "" {
					attributes[header[i]] = cells[i]
				}
			}
			return attributes, true
		}
	}
}

func regexpOf(glob string) *regexp.Regexp {
	var b strings.Builder
	b.WriteString("(?is)^")
	in := []rune(glob)
	inClass := false
	for i := 0; i < len(in); i++ {
		switch r := in[i]; {
		case r == '\\':
			i++
			fmt.Fprintf(&b, `\x{%x}`, in[i])
		case inClass && (r == '-' || r == ']' || r == '^' && in[i-1] == '['):
			b.WriteRune(r)
			inClass = r != ']'
		case !inClass && r == '*':
			b.WriteString(".*")
		case !inClass && r == '?':
			b.WriteString(".")
		case !inClass && r == '[':
			inClass = true
			b.WriteRune(r)
		default:
			fmt.Fprintf(&b, `\x{%x}`, r)
		}
	}
	b.WriteString("$")
	return regexp.MustCompile(b.String())
}

// A file gives what the simplest directory would, or mistakes that each say where and what.
func FuzzParse(f *testing.F) {
	for _, seed := range [][2]string{
		{"name,department\nalice,Sales\n", "ALICE"},
		{"\ufeffname,a,b\r\n\"a\"\"b\",,x\r\n\r\n*,y,\r\n", `a"b`},
		{"name,a\n[^a-c]?\\*,1\n*/*,2\nCORP\\\\x,3\n", "z/*"},
		{"name,a\n*a*b*c,1\n[k-s]ſ,2\n", "aXbYc"},
		{"name,in,1a,,a,A\n[,1\n\"x\n", "x"},
		{"name;a\n\xff,\x1b\n", "\xff"},
		{"name,A\n[^0][^0],", "\xd8\xdf"},
		{"name,A\n[^0]?\\*,", "\xff\x80*"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, text, owner string) {
		d, err := directory.Parse("people.csv", []byte(text))
		if err == nil {
			got, ok := d.Attributes(owner)
			want, wantOK := rowOf(text, owner)
			if diff := cmp.Diff(want, got); diff != "" || ok != wantOK {
				t.Errorf("%q: found = %t, want %t: %s", owner, ok, wantOK, diff)
			}
			return
		}
		var all directory.Errors
		if !errors.As(err, &all) || len(all) == 0 || d != nil {
			t.Fatalf("no mistake in %v", err)
		}
		lines := strings.Split(strings.TrimPrefix(text, "\ufeff"), "\n")
		for i, e := range all {
			said := e.Error()
			if strings.ContainsFunc(said, func(r rune) bool { return !unicode.IsPrint(r) }) || e.What == "" || !strings.HasPrefix(e.Want, "want ") {
				t.Errorf("message %q", said)
			}
			if e.Line == 0 && i == len(all)-1 && len(all) > 1000 {
				continue // how many were left out
			}
			if e.Line < 1 || e.Line > len(lines) || e.Column < 1 || e.Column > utf8.RuneCountInString(lines[e.Line-1])+1 {
				t.Errorf("no such place: %s", said)
			}
			if i > 0 && e.Line < all[i-1].Line {
				t.Errorf("%s before %s", all[i-1], said)
			}
		}
	})
}

// BenchmarkAttributes is a company of 10,000 people and 1,000 globs: someone with a row, and someone whom only the last one matches.
func BenchmarkAttributes(b *testing.B) {
	var text strings.Builder
	text.WriteString("name,department,cost_center\n")
	for i := range 10_000 {
		fmt.Fprintf(&text, "person.%d@example.com,Department %d,%d\n", i, i%50, i%50)
	}
	for i := range 1000 {
		fmt.Fprintf(&text, "*@team%d.example.com,Team %d,\n", i, i)
	}
	d := parse(b, text.String())
	for _, name := range []string{"person.777@example.com", "someone@team999.example.com"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, ok := d.Attributes(name); !ok {
					b.Fatal("not found")
				}
			}
		})
	}
	b.Run("Parse", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			parse(b, text.String())
		}
	})
}
