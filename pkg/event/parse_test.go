package event_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/autotagd/autotagd/pkg/event"
)

func parse(t testing.TB, s string) *event.Record {
	t.Helper()
	r, err := event.Parse([]byte(s))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestParse(t *testing.T) {
	got := parse(t, ` {
		"eventID": "id", "EventSource": "ec2.amazonaws.com", "EVENTNAME": "RunInstances", "eventType": "AwsApiCall", "eventCategory": "Management",
		"eventTime": "2024-04-02T16:46:24Z", "awsRegion": "eu-west-1", "recipientAccountId": "111122223333", "sourceIPAddress": "192.0.2.1", "userAgent": "ua",
		"errorCode": "E", "errorMessage": "m", "sharedEventID": "s", "readOnly": false, "unknown": [1, {}],
		"userIdentity": {"type": "AssumedRole", "principalId": "A:b", "ARN": "arn", "accountId": "1", "userName": "u", "invokedBy": "i",
			"sessionContext": {"sourceIdentity": "si", "sessionIssuer": {"type": "Role", "userName": "ru", "principalId": "rp", "arn": "ra", "accountId": "rc"}, "x": 1},
			"onBehalfOf": {"userId": "ou", "identityStoreArn": "oa"}},
		"requestParameters": {"a": 1}, "responseElements": null } `)
	want := &event.Record{
		EventID: "id", EventSource: "ec2.amazonaws.com", EventName: "RunInstances", EventType: "AwsApiCall", EventCategory: "Management",
		EventTime: time.Date(2024, 4, 2, 16, 46, 24, 0, time.UTC), AWSRegion: "eu-west-1", RecipientAccountID: "111122223333",
		SourceIPAddress: "192.0.2.1", UserAgent: "ua", ErrorCode: "E", ErrorMessage: "m", SharedEventID: "s",
		UserIdentity: event.UserIdentity{
			Present: true, Type: "AssumedRole", PrincipalID: "A:b", ARN: "arn", AccountID: "1", UserName: "u", InvokedBy: "i", SourceIdentity: "si",
			SessionIssuer: event.SessionIssuer{Type: "Role", UserName: "ru", PrincipalID: "rp", ARN: "ra", AccountID: "rc"},
			OnBehalfOf:    event.OnBehalfOf{UserID: "ou", IdentityStoreARN: "oa"},
		},
		RequestParameters: json.RawMessage(`{"a": 1}`),
	}
	ignoreRaw := cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".raw" }, cmp.Ignore())
	if diff := cmp.Diff(want, got, ignoreRaw); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestParseIsLenient(t *testing.T) {
	for _, test := range []struct {
		name, in string
		ok       func(r *event.Record) bool
	}{
		{"wrong types are absent", `{"eventID":"e","eventName":7,"eventSource":["x"],"awsRegion":{},"userIdentity":"x","readOnly":{},"eventTime":[],"errorCode":null}`, func(r *event.Record) bool {
			return r.EventName == "" && r.EventSource == "" && r.AWSRegion == "" && !r.UserIdentity.Present && !r.ReadOnly && r.EventTime.IsZero() && r.ErrorCode == ""
		}},
		{"an error code of any type is one", `{"eventID":"e","errorCode":{"code":403}}`, func(r *event.Record) bool { return r.ErrorCode != "" }},
		{"a number as error code", `{"eventID":"e","errorCode":403}`, func(r *event.Record) bool { return r.ErrorCode == "403" }},
		{"no error code", `{"eventID":"e","errorCode":""}`, func(r *event.Record) bool { return r.ErrorCode == "" }},
		{"wrong types in the caller", `{"eventID":"e","userIdentity":{"type":1,"sessionContext":"x","onBehalfOf":[{}],"arn":null}}`, func(r *event.Record) bool {
			return r.UserIdentity == event.UserIdentity{Present: true}
		}},
		{"a null does not hide a value in another case", `{"eventID":"e","RequestParameters":null,"requestParameters":{"a":1},"EventName":null,"eventName":"n"}`, func(r *event.Record) bool {
			return r.EventName == "n" && string(r.RequestParameters) == `{"a":1}`
		}},
		{"readOnly as a string", `{"eventID":"e","readOnly":"true"}`, func(r *event.Record) bool { return r.ReadOnly }},
		{"escapes", `{"event\u0049D":"\ud83d\ude00\n\ud83d"}`, func(r *event.Record) bool { return r.EventID == "😀\n\uFFFD" }},
		{"invalid UTF-8", "{\"eventID\":\"a\xffb\"}", func(r *event.Record) bool { return r.EventID == "a\uFFFDb" }},
		{"hidden", `{"eventID":"e","eventName":"HIDDEN_DUE_TO_SECURITY_REASONS"}`, func(r *event.Record) bool { return r.EventName == "" }},
		{"a name of 1 MB", `{"eventID":"` + strings.Repeat("x", 1<<20) + `"}`, func(r *event.Record) bool { return len(r.EventID) == 1<<20 }},
		{"deep nesting", `{"eventID":"e","requestParameters":` + strings.Repeat(`[`, 9000) + strings.Repeat(`]`, 9000) + `}`, func(r *event.Record) bool {
			return r.Lookup(mustPath(t, "requestParameters.a.b")) == nil && r.Tags(mustPath(t, "requestParameters")) == nil
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if r := parse(t, test.in); !test.ok(r) {
				t.Errorf("%.300q: got %.300s", test.in, fmt.Sprintf("%+v", *r))
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	for _, test := range []struct{ name, in, says string }{
		{"nothing", "", "not JSON"},
		{"no JSON", `{"eventID":}`, "not JSON: invalid character '}'"},
		{"two values", `{"eventID":"a"}{}`, "not JSON"},
		{"list", `[{"eventID":"a"}]`, "a JSON list, want an object"},
		{"number", `17`, "a JSON number"},
		{"string", `"eventID"`, "a JSON string"},
		{"null", `null`, "a JSON null"},
		{"empty object", `{}`, "no eventID"},
		{"another object", `{"eventID":"","eventName":7,"id":"x"}`, "no eventID"},
		{"nested too deep", strings.Repeat(`{"a":`, 100_000), "not JSON"},
		{"an escape sequence", "{\"a\x1b[31m", "not JSON"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, err := event.Parse([]byte(test.in))
			if r != nil || !errors.Is(err, event.ErrNotRecord) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("got %v, %v; want ErrNotRecord with %q", r, err, test.says)
			}
			if err != nil && strings.ContainsRune(err.Error(), '\x1b') {
				t.Errorf("the error can steer a terminal: %q", err)
			}
		})
	}
}

func TestEventTime(t *testing.T) {
	want := time.Date(2024, 4, 2, 16, 46, 24, 0, time.UTC)
	for _, s := range []string{
		`"2024-04-02T16:46:24Z"`, `"2024-04-02 16:46:24.000000000"`, `"2024-04-02 16:46:24"`, `"2024-04-02 16:46:24.000"`, `"2024-04-02T16:46:24"`,
		`"2024-04-02T18:46:24+02:00"`, `"2024-04-02T18:46:24+0200"`, `"2024-04-02 18:46:24+02:00"`, `"2024-04-02 18:46:24+0200"`, `"2024-04-02 16:46:24 UTC"`,
		`"2024-04-02 16:46:24 +0000 UTC"`, `"2024-04-02 18:46:24 +0200"`, `"2024-04-02T16:46:24.000Z"`, `" 2024-04-02T16:46:24Z "`,
		`1712076384`, `1712076384.0`, `"1712076384"`, `1712076384000`,
	} {
		if got := parse(t, `{"eventID":"e","eventTime":`+s+`}`).EventTime; !got.Equal(want) || got.Location() != time.UTC {
			t.Errorf("%s: got %v, want %v", s, got, want)
		}
	}
	for _, s := range []string{
		`"redacted"`, `""`, `"2024-13-02T16:46:24Z"`, `-1`, `0`, `1e300`, `"NaN"`, `"Inf"`, `true`, `{}`, `"` + strings.Repeat("2", 1000) + `"`,
	} {
		if got := parse(t, `{"eventID":"e","eventTime":`+s+`}`).EventTime; !got.IsZero() {
			t.Errorf("%s: got %v, want none", s, got)
		}
	}
}

func TestPrintable(t *testing.T) {
	for _, test := range []struct {
		in   string
		max  int
		want string
	}{
		{"plain text, Zoë 日本", 100, "plain text, Zoë 日本"},
		{"", 10, ""},
		{"\x1b[31mred\x07\x00\r\n\t", 100, `\x1b[31mred\a\x00\r\n\t`},
		{"a\u0085\u009b31m", 100, `a\u0085\u009b31m`},
		{"abc\u202edef\u2066\u200f\u061c", 100, `abc\u202edef\u2066\u200f\u061c`},
		{"a\u200bb\ufeff\u2028\U000e0041", 100, `a\u200bb\ufeff\u2028\U000e0041`},
		{"a\u00a0b\u3000c", 100, "a b c"},
		{"a\xff\xc3", 100, `a\xff\xc3`},
		{"\uFFFD", 100, "\uFFFD"},
		{"it's", 100, "it's"},
		{"abcdefghij", 10, "abcdefghij"},
		{"abcdefghijk", 10, "abcdefg..."},
		{"ééééé", 9, "ééé..."},
		{"abcdef\x1b", 9, "abcdef..."},
		{"abcdef", 3, "..."},
		{"abcdef", 2, "ab"},
		{"abcdef", 0, ""},
		{"abcdef", -1, ""},
	} {
		if got := event.Printable(test.in, test.max); got != test.want {
			t.Errorf("Printable(%q, %d) = %q, want %q", test.in, test.max, got, test.want)
		}
	}
}

func FuzzPrintable(f *testing.F) {
	f.Add("a\x1b[31m\u202e\xff é日", 12)
	f.Fuzz(func(t *testing.T, s string, most int) {
		most %= 1000
		got := event.Printable(s, most)
		if len(got) > max(most, 0) || !utf8.ValidString(got) {
			t.Errorf("Printable(%q, %d) = %q", s, most, got)
		}
		for _, r := range got {
			if r < ' ' || 0x7f <= r && r < 0xa0 || 0x200b <= r && r <= 0x200f || 0x2028 <= r && r <= 0x202e || 0x2060 <= r && r <= 0x2069 || r == 0xfeff {
				t.Errorf("Printable(%q, %d) = %q, which has %q", s, most, got, r)
			}
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		`{"eventID":"e","eventTime":"2024-04-02T16:46:24Z","userIdentity":{"type":"IAMUser","sessionContext":{"sessionIssuer":{}}},"requestParameters":{"tags":[{"key":"a","value":1}]}}`,
		`{"EVENTID":"\ud83d","requestParameters":{"x":[[{"items":{"Tag":{"Key":"k"}}}]]}}`, `[{}]`, `{"eventID":{}}`, "{\"eventID\":\"\xff\",\"a\":-1e5}",
	} {
		f.Add([]byte(s), "requestParameters.tags|x.items[]")
	}
	f.Fuzz(func(t *testing.T, b []byte, path string) {
		before := bytes.Clone(b)
		r, err := event.Parse(b)
		if !bytes.Equal(before, b) {
			t.Error("Parse changed its input")
		}
		if (err == nil) != (r != nil) || err != nil && !errors.Is(err, event.ErrNotRecord) {
			t.Fatalf("%v, %v", r, err)
		}
		if err != nil {
			return
		}
		var std map[string]any
		if err := json.Unmarshal(b, &std); err != nil {
			t.Fatalf("took what encoding/json refuses: %v", err)
		}
		if len(std) == 1 { // the keys are certain then
			for k, v := range std {
				if s, _ := v.(string); s != r.EventID+r.EventName+r.EventSource {
					t.Errorf("read %q, %q, %q where encoding/json reads %q: %q", r.EventID, r.EventName, r.EventSource, k, s)
				}
			}
		}
		if p, err := event.ParsePath(path); err == nil {
			for _, s := range r.Lookup(p) {
				if s == "" || !utf8.ValidString(s) {
					t.Errorf("Lookup gives %q", s)
				}
			}
			for k, v := range r.Tags(p) {
				if k == "" || !utf8.ValidString(k) || !utf8.ValidString(v) {
					t.Errorf("Tags gives %q: %q", k, v)
				}
			}
		}
	})
}

func FuzzReader(f *testing.F) {
	for _, s := range []string{
		"{\"eventID\":\"a\"}\n{\"x\":\n{\"eventID\":\"b\"}\n", `{"Records":[{"eventID":"a"},{"x" {}},1]}`, `[{"detail":{"eventID":"a"}},[`,
		`{"Events":[{"CloudTrailEvent":"{\"eventID\":\"a\"}"}]}`, "{\n \"eventID\": \"a\"\n}\nx\n", zip(`{"eventID":"a"}`), "{\"a\":[}\n{\"eventID\":\"\\\"]\"}",
	} {
		f.Add([]byte(s))
	}
	const good = `{"eventID":"the one after","eventName":"n"}`
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 1 && b[0] == 0x1f && b[1] == 0x8b && len(b) > 1<<12 {
			return // bombs cost time, not memory
		}
		whole, err := read(bytes.NewReader(b))
		if errors.Is(err, event.ErrNotRecord) {
			t.Fatal(err)
		}
		if err == nil {
			// Whatever came before, a good record on a line of its own, twice, is read at least once.
			then, err := read(io.MultiReader(bytes.NewReader(b), strings.NewReader("\n"+good+"\n"+good+"\n")))
			if err == nil && !slices.Contains(then, "the one after") && !bytes.HasPrefix(b, []byte("\x1f\x8b")) {
				t.Errorf("%q swallows the next records: %q", b, then)
			}
		}
		var lines []string // each line for itself: a record that stands alone on a line is never lost in a file of lines
		for line := range bytes.Lines(b) {
			if r, err := event.Parse(line); err == nil {
				lines = append(lines, r.EventID)
			} else {
				return
			}
		}
		for _, id := range lines {
			if !slices.Contains(whole, id) && !strings.Contains(string(b), "CloudTrailEvent") && !strings.Contains(strings.ToLower(string(b)), "records") && !strings.Contains(strings.ToLower(string(b)), "events\"") {
				t.Errorf("record %q of %q is lost: %q", id, b, whole)
			}
		}
	})
}

// read returns the EventIDs of all records, "!" for those that can't be read.
func read(r io.Reader) (ids []string, err error) {
	reader := event.NewReader(r)
	for number := 1; ; number++ {
		rec, n, err := reader.Next()
		var bad *event.RecordError
		switch {
		case err == io.EOF:
			return ids, nil
		case errors.As(err, &bad):
			ids = append(ids, "!")
		case err != nil:
			return ids, err
		default:
			ids = append(ids, rec.EventID)
		}
		if n != number {
			return ids, fmt.Errorf("%w: number %d, want %d", event.ErrNotRecord, n, number)
		}
	}
}

func BenchmarkParse(b *testing.B) {
	lines := corpusLines(b)
	for b.Loop() {
		for _, l := range lines {
			if _, err := event.Parse(l); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*len(lines)), "µs/record")
}
