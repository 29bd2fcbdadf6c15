package event_test

import (
	"strings"
	"testing"

	"github.com/autotagd/autotagd/pkg/event"
)

func TestScopeString(t *testing.T) {
	if got := (event.Scope{AccountID: "111122223333", Region: "eu-west-1"}).String(); got != "111122223333/eu-west-1" {
		t.Error(got)
	}
}

func TestParseARN(t *testing.T) {
	for _, test := range []struct {
		in   string
		want event.ARN
	}{
		{"arn:aws:ec2:eu-west-1:111122223333:instance/i-1", event.ARN{Partition: "aws", Service: "ec2", Region: "eu-west-1", AccountID: "111122223333", Resource: "instance/i-1"}},
		{"arn:aws:s3:::bucket", event.ARN{Partition: "aws", Service: "s3", Resource: "bucket"}},
		{"arn:aws-cn:logs:cn-north-1:1:log-group:x:*", event.ARN{Partition: "aws-cn", Service: "logs", Region: "cn-north-1", AccountID: "1", Resource: "log-group:x:*"}},
		{"arn:aws:ec2:eu-west-1::image/ami-1", event.ARN{Partition: "aws", Service: "ec2", Region: "eu-west-1", Resource: "image/ami-1"}},
	} {
		got, err := event.ParseARN(test.in)
		if err != nil || got != test.want || got.String() != test.in {
			t.Errorf("ParseARN(%q) = %+v, %v, want %+v", test.in, got, err, test.want)
		}
	}
	for _, in := range []string{
		"", "arn", "arn:aws:s3:::", "arn::s3:::x", "arn:aws::::x", "urn:aws:s3:::x", "arn:aws:s3::x", "ARN:aws:s3:::x", "i-1",
	} {
		if got, err := event.ParseARN(in); err == nil || got != (event.ARN{}) {
			t.Errorf("ParseARN(%q) = %+v, %v, want an error", in, got, err)
		}
	}
	if _, err := event.ParseARN(strings.Repeat("x", 1<<20)); err == nil || len(err.Error()) > 300 {
		t.Errorf("an error of %d bytes", len(err.Error()))
	}
}

func TestPartition(t *testing.T) {
	for region, want := range map[string]string{
		"eu-west-1": "aws", "us-east-1": "aws", "": "aws", "cn-north-1": "aws-cn", "us-gov-west-1": "aws-us-gov", "us-iso-east-1": "aws-iso",
		"us-isob-east-1": "aws-iso-b", "us-isof-south-1": "aws-iso-f", "eu-isoe-west-1": "aws-iso-e", "eusc-de-east-1": "aws-eusc",
	} {
		if got := event.Partition(region); got != want {
			t.Errorf("Partition(%q) = %q, want %q", region, got, want)
		}
	}
}

func FuzzParseARN(f *testing.F) {
	f.Add("arn:aws:ec2:eu-west-1:111122223333:instance/i-1")
	f.Add("arn:aws:s3:::b:c:d")
	f.Fuzz(func(t *testing.T, s string) {
		a, err := event.ParseARN(s)
		switch {
		case err != nil && a != event.ARN{}:
			t.Errorf("%+v with an error", a)
		case err == nil && a.String() != s:
			t.Errorf("%q comes back as %q", s, a)
		case err == nil && (a.Partition == "" || a.Service == "" || a.Resource == ""):
			t.Errorf("%q: %+v", s, a)
		}
	})
}
