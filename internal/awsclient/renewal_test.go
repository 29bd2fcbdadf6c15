package awsclient

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"go.uber.org/zap"

	"github.com/autotagd/autotagd/internal/fakeaws"
)

// A host whose clock is set back thinks that its credentials still hold. A bubble's clock can't be set back, so here they end
// before the cache thinks so.
func TestCredentialsEndByTheMonotonicClockToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
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
