package tagapi

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/autotagd/autotagd/pkg/resource"
)

// FuzzPage has any bytes for an answer: of each protocol, of a read that names pages by keys, and of a write that replaces.
func FuzzPage(f *testing.F) {
	all := ofProtocol(f)
	calls := []*Call{lookup(f, "kinesis", "kinesis:AddTagsToStream"), lookup(f, "iam", "iam:TagRole"), lookup(f, "s3", "s3:PutBucketTagging")}
	for _, protocol := range slices.Sorted(maps.Keys(all)) {
		calls = append(calls, all[protocol])
	}
	for _, body := range []string{
		`{"Tags":[{"Key":"k","Value":"v"}],"HasMoreTags":true}`, `{"tags":{"k":"v"}}`, `{"__type":"a#B","message":"m"}`, `null`,
		`<ListRoleTagsResponse><ListRoleTagsResult><Tags><member><Key>k</Key><Value>v</Value></member></Tags><Marker>m</Marker></ListRoleTagsResult></ListRoleTagsResponse>`,
		`<Tagging xmlns="x"><TagSet><Tag><Key>k</Key><Value>v</Value></Tag></TagSet></Tagging>`, `<Error><Code>NoSuchTagSet</Code></Error>`,
		"\xa1dtags\x81\xa2cKeyakeValueav", "\xbfdtags\x9f\xff\xff", "\xa1f__typeca#B",
	} {
		for which := range calls {
			f.Add(uint8(which), uint16(200), "", []byte(body))
			f.Add(uint8(which), uint16(404), "B:http://x/", []byte(body))
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, status uint16, kind string, body []byte) {
		c := calls[int(which)%len(calls)]
		header := http.Header{"X-Amzn-Errortype": {kind}}
		tags, more, err := c.Page(int(status), header, body)
		if (err == nil) == (tags == nil) {
			t.Fatalf("%q, %v", tags, err)
		}
		if more != "" && (err != nil || c.Read.More == nil) {
			t.Errorf("more %q, %v", more, err)
		}
		if _, ok := tags[""]; ok {
			t.Error("a tag without a key")
		}
		again, more2, err2 := c.Page(int(status), header, body)
		if !maps.Equal(tags, again) || more != more2 || fmt.Sprint(err) != fmt.Sprint(err2) {
			t.Errorf("%q, %q, %v the first time; %q, %q, %v the second", tags, more, err, again, more2, err2)
		}
		if err := c.Answered(int(status), header, body); (err == nil) != (status/100 == 2) {
			t.Errorf("Answered %d: %v", status, err)
		}
	})
}

// FuzzWrite has any values for parameters and tags.
func FuzzWrite(f *testing.F) {
	all := testTable.All()
	for i := range all {
		f.Add(uint16(i), "arn:aws:x:eu-west-1:1:a"+awkward, "{x}/../..", "", "k&=<", " v\n")
		f.Add(uint16(i), "1", "true", "/pre%2Ffix", "é", "")
	}
	f.Fuzz(func(t *testing.T, which uint16, one, two, prefix, key, value string) {
		c := all[int(which)%len(all)]
		params, required := sampleParams(c)
		places := map[string]Member{}
		for i, m := range c.Write.In {
			params[m.From] = []string{one, two}[i%2]
			places[m.From] = m
		}
		endpoint := &url.URL{Scheme: "https", Host: "host.example", Path: "/" + strings.Trim(prefix, "/")}
		tags := []resource.Tag{{Key: key, Value: value}, {Key: key + "2", Value: one}}
		req, err := c.NewWrite(t.Context(), endpoint.String(), params, tags)
		if err != nil {
			if why := refusable(places, params, required); !why {
				t.Errorf("refused: %v", err)
			}
			return
		}
		checkPath(t, &c.Write, endpoint, req.URL)
		checkQuery(t, &c.Write, params, req.URL)
		body, err := io.ReadAll(req.Body)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range []string{one, two, key, value} {
			if !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return !inXML(r) }) {
				return // a document can't have it
			}
		}
		checkBody(t, c, body, params, tags)
	})
}

// refusable reports whether one of the values is no value of its parameter.
func refusable(places map[string]Member, params, required map[string]string) bool {
	for name, m := range places {
		value := params[name]
		_, badType := typedValue(m.Type, value)
		dots := slices.ContainsFunc(strings.Split(value, "/"), func(part string) bool { return part == "." || part == ".." })
		if _, must := required[name]; value == "" && must || value != "" && badType != nil || dots && m.At == "uri" {
			return true
		}
	}
	return false
}

// checkPath holds a request to the call's path, below the endpoint's: values are in their places, and make no other path.
func checkPath(t *testing.T, op *Op, endpoint, got *url.URL) {
	path := got.EscapedPath()
	template, _, _ := strings.Cut(op.URI, "?")
	template = strings.TrimSuffix(endpoint.EscapedPath(), "/") + strings.ReplaceAll(template, "{", "\x00{")
	before, _, _ := strings.Cut(template, "\x00")
	if !strings.HasPrefix(path, before) || strings.ContainsAny(path, "?#\\ ") {
		t.Errorf("path %q, want %q", path, template)
	}
	want, parts := strings.Split(template, "/"), strings.Split(path, "/")
	if !strings.Contains(op.URI, "+}") {
		if len(want) != len(parts) {
			t.Errorf("path %q, want %q", path, template)
		}
		for i := range min(len(want), len(parts)) {
			if !strings.Contains(want[i], "\x00") && want[i] != parts[i] {
				t.Errorf("path %q, want %q", path, template)
			}
		}
	}
	for _, part := range parts[strings.Count(before, "/"):] {
		for range 3 { // however often it is unescaped
			if part == "." || part == ".." {
				t.Errorf("path %q", path)
			}
			part, _ = url.PathUnescape(part)
		}
	}
	again, err := url.Parse(got.String())
	if err != nil || again.EscapedPath() != path || again.Host != endpoint.Host || again.RawQuery != got.RawQuery || again.Fragment != "" {
		t.Errorf("%q is read as %#v, %v", got, again, err)
	}
}

func checkQuery(t *testing.T, op *Op, params map[string]string, got *url.URL) {
	_, fixed, _ := strings.Cut(op.URI, "?")
	want, err := url.ParseQuery(fixed)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range op.In {
		if m.At == "query" && params[m.From] != "" {
			want.Set(m.Name, params[m.From])
		}
	}
	if !reflect.DeepEqual(got.Query(), want) {
		t.Errorf("query %q, want %q", got.RawQuery, want)
	}
}

// inXML reports whether a document can have the character.
func inXML(r rune) bool {
	return r == '\t' || r == '\n' || r == '\r' || ' ' <= r && r <= 0xd7ff || 0xe000 <= r && r <= 0xfffd || 0x10000 <= r
}

// checkBody reads the body as an answer is read, and wants the same tags and parameters in it.
func checkBody(t *testing.T, c *Call, body []byte, params map[string]string, tags []resource.Tag) {
	at := c.Write.Tags
	want, got := map[string]string{}, map[string]string{}
	for _, tag := range tags {
		want[tag.Key] = tag.Value
	}
	if c.service.Protocol == query {
		checkForm(t, c, body, params, tags)
		return
	}
	object, err := c.parse(body)
	if err != nil {
		t.Fatalf("%v in %q", err, body)
	}
	for _, found := range walk(object, at.Path) {
		one, ok := found.(map[string]any)
		switch {
		case !ok:
			t.Errorf("tags %v", found)
		case at.Key == "":
			for key, value := range one {
				got[key] = text(value)
			}
		default:
			got[text(one[at.Key])] = text(one[at.Value])
		}
	}
	if !maps.Equal(got, want) {
		t.Errorf("tags %q, want %q", got, want)
	}
	for _, m := range c.Write.In {
		if found := text(first(walk(object, []string{m.Name}))); m.At == "body" && m.Type == "" && found != params[m.From] {
			t.Errorf("%s is %q, want %q", m.Name, found, params[m.From])
		}
	}
}

func checkForm(t *testing.T, c *Call, body []byte, params map[string]string, tags []resource.Tag) {
	got, err := url.ParseQuery(string(body))
	if err != nil {
		t.Fatal(err)
	}
	want := url.Values{"Action": {c.Write.Name}, "Version": {c.service.Target}}
	for i, tag := range tags {
		prefix := fmt.Sprintf("%s.%d.", strings.Join(c.Write.Tags.Path, "."), i+1)
		want.Set(prefix+c.Write.Tags.Key, tag.Key)
		want.Set(prefix+c.Write.Tags.Value, tag.Value)
		for _, m := range c.Write.In {
			if typed, err := typedValue(m.Type, params[m.From]); m.At == "tag" && err == nil {
				want.Set(prefix+m.Name, fmt.Sprint(typed))
			}
		}
	}
	for _, m := range c.Write.In {
		if m.At == "body" {
			want.Set(m.Name, params[m.From])
		}
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("form %q, want %q", got, want)
	}
}
