package awsclient

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"go.uber.org/zap"

	"github.com/autotagd/autotagd/internal/fakeaws"
)

// inRole is an account by a role, at a fake AWS.
func inRole(t *testing.T) (*fakeaws.AWS, *Clients, *Account) {
	t.Helper()
	const arn = "arn:aws:iam::111122223333:role/autotagd"
	cloud := fakeaws.New(fakeaws.Config{Roles: []fakeaws.Role{{ARN: arn}}})
	clients, err := FromConfig(aws.Config{
		Region: fakeaws.DefaultRegion, Credentials: credentials.NewStaticCredentialsProvider("AKIATEST", "secret", ""),
	}, Options{Version: "test", Log: zap.NewNop(), HTTP: cloud.HTTPClient()})
	if err != nil {
		t.Fatal(err)
	}
	a, err := clients.Assume(arn, "")
	if err != nil {
		t.Fatal(err)
	}
	return cloud, clients, a
}

// A host whose clock is set back thinks that its credentials still hold. A bubble's clock can't be set back, so here they end
// before the cache thinks so.
func TestCredentialsEndByTheMonotonicClockToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cloud, clients, a := inRole(t)
		r := a.credentials.(*role)
		for range 2 {
			if _, err := r.Retrieve(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if n := len(cloud.Calls("AssumeRole")); n != 1 {
			t.Fatalf("%d roles assumed", n)
		}
		r.mu.Lock()
		r.expires = time.Now().Add(-time.Second)
		r.mu.Unlock()
		got, err := r.Retrieve(t.Context())
		if n := len(cloud.Calls("AssumeRole")); n != 2 || err != nil {
			t.Errorf("%d roles assumed, error = %v", n, err)
		}
		_, err = clients.calls.getCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{}, func(o *sts.Options) {
			o.Credentials = credentials.StaticCredentialsProvider{Value: got}
		})
		if err != nil {
			t.Errorf("the new credentials: %v", err)
		}
	})
}

// A host that was suspended thinks that its credentials still hold, and nobody tells it but AWS.
func TestCredentialsThatAWSSaysHaveEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cloud, _, a := inRole(t)
		trail, err := a.CloudTrail(cloud.Scope())
		if err != nil {
			t.Fatal(err)
		}
		step := func(works bool, roles int) {
			t.Helper()
			time.Sleep(time.Second)
			_, err := trail.LookupEvents(t.Context(), &cloudtrail.LookupEventsInput{})
			if n := len(cloud.Calls("AssumeRole")); (err == nil) != works || n != roles {
				t.Errorf("LookupEvents: %v, want that it works: %v; roles assumed %d times, want %d", err, works, n, roles)
			}
		}
		step(true, 1)
		cloud.Ahead(2 * time.Hour)
		step(false, 1)
		step(true, 2)
		cloud.Ahead(2 * time.Hour) // or AWS says so of all credentials: it isn't asked for new ones again and again
		step(false, 2)
		step(false, 2)
		time.Sleep(time.Minute)
		step(false, 2)
		step(true, 3)
	})
}
