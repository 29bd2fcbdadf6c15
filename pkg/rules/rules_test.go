package rules_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/autotagd/autotagd/pkg/event"
	"github.com/autotagd/autotagd/pkg/identity"
	"github.com/autotagd/autotagd/pkg/resource"
	"github.com/autotagd/autotagd/pkg/rules"
)

func launch() rules.Input {
	return rules.Input{
		Record: &event.Record{
			EventID: "11111111-2222-3333-4444-555555555555", EventSource: "ec2.amazonaws.com", EventName: "RunInstances",
			EventTime: time.Date(2026, 11, 3, 9, 5, 6, 0, time.FixedZone("", 5*3600)), AWSRegion: "eu-west-1", RecipientAccountID: "123456789012",
			SourceIPAddress: "192.0.2.1", UserAgent: "aws-cli/2",
		},
		Identity: identity.Identity{
			Type: "AssumedRole", PrincipalID: "AROAEXAMPLE:alice@example.com", ARN: "arn:aws:sts::123456789012:assumed-role/dev/alice@example.com",
			AccountID: "123456789012", UserName: "", RoleName: "dev", SessionName: "alice@example.com", SourceIdentity: "alice", InvokedBy: "",
		},
		Owner: identity.Owner{Name: "alice@example.com", Kind: identity.Person, Attributes: map[string]string{"department": "Genetics", "empty": ""}},
		Resource: resource.Resource{
			ARN: "arn:aws:ec2:eu-west-1:123456789012:instance/i-1", ID: "i-1", Type: "AWS::EC2::Instance", Service: "ec2",
			Scope: event.Scope{AccountID: "123456789012", Region: "eu-west-1"}, Tags: map[string]string{"env": "prod"},
		},
	}
}

func compile(t testing.TB, o rules.Options) *rules.Rules {
	t.Helper()
	if o.Tags == nil {
		o.Tags = []rules.Tag{{Key: "Owner", Value: "${owner.name}"}}
	}
	r, err := rules.Compile(o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestValue applies one tag value to a launch by Alice.
func TestValue(t *testing.T) {
	for _, test := range []struct{ name, value, want string }{
		{"an expression", "${owner.name}", "alice@example.com"},
		{"text on both sides", "by ${owner.name}.", "by alice@example.com."},
		{"two expressions", "${event.region}/${resource.id}", "eu-west-1/i-1"},
		{"literal text alone", "autotagd", "autotagd"},
		{"spaces inside", "${ owner.name }", "alice@example.com"},
		{"a brace in a string", `${"a}b" == "" ? "x" : "y"}`, "y"},
		{"an escaped quote in a string", `${"a\"}" == "" ? "x" : "y"}`, "y"},
		{"a raw string ends at its quote", `${r"\" == "" ? "x" : "y"}`, "y"},
		{"a triple-quoted string", `${'''it's }''' == "" ? "x" : "y"}`, "y"},
		{"a map literal", `${{"a": "b"}["a"]}`, "b"},
		{"a comment with a brace", "${owner.name // }\n}", "alice@example.com"},
		{"a division is no comment", "${string(4/2)}", "2"},
		{
			"every identity member", "${identity.type}/${identity.principal_id}/${identity.account_id}/${identity.role_name}/${identity.session_name}/${identity.source_identity}",
			"AssumedRole/AROAEXAMPLE:alice@example.com/123456789012/dev/alice@example.com/alice",
		},
		{"the identity's ARN", "${identity.arn}", "arn:aws:sts::123456789012:assumed-role/dev/alice@example.com"},
		{
			"every event member", "${event.id} ${event.source} ${event.name} ${event.region} ${event.account_id} ${event.source_ip} ${event.user_agent}",
			"11111111-2222-3333-4444-555555555555 ec2.amazonaws.com RunInstances eu-west-1 123456789012 192.0.2.1 aws-cli/2",
		},
		{
			"every resource member", "${resource.arn} ${resource.id} ${resource.type} ${resource.service} ${resource.region} ${resource.account_id}",
			"arn:aws:ec2:eu-west-1:123456789012:instance/i-1 i-1 AWS::EC2::Instance ec2 eu-west-1 123456789012",
		},
		{"the owner's kind", "${owner.kind}", "person"},
		{"a time", "${event.time}", "2026-11-03T04:05:06Z"},
		{"a part of a time, in UTC", "${event.time.getFullYear()}-${event.time.getMonth() + 1}", "2026-11"},
		{"an hour, in UTC", "${event.time.getHours()}", "4"},
		{"an hour of a time in another zone", `${timestamp("2026-01-01T00:00:00+05:00").getHours()}`, "19"},
		{"an attribute", "${owner.attributes.department}", "Genetics"},
		{"an attribute by index", `${owner.attributes["department"]}`, "Genetics"},
		{"an absent attribute gives nothing", "${owner.attributes.cost_center}", ""},
		{"an absent attribute in text gives nothing", "cc-${owner.attributes.cost_center}", ""},
		{"an empty attribute gives nothing", "cc-${owner.attributes.empty}", ""},
		{"an absent attribute can be replaced", `${owner.attributes.cost_center == "" ? "none" : owner.attributes.cost_center}`, "none"},
		{"has of an absent attribute", `${has(owner.attributes.cost_center) ? "yes" : "no"}`, "no"},
		{"has of an empty attribute", `${has(owner.attributes.empty) ? "yes" : "no"}`, "yes"},
		{"in", `${"department" in owner.attributes ? "yes" : "no"}`, "yes"},
		{"has of text", `${has(identity.invoked_by) ? "yes" : "no"}`, "no"},
		{"what the record lacks", "${identity.user_name}", ""},
		{"a tag given at creation", "${resource.tags.env}", "prod"},
		{"an absent one", "${resource.tags.team}", ""},
		{"split", `${owner.name.split("@")[0]}`, "alice"},
		{"split too short gives nothing", `${owner.name.split("@")[7]}`, ""},
		{"replace", `${owner.name.replace("@example.com", "")}`, "alice"},
		{"lowerAscii", `${event.name.lowerAscii()}`, "runinstances"},
		{"upperAscii", `${identity.role_name.upperAscii()}`, "DEV"},
		{"trim", `${" x ".trim()}`, "x"},
		{"matches", `${owner.name.matches("^alice@") ? "yes" : "no"}`, "yes"},
		{"spaces alone are nothing", `${" "}`, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, err := rules.Compile(rules.Options{Tags: []rules.Tag{{Key: "K", Value: test.value}, {Key: "Zz", Value: "x"}}})
			if err != nil {
				t.Fatal(err)
			}
			var got string
			d := r.Apply(launch())
			for _, tag := range d.Tags {
				if tag.Key == "K" {
					got = tag.Value
				}
			}
			if got != test.want || d.Skip != "" {
				t.Errorf("got %q (skip %q, problems %q), want %q", got, d.Skip, d.Problems, test.want)
			}
		})
	}
}

func TestApplyDecides(t *testing.T) {
	service := func(in *rules.Input) {
		in.Owner = identity.Owner{Name: "autoscaling.amazonaws.com", Kind: identity.Service, Reason: "invokedBy"}
	}
	owner := []resource.Tag{{Key: "Owner", Value: "alice@example.com"}}
	for _, test := range []struct {
		name    string
		options rules.Options
		change  func(*rules.Input)
		want    rules.Decision
	}{
		{"a person's resource is tagged", rules.Options{}, nil, rules.Decision{Tags: owner}},
		{
			"tags are sorted by key",
			rules.Options{Tags: []rules.Tag{{Key: "b", Value: "2"}, {Key: "A", Value: "1"}}},
			nil,
			rules.Decision{Tags: []resource.Tag{{Key: "A", Value: "1"}, {Key: "b", Value: "2"}}},
		},
		{"a workload's is tagged", rules.Options{}, func(in *rules.Input) { in.Owner.Kind = identity.Workload }, rules.Decision{Tags: owner}},
		{
			"nobody to credit",
			rules.Options{ServiceOwned: rules.TagServiceOwned},
			func(in *rules.Input) { in.Owner = identity.Owner{Kind: identity.None, Reason: "foreign account 1"} },
			rules.Decision{Skip: "nobody to credit: foreign account 1"},
		},
		{"a service's own is skipped", rules.Options{ServiceOwned: rules.SkipServiceOwned}, service, rules.Decision{Skip: "a service made it for itself: autoscaling.amazonaws.com"}},
		{
			"a service's own is tagged where wanted",
			rules.Options{ServiceOwned: rules.TagServiceOwned},
			service,
			rules.Decision{Tags: []resource.Tag{{Key: "Owner", Value: "autoscaling.amazonaws.com"}}},
		},
		{"a listed service", rules.Options{Services: []string{"s3", "ec2"}}, nil, rules.Decision{Tags: owner}},
		{"an unlisted service", rules.Options{Services: []string{"s3"}}, nil, rules.Decision{Skip: "service ec2 is not among the configured services"}},
		{"filters that hold", rules.Options{Filters: []string{`event.name == "RunInstances"`, `resource.tags.env == "prod"`, `event.time > timestamp("2020-01-01T00:00:00Z")`}}, nil, rules.Decision{Tags: owner}},
		{
			"a filter that does not hold",
			rules.Options{Filters: []string{"true", `event.source != "ec2.amazonaws.com"`}},
			nil,
			rules.Decision{Skip: `filter 2 does not hold: event.source != "ec2.amazonaws.com"`},
		},
		{"an absent tag differs from every value", rules.Options{Filters: []string{`resource.tags.stage != "dev"`}}, nil, rules.Decision{Tags: owner}},
		{
			"nil maps are empty",
			rules.Options{Filters: []string{`!("env" in resource.tags) && resource.tags.env == "" && owner.attributes.x == ""`}},
			func(in *rules.Input) { in.Resource.Tags, in.Owner.Attributes = nil, nil },
			rules.Decision{Tags: owner},
		},
		{
			"a filter that fails is a reason",
			rules.Options{Filters: []string{`event.source.split(".")[9] == "x"`}},
			nil,
			rules.Decision{Skip: `filter 1 failed: event.source.split(".")[9] == "x": index out of bounds: 9`},
		},
		{
			"an expression that fails leaves its tag out, and says so",
			rules.Options{Tags: []rules.Tag{{Key: "Owner", Value: "${owner.name}"}, {Key: "X", Value: `${owner.name.split("@")[9]}`}}},
			nil,
			rules.Decision{Tags: owner, Problems: []string{`tag X left out: ${owner.name.split("@")[9]}: index out of bounds: 9`}},
		},
		{"no tag left is a reason", rules.Options{Tags: []rules.Tag{{Key: "X", Value: "${identity.user_name}"}}}, nil, rules.Decision{Skip: "no tag has a value for it"}},
		{"no record", rules.Options{Tags: []rules.Tag{{Key: "Owner", Value: "${owner.name}"}, {Key: "X", Value: "${event.name}"}}}, func(in *rules.Input) { in.Record = nil }, rules.Decision{Tags: owner}},
	} {
		t.Run(test.name, func(t *testing.T) {
			in := launch()
			if test.change != nil {
				test.change(&in)
			}
			if diff := cmp.Diff(test.want, compile(t, test.options).Apply(in)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestMistakesAreAllReportedWithTheirPlace(t *testing.T) {
	_, err := rules.Compile(rules.Options{
		Tags: []rules.Tag{
			{Key: "Owner", Value: "é ${owner.nme}"},
			{Key: "aws:x", Value: "${ 1 + }"},
			{Key: "owner", Value: "a#"},
			{Key: "L", Value: "${[1]}"},
			{Key: "M", Value: "ok ${owner.name"},
			{Key: "N", Value: "${\n  owner.name +\n  foo}"},
		},
		Filters: []string{"owner.name", "${true}", "owner.exists", " event.x == '' "},
	})
	type mistake struct {
		Part          rules.Part
		Index, Offset int
		What          string
	}
	var got []mistake
	for _, m := range rules.Mistakes(err) {
		got = append(got, mistake{m.Part, m.Index, m.Offset, m.What})
		if !strings.HasPrefix(m.Want, "want ") {
			t.Errorf("%v: says no remedy", m)
		}
	}
	want := []mistake{
		{rules.InTagKey, 1, 0, "tag keys that begin with aws: are AWS's own"},
		{rules.InTagKey, 2, 0, "differs from Owner in case alone"},
		{rules.InTagValue, 0, 4, "undeclared reference to 'owner.nme' (did you mean 'owner.name'?)"},
		{rules.InTagValue, 1, 7, "the expression is cut short"},
		{rules.InTagValue, 2, 1, "character '#' cannot be in a tag value"},
		{rules.InTagValue, 3, 2, "the expression gives a list(int)"},
		{rules.InTagValue, 4, 3, "${ has no } that ends it"},
		{rules.InTagValue, 5, 20, "undeclared reference to 'foo'"},
		{rules.InFilter, 0, 0, "the condition gives a string"},
		{rules.InFilter, 1, 0, "a filter is CEL as it is"},
		{rules.InFilter, 2, 0, "undeclared reference to 'owner'"},
		{rules.InFilter, 3, 1, "undeclared reference to 'event.x' (did you mean 'event.id'?)"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestMistakesOfOtherErrors(t *testing.T) {
	if got := rules.Mistakes(fmt.Errorf("x")); got != nil {
		t.Errorf("got %v", got)
	}
}

func TestTooManyTags(t *testing.T) {
	var tags []rules.Tag
	for i := range rules.MaxTags {
		tags = append(tags, rules.Tag{Key: fmt.Sprint("k", i), Value: "x"})
	}
	if got := len(compile(t, rules.Options{Tags: tags}).Apply(launch()).Tags); got != rules.MaxTags {
		t.Errorf("%d tags, want %d", got, rules.MaxTags)
	}
	if _, err := rules.Compile(rules.Options{Tags: append(tags, rules.Tag{Key: "one more", Value: "x"})}); err == nil {
		t.Error("one tag too many was accepted")
	}
}

// TestHostileRecord gives expressions that would explode to a Record with megabytes in it.
func TestHostileRecord(t *testing.T) {
	in := launch()
	in.Record.UserAgent = strings.Repeat("a\x00\xff\u202e", 1<<20)
	in.Owner.Name = strings.Repeat("aaaaaaaa", 1<<17)
	for _, expr := range []string{
		"event.user_agent",
		`event.user_agent.replace("", event.user_agent)`,
		`event.user_agent.replace("", owner.name).replace("", owner.name)`,
		`owner.name.split("")[2000]`,
		`owner.name.matches("^(a*)*(a*)*(a*)*b$") ? "x" : "y"`,
		`event.user_agent.matches(owner.name) ? "x" : "y"`,
		strings.Repeat("owner.name+", 100) + "owner.name",
		"(" + strings.Repeat("owner.name+", 30) + `"").replace("", ` + strings.Repeat("owner.name+", 30) + `"")`,
		`event.user_agent.size() > 2048 ? owner.name.split("")[100000] : "cut"`,
	} {
		r := compile(t, rules.Options{Tags: []rules.Tag{{Key: "K", Value: "${" + expr + "}"}}})
		start := time.Now()
		d := r.Apply(in)
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("%.60s took %v", expr, took)
		}
		if strings.Contains(expr, `"cut"`) && d.Skip != "" {
			t.Errorf("expressions see more than 2048 bytes: %v", d)
		}
		if (len(d.Tags) == 0) == (d.Skip == "") {
			t.Errorf("%.60s: %v", expr, d)
		}
		checkTags(t, d.Tags)
	}
}

func TestLoopsAreRefused(t *testing.T) {
	for _, expr := range []string{`["a"].map(x, x + x)[0]`, `resource.tags.exists(k, k == "x")`, `[1, 2].all(x, x > 0)`} {
		if _, err := rules.Compile(rules.Options{Tags: []rules.Tag{{Key: "K", Value: "${" + expr + "}"}}}); err == nil {
			t.Errorf("%s was accepted", expr)
		}
	}
}

func TestConcurrentUse(t *testing.T) {
	r := compile(t, rules.Options{
		Tags:    []rules.Tag{{Key: "Owner", Value: "${owner.name}"}, {Key: "D", Value: `${owner.attributes.department + resource.tags.env.upperAscii()}`}},
		Filters: []string{`event.source.matches("^ec2")`},
	})
	want := r.Apply(launch())
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				if diff := cmp.Diff(want, r.Apply(launch())); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
	wg.Wait()
}

func TestKeys(t *testing.T) {
	r := compile(t, rules.Options{Tags: []rules.Tag{{Key: "b", Value: "x"}, {Key: "a", Value: "x"}}})
	if diff := cmp.Diff([]string{"a", "b"}, r.Keys()); diff != "" {
		t.Error(diff)
	}
}

func BenchmarkCompileDefault(b *testing.B) {
	for b.Loop() {
		compile(b, rules.Options{Tags: []rules.Tag{{Key: "Owner", Value: "${owner.name}"}, {Key: "PrincipalId", Value: "${identity.principal_id}"}}})
	}
}

func BenchmarkApplyDefault(b *testing.B) {
	r := compile(b, rules.Options{Tags: []rules.Tag{{Key: "Owner", Value: "${owner.name}"}, {Key: "PrincipalId", Value: "${identity.principal_id}"}}})
	in := launch()
	b.ReportAllocs()
	for b.Loop() {
		r.Apply(in)
	}
}

func BenchmarkApplyFilters(b *testing.B) {
	r := compile(b, rules.Options{
		Tags:    []rules.Tag{{Key: "Owner", Value: `${owner.name.split("@")[0]}`}},
		Filters: []string{`event.source != "iam.amazonaws.com"`, `resource.tags.env != "dev" && !has(resource.tags.skip)`},
	})
	in := launch()
	b.ReportAllocs()
	for b.Loop() {
		r.Apply(in)
	}
}

// Where records of two services can't be told apart, either name in `services` will do.
func TestServicesThatShareRecords(t *testing.T) {
	for services, want := range map[string]bool{"sesv2": true, "pinpoint-email": true, "ec2": false} {
		r, err := rules.Compile(rules.Options{Tags: []rules.Tag{{Key: "Owner", Value: "${owner.name}"}}, Services: []string{services}})
		if err != nil {
			t.Fatal(err)
		}
		d := r.Apply(rules.Input{
			Owner:    identity.Owner{Kind: identity.Person, Name: "ann"},
			Resource: resource.Resource{Service: "sesv2"}, Services: []string{"sesv2", "pinpoint-email"},
		})
		if got := d.Skip == ""; got != want {
			t.Errorf("services: [%s]: skip %q", services, d.Skip)
		}
	}
}

func TestAttributes(t *testing.T) {
	r, err := rules.Compile(rules.Options{
		Tags: []rules.Tag{
			{Key: "a", Value: `${owner.attributes.department} ${owner.name}`},
			{Key: "b", Value: `${"x" in owner.attributes ? owner.attributes["cost_center"] : ""}`},
			{Key: "c", Value: `${has(owner.attributes.team) ? owner.attributes.department : resource.tags.team2}`},
		},
		Filters: []string{`owner.attributes.department != "x"`, `owner.attributes[event.name] == ""`},
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := r.Attributes(), []string{"cost_center", "department", "team", "x"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
