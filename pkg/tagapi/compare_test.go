package tagapi

import (
	"bytes"
	"cmp"
	"crypto/md5"
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/aws/smithy-go/encoding/cbor"
)

// compareRequest compares all of a request with botocore's, whatever way its body is written.
func compareRequest(t *testing.T, c *Call, op *Op, req *http.Request, err error, want result) {
	if err != nil {
		t.Fatal(err)
	}
	if req.Method != want.Method || req.URL.EscapedPath() != want.Path {
		t.Errorf("%s %s\nwant %s %s", req.Method, req.URL.EscapedPath(), want.Method, want.Path)
	}
	if got := splitQuery(t, req.URL.RawQuery); !slices.Equal(got, sorted(want.Query)) {
		t.Errorf("query %q\nwant  %q", got, want.Query)
	}
	if prefix := strings.ReplaceAll(op.HostPrefix, "{AccountId}", testAccount); prefix != want.HostPrefix {
		t.Errorf("host prefix %q, want %q", prefix, want.HostPrefix)
	}
	body, err := io.ReadAll(req.Body)
	again, err2 := req.GetBody()
	if err := cmp.Or(err, err2); err != nil {
		t.Fatal(err)
	}
	if second, err := io.ReadAll(again); err != nil || !bytes.Equal(body, second) || req.ContentLength != int64(len(body)) {
		t.Errorf("a retry would send another body: %q, %v; length %d of %d", second, err, req.ContentLength, len(body))
	}
	compareHeader(t, req.Header, body, want)
	got, wanted := canonical(t, c, body), canonical(t, c, want.Body)
	if want.Form != nil {
		form := url.Values{}
		for name, value := range want.Form {
			form.Set(name, value)
		}
		wanted = form
	}
	if !reflect.DeepEqual(got, wanted) {
		t.Errorf("body %v\nwant %v", got, wanted)
	}
}

func compareHeader(t *testing.T, got http.Header, body []byte, want result) {
	header := http.Header{}
	for name, value := range want.Headers {
		header.Set(name, value)
	}
	// Asks SQS for errors under the names of its old protocol. pkg/tagger knows both.
	header.Del("X-Amzn-Query-Mode")
	if header.Get("Content-Type") == "" && len(want.Body) > 0 {
		header.Set("Content-Type", "application/xml") // botocore sends none with XML; the other SDKs do
	}
	if want.MD5 {
		sum := md5.Sum(body)
		header.Set("Content-Md5", base64.StdEncoding.EncodeToString(sum[:]))
	}
	if !reflect.DeepEqual(got, header) {
		t.Errorf("headers %v\nwant    %v", got, header)
	}
}

// splitQuery takes a plus for itself: not every service takes it for a space.
func splitQuery(t *testing.T, raw string) [][2]string {
	var all [][2]string
	for part := range strings.SplitSeq(raw, "&") {
		if part == "" {
			continue
		}
		name, value, _ := strings.Cut(part, "=")
		name, err := url.PathUnescape(name)
		value, err2 := url.PathUnescape(value)
		if err := cmp.Or(err, err2); err != nil {
			t.Fatal(err)
		}
		all = append(all, [2]string{name, value})
	}
	return sorted(all)
}

func sorted(all [][2]string) [][2]string {
	return slices.SortedFunc(slices.Values(all), func(a, b [2]string) int { return slices.Compare(a[:], b[:]) })
}

// canonical returns what a body says, whatever way it is written.
func canonical(t *testing.T, c *Call, body []byte) (v any) {
	if len(body) == 0 {
		return nil
	}
	var err error
	switch c.service.Protocol {
	case query:
		v, err = url.ParseQuery(string(body))
	case cborRPC:
		v, err = cbor.Decode(body)
	case restXML:
		v, err = tokens(body)
	default:
		d := json.NewDecoder(bytes.NewReader(body))
		d.UseNumber()
		err = d.Decode(&v)
	}
	if err != nil {
		t.Fatalf("%v in %q", err, body)
	}
	return v
}

// tokens returns a document's elements, with their name spaces, and texts.
func tokens(body []byte) ([]string, error) {
	var all []string
	for d := xml.NewDecoder(bytes.NewReader(body)); ; {
		token, err := d.Token()
		switch token := token.(type) {
		case nil:
			if errors.Is(err, io.EOF) {
				return all, nil
			}
			return nil, err
		case xml.StartElement:
			all = append(all, "<"+token.Name.Space+" "+token.Name.Local)
		case xml.EndElement:
			all = append(all, ">")
		case xml.CharData:
			all = append(all, string(token))
		}
	}
}
