package awsclient

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	"go.uber.org/zap"

	"github.com/autotagd/autotagd/pkg/event"
)

// sessionName is autotagd's in every role, for whoever reads CloudTrail.
const sessionName = "autotagd"

const (
	roleLife   = time.Hour        // what every role allows, also to who is in a role already
	roleWindow = 10 * time.Minute // credentials are renewed that long before they end, ...
	roleJitter = 0.5              // ... or up to half of it later, so that a hundred accounts don't come together

	// After a failed AssumeRole the next one waits, longer each time.
	firstRoleWait = time.Second
	maxRoleWait   = time.Minute
)

// RoleError says why a role could not be assumed, on one line. It wraps nothing: what STS says of the role must not be taken
// for an answer of the service that was to be called.
type RoleError struct {
	RoleARN   string
	AccountID string // the role's
	Denied    bool   // STS refused: somebody must grant something, waiting doesn't help

	text string
}

// Permanent reports whether trying again is unlikely to help before an operator does something.
func (e *RoleError) Permanent() bool { return e.Denied }

func (e *RoleError) Error() string {
	return "assume " + e.RoleARN + " in account " + e.AccountID + ": " + e.text
}

// Assume returns the account of a role, to work there by that role; externalID may be "". It makes no call: the first one in
// the account does, and fails with a *RoleError if the role can't be had. After a failure STS is asked again only after a
// while, up to a minute; until then every call fails at once, with the same error.
func (c *Clients) Assume(roleARN, externalID string) (*Account, error) {
	arn, err := event.ParseARN(roleARN)
	path, isRole := strings.CutPrefix(arn.Resource, "role/")
	name := path[strings.LastIndex(path, "/")+1:]
	switch {
	case err != nil || arn.Service != "iam" || !isRole || name == "" || !isAccountID(arn.AccountID):
		return nil, fmt.Errorf("not an IAM role ARN: %.80q; want arn:aws:iam::<account>:role/<name>", roleARN)
	case arn.Partition != event.Partition(c.region):
		return nil, fmt.Errorf("%s is in the partition %s, but the Region %s is in %s: no credentials work in both", roleARN, arn.Partition, c.region, event.Partition(c.region))
	}
	r := &role{arn: roleARN, accountID: arn.AccountID, log: c.log, clock: &c.clock, call: c.calls.assumeRole, forgetBase: c.forget()}
	r.sts = stscreds.NewAssumeRoleProvider(r, roleARN, func(o *stscreds.AssumeRoleOptions) {
		o.RoleSessionName, o.Duration = sessionName, roleLife
		if externalID != "" {
			o.ExternalID = &externalID
		}
	})
	r.cache = aws.NewCredentialsCache(renewal{r}, func(o *aws.CredentialsCacheOptions) {
		o.ExpiryWindow, o.ExpiryWindowJitterFrac = roleWindow, roleJitter
	})
	identity := "arn:" + arn.Partition + ":sts::" + arn.AccountID + ":assumed-role/" + name + "/" + sessionName
	return newAccount(c, arn.AccountID, identity, r, r.cache.Invalidate), nil
}

// forget returns what has the environment's credentials gotten anew; nil where they are not cached.
func (c *Clients) forget() func() {
	if cache, ok := c.credentials.(interface{ Invalidate() }); ok {
		return cache.Invalidate
	}
	return nil
}

func isAccountID(s string) bool {
	return len(s) == 12 && strings.Trim(s, "0123456789") == ""
}

// role is an aws.CredentialsProvider: the credentials of one role, gotten when they are needed and kept while they last. It
// holds functions rather than clients, since an interface has it: see EC2.
type role struct {
	arn, accountID string
	log            *zap.Logger
	clock          *clock
	call           func(context.Context, *sts.AssumeRoleInput, ...func(*sts.Options)) (*sts.AssumeRoleOutput, error)
	sts            *stscreds.AssumeRoleProvider
	cache          *aws.CredentialsCache // of a renewal, which it calls one at a time
	forgetBase     func()                // nil: the credentials that call uses are not cached

	mu       sync.Mutex // guards what is below
	expires  time.Time  // of the credentials that STS gave last, by this host's monotonic clock; zero: it gave none
	failures int        // in a row
	failed   *RoleError // the last of them
	retry    time.Time  // not before that
}

// Retrieve implements aws.CredentialsProvider.
func (r *role) Retrieve(ctx context.Context) (aws.Credentials, error) {
	r.mu.Lock()
	over := !r.expires.IsZero() && !time.Now().Before(r.expires)
	r.mu.Unlock()
	if over {
		r.cache.Invalidate() // it goes by the host's time of day, which may have been set back since
	}
	c, err := r.cache.Retrieve(ctx)
	var failed *RoleError
	if errors.As(err, &failed) {
		return c, failed // without the cache's words
	}
	return c, err // if any, that ctx has ended
}

// AssumeRole implements stscreds.AssumeRoleAPIClient. The time when the credentials end is turned into this host's, whose
// clock may be wrong.
func (r *role) AssumeRole(ctx context.Context, in *sts.AssumeRoleInput, opts ...func(*sts.Options)) (*sts.AssumeRoleOutput, error) {
	out, err := r.call(ctx, in, opts...)
	if err != nil {
		return nil, err
	}
	r.clock.hear(out.ResultMetadata)
	if date, ok := awsmiddleware.GetServerTime(out.ResultMetadata); ok && out.Credentials != nil {
		out.Credentials.Expiration = aws.Time(time.Now().Add(aws.ToTime(out.Credentials.Expiration).Sub(date)))
	}
	return out, nil
}

// renewal is what a role's cache asks when it has no credentials, or old ones.
type renewal struct{ *role }

// Retrieve asks STS, unless it is too early after a failure.
func (r renewal) Retrieve(ctx context.Context) (aws.Credentials, error) {
	r.mu.Lock()
	failed, early := r.failed, time.Now().Before(r.retry)
	r.mu.Unlock()
	if failed != nil && early {
		return aws.Credentials{}, failed
	}
	c, err := r.sts.Retrieve(ctx)
	var api smithy.APIError
	if errors.As(err, &api) && unusable(api.ErrorCode()) && r.forgetBase != nil {
		r.forgetBase() // they were good when they were gotten
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		r.failures, r.failed, r.expires = 0, nil, c.Expires
		return c, nil
	}
	r.failed = &RoleError{RoleARN: r.arn, AccountID: r.accountID, Denied: Denied(err), text: Explain(err).Error()}
	wait := min(firstRoleWait<<min(r.failures, 16), maxRoleWait)
	r.failures++
	r.retry = time.Now().Add(wait/2 + rand.N(wait/2+1))
	if r.usable() {
		r.log.Warn("a role's credentials could not be renewed; the old ones still hold",
			zap.String("account_id", r.accountID), zap.Time("until", r.expires), zap.Error(r.failed))
	}
	return aws.Credentials{}, r.failed
}

// HandleFailToRefresh implements aws.HandleFailRefreshCredentialsCacheStrategy: credentials are renewed before they end, so
// that a failure can be outlasted.
func (r renewal) HandleFailToRefresh(_ context.Context, old aws.Credentials, err error) (aws.Credentials, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if old.HasKeys() && r.usable() {
		return old, nil
	}
	return aws.Credentials{}, err
}

// usable reports whether the credentials that STS gave last still hold. The caller holds mu.
func (r *role) usable() bool { return time.Now().Before(r.expires) }

// unusable reports whether a code of AWS's says that the credentials themselves are too old, or gone.
func unusable(code string) bool {
	switch code {
	case "InvalidClientTokenId", "UnrecognizedClientException", "InvalidAccessKeyId": // in a Region that is not enabled, too
		return true
	}
	return ended(code)
}

// ended reports whether a code of AWS's says that credentials are too old.
func ended(code string) bool {
	switch code {
	case "ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired":
		return true
	}
	return false
}
