package event_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/autotagd/autotagd/pkg/event"
)

// answers reads everything; of each record its EventID, of each that can't be read "!".
func answers(t testing.TB, r io.Reader) []string {
	t.Helper()
	var got []string
	for reader := event.NewReader(r); ; {
		rec, n, err := reader.Next()
		if err == io.EOF {
			return got
		}
		var bad *event.RecordError
		switch {
		case errors.As(err, &bad):
			got = append(got, "!")
			if bad.Number != n || !errors.Is(err, event.ErrNotRecord) {
				t.Errorf("answer %d: %v", n, err)
			}
		case err != nil:
			t.Fatal(err)
		default:
			got = append(got, rec.EventID)
		}
		if n != len(got) {
			t.Errorf("answer %d has number %d", len(got), n)
		}
	}
}

func zip(s string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(s)); err != nil {
		panic(err)
	}
	if err := z.Close(); err != nil {
		panic(err)
	}
	return b.String()
}

// lookupAnswer is what LookupEvents gives for these records.
func lookupAnswer(records ...string) string {
	type e struct{ EventId, EventName, CloudTrailEvent string }
	var events []e
	for _, r := range records {
		events = append(events, e{"outer", "outer", r})
	}
	b, err := json.MarshalIndent(map[string]any{"NextToken": "x", "Events": events}, "", "    ")
	if err != nil {
		panic(err)
	}
	return string(b)
}

func TestReader(t *testing.T) {
	const (
		a, b, c  = `{"eventID":"a"}`, `{"eventID":"b","x":[{"eventID":"no"},{}]}`, `{"eventID":"c","s":"}]{[\"\\"}`
		pretty   = "{\n    \"eventID\": \"p\",\n    \"x\": [\n        {\n            \"y\": {}\n        }\n    ]\n}\n"
		indent0  = "{\n\"eventID\": \"p\",\n\"x\": [\n{\n\"y\": {}\n},\n{\n\"y\": 1\n}\n]\n}\n"
		envelope = `{"version":"0","id":"env","detail-type":"AWS API Call via CloudTrail","source":"aws.ec2","detail":` + b + `}`
	)
	for _, test := range []struct{ name, in, want string }{
		{"nothing", "", ""},
		{"space", " \n\r\n\t", ""},
		{"one", a, "a"},
		{"lines", a + "\n" + b + "\n" + c + "\n", "a b c"},
		{"lines of DOS, empty ones", "\xef\xbb\xbf" + a + "\r\n\r\n" + b + "\r\n", "a b"},
		{"on one line", a + b + " " + c, "a b c"},
		{"with commas", a + ",\n" + b + ",\n" + c, "a b c"},
		{"pretty-printed", pretty + pretty, "p p"},
		{"pretty-printed without indent", indent0 + a + "\n" + indent0, "p a p"},
		{"pretty-printed in another style", "{ \"eventID\": \"p\",\n  \"x\": {\n    \"y\": 1 } }\n" + a, "p a"},
		{"list", "[" + a + "," + b + "]", "a b"},
		{"pretty list", "[\n  " + a + ",\n  " + b + "\n]\n", "a b"},
		{"list in a list", "[[" + a + "],[[" + b + "]]]" + c, "a b c"},
		{"file", `{"Records":[` + a + `,` + b + `]}`, "a b"},
		{"file, other case and order", `{ "x": {"Records": [1]}, "records" : [` + a + `,` + b + `], "y": [{"eventID":"no"}] }` + c, "a b c"},
		{"pretty file", "{\n  \"Records\": [\n    " + a + ",\n    {\n      \"eventID\": \"q\"\n    }\n  ]\n}\n", "a q"},
		{"files, one a line", `{"Records":[` + a + `]}` + "\n" + `{"Records":[` + b + `]}`, "a b"},
		{"files in a list", `[{"Records":[` + a + `,` + b + `]},{"Records":[]},` + c + `]`, "a b c"},
		{"a file with one object for a list", `{"Records":` + a + `}`, "a"},
		{"empty file, empty list", `{"Records":[]}` + "\n[]\n" + a, "a"},
		{"envelope", envelope, "b"},
		{"envelopes in a list", "[" + envelope + "," + a + "]", "b a"},
		{"LookupEvents answer", lookupAnswer(a, b, c) + a, "a b c a"},
		{"events of LookupEvents, one a line", `{"EventId":"outer","CloudTrailEvent":"{\"eventID\":\"i\"}"}` + "\n" + a, "i a"},
		{"event of LookupEvents that holds no record", `{"EventId":"outer","EventName":"x","CloudTrailEvent":"{"}` + "\n" + `{"EventId":"outer","CloudTrailEvent":7}`, "! !"},
		{"mixed", a + "\n" + `{"Records":[` + b + `]}` + pretty + envelope + "[" + c + "]" + lookupAnswer(a), "a b p b c a"},
		{"gzip", zip(a + "\n" + b), "a b"},
		{"gzip, files joined", zip(`{"Records":[`+a+`]}`) + zip(`{"Records":[`+b+`]}`), "a b"},

		{"garbage line", "x {\n" + a + "\n\"eventID\" nonsense }\n" + b, "! a ! b"},
		{"scalars", "1\n\"{\"\nnull\ntrue x\n" + a, "! ! ! ! a"},
		{"not a record", `{}` + "\n" + `{"a":1}` + "\n" + a, "! ! a"},
		{"small mistake", `{"a":tru}` + "\n" + `{"eventID":"x",}` + "\n" + `{"eventID":"x" "y":1}` + "\n" + a, "! ! ! a"},
		{"bracket mistake", `{"a":[}` + "\n" + a + "\n" + `{"a":1]}` + "\n" + b, "! a ! b"},
		{"rest of a line", a + " x\n" + b, "a ! b"},
		{"cut in a string", `{"eventID":"x` + "\n" + a + "\n" + b, "! a b"},
		{"cut after a colon", `{"eventID":` + "\n" + a + "\n" + b, "! a b"},
		{"cut after a colon, at the end", `{"eventID":` + "\n" + a, "! a"},
		{"cut after a value", `{"eventID":"x"` + "\n" + a + "\n" + b, "! a b"},
		{"cut after a comma", `{"eventID":"x",` + "\n" + a + "\n" + b, "! a b"},
		{"cut in a list", `{"x":[{"y":1},` + "\n" + a + "\n" + b + "\n", "! a b"},
		{"cut lines in a row", `{"a":` + "\n" + `{"b":` + "\n" + `{"c":` + "\n" + a + "\n" + `{"d":`, "! ! ! a !"},
		{"cut line, garbage line", `{"a":` + "\n" + "garbage\n" + a + "\n", "! ! a"},
		{"cut line, pretty-printed", `{"a":` + "\n" + pretty + a, "! a"},
		{"broken pretty-printed", "{\n  \"x\" {\n    \"y\": 1\n  },\n  \"z\": \"}\"\n}\n" + a, "! a"},
		{"pretty-printed cut off", "{\n  \"x\": {\n    \"y\": 1\n" + a + "\n" + pretty, "! a p"},
		{"pretty-printed, bracket of the wrong kind", "{\n  \"x\": [\n    1\n  },\n  \"y\": 2\n}\n" + a, "! a"},
		{"cut line, files cut", `{"a":` + "\n" + `{"Records":[` + b + "\n" + a + "\n" + c, "! b a c !"},
		{"end in a record", a + "\n" + `{"eventID":"b"`, "a !"},
		{"end in a string", `{"eventID":"b`, "!"},

		{"elements that are none", `[1,"],",null,` + a + `,{},[],x y]` + b, "! ! ! a ! ! b"},
		{"stray bracket in a list", "[" + a + "}," + b + "]", "a ! b"},
		{"broken element", `{"Records":[` + a + `,{"x" {"eventID":"no"}},` + b + `]}` + c, "a ! b c"},
		{"broken element, bracket of the wrong kind", `{"Records":[` + a + `,{"x":[1},` + b + `]}` + c, "a ! b c"},
		{"string cut in a pretty file", "{\"Records\":[\n  {\"eventID\":\"x\n  },\n  " + a + "]}\n" + b, "! a b"},
		{"end in a list", "[" + a + ",", "a !"},
		{"end in a file", `{"Records":[` + a, "a !"},
		{"end after a file's list", `{"Records":[` + a + `]`, "a !"},
		{"end in a file's record", `{"Records":[` + a + `,{"eventID":`, "a !"},
		{"files, one a line, cut", `{"Records":[` + a + `,{"eventID":"x"` + "\n" + `{"Records":[` + b + `]}` + "\n" + c, "a ! b c"},
		{"wrapped too deep", strings.Repeat(`{"detail":`, 20) + a + strings.Repeat(`}`, 20) + b, "! b"},
		{"nested too deep", strings.Repeat(`[`, 20000) + strings.Repeat(`{"a":`, 20000) + "\n" + a, "! a"},
	} {
		t.Run(test.name, func(t *testing.T) {
			want := strings.Fields(test.want)
			if diff := cmp.Diff(want, append([]string{}, answers(t, strings.NewReader(test.in))...)); diff != "" {
				t.Errorf("whole (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(want, append([]string{}, answers(t, iotest.OneByteReader(strings.NewReader(test.in)))...)); diff != "" {
				t.Errorf("byte by byte (-want +got):\n%s", diff)
			}
		})
	}
}

func TestReaderFailures(t *testing.T) {
	whole := zip(strings.Repeat(`{"eventID":"a","x":"`+fmt.Sprint(1<<40)+`"}`+"\n", 1000))
	boom := errors.New("boom")
	for _, test := range []struct {
		name string
		in   io.Reader
		want error
	}{
		{"gzip cut off", strings.NewReader(whole[:len(whole)/2]), io.ErrUnexpectedEOF},
		{"gzip damaged", strings.NewReader(whole[:len(whole)-6] + "xxxxxx"), gzip.ErrChecksum},
		{"no gzip after all", strings.NewReader("\x1f\x8bxxxxxxxxxxx"), gzip.ErrHeader},
		{"reading fails in a record", io.MultiReader(strings.NewReader(`{"eventID":"a"}{"eventID":`), iotest.ErrReader(boom)), boom},
		{"reading fails in a list", io.MultiReader(strings.NewReader(`{"Records":[`), iotest.ErrReader(boom)), boom},
		{"reading fails in what is skipped", io.MultiReader(strings.NewReader(`{"x":[}`), iotest.ErrReader(boom)), boom},
		{"reading fails at once", iotest.ErrReader(boom), boom},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := event.NewReader(test.in)
			var err error
			for range 2000 {
				var bad *event.RecordError
				if _, _, err = r.Next(); err != nil && !errors.As(err, &bad) {
					break
				}
			}
			if !errors.Is(err, test.want) || err == io.EOF {
				t.Errorf("got %v, want %v", err, test.want)
			}
			if _, _, again := r.Next(); again != err {
				t.Errorf("then %v: want the same again", again)
			}
		})
	}
}

// endless gives head once and then body again and again, n times.
type endless struct {
	head, body, tail string
	n                int
	now              string
}

func (e *endless) Read(p []byte) (int, error) {
	if e.now == "" {
		switch {
		case e.head != "":
			e.now, e.head = e.head, ""
		case e.n > 0:
			e.now, e.n = e.body, e.n-1
		case e.tail != "":
			e.now, e.tail = e.tail, ""
		default:
			return 0, io.EOF
		}
	}
	n := copy(p, e.now)
	e.now = e.now[n:]
	return n, nil
}

func TestReaderHoldsOneRecordAtATime(t *testing.T) {
	one := `{"eventID":"a","x":"` + strings.Repeat("x", 1000) + `"}`
	for _, test := range []struct {
		name string
		in   *endless
		want int
	}{
		{"lines", &endless{body: one + "\n", n: 4_000}, 4_000},
		{"file", &endless{head: `{"Records":[` + one, body: "," + one, n: 4_000, tail: "]}"}, 4_001},
		{"list", &endless{head: "[" + one, body: ",\n" + one, n: 4_000, tail: "]"}, 4_001},
		{"one garbage line", &endless{head: "x", body: one, n: 4_000}, 1},
		{"one broken record", &endless{head: "{\n  \"x\" {", body: "\n  {", n: 500_000}, 1},
		{"a record beyond the limit", &endless{head: `{"x":"`, body: strings.Repeat("x", 1<<20), n: 33}, 1},
		{"a file, then garbage", &endless{head: `{"Records":[],`, body: strings.Repeat(`"x":{}`, 1<<16), n: 8}, 1},
		{"cut lines without end", &endless{body: "{\"x\":\n", n: 20_000}, 20_000},
	} {
		t.Run(test.name, func(t *testing.T) {
			var before, m runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			var most uint64
			r := event.NewReader(test.in)
			n := 0
			for {
				_, _, err := r.Next()
				if err == io.EOF {
					break
				}
				if n++; n%1000 == 0 {
					runtime.GC()
					runtime.ReadMemStats(&m)
					most = max(most, m.HeapAlloc)
				}
			}
			if n != test.want {
				t.Errorf("%d answers, want %d", n, test.want)
			}
			runtime.ReadMemStats(&m)
			if total := m.TotalAlloc - before.TotalAlloc; total > 256<<20 {
				t.Errorf("%d MiB allocated in all: something is read again and again", total>>20)
			}
			if limit := before.HeapAlloc + 2<<20; most > limit && test.name != "a record beyond the limit" {
				t.Errorf("%d MiB held", most>>20)
			}
		})
	}
}

func TestReaderRefusesWhatIsTooLong(t *testing.T) {
	const most = 32 << 20
	at := func(n int) string { return `{"eventID":"` + strings.Repeat("x", n-len(`{"eventID":""}`)) + `"}` }
	r := event.NewReader(strings.NewReader(at(most+1) + "\n" + `[` + at(most+1) + `,{"eventID":"a"}]`))
	for i, want := range []string{"longer than 32 MiB", "longer than 32 MiB", ""} {
		_, _, err := r.Next()
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("record %d: %v, want %q", i+1, err, want)
		}
	}
}

func TestReaderOverTheCorpus(t *testing.T) {
	var lines [][]byte
	for i, l := range corpusLines(t) {
		if i%8 == 0 { // enough of every kind, and fast under the race detector
			lines = append(lines, l)
		}
	}
	var ids []string
	for _, l := range lines {
		r, err := event.Parse(l)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, r.EventID)
	}
	var indented, lookup bytes.Buffer
	for _, l := range lines {
		if err := json.Indent(&indented, l, "", "  "); err != nil {
			t.Fatal(err)
		}
		indented.WriteByte('\n')
		s, err := json.Marshal(map[string]string{"CloudTrailEvent": string(l)})
		if err != nil {
			t.Fatal(err)
		}
		lookup.Write(append(s, ','))
	}
	all := bytes.Join(lines, []byte("\n"))
	for name, in := range map[string]string{
		"lines":    string(all),
		"gzip":     zip(string(all)),
		"file":     `{"Records":[` + string(bytes.Join(lines, []byte(","))) + `]}`,
		"indented": indented.String(),
		"lookup":   `{"Events": [` + strings.TrimSuffix(lookup.String(), ",") + `]}`,
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(ids, answers(t, strings.NewReader(in))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func BenchmarkReader(b *testing.B) {
	all := bytes.Join(corpusLines(b), []byte("\n"))
	b.SetBytes(int64(len(all)))
	for b.Loop() {
		r := event.NewReader(bytes.NewReader(all))
		for {
			if _, _, err := r.Next(); err == io.EOF {
				break
			} else if err != nil {
				b.Fatal(err)
			}
		}
	}
}
