package awsclient_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/smithy-go"
	"go.uber.org/zap"

	"github.com/autotagd/autotagd/internal/awsclient"
)

// What a credentials endpoint answers says nothing of the resource that was to be tagged: 'not found' of a role must not end
// a Job as gone.
func TestCredentialsThatFailAreNoAnswerOfTheService(t *testing.T) {
	for _, code := range []string{"ResourceNotFoundException", "AccessDenied", "ExpiredTokenException"} {
		calls := 0
		cfg := aws.Config{Region: "eu-west-1", Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			if calls++; calls > 2 { // the start has them
				return aws.Credentials{}, &smithy.GenericAPIError{Code: code, Message: "no association of this role"}
			}
			return aws.Credentials{AccessKeyID: "AKIA", SecretAccessKey: "secret"}, nil
		})}
		clients, err := awsclient.FromConfig(cfg, awsclient.Options{Version: "test", Log: zap.NewNop(), HTTP: &requests{}})
		if err != nil {
			t.Fatal(err)
		}
		a, err := clients.Account(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		calls = 2
		api, err := a.EC2(ireland)
		if err != nil {
			t.Fatal(err)
		}
		_, err = api.DescribeTags(t.Context(), &ec2.DescribeTagsInput{})
		var answered smithy.APIError
		switch {
		case err == nil || errors.As(err, &answered):
			t.Errorf("%s: error = %v, want one that is no smithy.APIError", code, err)
		case !strings.Contains(err.Error(), "no association of this role"):
			t.Errorf("error %q does not say what went wrong", err)
		case code == "ExpiredTokenException" && !strings.Contains(err.Error(), "renew"):
			t.Errorf("error %q has lost its hint", err)
		}
	}
}

// Until LookupEvents has answered, AWS's time is what STS said, whatever the host's clock says.
func TestAccountTellsAWSTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const ahead = 50 * time.Hour
		a := account(t, &requests{answer: func(op string, _ *http.Request) (*http.Response, error) {
			if op != "GetCallerIdentity" {
				return nil, nil
			}
			out, err := (&requests{}).Do(queryRequest(t, op))
			if err == nil {
				out.Header.Set("Date", time.Now().Add(ahead).UTC().Format(http.TimeFormat))
			}
			return out, err
		}})
		time.Sleep(time.Hour)
		if got, want := a.Now(), time.Now().Add(ahead); got.Sub(want).Abs() > time.Second {
			t.Errorf("Now = %v, want %v", got, want)
		}
	})
}

func queryRequest(t *testing.T, op string) *http.Request {
	t.Helper()
	r, err := http.NewRequest(http.MethodPost, "https://sts.amazonaws.com", strings.NewReader("Action="+op))
	if err != nil {
		t.Fatal(err)
	}
	return r
}
