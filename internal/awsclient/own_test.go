package awsclient_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"

	"github.com/autotagd/autotagd/internal/awsclient"
	"github.com/autotagd/autotagd/pkg/event"
	"github.com/autotagd/autotagd/pkg/resource"
	"github.com/autotagd/autotagd/pkg/tagapi"
)

var (
	calls    = tagapi.New()
	tagRole  = calls.Lookup("iam", "iam:TagRole")
	byRole   = map[string]string{"RoleName": "deploy"}
	tagQueue = calls.Lookup("sqs", "sqs:TagQueue")
	byQueue  = map[string]string{"QueueUrl": "https://sqs.eu-west-1.amazonaws.com/111122223333/q"}
	ours     = []resource.Tag{{Key: "Owner", Value: "ann"}}
)

// rolePage answers IAM's ListRoleTags.
func rolePage(tags, more string) *http.Response {
	if more != "" {
		more = "<IsTruncated>true</IsTruncated><Marker>" + more + "</Marker>"
	}
	return answer(200, "text/xml", `<ListRoleTagsResponse><ListRoleTagsResult><Tags>`+tags+`</Tags>`+more+`</ListRoleTagsResult></ListRoleTagsResponse>`)
}

func tagXML(key, value string) string {
	return "<member><Key>" + key + "</Key><Value>" + value + "</Value></member>"
}

func form(t *testing.T, r *http.Request) url.Values {
	t.Helper()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	values, err := url.ParseQuery(string(body))
	if err != nil {
		t.Fatal(err)
	}
	return values
}

// Where a request goes, for which Region and service it is signed, and how S3's differ.
func TestOwnCallsAreAddressedAndSigned(t *testing.T) {
	for name, tt := range map[string]struct {
		service, api string
		params       map[string]string
		region       string
		url, scope   string
	}{
		"regional":         {"sqs", "sqs:TagQueue", byQueue, "eu-west-1", "https://sqs.eu-west-1.amazonaws.com/", "eu-west-1/sqs"},
		"global":           {"iam", "iam:TagRole", byRole, "eu-west-1", "https://iam.amazonaws.com/", "us-east-1/iam"},
		"global, China":    {"iam", "iam:TagRole", byRole, "cn-northwest-1", "https://iam.cn-north-1.amazonaws.com.cn/", "cn-north-1/iam"},
		"global, GovCloud": {"iam", "iam:TagRole", byRole, "us-gov-east-1", "https://iam.us-gov.amazonaws.com/", "us-gov-west-1/iam"},
		"another name in signatures": {
			"databrew", "databrew:TagResource",
			map[string]string{"ResourceArn": "arn:aws:databrew:eu-west-1:111122223333:job/a b"},
			"eu-west-1",
			"https://databrew.eu-west-1.amazonaws.com/tags/arn%3Aaws%3Adatabrew%3Aeu-west-1%3A111122223333%3Ajob%2Fa%20b", "eu-west-1/databrew",
		},
		"another host": {
			"efs", "elasticfilesystem:TagResource",
			map[string]string{"ResourceId": "fs-1"},
			"eu-west-1",
			"https://elasticfilesystem.eu-west-1.amazonaws.com/2015-02-01/resource-tags/fs-1", "eu-west-1/elasticfilesystem",
		},
		"a bucket": {"s3", "s3:PutBucketTagging", map[string]string{"Bucket": "b.c"}, "eu-west-1", "https://s3.eu-west-1.amazonaws.com/b.c?tagging=", "eu-west-1/s3"},
		"an account's host": {
			"s3", "s3:TagResource",
			map[string]string{"AccountId": accountID, "ResourceArn": "arn:aws:s3:::b"},
			"eu-west-1",
			"https://111122223333.s3-control.eu-west-1.amazonaws.com/v20180820/tags/arn%3Aaws%3As3%3A%3A%3Ab", "eu-west-1/s3",
		},
	} {
		t.Run(name, func(t *testing.T) {
			q := &requests{}
			a := account(t, q)
			call := calls.Lookup(tt.service, tt.api)
			if err := a.WriteTags(t.Context(), event.Scope{AccountID: accountID, Region: tt.region}, call, tt.params, ours); err != nil {
				t.Fatal(err)
			}
			r := q.seen[len(q.seen)-1]
			if got := r.URL.String(); got != tt.url {
				t.Errorf("URL %s, want %s", got, tt.url)
			}
			if got := r.Header.Get("Authorization"); !strings.Contains(got, "/"+tt.scope+"/aws4_request") {
				t.Errorf("Authorization %s, want it for %s", got, tt.scope)
			}
			if got := r.Header.Get("User-Agent"); got != "autotagd/1.2.3" {
				t.Errorf("User-Agent %q", got)
			}
			if id := tt.params["AccountId"]; r.Header.Get("X-Amz-Account-Id") != id {
				t.Errorf("X-Amz-Account-Id %q, want %q", r.Header.Get("X-Amz-Account-Id"), id)
			}
			if got := r.Header.Get("X-Amz-Content-Sha256"); (got != "") != (call.SDKService().Signing == "s3") {
				t.Errorf("X-Amz-Content-Sha256 %q", got)
			}
		})
	}
}

// The SDK's own settings of endpoints hold for these calls too.
func TestOwnCallsFollowTheEnvironment(t *testing.T) {
	files := t.TempDir()
	config := filepath.Join(files, "config")
	if err := os.WriteFile(config, []byte("[default]\nservices = local\n[services local]\nsqs =\n  endpoint_url = http://file.example\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		vars []string
		want string
	}{
		"nothing set":             {nil, "sqs.eu-west-1.amazonaws.com"},
		"all services":            {[]string{"AWS_ENDPOINT_URL", "http://all.example/base"}, "all.example"},
		"this one":                {[]string{"AWS_ENDPOINT_URL_SQS", "http://one.example"}, "one.example"},
		"this one and all":        {[]string{"AWS_ENDPOINT_URL_SQS", "http://one.example", "AWS_ENDPOINT_URL", "http://all.example"}, "one.example"},
		"another one":             {[]string{"AWS_ENDPOINT_URL_IAM", "http://one.example"}, "sqs.eu-west-1.amazonaws.com"},
		"a file":                  {[]string{"AWS_CONFIG_FILE", config}, "file.example"},
		"all before a file":       {[]string{"AWS_CONFIG_FILE", config, "AWS_ENDPOINT_URL", "http://all.example"}, "all.example"},
		"endpoints to be ignored": {[]string{"AWS_CONFIG_FILE", config, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true"}, "sqs.eu-west-1.amazonaws.com"},
		"FIPS":                    {[]string{"AWS_USE_FIPS_ENDPOINT", "true"}, "sqs-fips.eu-west-1.amazonaws.com"},
		"dual stack":              {[]string{"AWS_USE_DUALSTACK_ENDPOINT", "true"}, "sqs.eu-west-1.api.aws"},
	} {
		t.Run(name, func(t *testing.T) {
			environment(t, withKeys(tt.vars...)...)
			q := &requests{answer: func(operation string, _ *http.Request) (*http.Response, error) {
				if operation == "TagQueue" {
					return answer(200, "application/x-amz-json-1.0", `{}`), nil
				}
				return nil, nil
			}}
			clients, err := awsclient.New(t.Context(), options(q))
			if err != nil {
				t.Fatal(err)
			}
			a, err := clients.Account(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if err := a.WriteTags(t.Context(), ireland, tagQueue, byQueue, ours); err != nil {
				t.Fatal(err)
			}
			r := q.seen[len(q.seen)-1]
			if r.URL.Host != tt.want {
				t.Errorf("host %s, want %s", r.URL.Host, tt.want)
			}
			if strings.Contains(strings.Join(tt.vars, ""), "/base") && r.URL.Path != "/base/" {
				t.Errorf("path %s of an endpoint with one", r.URL.Path)
			}
		})
	}
}

// A host whose clock is wrong signs by AWS's.
func TestOwnCallsAreSignedByTheTimeOfAWS(t *testing.T) {
	theirs := time.Now().Add(-3 * time.Hour).UTC()
	q := &requests{answer: func(operation string, _ *http.Request) (*http.Response, error) {
		r := answer(200, "text/xml", `<GetCallerIdentityResponse><GetCallerIdentityResult><Account>`+accountID+`</Account></GetCallerIdentityResult></GetCallerIdentityResponse>`)
		r.Header.Set("Date", theirs.Format(http.TimeFormat))
		return r, nil
	}}
	a := account(t, q)
	if err := a.WriteTags(t.Context(), ireland, tagRole, byRole, ours); err != nil {
		t.Fatal(err)
	}
	got, err := time.Parse("20060102T150405Z", q.seen[len(q.seen)-1].Header.Get("X-Amz-Date"))
	if err != nil || got.Sub(theirs).Abs() > time.Minute {
		t.Errorf("signed for %v, %v; AWS has %v", got, err, theirs)
	}
}

// While a host is suspended its monotonic clock stands still: the first answer tells how late it is.
func TestOwnCallsAfterASuspension(t *testing.T) {
	var suspended time.Duration
	q := &requests{answer: func(operation string, _ *http.Request) (*http.Response, error) {
		r := answer(200, "text/xml", `<GetCallerIdentityResponse><GetCallerIdentityResult><Account>`+accountID+`</Account></GetCallerIdentityResult></GetCallerIdentityResponse>`)
		r.Header.Set("Date", time.Now().Add(suspended).UTC().Format(http.TimeFormat))
		return r, nil
	}}
	a := account(t, q)
	suspended = time.Hour
	for i, want := range []time.Duration{0, suspended} {
		if err := a.WriteTags(t.Context(), ireland, tagRole, byRole, ours); err != nil {
			t.Fatal(err)
		}
		signed, err := time.Parse("20060102T150405Z", q.seen[len(q.seen)-1].Header.Get("X-Amz-Date"))
		if err != nil || time.Until(signed.Add(-want)).Abs() > time.Minute {
			t.Errorf("call %d is signed for %v, %v; want %s from now", i+1, signed, err, want)
		}
	}
}

func TestReadTagsReadsEveryPage(t *testing.T) {
	a := account(t, &requests{answer: func(operation string, r *http.Request) (*http.Response, error) {
		if operation != "ListRoleTags" {
			return nil, nil
		}
		f := form(t, r)
		if f.Get("RoleName") != "deploy" {
			t.Errorf("asked for %v", f)
		}
		if f.Get("Marker") == "" {
			return rolePage(tagXML("Team", "x"), "m1"), nil
		}
		return rolePage(tagXML("Owner", "bob"), ""), nil
	}})
	tags, err := a.ReadTags(t.Context(), ireland, tagRole, byRole)
	if want := map[string]string{"Team": "x", "Owner": "bob"}; err != nil || !cmp.Equal(tags, want) {
		t.Errorf("tags = %v, %v; want %v", tags, err, want)
	}
}

// What could not be read is an error, never a resource without tags: its Owner would be written over.
func TestReadTagsNeverGivesPartOfTheTags(t *testing.T) {
	pages := 0
	endless := account(t, &requests{answer: func(operation string, _ *http.Request) (*http.Response, error) {
		if operation != "ListRoleTags" {
			return nil, nil
		}
		pages++
		return rolePage(tagXML("a", "b"), fmt.Sprint("m", pages)), nil
	}})
	if tags, err := endless.ReadTags(t.Context(), ireland, tagRole, byRole); err == nil || tags != nil || pages > 20 {
		t.Errorf("tags = %v, error = %v after %d pages", tags, err, pages)
	}

	attempts := 0
	failing := account(t, &requests{answer: func(operation string, _ *http.Request) (*http.Response, error) {
		if operation != "ListRoleTags" {
			return nil, nil
		}
		if attempts++; attempts == 1 {
			return rolePage(tagXML("a", "b"), "m1"), nil
		}
		return refusal(503, "ServiceUnavailable", "later"), nil
	}})
	tags, err := failing.ReadTags(t.Context(), ireland, tagRole, byRole)
	var api smithy.APIError
	if !errors.As(err, &api) || api.ErrorCode() != "ServiceUnavailable" || tags != nil || attempts != 2 {
		t.Errorf("tags = %v, error = %v after %d attempts, want AWS's error after two", tags, err, attempts)
	}

	cut := account(t, &requests{answer: func(operation string, _ *http.Request) (*http.Response, error) {
		if operation != "ListRoleTags" {
			return nil, nil
		}
		return answer(200, "text/xml", "<ListRoleTagsResponse><ListRoleTagsResult><Tags>"+tagXML("a", "b")), nil
	}})
	if tags, err := cut.ReadTags(t.Context(), ireland, tagRole, byRole); err == nil || tags != nil {
		t.Errorf("tags = %v of an answer that was cut off, %v", tags, err)
	}
}

// Errors look as those of the SDK's clients do: the tagger goes by code, status and fault.
func TestErrorsOfOwnCalls(t *testing.T) {
	a := account(t, &requests{answer: func(operation string, _ *http.Request) (*http.Response, error) {
		switch operation {
		case "TagRole":
			return refusal(404, "NoSuchEntity", "no such role"), nil
		case "TagQueue":
			return answer(502, "text/html", "<html>bad gateway</html>"), nil
		}
		return nil, nil
	}})
	err := a.WriteTags(t.Context(), ireland, tagRole, byRole, ours)
	var api smithy.APIError
	var op *smithy.OperationError
	var status interface{ HTTPStatusCode() int }
	if !errors.As(err, &api) || api.ErrorCode() != "NoSuchEntity" || api.ErrorMessage() != "no such role" ||
		!errors.As(err, &status) || status.HTTPStatusCode() != 404 || !errors.As(err, &op) || op.Service() != "IAM" || op.Operation() != "TagRole" {
		t.Errorf("error = %v", err)
	}
	err = a.WriteTags(t.Context(), ireland, tagQueue, byQueue, ours)
	if errors.As(err, &api) && api.ErrorCode() != "" || !errors.As(err, &status) || status.HTTPStatusCode() != 502 {
		t.Errorf("error = %v of a gateway", err)
	}
	foreign := event.Scope{AccountID: "999999999999", Region: "us-east-1"}
	if err := a.WriteTags(t.Context(), foreign, tagRole, byRole, ours); err == nil {
		t.Error("wrote in another account")
	}
	if _, err := a.ReadTags(t.Context(), foreign, tagRole, byRole); err == nil {
		t.Error("read another account's")
	}
	if err := a.WriteTags(t.Context(), ireland, tagRole, nil, ours); err == nil {
		t.Error("a call without its parameter")
	}
}

// A request that can't be written never will be; an endpoint that can't be called is the operator's to mend.
func TestOwnCallsThatAreNotSent(t *testing.T) {
	for name, tt := range map[string]struct {
		endpoint, role string
		want           bool // an error of the request itself
	}{
		"a parameter that is missing": {"", "", true},
		"an endpoint without scheme":  {"localhost:4566", "deploy", false},
		"an endpoint that is no URL":  {"http://[", "deploy", false},
	} {
		t.Run(name, func(t *testing.T) {
			vars := withKeys()
			if tt.endpoint != "" {
				vars = append(vars, "AWS_ENDPOINT_URL_IAM", tt.endpoint)
			}
			environment(t, vars...)
			clients, err := awsclient.New(t.Context(), options(&requests{}))
			if err != nil {
				t.Fatal(err)
			}
			a, err := clients.Account(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			err = a.WriteTags(t.Context(), ireland, tagRole, map[string]string{"RoleName": tt.role}, ours)
			var serialization *smithy.SerializationError
			if got := errors.As(err, &serialization); err == nil || got != tt.want {
				t.Errorf("error = %v, of the request %v, want %v", err, got, tt.want)
			}
		})
	}
}

func TestOwnCallsWithoutCredentials(t *testing.T) {
	n := 0
	clients, err := awsclient.FromConfig(aws.Config{Region: "eu-west-1", Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		if n++; n > 2 { // the start has them
			return aws.Credentials{}, &smithy.GenericAPIError{Code: "ResourceNotFoundException", Message: "no such role"}
		}
		return aws.Credentials{AccessKeyID: "AKIA", SecretAccessKey: "secret"}, nil
	})}, awsclient.Options{Version: "test", Log: zap.NewNop(), HTTP: &requests{}})
	if err != nil {
		t.Fatal(err)
	}
	a, err := clients.Account(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	n = 2
	err = a.WriteTags(t.Context(), ireland, tagRole, byRole, ours)
	var api smithy.APIError
	if err == nil || errors.As(err, &api) || !strings.Contains(err.Error(), "no such role") {
		t.Errorf("error = %v, want one that is no answer of IAM", err)
	}
}
