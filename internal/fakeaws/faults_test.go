package fakeaws_test

import (
	"context"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/autotagd/autotagd/internal/fakeaws"
	"github.com/autotagd/autotagd/pkg/event"
)

func (c *clients) tag(id string) error {
	_, err := c.ec2.CreateTags(c.ctx, &ec2.CreateTagsInput{Resources: []string{id}, Tags: []ec2types.Tag{{Key: aws.String("Owner"), Value: aws.String("x")}}})
	return err
}

func TestFaults(t *testing.T) {
	for fault, want := range map[fakeaws.Fault]struct {
		code string // "": not an error that has one
		kept bool
	}{
		fakeaws.Throttle:    {"RequestLimitExceeded", false},
		fakeaws.ServerError: {"ServiceUnavailable", false},
		fakeaws.Reset:       {"", false},
		fakeaws.LostAnswer:  {"", true},
	} {
		t.Run(fault.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := connect(t, fakeaws.Config{})
				id := c.aws.Create(c.aws.Scope(), "CreateVolume", maria).IDs("")[0]
				c.aws.Fail("CreateTags", 1, fault)
				c.aws.Fail("CreateTags", -1, fault, event.Scope{AccountID: "111122223333", Region: "elsewhere"})
				err := c.tag(id)
				if err == nil || want.code != "" && code(err) != want.code {
					t.Errorf("%v, want %s", err, want.code)
				}
				if r, _ := c.aws.Resource(id); (len(r.Writes) > 0) != want.kept {
					t.Errorf("writes %v, want kept: %v", r.Writes, want.kept)
				}
				if err := c.tag(id); err != nil {
					t.Errorf("the call after: %v", err)
				}
				calls := c.aws.Calls("CreateTags")
				if len(calls) != 2 || calls[0].Error == "" || calls[1].Error != "" || calls[1].Size != 1 {
					t.Errorf("calls %+v", calls)
				}
			})
		})
	}
}

func TestSlowAnswerOutlivesItsCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := connect(t, fakeaws.Config{})
		id := c.aws.Create(c.aws.Scope(), "CreateVolume", maria).IDs("")[0]
		c.aws.Fail("", 1, fakeaws.Slow)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		c.ctx = ctx
		if err := c.tag(id); err == nil {
			t.Error("no error after 10 s")
		}
		if r, _ := c.aws.Resource(id); len(r.Writes) != 1 {
			t.Error("a slow call had no effect")
		}
	})
}

func TestDeniedPermissions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := connect(t, fakeaws.Config{Visibility: -1})
		id := c.aws.Create(c.aws.Scope(), "CreateVolume", maria).IDs("")[0]
		c.aws.Deny("ec2:CreateTags")
		c.aws.Deny("cloudtrail:LookupEvents", c.aws.Scope())
		if err := c.tag(id); code(err) != "UnauthorizedOperation" {
			t.Errorf("CreateTags: %v", err)
		}
		if _, err := c.trail.LookupEvents(c.ctx, &cloudtrail.LookupEventsInput{}); code(err) != "AccessDeniedException" {
			t.Errorf("LookupEvents: %v", err)
		}
		c.aws.Heal()
		if err := c.tag(id); err != nil {
			t.Errorf("CreateTags, allowed: %v", err)
		}
		failed := 0
		for _, e := range c.aws.Events(c.aws.Scope()) {
			if r, err := event.Parse([]byte(e.Raw)); err != nil {
				t.Errorf("%v: %s", err, e.Raw)
			} else if r.ErrorCode != "" {
				failed++
			}
		}
		if failed != 2 {
			t.Errorf("%d failed calls in the trail, want ours, 2", failed)
		}
	})
}

func TestRandomFaultsComeAtTheirRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := connect(t, fakeaws.Config{Seed: 7})
		id := c.aws.Create(c.aws.Scope(), "CreateVolume", maria).IDs("")[0]
		c.aws.SetFaults("", fakeaws.Faults{Throttle: 0.1, Reset: 0.1, LostAnswer: 0.1})
		failed := 0
		for range 300 {
			if c.tag(id) != nil {
				failed++
			}
			time.Sleep(time.Second)
		}
		if failed < 60 || failed > 120 {
			t.Errorf("%d of 300 failed, want about 90", failed)
		}
	})
}

func TestOverHTTP(t *testing.T) {
	f := fakeaws.New(fakeaws.Config{Visibility: -1, Accounts: []string{"111122223333", "444455556666"}})
	server := httptest.NewServer(f.Handler())
	defer server.Close()
	scope := f.Scopes()[1]
	made := f.Create(scope, "CreateVolume", maria)
	cfg := aws.Config{
		Region: scope.Region, BaseEndpoint: aws.String(server.URL), Retryer: func() aws.Retryer { return aws.NopRetryer{} },
		Credentials: credentials.NewStaticCredentialsProvider(fakeaws.AccessKey(scope.AccountID), "secret", ""),
	}
	trail := cloudtrail.NewFromConfig(cfg)
	f.Fail("LookupEvents", 1, fakeaws.Reset)
	if _, err := trail.LookupEvents(t.Context(), &cloudtrail.LookupEventsInput{}); err == nil {
		t.Error("no error from a broken connection")
	}
	out, err := trail.LookupEvents(t.Context(), &cloudtrail.LookupEventsInput{})
	if err != nil || len(out.Events) != 1 || *out.Events[0].EventId != made.EventID {
		t.Errorf("%+v, %v", out, err)
	}
}

func TestClockOffsetShowsInTheDateHeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fakeaws.New(fakeaws.Config{ClockOffset: 42 * time.Hour, Visibility: -1})
		req := httptest.NewRequest("POST", "https://sts.eu-central-1.amazonaws.com/", nil)
		req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=X/20261122/eu-central-1/sts/aws4_request, SignedHeaders=host, Signature=0")
		resp, err := f.HTTPClient().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		at, err := time.Parse(time.RFC1123, resp.Header.Get("Date"))
		if d := time.Until(at); err != nil || d < 42*time.Hour-2*time.Second || d > 42*time.Hour {
			t.Errorf("Date is %v ahead (%v), want 42 h", d, err)
		}
		if made := f.Create(f.Scope(), "CreateVolume", maria); time.Until(made.Time) < 41*time.Hour {
			t.Errorf("event time %s is not AWS's", made.Time)
		}
	})
}
