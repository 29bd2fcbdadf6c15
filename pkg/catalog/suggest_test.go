package catalog_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/autotagd/autotagd/pkg/catalog"
	"github.com/autotagd/autotagd/pkg/event"
	"github.com/autotagd/autotagd/pkg/resource"
)

// unknown is a record of a call that the table lacks.
func unknown(t testing.TB, source, name, request, response string) *event.Record {
	t.Helper()
	r, err := event.Parse(fmt.Appendf(nil, `{"eventID":"e","eventSource":%q,"eventName":%q,"awsRegion":"eu-west-1","recipientAccountId":"111122223333","requestParameters":%s,"responseElements":%s}`,
		source, name, request, response))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestSuggest(t *testing.T) {
	c := load(t)
	for _, tt := range []struct {
		name, source, event, request, response string
		want                                   string // the row, with | for tabs; "" is none
		arn                                    string // what the row makes of the record
	}{
		{
			"an ARN and an id", "nebula.amazonaws.com", "CreateVectorBucket", `{"tags":{"a":"b"},"roleArn":"arn:aws:iam::111122223333:role/r"}`,
			`{"vectorBucket":{"roleArn":"arn:aws:iam::111122223333:role/r","vectorBucketArn":"arn:aws:nebula:eu-west-1:111122223333:bucket/b","vectorBucketId":"b","name":"n"}}`,
			"nebula|nebula.amazonaws.com|CreateVectorBucket|nebula:vectorBucket|responseElements.vectorBucket.vectorBucketArn|responseElements.vectorBucket.vectorBucketId||tagging:TagResources(ResourceARNList)|nebula:TagResource|requestParameters.tags|guess|||",
			"arn:aws:nebula:eu-west-1:111122223333:bucket/b",
		},
		{
			"an id alone", "nebula.amazonaws.com", "CreateStar20290101", `{"name":"sol"}`, `{"starId":"s-1"}`,
			"nebula|nebula.amazonaws.com|CreateStar|nebula:star||responseElements.starId|arn:{partition}:nebula:{region}:{account}:star/{id}|tagging:TagResources(ResourceARNList)|nebula:TagResource||guess|||",
			"arn:aws:nebula:eu-west-1:111122223333:star/s-1",
		},
		{
			"a name in the request", "nebula.amazonaws.com", "RegisterStar", `{"starName":"sol","size":7}`, `null`,
			"nebula|nebula.amazonaws.com|RegisterStar|nebula:star||requestParameters.starName|arn:{partition}:nebula:{region}:{account}:star/{id}|tagging:TagResources(ResourceARNList)|nebula:TagResource||guess|||",
			"arn:aws:nebula:eu-west-1:111122223333:star/sol",
		},
		{
			"ARNs of another name than the event's", "monitoring.amazonaws.com", "CreateGauge", `{}`, `{"gaugeArn":"arn:aws:cloudwatch:eu-west-1:111122223333:gauge:g"}`,
			"cloudwatch|monitoring.amazonaws.com|CreateGauge|cloudwatch:gauge|responseElements.gaugeArn|||cloudwatch:TagResource(ResourceARN)¦tagging:TagResources(ResourceARNList)|cloudwatch:TagResource||guess|||",
			"arn:aws:cloudwatch:eu-west-1:111122223333:gauge:g",
		},
		{
			"a new service whose ARNs have another name", "nebula.amazonaws.com", "CreateStar", `{}`, `{"starArn":"arn:aws:sky:eu-west-1:111122223333:star/s"}`,
			"nebula|nebula.amazonaws.com|CreateStar|sky:star|responseElements.starArn|||tagging:TagResources(ResourceARNList)|sky:TagResource||guess|||",
			"arn:aws:sky:eu-west-1:111122223333:star/s",
		},
		{
			"not what it was made from", "nebula.amazonaws.com", "CopyStar", `{"source":"arn:aws:nebula:eu-west-1:111122223333:star/old"}`,
			`{"a":"arn:aws:nebula:eu-west-1:111122223333:star/old","b":{"arn":"arn:aws:nebula:eu-west-1:111122223333:star/new"}}`,
			"nebula|nebula.amazonaws.com|CopyStar|nebula:star|responseElements.b.arn|||tagging:TagResources(ResourceARNList)|nebula:TagResource||guess|||",
			"arn:aws:nebula:eu-west-1:111122223333:star/new",
		},
		{
			"a list", "nebula.amazonaws.com", "CreateStars", `{}`, `{"stars":[{"arn":"arn:aws:nebula:eu-west-1:111122223333:star/1"},{"arn":"arn:aws:nebula:eu-west-1:111122223333:star/2"}]}`,
			"nebula|nebula.amazonaws.com|CreateStars|nebula:stars|responseElements.stars[].arn|||tagging:TagResources(ResourceARNList)|nebula:TagResource||guess|||",
			"arn:aws:nebula:eu-west-1:111122223333:star/1",
		},
		{
			"EC2, wrapped", "ec2.amazonaws.com", "CreateSpaceLink", `{"CreateSpaceLinkRequest":{}}`, `{"CreateSpaceLinkResponse":{"spaceLink":{"spaceLinkId":"sl-1","vpcId":"vpc-1"}}}`,
			"ec2|ec2.amazonaws.com|CreateSpaceLink|ec2:spaceLink||responseElements.spaceLink.spaceLinkId|arn:{partition}:ec2:{region}:{account}:space-link/{id}|ec2:CreateTags(Resources)¦tagging:TagResources(ResourceARNList)|ec2:CreateTags||guess|||",
			"arn:aws:ec2:eu-west-1:111122223333:space-link/sl-1",
		},
		{
			"EC2, a list", "ec2.amazonaws.com", "CreateSpaceLinks", `{}`, `{"spaceLinkSet":{"items":[{"spaceLinksId":"sl-1"}]}}`,
			"ec2|ec2.amazonaws.com|CreateSpaceLinks|ec2:spaceLinks||responseElements.spaceLinkSet[].spaceLinksId|arn:{partition}:ec2:{region}:{account}:space-links/{id}|ec2:CreateTags(Resources)¦tagging:TagResources(ResourceARNList)|ec2:CreateTags||guess|||",
			"arn:aws:ec2:eu-west-1:111122223333:space-links/sl-1",
		},
		{
			"an id by the end of the thing's name", "ec2.amazonaws.com", "CreateSpaceGroup", `{"vpcId":"vpc-1"}`, `{"groupId":"sg-1","ownerId":"111122223333"}`,
			"ec2|ec2.amazonaws.com|CreateSpaceGroup|ec2:spaceGroup||responseElements.groupId|arn:{partition}:ec2:{region}:{account}:space-group/{id}|ec2:CreateTags(Resources)¦tagging:TagResources(ResourceARNList)|ec2:CreateTags||guess|||",
			"arn:aws:ec2:eu-west-1:111122223333:space-group/sg-1",
		},
		{
			"nothing that names it", "nebula.amazonaws.com", "CreateStar", `null`, `null`,
			"nebula|nebula.amazonaws.com|CreateStar|nebula:star||||tagging:TagResources(ResourceARNList)|nebula:TagResource||guess|||", "",
		},
		{"what makes nothing", "nebula.amazonaws.com", "DescribeStars", `{}`, `{}`, "", ""},
		{"a name that is none", "nebula.amazonaws.com", "Create\tStar|Planet", `{}`, `{}`, "", ""},
		{"a source that is none", "nebula\n.amazonaws.com", "CreateStar", `{}`, `{}`, "", ""},
		{"a name without an end", "nebula.amazonaws.com", "Create" + strings.Repeat("X", 4096), `{}`, `{}`, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := unknown(t, tt.source, tt.event, tt.request, tt.response)
			got := c.Suggest(r)
			if want := strings.NewReplacer("|", "\t", "¦", "|").Replace(tt.want); got != want {
				t.Fatalf("got  %q\nwant %q", got, want)
			}
			if tt.want == "" {
				return
			}
			result, ok := load(t, heading+got+"\n").Resolve(r)
			switch {
			case !ok:
				t.Error("the row is not for its event")
			case tt.arn == "" && result.Problem != resource.Unresolved:
				t.Errorf("%+v", result)
			case tt.arn != "" && (len(result.Resources) == 0 || result.Resources[0].ARN != tt.arn):
				t.Errorf("got %+v, want %s", result, tt.arn)
			}
		})
	}
}

// A person corrects a row; a machine must be able to take any.
func checkSuggestion(t *testing.T, row string) {
	t.Helper()
	if row == "" {
		return
	}
	if len(row) > 3000 || strings.ContainsFunc(row, func(r rune) bool { return r != '\t' && (r < ' ' || r > '~') }) {
		t.Errorf("%d bytes: %q", len(row), row)
	}
	if _, err := catalog.Load(strings.NewReader(heading + row + "\n")); err != nil {
		t.Errorf("%q: %v", row, err)
	}
}

func TestSuggestOfHostileRecords(t *testing.T) {
	c := load(t)
	long := strings.Repeat("x", 100)
	wide := make(map[string]string)
	for i := range 20_000 {
		wide[fmt.Sprintf("k%dArn", i)] = fmt.Sprintf("arn:aws:nebula:::thing/%d", i)
	}
	widest, err := json.Marshal(wide)
	if err != nil {
		t.Fatal(err)
	}
	for name, response := range map[string]string{
		"deep":                strings.Repeat(`{"starId":`, 5000) + "1" + strings.Repeat("}", 5000),
		"deep lists":          strings.Repeat("[", 5000) + strings.Repeat("]", 5000),
		"wide":                string(widest),
		"long names":          `{"` + long + `":{"` + long + `":{"` + long + `":{"starId":"s","starArn":"arn:aws:nebula:::s"}}}}`,
		"names that steer":    `{"a\u001b[31mb":{"starId":"s"},"a\tb":{"starArn":"arn:aws:nebula:::s"},"a|b":{"starId":"s"},"a;b=c":{"starId":"s"}}`,
		"names in brackets":   `{"a[]":{"starId":"s"},"{id}":{"starId":"s"},"":{"starId":"s"}}`,
		"an ARN of nobody":    `{"starArn":"arn:aws:\u001b[2J\t:::s"}`,
		"an ARN with a place": `{"starArn":"arn:aws:{id}:::s"}`,
		"no object":           `"arn:aws:nebula:::s"`,
		"hidden":              `{"starId":"HIDDEN_DUE_TO_SECURITY_REASONS"}`,
		"not JSON within":     `{"starId":{"starId":[[[{"starId":null}]]]}}`,
	} {
		t.Run(name, func(t *testing.T) {
			for _, source := range []string{"nebula.amazonaws.com", "ec2.amazonaws.com", "monitoring.amazonaws.com"} {
				row := c.Suggest(unknown(t, source, "CreateStar", response, response))
				if row == "" {
					t.Error("no row at all")
				}
				checkSuggestion(t, row)
			}
		})
	}
}

func FuzzSuggest(f *testing.F) {
	c := load(f)
	f.Add("nebula.amazonaws.com", "CreateStar", `{"tags":[{"key":"a","value":"b"}]}`, `{"star":{"arn":"arn:aws:nebula:eu-west-1:111122223333:star/s","id":"s"}}`)
	f.Add("ec2.amazonaws.com", "CreateSpaceLink20290101", `{"name":"x"}`, `{"CreateSpaceLinkResponse":{"spaceLinkSet":{"item":[{"spaceLinkId":7}]}}}`)
	f.Add("monitoring.amazonaws.com", "RunX", `null`, `[["x"]]`)
	f.Fuzz(func(t *testing.T, source, name, request, response string) {
		b := fmt.Appendf(nil, `{"requestParameters":%s,"responseElements":%s}`, request, response)
		r, err := event.Parse(append([]byte(`{"eventName":"x",`), b[1:]...))
		if err != nil {
			return
		}
		r.EventSource, r.EventName = source, name
		checkSuggestion(t, c.Suggest(r))
	})
}
