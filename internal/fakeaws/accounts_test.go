package fakeaws_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/account"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/organizations"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/autotagd/autotagd/internal/fakeaws"
)

const (
	first, second = "111122223333", "444455556666"
	auditor       = "arn:aws:iam::444455556666:role/team/auditor"
)

// assume assumes a role by the credentials of the first account.
func (c *clients) assume(in sts.AssumeRoleInput) (*sts.AssumeRoleOutput, error) {
	c.Helper()
	in.RoleSessionName = aws.String("session")
	return c.sts.AssumeRole(c.ctx, &in)
}

func session(out *sts.AssumeRoleOutput) aws.CredentialsProvider {
	return credentials.NewStaticCredentialsProvider(*out.Credentials.AccessKeyId, *out.Credentials.SecretAccessKey, *out.Credentials.SessionToken)
}

// Each condition under which a role can be had, and that STS tells none from another.
func TestAssumeRole(t *testing.T) {
	for name, tt := range map[string]struct {
		role   fakeaws.Role
		in     sts.AssumeRoleInput
		change func(*fakeaws.AWS)
		want   string // error code
	}{
		"a role that trusts":             {role: fakeaws.Role{ARN: auditor}},
		"an hour":                        {role: fakeaws.Role{ARN: auditor}, in: sts.AssumeRoleInput{DurationSeconds: aws.Int32(3600)}},
		"more than a role's usual limit": {role: fakeaws.Role{ARN: auditor}, in: sts.AssumeRoleInput{DurationSeconds: aws.Int32(3601)}, want: "ValidationError"},
		"less than any":                  {role: fakeaws.Role{ARN: auditor}, in: sts.AssumeRoleInput{DurationSeconds: aws.Int32(899)}, want: "ValidationError"},
		"no role":                        {role: fakeaws.Role{ARN: "arn:aws:iam::444455556666:role/other"}, want: "AccessDenied"},
		"trust in the account":           {role: fakeaws.Role{ARN: auditor, Trusts: []string{first}}},
		"trust in the identity": {role: fakeaws.Role{ARN: auditor, Trusts: []string{
			"arn:aws:sts::111122223333:assumed-role/autotagd/i-0a0b0c0d0e0f01234",
		}}},
		"trust in another":          {role: fakeaws.Role{ARN: auditor, Trusts: []string{second}}, want: "AccessDenied"},
		"its external id":           {role: fakeaws.Role{ARN: auditor, ExternalID: "x1"}, in: sts.AssumeRoleInput{ExternalId: aws.String("x1")}},
		"another external id":       {role: fakeaws.Role{ARN: auditor, ExternalID: "x1"}, in: sts.AssumeRoleInput{ExternalId: aws.String("x2")}, want: "AccessDenied"},
		"an external id unasked":    {role: fakeaws.Role{ARN: auditor}, in: sts.AssumeRoleInput{ExternalId: aws.String("x2")}},
		"an account that is closed": {role: fakeaws.Role{ARN: auditor}, change: func(f *fakeaws.AWS) { f.CloseAccount(second) }, want: "AccessDenied"},
		"no permission":             {role: fakeaws.Role{ARN: auditor}, change: func(f *fakeaws.AWS) { f.Deny("sts:AssumeRole") }, want: "AccessDenied"},
		"a role that was removed":   {role: fakeaws.Role{ARN: auditor}, change: func(f *fakeaws.AWS) { f.RemoveRole(auditor) }, want: "AccessDenied"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := connect(t, fakeaws.Config{Accounts: []string{first, second}, Roles: []fakeaws.Role{tt.role}, ClockOffset: time.Hour})
				if tt.change != nil {
					tt.change(c.aws)
				}
				tt.in.RoleArn = aws.String(auditor)
				out, err := c.assume(tt.in)
				if tt.want != "" {
					if code(err) != tt.want {
						t.Errorf("error = %v, want %s", err, tt.want)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				if left := out.Credentials.Expiration.Sub(c.aws.Now()); left < time.Hour-2*time.Second || left > time.Hour {
					t.Errorf("holds for %v, want an hour of AWS's", left)
				}
				who, err := c.sts.GetCallerIdentity(c.ctx, &sts.GetCallerIdentityInput{}, func(o *sts.Options) { o.Credentials = session(out) })
				if err != nil {
					t.Fatal(err)
				}
				if want := "arn:aws:sts::444455556666:assumed-role/auditor/session"; *who.Arn != want || *who.Account != second || *out.AssumedRoleUser.Arn != want {
					t.Errorf("caller %s in %s, want %s", *who.Arn, *who.Account, want)
				}
			})
		})
	}
}

// A key works until it ends, and each service has its own word for that.
func TestKeysEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := connect(t, fakeaws.Config{Accounts: []string{first, second}, Organization: &fakeaws.Organization{Members: []fakeaws.Member{{ID: first}}}, Regions: []string{"us-east-1"}})
		k := c.aws.NewKey(second, time.Hour)
		try := func(token string) map[string]string {
			cfg := aws.Config{
				Region: "us-east-1", HTTPClient: c.aws.HTTPClient(), Retryer: func() aws.Retryer { return aws.NopRetryer{} },
				Credentials: credentials.NewStaticCredentialsProvider(k.ID, k.Secret, token),
			}
			codes := map[string]string{}
			_, err := ec2.NewFromConfig(cfg).DescribeTags(c.ctx, &ec2.DescribeTagsInput{})
			codes["ec2"] = code(err)
			_, err = sts.NewFromConfig(cfg).GetCallerIdentity(c.ctx, &sts.GetCallerIdentityInput{})
			codes["sts"] = code(err)
			_, err = cloudtrail.NewFromConfig(cfg).LookupEvents(c.ctx, &cloudtrail.LookupEventsInput{})
			codes["cloudtrail"] = code(err)
			_, err = account.NewFromConfig(cfg).ListRegions(c.ctx, &account.ListRegionsInput{})
			codes["account"] = code(err)
			time.Sleep(time.Second)
			return codes
		}
		const none = "<nil>"
		check := func(when, token, ec2, sts, others string) {
			t.Helper()
			want := map[string]string{"ec2": ec2, "sts": sts, "cloudtrail": others, "account": others}
			if got := try(token); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s: %v, want %v", when, got, want)
			}
		}
		check("new", k.Token, none, none, none)
		check("without its token", "", "AuthFailure", "InvalidClientTokenId", "UnrecognizedClientException")
		for _, call := range c.aws.Calls("LookupEvents") {
			if call.Scope.AccountID != second {
				t.Errorf("a call in %s", call.Scope)
			}
		}
		time.Sleep(time.Hour)
		check("old", k.Token, "RequestExpired", "ExpiredToken", "ExpiredTokenException")
		k = c.aws.NewKey(second, time.Hour)
		c.aws.RevokeKey(k.ID)
		check("revoked", k.Token, "AuthFailure", "InvalidClientTokenId", "UnrecognizedClientException")
		k = c.aws.NewKey(second, time.Hour)
		c.aws.CloseAccount(second)
		check("of a closed account", k.Token, "UnauthorizedOperation", "AccessDenied", "AccessDeniedException")
	})
}

func TestOrganizationPolicesItsCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &fakeaws.Organization{Members: []fakeaws.Member{{ID: first}, {ID: second, Unit: "ou-fake-aaaaaaaa"}}, Units: []fakeaws.Unit{{ID: "ou-fake-aaaaaaaa"}}}
		c := connect(t, fakeaws.Config{Accounts: []string{first, second}, Regions: []string{"us-east-1"}, Organization: o})
		as := func(account string) *organizations.Client {
			return organizations.NewFromConfig(aws.Config{
				Region: "us-east-1", HTTPClient: c.aws.HTTPClient(), Retryer: func() aws.Retryer { return aws.NopRetryer{} },
				Credentials: credentials.NewStaticCredentialsProvider(fakeaws.AccessKey(account), "secret", ""),
			})
		}
		out, err := as(first).ListAccounts(c.ctx, &organizations.ListAccountsInput{MaxResults: aws.Int32(1)})
		if err != nil || len(out.Accounts) != 1 || out.NextToken == nil {
			t.Fatalf("%+v, %v", out, err)
		}
		for want, in := range map[string]organizations.ListAccountsForParentInput{
			"InvalidInputException":   {ParentId: aws.String("ou-fake-aaaaaaaa"), NextToken: out.NextToken}, // of another list
			"ParentNotFoundException": {ParentId: aws.String("ou-fake-bbbbbbbb")},
			"<nil>":                   {ParentId: aws.String("r-fake")},
		} {
			if _, err := as(first).ListAccountsForParent(c.ctx, &in); code(err) != want {
				t.Errorf("error = %v, want %s", err, want)
			}
		}
		if _, err := as(first).ListAccounts(c.ctx, &organizations.ListAccountsInput{MaxResults: aws.Int32(21)}); code(err) != "InvalidInputException" {
			t.Errorf("21 a page: %v", err)
		}
		if _, err := as(second).ListAccounts(c.ctx, &organizations.ListAccountsInput{}); code(err) != "AccessDeniedException" {
			t.Errorf("a member: %v", err)
		}
		c.aws.SetOrganization(nil)
		if _, err := as(first).ListAccounts(c.ctx, &organizations.ListAccountsInput{}); code(err) != "AWSOrganizationsNotInUseException" {
			t.Errorf("without one: %v", err)
		}
	})
}

// A Region that the account has not enabled is as one that is not there.
func TestRegionsAreEnabledByAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := connect(t, fakeaws.Config{Accounts: []string{first, second}, Regions: []string{"us-east-1", "af-south-1"}, OptIn: map[string][]string{"af-south-1": {second}}})
		for id, want := range map[string]struct {
			code    string
			regions int
		}{first: {"AuthFailure", 1}, second: {"<nil>", 2}} {
			own := credentials.NewStaticCredentialsProvider(fakeaws.AccessKey(id), "secret", "")
			_, err := c.ec2.DescribeTags(c.ctx, &ec2.DescribeTagsInput{}, func(o *ec2.Options) { o.Region, o.Credentials = "af-south-1", own })
			if code(err) != want.code {
				t.Errorf("%s: %v, want %s", id, err, want.code)
			}
			out, err := c.ec2.DescribeRegions(c.ctx, &ec2.DescribeRegionsInput{}, func(o *ec2.Options) { o.Credentials = own })
			if err != nil || len(out.Regions) != want.regions {
				t.Errorf("%s: %v, %v; want %d", id, out, err, want.regions)
			}
		}
	})
}
