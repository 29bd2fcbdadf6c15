package event_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/autotagd/autotagd/pkg/event"
)

func TestLookup(t *testing.T) {
	r := parse(t, `{"eventID": "e",
		"requestParameters": {
			"name": "n", "float": 1.50e2, "yes": true, "no": false, "null": null, "empty": "", "object": {"a": 1},
			"hidden": "HIDDEN_DUE_TO_SECURITY_REASONS", "aRN": "arn", "many": ["a", null, "b", {"c": 1}, ["d", 3]], "a.b": "never"
		},
		"responseElements": {
			"instancesSet": {"items": [{"instanceId": "i-1"}, {"instanceId": "i-2", "nets": {"items": [{"id": "e-1"}, {"id": "e-2"}]}}, {}]},
			"single": {"item": {"id": "s-1"}}, "bare": {"item": "s-2"}, "Tag": {"id": "right"}, "tag": {"id": "wrong"}
		},
		"serviceEventDetails": {"jobId": "j"}, "resources": [{"ARN": "r-1"}, {"arn": "r-2"}]}`)
	for _, test := range []struct {
		path string
		want []string
	}{
		{"requestParameters.name", []string{"n"}},
		{"RequestParameters.NAME", []string{"n"}},
		{"requestParameters.float", []string{"1.50e2"}},
		{"requestParameters.yes", []string{"true"}},
		{"requestParameters.no", []string{"false"}},
		{"requestParameters.null", nil},
		{"requestParameters.empty", nil},
		{"requestParameters.object", nil},
		{"requestParameters.hidden", nil},
		{"requestParameters.absent.deeper", nil},
		{"requestParameters.name.deeper", nil},
		{"requestParameters.arn", []string{"arn"}},
		{"requestParameters.many", []string{"a", "b", "d", "3"}},
		{"requestParameters.name[]", []string{"n"}},
		{"responseElements.instancesSet.items[].instanceId", []string{"i-1", "i-2"}},
		{"responseElements.instancesSet.items.instanceId", []string{"i-1", "i-2"}},
		{"responseElements.instancesSet.items[].nets.items[].id", []string{"e-1", "e-2"}},
		{"responseElements.single.item[].id", []string{"s-1"}},
		{"responseElements.bare.item[]", []string{"s-2"}},
		{"responseElements.Tag.id", []string{"right"}},
		{"responseElements.TAG.id", []string{"right", "wrong"}},
		{"requestParameters.absent|requestParameters.empty|requestParameters.name|requestParameters.arn", []string{"n"}},
		{"serviceEventDetails.jobId", []string{"j"}},
		{"resources[].arn", []string{"r-1", "r-2"}},
		{"eventID", []string{"e"}},
	} {
		if diff := cmp.Diff(test.want, r.Lookup(mustPath(t, test.path))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.path, diff)
		}
	}
	if got := r.Lookup(event.Path{}); got != nil {
		t.Errorf("the zero Path gives %q", got)
	}
	if got := (&event.Record{}).Lookup(mustPath(t, "a.b|requestParameters.c")); got != nil {
		t.Errorf("the zero Record gives %q", got)
	}
	made := &event.Record{RequestParameters: []byte(` { "name" : "n" } `)}
	if got := made.Lookup(mustPath(t, "requestParameters.name")); len(got) != 1 || got[0] != "n" {
		t.Errorf("a Record made by hand gives %q", got)
	}
}

func TestLookupKeepsNumbersAsWritten(t *testing.T) {
	r := parse(t, `{"eventID":"e","requestParameters":{"account":123456789012345678901234567890}}`)
	if got := r.Lookup(mustPath(t, "requestParameters.account")); len(got) != 1 || got[0] != "123456789012345678901234567890" {
		t.Errorf("got %q", got)
	}
}

func TestParsePath(t *testing.T) {
	for _, s := range []string{
		"", ".", "a.", ".a", "a..b", "a|", "|a", "a b", "a[", "a[0]", "a[]]", "[]", "[].a", "a[][]", "{a}", "a=b", "a;b", "a\tb", `"a"`, "a,b",
	} {
		if p, err := event.ParsePath(s); err == nil {
			t.Errorf("ParsePath(%q) = %q, want an error", s, p)
		}
	}
	p := mustPath(t, "requestParameters.items[].id|responseElements.x-y_z")
	if got := p.String(); got != "requestParameters.items.id|responseElements.x-y_z" || p.IsZero() {
		t.Errorf("got %q", got)
	}
	if !(event.Path{}).IsZero() {
		t.Error("the zero Path is not zero")
	}
}

func TestTags(t *testing.T) {
	a1 := map[string]string{"a": "1", "b": "2"}
	for _, test := range []struct {
		name, tags string
		want       map[string]string
	}{
		{"key and value", `[{"key":"a","value":"1"},{"key":"b","value":"2"}]`, a1},
		{"Key and Value", `[{"Key":"a","Value":"1"},{"Key":"b","Value":"2"}]`, a1},
		{"tagKey and tagValue", `[{"tagKey":"a","tagValue":"1"},{"TagKey":"b","TagValue":"2"}]`, a1},
		{"one for a list", `{"key":"a","value":"1"}`, map[string]string{"a": "1"}},
		{"map", `{"a":"1","b":"2"}`, a1},
		{"items", `{"items":[{"key":"a","value":"1"},{"key":"b","value":"2"}]}`, a1},
		{"one item", `{"item":{"key":"a","value":"1"}}`, map[string]string{"a": "1"}},
		{"tag specifications", `[{"resourceType":"instance","tags":[{"key":"a","value":"1"}]},{"resourceType":"volume","tags":[{"key":"b","value":"2"}]}]`, a1},
		{"wrapped by EC2, one", `{"tag":1,"xmlns":"x","Tag":{"tag":1,"Key":"a","Value":"1"}}`, map[string]string{"a": "1"}},
		{"wrapped by EC2, several", `{"ResourceType":"x","Tag":[{"Key":"a","Value":1},{"Key":"b","Value":2}]}`, a1},
		{"values that were guessed", `{"a":true,"b":7,"c":""}`, map[string]string{"a": "true", "b": "7", "c": ""}},
		{"no value", `[{"key":"a"},{"Key":"b","Value":null}]`, map[string]string{"a": "", "b": ""}},
		{"first of two", `[{"key":"a","value":"1"},{"key":"a","value":"2"}]`, map[string]string{"a": "1"}},
		{"hidden", `[{"key":"HIDDEN_DUE_TO_SECURITY_REASONS","value":"HIDDEN_DUE_TO_SECURITY_REASONS"},{"key":"a","value":"HIDDEN_DUE_TO_SECURITY_REASONS"}]`, nil},
		{"hidden map", `{"HIDDEN_DUE_TO_SECURITY_REASONS":"x","a":"HIDDEN_DUE_TO_SECURITY_REASONS","b":"2"}`, map[string]string{"b": "2"}},
		{"all hidden", `"HIDDEN_DUE_TO_SECURITY_REASONS"`, nil},
		{"map with a tag called value", `{"value":"1","b":"2"}`, map[string]string{"value": "1", "b": "2"}},
		{"map with a tag called Key", `{"Key":"1","b":"2"}`, map[string]string{"Key": "1", "b": "2"}},
		{"nothing", `null`, nil},
		{"empty", `[]`, nil},
		{"wrong types", `[1,"x",null,{"key":{},"value":"1"},{"key":"a","value":[]},{"a":{"b":1}}]`, nil},
		{"too deep", strings.Repeat(`{"tags":`, 1000) + `{"a":"1"}` + strings.Repeat(`}`, 1000), nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := parse(t, `{"eventID":"e","requestParameters":{"tags":`+test.tags+`}}`)
			if diff := cmp.Diff(test.want, r.Tags(mustPath(t, "requestParameters.absent|requestParameters.Tags"))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func FuzzPath(f *testing.F) {
	f.Add("requestParameters.items[].id|responseElements.x", `{"items":[{"id":1},{"ID":"x"}]}`)
	f.Add("a..b", "{}")
	f.Fuzz(func(t *testing.T, s, request string) {
		p, err := event.ParsePath(s)
		if err != nil {
			if len(err.Error()) > 2000 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
			return
		}
		again, err := event.ParsePath(p.String())
		if err != nil || again.String() != p.String() {
			t.Fatalf("%q reads as %q, and that as %q, %v", s, p, again, err)
		}
		// Not JSON perhaps: a Record made by hand.
		r := &event.Record{RequestParameters: []byte(request)}
		if diff := cmp.Diff(r.Lookup(p), r.Lookup(again)); diff != "" {
			t.Error(diff)
		}
		r.Tags(p)
	})
}

func TestEmpty(t *testing.T) {
	for in, want := range map[string]bool{
		`{"tasks":[],"failures":[{"reason":"x"}]}`: true,
		`{"tasks":[ ]}`:                 true,
		`{"tasks":""}`:                  true,
		`{"tasks":{}}`:                  true,
		`{"tasks":[{"taskArn":""}]}`:    false, // there is one, and it has no name
		`{"tasks":[{"taskArn":"arn"}]}`: false,
		`{"tasks":null}`:                false,
		`{"failures":[]}`:               false,
		`{}`:                            false,
		`null`:                          false,
	} {
		r := parse(t, `{"eventID":"e","responseElements":`+in+`}`)
		if got := r.Empty(mustPath(t, "responseElements.tasks[].taskArn")); got != want {
			t.Errorf("Empty in %s = %v, want %v", in, got, want)
		}
	}
}
