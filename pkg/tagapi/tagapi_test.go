package tagapi

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/encoding/cbor"

	"github.com/autotagd/autotagd/pkg/resource"
)

// testTable is read once for all tests.
var testTable = New()

func lookup(t testing.TB, service, api string) *Call {
	t.Helper()
	c := testTable.Lookup(service, api)
	if c == nil {
		t.Fatalf("no call %s of %s", api, service)
	}
	return c
}

// ofProtocol returns a call of each protocol that reads tags.
func ofProtocol(t testing.TB) map[string]*Call {
	t.Helper()
	found := map[string]*Call{}
	for _, c := range slices.Backward(testTable.All()) { // the first one stays
		if c.Read != nil {
			found[c.service.Protocol] = c
		}
	}
	if got := slices.Sorted(maps.Keys(found)); !slices.Equal(got, []string{cborRPC, json10, json11, query, restJSON, restXML}) {
		t.Fatalf("protocols %q", got)
	}
	return found
}

func TestTable(t *testing.T) {
	table := testTable
	all := table.All()
	var replacing []string
	if len(all) < 300 {
		t.Errorf("%d calls", len(all))
	}
	for i, c := range all {
		if table.Lookup(c.Service, c.API) != c || !slices.Contains(table.Of(c.Service), c.API) {
			t.Errorf("%s %s is not found", c.Service, c.API)
		}
		if s := c.SDKService(); s == nil || s.ID == "" || s.Signing == "" || s.Hosts["aws"] == "" {
			t.Errorf("%s %s: service %+v", c.Service, c.API, s)
		}
		if i > 0 && all[i-1].Service > c.Service {
			t.Errorf("%s stands after %s", c.Service, all[i-1].Service)
		}
		required, optional := c.Params()
		if both := append(slices.Clone(required), optional...); len(required) == 0 || len(slices.Compact(slices.Sorted(slices.Values(both)))) != len(both) {
			t.Errorf("%s %s: parameters %q, %q", c.Service, c.API, required, optional)
		}
		if c.Replace != KeepsOthers {
			replacing = append(replacing, fmt.Sprintf("%s %s: %s", c.Service, c.API, c.Replace))
			if c.Read == nil {
				t.Errorf("%s %s replaces tags that cannot be read", c.Service, c.API)
			}
		}
	}
	// The models don't tell these from the others: AWS's documentation does. One forgotten deletes people's tags.
	if want := []string{
		"codebuild codebuild:UpdateProject: own", "codebuild codebuild:UpdateReportGroup: own",
		"s3 s3:PutBucketTagging: all", "s3control s3:PutJobTagging: own", "s3control s3:PutStorageLensConfigurationTagging: own",
	}; !slices.Equal(replacing, want) {
		t.Errorf("replacing calls %q, want %q", replacing, want)
	}
	for _, n := range []name{{"lambda", "lambda:Invoke"}, {"nebula", "lambda:TagResource"}, {"", ""}} {
		if c := table.Lookup(n.service, n.api); c != nil {
			t.Errorf("Lookup%v = %v", n, c)
		}
	}
	if got := table.Of("nebula"); got != nil {
		t.Errorf("Of(nebula) = %q", got)
	}
}

func TestReadAPIAndParams(t *testing.T) {
	for _, c := range []struct{ service, api, read, required, optional string }{
		{"sns", "sns:TagResource", "sns:ListTagsForResource", "ResourceArn", ""},
		{"s3", "s3:TagResource", "s3:ListTagsForResource", "AccountId ResourceArn", ""},
		{"sso-admin", "sso:TagResource", "sso:ListTagsForResource", "ResourceArn", "InstanceArn"},
		{"lightsail", "lightsail:TagResource", "", "resourceName", ""},
		{"autoscaling", "autoscaling:CreateOrUpdateTags", "autoscaling:DescribeTags", "Tags[].PropagateAtLaunch Tags[].ResourceId Tags[].ResourceType", ""},
	} {
		call := lookup(t, c.service, c.api)
		required, optional := call.Params()
		if call.ReadAPI() != c.read || strings.Join(required, " ") != c.required || strings.Join(optional, " ") != c.optional {
			t.Errorf("%s: read %q, parameters %q and %q", c.api, call.ReadAPI(), required, optional)
		}
	}
}

func TestParameterMissing(t *testing.T) {
	for _, c := range testTable.All() {
		params, required := sampleParams(c)
		for _, op := range []*Op{&c.Write, c.Read} {
			if op == nil {
				continue
			}
			for _, m := range op.In {
				if m.From == "" || required[m.From] == "" {
					continue
				}
				without := maps.Clone(params)
				delete(without, m.From)
				if _, err := c.request(t.Context(), "https://x", op, without, testTags, ""); err == nil || !strings.Contains(err.Error(), m.From) {
					t.Errorf("%s %s without %s: %v", c.Service, op.Name, m.From, err)
				}
			}
		}
	}
}

func TestParameterOfAnotherType(t *testing.T) {
	number := lookup(t, "compute-optimizer-automation", "aco-automation:TagResource")
	truth := lookup(t, "autoscaling", "autoscaling:CreateOrUpdateTags")
	for _, c := range []struct {
		call              *Call
		name, value, want string // in the body; "" when it is no value
	}{
		{number, "ruleRevision", "12345678901", `"ruleRevision":12345678901`},
		{number, "ruleRevision", "-1", `"ruleRevision":-1`},
		{number, "ruleRevision", "1.5", ""},
		{number, "ruleRevision", "one", ""},
		{number, "ruleRevision", "99999999999999999999", ""},
		{truth, "Tags[].PropagateAtLaunch", "true", "Tags.member.1.PropagateAtLaunch=true&"},
		{truth, "Tags[].PropagateAtLaunch", "False", "Tags.member.1.PropagateAtLaunch=false&"},
		{truth, "Tags[].PropagateAtLaunch", "yes", ""},
	} {
		params, _ := sampleParams(c.call)
		params[c.name] = c.value
		req, err := c.call.NewWrite(t.Context(), "https://x", params, testTags)
		if (err == nil) != (c.want != "") {
			t.Errorf("%s %q: %v", c.name, c.value, err)
		}
		if err != nil {
			if !strings.Contains(err.Error(), strings.TrimPrefix(c.name, "Tags[].")) {
				t.Errorf("%v does not name %s", err, c.name)
			}
			continue
		}
		if body, err := io.ReadAll(req.Body); err != nil || !strings.Contains(string(body), c.want) {
			t.Errorf("%s %q: no %s in %s, %v", c.name, c.value, c.want, body, err)
		}
	}
}

// TestTypesThatNoCallHas is for places where the tables of today have texts only.
func TestTypesThatNoCallHas(t *testing.T) {
	c := &Call{service: &Service{Protocol: cborRPC}}
	op := &Op{Method: http.MethodPost, URI: "/{yes}", In: []Member{
		{Value: "True", At: "uri", Name: "yes", Type: "boolean"},
		{Value: "1", At: "query", Name: "no", Type: "boolean"},
		{Value: "t", At: "body", Name: "bool", Type: "boolean"},
		{Value: "-7", At: "body", Name: "minus", Type: "integer"},
		{Value: "7", At: "body", Name: "plus", Type: "long"},
		{Value: "x", At: "body", Name: "list", Type: "list"},
	}}
	req, err := c.request(t.Context(), "https://x", op, nil, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	if req.URL.String() != "https://x/true?no=true" {
		t.Error(req.URL)
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		t.Fatal(err)
	}
	want := cbor.Map{"bool": cbor.Bool(true), "minus": cbor.NegInt(7), "plus": cbor.Uint(7), "list": cbor.List{cbor.String("x")}}
	if got, err := cbor.Decode(body); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	op.In[0].Type = "blob"
	if req, err := c.request(t.Context(), "https://x", op, nil, nil, ""); err == nil {
		t.Errorf("a type that nobody knows: %v", req.URL)
	}
}

func TestEndpoint(t *testing.T) {
	tags := []resource.Tag{{Key: "k", Value: "v"}}
	for _, c := range []struct {
		service, api, endpoint string
		params                 map[string]string
		want                   string // "": refused
	}{
		{"eks", "eks:TagResource", "https://eks.eu-west-1.amazonaws.com", map[string]string{"resourceArn": "a/b"}, "https://eks.eu-west-1.amazonaws.com/tags/a%2Fb"},
		{"eks", "eks:TagResource", "http://localhost:4566/", map[string]string{"resourceArn": "a/b"}, "http://localhost:4566/tags/a%2Fb"},
		{"eks", "eks:TagResource", "http://[::1]:4566/aws/x/", map[string]string{"resourceArn": "é"}, "http://[::1]:4566/aws/x/tags/%C3%A9"},
		{"eks", "eks:TagResource", "http://h/a%2Fb", map[string]string{"resourceArn": "a/b"}, "http://h/a%2Fb/tags/a%2Fb"},
		{"eks", "eks:TagResource", "http://h/{resourceArn}", map[string]string{"resourceArn": "a/{x}"}, "http://h/%7BresourceArn%7D/tags/a%2F%7Bx%7D"},
		{"eks", "eks:TagResource", "http://h/p?x=1#f", map[string]string{"resourceArn": "a"}, "http://h/p/tags/a"},
		{"sns", "sns:TagResource", "http://h", map[string]string{"ResourceArn": "a"}, "http://h/"},
		{"sns", "sns:TagResource", "http://h/p", map[string]string{"ResourceArn": "a"}, "http://h/p/"},
		{"s3", "s3:PutBucketTagging", "http://h/p", map[string]string{"Bucket": "b.c"}, "http://h/p/b.c?tagging="},
		{"glacier", "glacier:AddTagsToVault", "http://h", map[string]string{"accountId": "{vaultName}", "vaultName": "a b+c"}, "http://h/%7BvaultName%7D/vaults/a%20b%2Bc/tags?operation=add"},
		{"sns", "sns:TagResource", "", map[string]string{"ResourceArn": "a"}, ""},
		{"sns", "sns:TagResource", "localhost:4566", map[string]string{"ResourceArn": "a"}, ""},
		{"sns", "sns:TagResource", "/only/a/path", map[string]string{"ResourceArn": "a"}, ""},
		{"sns", "sns:TagResource", "http://h:port", map[string]string{"ResourceArn": "a"}, ""},
		{"sns", "sns:TagResource", "http://h/%zz", map[string]string{"ResourceArn": "a"}, ""},
		{"eks", "eks:TagResource", "http://h", map[string]string{"resourceArn": ".."}, ""},
		{"eks", "eks:TagResource", "http://h", map[string]string{"resourceArn": "a/../../b"}, ""},
		{"eks", "eks:TagResource", "http://h", map[string]string{"resourceArn": "a/."}, ""},
		{"eks", "eks:TagResource", "http://h", map[string]string{"resourceArn": "a..b/...:."}, "http://h/tags/a..b%2F...%3A."},
	} {
		req, err := lookup(t, c.service, c.api).NewWrite(t.Context(), c.endpoint, c.params, tags)
		if err != nil || c.want == "" {
			if err == nil || c.want != "" {
				t.Errorf("%s at %q: %v", c.api, c.endpoint, err)
			}
			continue
		}
		if got := req.URL.String(); got != c.want || req.Host != req.URL.Host {
			t.Errorf("%s at %q: %s of %s, want %s", c.api, c.endpoint, got, req.Host, c.want)
		}
	}
}

func TestWithoutRead(t *testing.T) {
	c := lookup(t, "emr", "elasticmapreduce:AddTags")
	if req, err := c.NewRead(t.Context(), "https://x", nil, ""); err == nil {
		t.Errorf("%v", req)
	}
	if tags, _, err := c.Page(http.StatusOK, nil, []byte("{}")); err == nil {
		t.Errorf("%v", tags)
	}
	if err := c.Answered(http.StatusOK, nil, nil); err != nil {
		t.Error(err)
	}
}

// TestNoAnswer has what must not pass for an answer without tags.
func TestNoAnswer(t *testing.T) {
	object := []string{"[]", `"x"`, "1", "{", `{"Tags":`, "{}{}", "{} x", "\xff", "<html/>", strings.Repeat(`{"Tags":`, 20000)}
	document := []string{"", " ", "x", "<", "<a>", "<a></b>", "<!DOCTYPE html><html><br></html>", strings.Repeat("<Tags>", maxDepth+10), "{}", "\xff\xfe"}
	bad := map[string][]string{
		json10: object, json11: object, restJSON: object,
		restXML: append(document, strings.Repeat("<a>", maxDepth+10)+strings.Repeat("</a>", maxDepth+10)),
		query:   append(document, "<html/>", "<DescribeTagsResponse/>", "<OtherResponse><OtherResult/></OtherResponse>"),
		cborRPC: {"", "\xff", "\x80", "\x61x", "\xa1", "\xa1\x61", "\xbf", "\xa1\x01\x01", "{}", strings.Repeat("\x81", 100000)},
	}
	for protocol, c := range ofProtocol(t) {
		for _, body := range bad[protocol] {
			if tags, more, err := c.Page(http.StatusOK, http.Header{}, []byte(body)); err == nil || tags != nil || more != "" {
				t.Errorf("%s %.40q: %q, %q, %v", protocol, body, tags, more, err)
			}
			// As an error's body it costs the code only.
			for _, err := range []error{c.Answered(http.StatusBadGateway, http.Header{}, []byte(body)), second(c.Page(http.StatusBadGateway, nil, []byte(body)))} {
				if err == nil || !strings.Contains(err.Error(), "502") || errors.As(err, new(*smithy.GenericAPIError)) {
					t.Errorf("%s %.40q: %v", protocol, body, err)
				}
			}
		}
	}
}

func second(_ map[string]string, _ string, err error) error { return err }

func TestAnswersThatAreOdd(t *testing.T) {
	all := ofProtocol(t)
	s3 := lookup(t, "s3", "s3:PutBucketTagging")
	for _, c := range []struct {
		call *Call
		body string
		want string // "KEY=VALUE" or "none"; else of the error
	}{
		{lookup(t, "acm", "acm:TagResource"), ``, "none"},
		{lookup(t, "acm", "acm:TagResource"), `null`, "none"},
		{lookup(t, "acm", "acm:TagResource"), `{"Tags":null}`, "none"},
		{lookup(t, "acm", "acm:TagResource"), `{"Tags":[null,1,"x",[],{},{"Key":null,"Value":"v"},{"Key":{},"Value":"v"}]}`, "none"},
		{lookup(t, "acm", "acm:TagResource"), `{"Tags":[{"Key":"k"}]}`, "k="},
		{lookup(t, "acm", "acm:TagResource"), `{"tags":[{"key":"k","value":"v"}]}`, "k=v"},
		{lookup(t, "acm", "acm:TagResource"), `{"Tags":[{"Key":"k","Value":12345678901234567890}]}`, "k=12345678901234567890"},
		{lookup(t, "acm", "acm:TagResource"), `{"Tags":[{"Key":"k","Value":true}]}`, "k=true"},
		{lookup(t, "eks", "eks:TagResource"), `{"tags":{"":"v","k":"v"}}`, "k=v"},
		{lookup(t, "eks", "eks:TagResource"), `{"TAGS":{"k":"v"},"Tags":{"l":"w"}}`, "k=v"},
		{all[query], `<DescribeTagsResponse><DescribeTagsResult/></DescribeTagsResponse>`, "none"},
		{all[query], "<DescribeTagsResponse>\n <DescribeTagsResult>\n<Tags> <member> <Key> k</Key><Value>\n</Value></member></Tags></DescribeTagsResult></DescribeTagsResponse>", " k=\n"},
		{s3, `<Tagging><TagSet/></Tagging>`, "none"},
		{s3, `<Tagging><TagSet><Tag><Key>k</Key><Value/></Tag></TagSet></Tagging>`, "k="},
		{s3, `<Tagging/>`, "no TagSet"},
		{s3, `<html><body>Welcome</body></html>`, "no TagSet"},
		{s3, ``, "no XML"},
		{s3, `<Error><Code>InternalError</Code><Message>m</Message></Error>`, "InternalError"},
		{s3, `<ErrorResponse><Error><Code>InternalError</Code><Message>m</Message></Error></ErrorResponse>`, "InternalError"},
	} {
		tags, _, err := c.call.Page(http.StatusOK, http.Header{}, []byte(c.body))
		got := "none"
		for key, value := range tags {
			got = key + "=" + value
		}
		if err != nil {
			got = err.Error()
		}
		if got != c.want && (err == nil || !strings.Contains(got, c.want)) || len(tags) > 1 {
			t.Errorf("%s %s: %q, %v; want %q", c.call.API, c.body, tags, err, c.want)
		}
	}
}

func TestNoSuchTagSetIsNoTags(t *testing.T) {
	body := []byte(`<?xml version="1.0"?><Error><Code>NoSuchTagSet</Code><Message>m</Message></Error>`)
	s3 := lookup(t, "s3", "s3:PutBucketTagging")
	if tags, more, err := s3.Page(http.StatusNotFound, http.Header{}, body); err != nil || tags == nil || len(tags) != 0 || more != "" {
		t.Errorf("%q, %q, %v", tags, more, err)
	}
	if err := s3.Answered(http.StatusNotFound, http.Header{}, body); err == nil {
		t.Error("a write took it for success")
	}
	if _, _, err := lookup(t, "cloudfront", "cloudfront:TagResource").Page(http.StatusNotFound, http.Header{}, body); err == nil {
		t.Error("it counts for a call that does not list it")
	}
	if _, _, err := s3.Page(http.StatusNotFound, http.Header{}, []byte(`<Error><Code>NoSuchBucket</Code></Error>`)); err == nil {
		t.Error("no bucket counts as no tags")
	}
}

func TestFault(t *testing.T) {
	c := lookup(t, "acm", "acm:TagResource")
	for status, want := range map[int]smithy.ErrorFault{400: smithy.FaultClient, 301: smithy.FaultClient, 500: smithy.FaultServer, 503: smithy.FaultServer} {
		var api smithy.APIError
		if err := c.Answered(status, http.Header{}, []byte(`{"__type":"X","message":" m\n"}`)); !errors.As(err, &api) || api.ErrorFault() != want || api.ErrorMessage() != "m" {
			t.Errorf("%d: %v", status, err)
		}
	}
}

// A list of what was found that lacks the project is no project without tags: its tags would be replaced by ours alone.
func TestResourceThatIsNotInTheAnswer(t *testing.T) {
	project := lookup(t, "codebuild", "codebuild:UpdateProject")
	for _, c := range []struct {
		body  string
		found bool
	}{
		{`{"projects":[{"name":"p","tags":[{"key":"a","value":"b"}]}],"projectsNotFound":[]}`, true},
		{`{"projects":[{"name":"p","tags":[]}]}`, true},
		{`{"projects":[{"name":"p"}]}`, true},
		{`{"projects":[],"projectsNotFound":["p"]}`, false},
		{`{"projectsNotFound":["p"]}`, false},
		{`{}`, false},
		{``, false},
	} {
		tags, _, err := project.Page(200, http.Header{}, []byte(c.body))
		var api smithy.APIError
		if found := err == nil; found != c.found || !found && (!errors.As(err, &api) || api.ErrorCode() != "ResourceNotFoundException") {
			t.Errorf("%s: %v, %v", c.body, tags, err)
		}
	}
}

// Pages that go on from the last key need one: without it what was read so far is not all.
func TestMoreTagsThanAPageWithoutAKey(t *testing.T) {
	stream := lookup(t, "kinesis", "kinesis:AddTagsToStream")
	if _, more, err := stream.Page(200, http.Header{}, []byte(`{"Tags":[{"Key":"a","Value":"b"}],"HasMoreTags":true}`)); more != "a" || err != nil {
		t.Errorf("more %q, %v", more, err)
	}
	if tags, _, err := stream.Page(200, http.Header{}, []byte(`{"Tags":[],"HasMoreTags":true}`)); err == nil {
		t.Errorf("tags %v as all that there are", tags)
	}
}
