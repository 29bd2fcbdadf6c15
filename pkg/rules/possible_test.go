package rules_test

import (
	"testing"

	"github.com/autotagd/autotagd/pkg/event"
	"github.com/autotagd/autotagd/pkg/resource"
	"github.com/autotagd/autotagd/pkg/rules"
)

// Of an event of which only the call and the kind of resource are known, Possible says no only where nothing else matters.
func TestPossible(t *testing.T) {
	in := rules.Input{
		Record:   &event.Record{EventSource: "ec2.amazonaws.com", EventName: "RunInstances"},
		Resource: resource.Resource{Service: "ec2", Type: "AWS::EC2::Instance"},
		Services: []string{"ec2", "ec2-classic"},
	}
	for _, tt := range []struct {
		name    string
		options rules.Options
		want    bool
	}{
		{"no filter", rules.Options{}, true},
		{"its service", rules.Options{Services: []string{"s3", "ec2"}}, true},
		{"another name of its service", rules.Options{Services: []string{"ec2-classic"}}, true},
		{"another service", rules.Options{Services: []string{"s3"}}, false},
		{"its source", rules.Options{Filters: []string{`event.source == "ec2.amazonaws.com"`}}, true},
		{"another source", rules.Options{Filters: []string{`event.source != "ec2.amazonaws.com"`}}, false},
		{"one of several filters", rules.Options{Filters: []string{`owner.kind == "person"`, `event.name in ["CreateVolume", "CreateImage"]`}}, false},
		{"the kind of resource", rules.Options{Filters: []string{`resource.type.startsWith("AWS::S3::")`}}, false},
		{"what is not known", rules.Options{Filters: []string{`event.region == "eu-west-1"`}}, true},
		{"what is not known, negated", rules.Options{Filters: []string{`!(owner.name == "")`}}, true},
		{"a map that is not known", rules.Options{Filters: []string{`owner.attributes.department == "IT"`}}, true},
		{"a member of a map that is not known", rules.Options{Filters: []string{`has(resource.tags.env)`}}, true},
		{"a time that is not known", rules.Options{Filters: []string{`event.time > timestamp("2026-01-01T00:00:00Z")`}}, true},
		{"no, and what is not known", rules.Options{Filters: []string{`owner.kind == "person" && event.source == "s3.amazonaws.com"`}}, false},
		{"no, or what is not known", rules.Options{Filters: []string{`event.source == "s3.amazonaws.com" || owner.kind == "person"`}}, true},
		{"what is not known decides which", rules.Options{Filters: []string{`owner.kind == "person" ? event.source == "s3.amazonaws.com" : true`}}, true},
		{"a function of what is not known", rules.Options{Filters: []string{`identity.arn.matches("^arn:aws:iam::1") && event.name == "RunInstances"`}}, true},
		{"nothing at all", rules.Options{Filters: []string{`false`}}, false},
		{"what fails on every record", rules.Options{Filters: []string{`1 / (size(event.name) - size(event.name)) == 1`}}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := compile(t, tt.options).Possible(in, "event.source", "event.name", "resource.service", "resource.type"); got != tt.want {
				t.Errorf("Possible = %v, want %v", got, tt.want)
			}
		})
	}
}

// Possible never says no to what Apply tags.
func TestPossibleAllowsWhatIsTagged(t *testing.T) {
	in := launch()
	for _, filter := range []string{
		`event.name == "RunInstances"`, `event.source.endsWith(".amazonaws.com")`, `owner.attributes.department == "Genetics"`,
		`"env" in resource.tags`, `identity.type == "AssumedRole" && !(event.name in ["CreateVolume"])`,
		`resource.arn.split(":")[2] == "ec2"`, `event.time.getHours() == 4`,
	} {
		r := compile(t, rules.Options{Filters: []string{filter}})
		if d := r.Apply(in); len(d.Tags) == 0 {
			t.Fatalf("%s: %s", filter, d.Skip)
		}
		for _, known := range [][]string{nil, {"event.source"}, {"event.source", "event.name", "resource.service", "resource.type"}} {
			if !r.Possible(in, known...) {
				t.Errorf("%s with %v known: not possible", filter, known)
			}
		}
	}
}
