package fakeaws_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	cttypes "github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	tagging "github.com/aws/aws-sdk-go-v2/service/resourcegroupstaggingapi"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"github.com/autotagd/autotagd/internal/fakeaws"
)

// clients are the SDK's own, without retries.
type clients struct {
	*testing.T
	aws   *fakeaws.AWS
	ctx   context.Context
	trail *cloudtrail.Client
	ec2   *ec2.Client
	tags  *tagging.Client
	sts   *sts.Client
}

func connect(t *testing.T, cfg fakeaws.Config) *clients {
	t.Helper()
	f := fakeaws.New(cfg)
	c := aws.Config{
		Region:      f.Scope().Region,
		Credentials: credentials.NewStaticCredentialsProvider(fakeaws.AccessKey(f.Scope().AccountID), "secret", ""),
		HTTPClient:  f.HTTPClient(),
		Retryer:     func() aws.Retryer { return aws.NopRetryer{} },
	}
	return &clients{t, f, t.Context(), cloudtrail.NewFromConfig(c), ec2.NewFromConfig(c), tagging.NewFromConfig(c), sts.NewFromConfig(c)}
}

func (c *clients) lookup(in cloudtrail.LookupEventsInput) *cloudtrail.LookupEventsOutput {
	c.Helper()
	time.Sleep(time.Second)
	out, err := c.trail.LookupEvents(c.ctx, &in)
	if err != nil {
		c.Fatalf("LookupEvents: %v", err)
	}
	return out
}

func code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return fmt.Sprint(err)
}

var maria = fakeaws.SSO("maria.lopez@example.com", "Developer")

func TestGetCallerIdentity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := connect(t, fakeaws.Config{Accounts: []string{"111122223333"}})
		out, err := c.sts.GetCallerIdentity(c.ctx, &sts.GetCallerIdentityInput{})
		if err != nil {
			t.Fatal(err)
		}
		if got := aws.ToString(out.Account); got != "111122223333" {
			t.Errorf("account = %s", got)
		}
		if got, want := aws.ToString(out.Arn), "arn:aws:sts::111122223333:assumed-role/autotagd/i-0a0b0c0d0e0f01234"; got != want {
			t.Errorf("arn = %s, want %s", got, want)
		}
	})
}

func TestLookupShowsEventsLateAndNewestFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := connect(t, fakeaws.Config{})
		first := c.aws.Create(c.aws.Scope(), "CreateVolume", maria, fakeaws.Spec{Delay: time.Minute})
		time.Sleep(5 * time.Second)
		second := c.aws.Create(c.aws.Scope(), "CreateQueue", maria, fakeaws.Spec{Delay: 10 * time.Second})
		in := cloudtrail.LookupEventsInput{LookupAttributes: []cttypes.LookupAttribute{{AttributeKey: "ReadOnly", AttributeValue: aws.String("false")}}}
		if got := ids(c.lookup(in)); len(got) != 0 {
			t.Errorf("at once: %v, want none", got)
		}
		time.Sleep(12 * time.Second)
		if got := ids(c.lookup(in)); !slices.Equal(got, []string{second.EventID}) {
			t.Errorf("after 12 s: %v, want the second event", got)
		}
		time.Sleep(time.Minute)
		if got := ids(c.lookup(in)); !slices.Equal(got, []string{second.EventID, first.EventID}) {
			t.Errorf("in the end: %v, want second, first", got)
		}
		in.LookupAttributes[0] = cttypes.LookupAttribute{AttributeKey: "EventName", AttributeValue: aws.String("CreateQueue")}
		out := c.lookup(in)
		if got := ids(out); !slices.Equal(got, []string{second.EventID}) {
			t.Errorf("by name: %v", got)
		}
		var rec struct {
			EventTime    time.Time
			UserIdentity struct{ PrincipalID, ARN string }
		}
		if err := json.Unmarshal([]byte(*out.Events[0].CloudTrailEvent), &rec); err != nil {
			t.Fatal(err)
		}
		if !rec.EventTime.Equal(second.Time) || !out.Events[0].EventTime.Equal(second.Time) {
			t.Errorf("time %s and %s, want %s", rec.EventTime, out.Events[0].EventTime, second.Time)
		}
		if want := maria.PrincipalID(c.aws.Scope().AccountID); rec.UserIdentity.PrincipalID != want {
			t.Errorf("principal %q, want %q", rec.UserIdentity.PrincipalID, want)
		}
	})
}

func ids(out *cloudtrail.LookupEventsOutput) []string {
	var s []string
	for _, e := range out.Events {
		s = append(s, *e.EventId)
	}
	return s
}

func TestWalkIsFrozenAndTokensAreBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := connect(t, fakeaws.Config{Visibility: -1})
		want := make(map[string]bool)
		for range 130 {
			want[c.aws.Create(c.aws.Scope(), "CreateVolume", maria).EventID] = true
			time.Sleep(300 * time.Millisecond)
		}
		in := cloudtrail.LookupEventsInput{
			LookupAttributes: []cttypes.LookupAttribute{{AttributeKey: "EventName", AttributeValue: aws.String("CreateVolume")}},
			StartTime:        aws.Time(time.Now().Add(-time.Hour)), EndTime: aws.Time(time.Now()),
		}
		pages := 0
		for {
			out := c.lookup(in)
			pages++
			for _, id := range ids(out) {
				if !want[id] {
					t.Errorf("%s shown twice, or new in the walk", id)
				}
				delete(want, id)
			}
			if out.NextToken == nil {
				break
			}
			c.aws.Create(c.aws.Scope(), "CreateVolume", maria, fakeaws.Spec{At: time.Now().Add(-30 * time.Second)})
			other := in
			other.NextToken, other.StartTime = out.NextToken, aws.Time(time.Now().Add(-2*time.Hour))
			time.Sleep(time.Second)
			if _, err := c.trail.LookupEvents(c.ctx, &other); code(err) != "InvalidNextTokenException" {
				t.Errorf("token with another start: %v", err)
			}
			in.NextToken = out.NextToken
		}
		if pages != 3 || len(want) != 0 {
			t.Errorf("%d pages, %d not shown; want 3 and none", pages, len(want))
		}
	})
}

func TestBoundariesOfATimeRangeAreInclusive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := connect(t, fakeaws.Config{Visibility: -1})
		at := time.Now().Truncate(time.Second)
		c.aws.Create(c.aws.Scope(), "CreateVolume", maria)
		for d, want := range map[time.Duration]int{-time.Second: 0, 0: 1, time.Second: 0} {
			out := c.lookup(cloudtrail.LookupEventsInput{
				StartTime: aws.Time(at.Add(d)), EndTime: aws.Time(at.Add(d)),
				LookupAttributes: []cttypes.LookupAttribute{{AttributeKey: "ReadOnly", AttributeValue: aws.String("false")}},
			})
			if len(out.Events) != want {
				t.Errorf("range of one second, %v off: %d events, want %d", d, len(out.Events), want)
			}
		}
	})
}

func TestLookupRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := connect(t, fakeaws.Config{})
		attribute := cttypes.LookupAttribute{AttributeKey: "ReadOnly", AttributeValue: aws.String("false")}
		for want, in := range map[string]cloudtrail.LookupEventsInput{
			"InvalidMaxResultsException":       {MaxResults: aws.Int32(51)},
			"InvalidTimeRangeException":        {StartTime: aws.Time(time.Now().AddDate(0, 0, -91))},
			"InvalidLookupAttributesException": {LookupAttributes: []cttypes.LookupAttribute{attribute, attribute}},
			"InvalidNextTokenException":        {NextToken: aws.String("bogus")},
		} {
			time.Sleep(time.Second)
			if _, err := c.trail.LookupEvents(c.ctx, &in); code(err) != want {
				t.Errorf("%v, want %s", err, want)
			}
		}
	})
}

func TestLookupIsThrottledAtTwoASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := connect(t, fakeaws.Config{Accounts: []string{"111122223333", "444455556666"}})
		throttled := 0
		for range 40 {
			if _, err := c.trail.LookupEvents(c.ctx, &cloudtrail.LookupEventsInput{}); code(err) == "ThrottlingException" {
				throttled++
			}
			time.Sleep(240 * time.Millisecond)
		}
		if throttled < 15 || throttled > 22 {
			t.Errorf("%d of 40 calls at four a second throttled, want about half", throttled)
		}
	})
}

func TestCreateTags(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := connect(t, fakeaws.Config{Visibility: -1})
		made := c.aws.Create(c.aws.Scope(), "RunInstances", maria, fakeaws.Spec{Count: 2, Volumes: 1, Tags: map[string]string{"Name": "web"}})
		if got := len(made.IDs("instance")) + 10*len(made.IDs("volume")) + 100*len(made.IDs("network-interface")); got != 242 {
			t.Fatalf("made %v", made.IDs(""))
		}
		tags := []ec2types.Tag{{Key: aws.String("Owner"), Value: aws.String("maria.lopez@example.com")}, {Key: aws.String("PrincipalId"), Value: aws.String(maria.PrincipalID(c.aws.Scope().AccountID))}}
		create := func(ids ...string) error {
			_, err := c.ec2.CreateTags(c.ctx, &ec2.CreateTagsInput{Resources: ids, Tags: tags})
			return err
		}
		if err := create(append(made.IDs(""), "vol-0123456789abcdef0")...); code(err) != "InvalidVolume.NotFound" {
			t.Errorf("unknown volume: %v", err)
		}
		if r, _ := c.aws.Resource(made.IDs("")[0]); len(r.Writes) != 0 {
			t.Error("a batch that failed tagged something")
		}
		if p := c.aws.Audit(0); len(p) != 16 {
			t.Errorf("%d problems, want 16 tags missing", len(p))
		}
		if err := create(made.IDs("")...); err != nil {
			t.Fatal(err)
		}
		if p := c.aws.Audit(0); len(p) != 0 {
			t.Errorf("problems: %v", p)
		}
		out, err := c.ec2.DescribeTags(c.ctx, &ec2.DescribeTagsInput{Filters: []ec2types.Filter{
			{Name: aws.String("resource-id"), Values: made.IDs("instance")}, {Name: aws.String("key"), Values: []string{"Owner", "Name"}},
		}})
		if err != nil || len(out.Tags) != 4 {
			t.Errorf("DescribeTags: %v, %v; want 4 tags", out.Tags, err)
		}
		tags[0].Key = aws.String("aws:owner")
		if err := create(made.IDs("")...); code(err) != "InvalidParameterValue" {
			t.Errorf("aws: key: %v", err)
		}
		c.aws.Delete(made.Resources[0].ARN, maria)
		if err := create(made.IDs("volume")[0]); code(err) == "" {
			t.Error("the volume of a deleted instance could be tagged")
		}
	})
}

func TestTagResources(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := connect(t, fakeaws.Config{Visibility: -1})
		var arns []string
		for _, name := range []string{"CreateQueue", "CreateTopic", "CreateBucket"} {
			arns = append(arns, c.aws.Create(c.aws.Scope(), name, maria).Resources[0].ARN)
		}
		in := &tagging.TagResourcesInput{ResourceARNList: append(arns, "arn:aws:sqs:eu-central-1:111122223333:none"), Tags: map[string]string{
			"Owner": maria.Owner, "PrincipalId": maria.PrincipalID(c.aws.Scope().AccountID),
		}}
		out, err := c.tags.TagResources(c.ctx, in)
		if err != nil {
			t.Fatal(err)
		}
		if f := out.FailedResourcesMap; len(f) != 1 || f[in.ResourceARNList[3]].StatusCode != 400 {
			t.Errorf("failed: %v", f)
		}
		if p := c.aws.Audit(0); len(p) != 0 {
			t.Errorf("problems: %v", p)
		}
		got, err := c.tags.GetResources(c.ctx, &tagging.GetResourcesInput{ResourceARNList: in.ResourceARNList})
		if err != nil || len(got.ResourceTagMappingList) != 3 || len(got.ResourceTagMappingList[0].Tags) != 2 {
			t.Errorf("GetResources: %+v, %v", got, err)
		}
		c.aws.Deny("sqs:TagQueue")
		c.aws.FailARN(arns[1], "ThrottlingException", 1)
		out, err = c.tags.TagResources(c.ctx, &tagging.TagResourcesInput{ResourceARNList: arns, Tags: in.Tags})
		if err != nil || len(out.FailedResourcesMap) != 2 || out.FailedResourcesMap[arns[0]].ErrorCode != "AccessDeniedException" || out.FailedResourcesMap[arns[1]].ErrorCode != "ThrottlingException" {
			t.Errorf("failed: %v, %v", out.FailedResourcesMap, err)
		}
	})
}
