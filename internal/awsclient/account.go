package awsclient

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/resourcegroupstaggingapi"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	"go.uber.org/zap"
	"golang.org/x/time/rate"

	"github.com/autotagd/autotagd/pkg/event"
)

// maxStartWait is the longest wait between two tries of what a start needs.
const maxStartWait = 20 * time.Second

// Account is one AWS account and the right to make calls in it. It is safe for concurrent use.
type Account struct {
	ID  string // twelve digits
	ARN string // of the identity that autotagd is in it

	clients     *Clients
	credentials aws.CredentialsProvider // what they fail with is no answer of the service that was to be called
	renewal     func()                  // has the next call get new ones; nil: they are not cached
	renewals    rate.Sometimes
}

// renewEvery is how often credentials are gotten anew at most because AWS says that they have ended.
const renewEvery = time.Minute

func newAccount(c *Clients, id, arn string, credentials aws.CredentialsProvider, renewal func()) *Account {
	return &Account{ID: id, ARN: arn, clients: c, credentials: credentials, renewal: renewal, renewals: rate.Sometimes{Interval: renewEvery}}
}

// heed has credentials renewed that AWS says have ended, whatever this host's clocks say: they stand still while it is suspended.
func (a *Account) heed(err error) {
	var api smithy.APIError
	if a.renewal != nil && errors.As(err, &api) && ended(api.ErrorCode()) {
		a.renewals.Do(a.renewal)
	}
}

// Now is AWS's time, which is the same in every account: see Clients.Now.
func (a *Account) Now() time.Time { return a.clients.Now() }

// Account is the account of the credentials: it fetches them and asks STS whose they are. What may pass (a reset, a 5xx, a throttle) is tried again, with
// a warning each time, until ctx ends; anything else fails at once, with a text that says what to do. Without credentials
// the error wraps ErrNoCredentials.
func (c *Clients) Account(ctx context.Context) (*Account, error) {
	var out *sts.GetCallerIdentityOutput
	err := c.untilAnswered(ctx, "AWS did not say which account this is; trying again", func() (err error) {
		// Apart from the call, so that what went wrong can be told apart.
		if _, err = c.credentials.Retrieve(ctx); err != nil {
			return credentialsError(err)
		}
		out, err = c.calls.getCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
		return err
	})
	if errors.Is(err, ErrNoCredentials) {
		return nil, err // says it all
	}
	if err != nil {
		return nil, fmt.Errorf("find out the AWS account, in %s: %w", c.region, Explain(err))
	}
	c.clock.hear(out.ResultMetadata)
	return newAccount(c, aws.ToString(out.Account), aws.ToString(out.Arn), c.sealed, c.forget()), nil
}

// untilAnswered calls do until it succeeds, fails for good, or ctx ends; it returns do's last error. It warns of each failure
// but the last.
func (c *Clients) untilAnswered(ctx context.Context, warning string, do func() error) error {
	backoff := retry.NewExponentialJitterBackoff(maxStartWait)
	for attempt := 1; ; attempt++ {
		err := do()
		if err == nil || ctx.Err() != nil || !passing(err) {
			return err
		}
		wait, berr := backoff.BackoffDelay(attempt, err)
		if berr != nil {
			wait = maxStartWait
		}
		c.log.Warn(warning, zap.Duration("wait", wait), zap.Error(Explain(err)))
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return err
		}
	}
}

// credentialsError tells credentials that are nowhere from ones that could not be had.
func credentialsError(err error) error {
	var op *smithy.OperationError
	if errors.As(err, &op) && op.ServiceID == "ec2imds" {
		// The metadata service is the end of the chain: nothing before it had any.
		return ErrNoCredentials
	}
	return fmt.Errorf("get AWS credentials: %w", err)
}

// passing reports whether err may not come again. A host that does not exist is none of these, nor is a server that is not
// what it says: waiting mends neither a Region's name nor a certificate.
func passing(err error) bool {
	return !untrusted(err) && retry.IsErrorRetryables(retry.DefaultRetryables).IsErrorRetryable(err) == aws.TrueTernary
}

// check refuses a Scope of another account: a call would tag there what only looks the same.
func (a *Account) check(s event.Scope) error {
	if s.AccountID != a.ID {
		return fmt.Errorf("no credentials for account %s: they are for %s", s.AccountID, a.ID)
	}
	return nil
}

// CloudTrail calls CloudTrail in one Scope. It is a cloudtrail.LookupEventsAPIClient.
type CloudTrail struct {
	lookup func(context.Context, *cloudtrail.LookupEventsInput, ...func(*cloudtrail.Options)) (*cloudtrail.LookupEventsOutput, error)
}

// LookupEvents makes one attempt, counted by AWS against the Scope's two a second.
func (c CloudTrail) LookupEvents(ctx context.Context, in *cloudtrail.LookupEventsInput, opts ...func(*cloudtrail.Options)) (*cloudtrail.LookupEventsOutput, error) {
	return c.lookup(ctx, in, opts...)
}

// CloudTrail returns CloudTrail's calls in s. It fails when s is of another account.
func (a *Account) CloudTrail(s event.Scope) (CloudTrail, error) {
	in := func(o *cloudtrail.Options) { o.Region, o.Credentials = s.Region, a.credentials }
	return CloudTrail{lookup: by(a, a.clients.calls.lookupEvents, in)}, a.check(s)
}

// EC2 is EC2's calls in one Scope, one attempt each. They are functions: see calls.
type EC2 struct {
	CreateTags        func(context.Context, *ec2.CreateTagsInput, ...func(*ec2.Options)) (*ec2.CreateTagsOutput, error)
	DescribeTags      func(context.Context, *ec2.DescribeTagsInput, ...func(*ec2.Options)) (*ec2.DescribeTagsOutput, error)
	DescribeInstances func(context.Context, *ec2.DescribeInstancesInput, ...func(*ec2.Options)) (*ec2.DescribeInstancesOutput, error)
	DescribeVolumes   func(context.Context, *ec2.DescribeVolumesInput, ...func(*ec2.Options)) (*ec2.DescribeVolumesOutput, error)
	DescribeImages    func(context.Context, *ec2.DescribeImagesInput, ...func(*ec2.Options)) (*ec2.DescribeImagesOutput, error)
}

// EC2 returns EC2's calls in s. It fails when s is of another account.
func (a *Account) EC2(s event.Scope) (EC2, error) {
	c, in := a.clients.calls.ec2, func(o *ec2.Options) { o.Region, o.Credentials = s.Region, a.credentials }
	return EC2{
		CreateTags:        by(a, c.CreateTags, in),
		DescribeTags:      by(a, c.DescribeTags, in),
		DescribeInstances: by(a, c.DescribeInstances, in),
		DescribeVolumes:   by(a, c.DescribeVolumes, in),
		DescribeImages:    by(a, c.DescribeImages, in),
	}, a.check(s)
}

// Tagging is the Resource Groups Tagging API's calls in one Scope, one attempt each.
type Tagging struct {
	TagResources func(context.Context, *resourcegroupstaggingapi.TagResourcesInput, ...func(*resourcegroupstaggingapi.Options)) (*resourcegroupstaggingapi.TagResourcesOutput, error)
	GetResources func(context.Context, *resourcegroupstaggingapi.GetResourcesInput, ...func(*resourcegroupstaggingapi.Options)) (*resourcegroupstaggingapi.GetResourcesOutput, error)
}

// Tagging returns the Resource Groups Tagging API's calls in s. It fails when s is of another account.
func (a *Account) Tagging(s event.Scope) (Tagging, error) {
	c, in := a.clients.calls.tagging, func(o *resourcegroupstaggingapi.Options) { o.Region, o.Credentials = s.Region, a.credentials }
	return Tagging{
		TagResources: by(a, c.TagResources, in),
		GetResources: by(a, c.GetResources, in),
	}, a.check(s)
}

// by makes opt an option of every call in the account.
func by[In, Out, Opt any](a *Account, call func(context.Context, *In, ...func(*Opt)) (*Out, error), opt func(*Opt)) func(context.Context, *In, ...func(*Opt)) (*Out, error) {
	call = with(call, opt)
	return func(ctx context.Context, in *In, opts ...func(*Opt)) (*Out, error) {
		out, err := call(ctx, in, opts...)
		a.heed(err)
		return out, err
	}
}

// with makes opt an option of every call, before the caller's own.
func with[In, Out, Opt any](call func(context.Context, *In, ...func(*Opt)) (*Out, error), opt func(*Opt)) func(context.Context, *In, ...func(*Opt)) (*Out, error) {
	return func(ctx context.Context, in *In, opts ...func(*Opt)) (*Out, error) {
		return call(ctx, in, append([]func(*Opt){opt}, opts...)...)
	}
}
