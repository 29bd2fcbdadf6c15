package awsclient_test

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/resourcegroupstaggingapi"
	"github.com/aws/smithy-go"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/autotagd/autotagd/internal/awsclient"
	"github.com/autotagd/autotagd/pkg/event"
)

const accountID = "111122223333"

var ireland = event.Scope{AccountID: accountID, Region: "eu-west-1"}

// requests is an AWS that answers by the operation, and keeps what it was asked.
type requests struct {
	mu     sync.Mutex
	seen   []*http.Request
	answer func(operation string, r *http.Request) (*http.Response, error) // nil, nil: the usual answer
}

func (q *requests) Do(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	r.Body = io.NopCloser(bytes.NewReader(body)) // for answer
	operation := operationOf(r, string(body))
	q.mu.Lock()
	q.seen = append(q.seen, r)
	q.mu.Unlock()
	if q.answer != nil {
		if out, err := q.answer(operation, r); out != nil || err != nil {
			return out, err
		}
	}
	switch operation {
	case "GetCallerIdentity":
		return answer(200, "text/xml", `<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>arn:aws:iam::`+accountID+`:user/autotagd</Arn>`+
			`<UserId>AIDA</UserId><Account>`+accountID+`</Account></GetCallerIdentityResult></GetCallerIdentityResponse>`), nil
	case "LookupEvents":
		return answer(200, "application/x-amz-json-1.1", `{"Events":[{"EventId":"e1","EventName":"RunInstances"}]}`), nil
	case "TagResources":
		return answer(200, "application/x-amz-json-1.1", `{"FailedResourcesMap":{}}`), nil
	case "GetResources":
		return answer(200, "application/x-amz-json-1.1", `{"ResourceTagMappingList":[]}`), nil
	}
	return answer(200, "text/xml", `<Response xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><return>true</return></Response>`), nil
}

func operationOf(r *http.Request, body string) string {
	if target := r.Header.Get("X-Amz-Target"); target != "" {
		return target[strings.LastIndex(target, ".")+1:]
	}
	for pair := range strings.SplitSeq(body, "&") {
		if name, ok := strings.CutPrefix(pair, "Action="); ok {
			return name
		}
	}
	return ""
}

func answer(status int, contentType, body string) *http.Response {
	return &http.Response{
		StatusCode: status,
		Header:     http.Header{"Content-Type": {contentType}, "Date": {time.Now().UTC().Format(http.TimeFormat)}},
		Body:       io.NopCloser(strings.NewReader(body)),
	}
}

// refusal is an error of STS and EC2 (query) alike; the SDK's parsers take what they know of it.
func refusal(status int, code, message string) *http.Response {
	return answer(status, "text/xml", `<ErrorResponse><Error><Code>`+code+`</Code><Message>`+message+`</Message></Error><RequestId>r1</RequestId></ErrorResponse>`)
}

func jsonRefusal(status int, code, message string) *http.Response {
	return answer(status, "application/x-amz-json-1.1", fmt.Sprintf(`{"__type":%q,"message":%q}`, code, message))
}

// environment makes the process see just these AWS settings, and an empty home.
func environment(t *testing.T, vars ...string) {
	t.Helper()
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		if strings.HasPrefix(name, "AWS_") {
			t.Setenv(name, "")
			if err := os.Unsetenv(name); err != nil {
				t.Fatal(err)
			}
		}
	}
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(home, "config"))
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(home, "credentials"))
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	for i := 0; i < len(vars); i += 2 {
		t.Setenv(vars[i], vars[i+1])
	}
}

func withKeys(vars ...string) []string {
	return append([]string{"AWS_ACCESS_KEY_ID", "AKIATEST", "AWS_SECRET_ACCESS_KEY", "secret", "AWS_REGION", "us-east-1"}, vars...)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func options(h aws.HTTPClient) awsclient.Options {
	return awsclient.Options{Version: "1.2.3", Log: zap.NewNop(), HTTP: h}
}

// account is one whose clients call h.
func account(t *testing.T, h aws.HTTPClient) *awsclient.Account {
	t.Helper()
	return accountOf(t, options(h))
}

func accountOf(t *testing.T, o awsclient.Options) *awsclient.Account {
	t.Helper()
	clients, err := awsclient.FromConfig(aws.Config{
		Region:      "us-east-1",
		Credentials: credentials.NewStaticCredentialsProvider("AKIATEST", "secret", ""),
	}, o)
	if err != nil {
		t.Fatal(err)
	}
	a, err := clients.Account(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// everyCall makes each call that an Account offers once, in s.
func everyCall(ctx context.Context, t *testing.T, a *awsclient.Account, s event.Scope) map[string]error {
	t.Helper()
	ct, err := a.CloudTrail(s)
	if err != nil {
		t.Fatal(err)
	}
	vm, err := a.EC2(s)
	if err != nil {
		t.Fatal(err)
	}
	tag, err := a.Tagging(s)
	if err != nil {
		t.Fatal(err)
	}
	errs := map[string]error{}
	_, errs["LookupEvents"] = ct.LookupEvents(ctx, &cloudtrail.LookupEventsInput{})
	_, errs["CreateTags"] = vm.CreateTags(ctx, &ec2.CreateTagsInput{
		Resources: []string{"i-1"}, Tags: []types.Tag{{Key: aws.String("Owner"), Value: aws.String("alice")}},
	})
	_, errs["DescribeTags"] = vm.DescribeTags(ctx, &ec2.DescribeTagsInput{})
	_, errs["DescribeInstances"] = vm.DescribeInstances(ctx, &ec2.DescribeInstancesInput{})
	_, errs["DescribeVolumes"] = vm.DescribeVolumes(ctx, &ec2.DescribeVolumesInput{})
	_, errs["DescribeImages"] = vm.DescribeImages(ctx, &ec2.DescribeImagesInput{})
	_, errs["TagResources"] = tag.TagResources(ctx, &resourcegroupstaggingapi.TagResourcesInput{
		ResourceARNList: []string{"arn:aws:sqs:eu-west-1:111122223333:q"}, Tags: map[string]string{"Owner": "alice"},
	})
	_, errs["GetResources"] = tag.GetResources(ctx, &resourcegroupstaggingapi.GetResourcesInput{})
	return errs
}

func TestEveryCallGoesToItsScopesRegionUnderOurName(t *testing.T) {
	q := &requests{}
	a := account(t, q)
	if a.ID != accountID || a.ARN != "arn:aws:iam::111122223333:user/autotagd" {
		t.Errorf("account = %+v", a)
	}
	q.seen = nil
	for name, err := range everyCall(t.Context(), t, a, ireland) {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, r := range q.seen {
		if !strings.Contains(r.URL.Host, ".eu-west-1.") || r.URL.Scheme != "https" {
			t.Errorf("request to %s, want https in eu-west-1", r.URL)
		}
		if !strings.Contains(r.Header.Get("Authorization"), "/eu-west-1/") {
			t.Errorf("%s is signed for %s", r.URL, r.Header.Get("Authorization"))
		}
		if ua := r.Header.Get("User-Agent"); !strings.Contains(ua, " autotagd/1.2.3") {
			t.Errorf("user agent = %q", ua)
		}
	}
	if len(q.seen) != 8 {
		t.Errorf("%d requests, want 8", len(q.seen))
	}
}

func TestNoCallIsRepeatedWhateverTheEnvironmentSays(t *testing.T) {
	environment(t, withKeys("AWS_MAX_ATTEMPTS", "7", "AWS_RETRY_MODE", "adaptive", "AWS_NEW_RETRIES_2026", "true")...)
	failures := map[string]func() (*http.Response, error){
		"a throttle": func() (*http.Response, error) { return jsonRefusal(400, "ThrottlingException", "Rate exceeded"), nil },
		"a 503":      func() (*http.Response, error) { return answer(503, "text/plain", ""), nil },
		"a reset":    func() (*http.Response, error) { return nil, syscall.ECONNRESET },
	}
	for name, failure := range failures {
		t.Run(name, func(t *testing.T) {
			q := &requests{}
			a, err := open(t, options(q))
			if err != nil {
				t.Fatal(err)
			}
			count := map[string]int{}
			q.answer = func(op string, _ *http.Request) (*http.Response, error) {
				count[op]++
				return failure()
			}
			for op, err := range everyCall(t.Context(), t, a, ireland) {
				if err == nil {
					t.Errorf("%s succeeded", op)
				}
				if count[op] != 1 {
					t.Errorf("%s: %d attempts, want 1", op, count[op])
				}
			}
		})
	}
}

func TestAnotherAccountsScopeIsRefused(t *testing.T) {
	a := account(t, &requests{})
	other := event.Scope{AccountID: "999999999999", Region: "eu-west-1"}
	_, ct := a.CloudTrail(other)
	_, vm := a.EC2(other)
	_, tag := a.Tagging(other)
	for _, err := range []error{ct, vm, tag} {
		if err == nil || !strings.Contains(err.Error(), "no credentials for account 999999999999") {
			t.Errorf("error = %v", err)
		}
	}
}

func TestServerTimeIsInTheAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ct, err := account(t, &requests{}).CloudTrail(ireland)
		if err != nil {
			t.Fatal(err)
		}
		out, err := ct.LookupEvents(t.Context(), &cloudtrail.LookupEventsInput{})
		if err != nil {
			t.Fatal(err)
		}
		got, ok := awsmiddleware.GetServerTime(out.ResultMetadata)
		if !ok || !got.Equal(time.Now()) {
			t.Errorf("server time = %v, %v; want %v", got, ok, time.Now())
		}
	})
}

// A host whose clock is wrong signs requests that AWS refuses; the answer's Date must mend the next one, since none is
// repeated.
func TestAWrongHostClockCostsOneCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const ahead = 3 * time.Hour // AWS's clock, seen from ours
		skewed := &requests{answer: func(op string, r *http.Request) (*http.Response, error) {
			signed, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
			if err != nil {
				return nil, err
			}
			var out *http.Response
			if off := time.Now().Add(ahead).Sub(signed).Abs(); op == "LookupEvents" && off > 5*time.Minute {
				out = jsonRefusal(400, "InvalidSignatureException", "Signature expired")
			} else if op == "LookupEvents" {
				out = answer(200, "application/x-amz-json-1.1", `{}`)
			} else {
				return nil, nil
			}
			out.Header.Set("Date", time.Now().Add(ahead).UTC().Format(http.TimeFormat))
			return out, nil
		}}
		ct, err := account(t, skewed).CloudTrail(ireland)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ct.LookupEvents(t.Context(), &cloudtrail.LookupEventsInput{}); err == nil {
			t.Fatal("the first call was signed right: the test shows nothing")
		}
		if _, err := ct.LookupEvents(t.Context(), &cloudtrail.LookupEventsInput{}); err != nil {
			t.Errorf("the second call: %v", err)
		}
	})
}

// served answers over a socket as requests does, and keeps the operations it saw.
func served(t *testing.T) (handler http.Handler, operations func() []string) {
	t.Helper()
	q, mu, seen := &requests{}, sync.Mutex{}, []string{}
	handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		mu.Lock()
		seen = append(seen, operationOf(r, string(body)))
		mu.Unlock()
		out, err := q.Do(r)
		if err != nil {
			t.Error(err)
			return
		}
		w.Header().Set("Content-Type", out.Header.Get("Content-Type"))
		if _, err := io.Copy(w, out.Body); err != nil {
			t.Error(err)
		}
	})
	return handler, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return seen
	}
}

func TestEndpointsOfTheEnvironmentMayBePlainHTTP(t *testing.T) {
	allHandler, allSeen := served(t)
	all := httptest.NewServer(allHandler)
	defer all.Close()
	trailHandler, trailSeen := served(t)
	trail := httptest.NewServer(trailHandler)
	defer trail.Close()
	environment(t, withKeys("AWS_ENDPOINT_URL", all.URL, "AWS_ENDPOINT_URL_CLOUDTRAIL", trail.URL)...)
	a, err := open(t, options(nil))
	if err != nil {
		t.Fatal(err)
	}
	for name, err := range everyCall(t.Context(), t, a, ireland) {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := strings.Join(trailSeen(), " "); got != "LookupEvents" {
		t.Errorf("CloudTrail's endpoint saw %s", got)
	}
	if len(allSeen()) != 8 {
		t.Errorf("the other endpoint saw %v, want GetCallerIdentity and seven calls", allSeen())
	}
}

// open makes the clients from the environment and asks for the account.
func open(t *testing.T, o awsclient.Options) (*awsclient.Account, error) {
	t.Helper()
	clients, err := awsclient.New(t.Context(), o)
	if err != nil {
		return nil, err
	}
	return clients.Account(t.Context())
}

func TestACertificateOfOnesOwnNeedsACABundle(t *testing.T) {
	handler, _ := served(t)
	srv := httptest.NewUnstartedServer(handler)
	srv.Config.ErrorLog = log.New(io.Discard, "", 0) // the refused handshake
	srv.StartTLS()
	defer srv.Close()
	environment(t, withKeys("AWS_ENDPOINT_URL", srv.URL)...)

	// It fails at once, although a connection that fails is otherwise tried again.
	if _, err := open(t, options(nil)); err == nil || !strings.Contains(err.Error(), "AWS_CA_BUNDLE") {
		t.Errorf("error = %v", err)
	}

	bundle := filepath.Join(t.TempDir(), "ca.pem")
	write(t, bundle, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})))
	t.Setenv("AWS_CA_BUNDLE", bundle)
	a, err := open(t, options(nil))
	if err != nil {
		t.Fatal(err)
	}
	for name, err := range everyCall(t.Context(), t, a, ireland) {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestASharedProfileWorksUnchanged(t *testing.T) {
	environment(t, "AWS_PROFILE", "audit")
	write(t, os.Getenv("AWS_CONFIG_FILE"), "[profile audit]\nregion = ap-south-1\n")
	write(t, os.Getenv("AWS_SHARED_CREDENTIALS_FILE"), "[audit]\naws_access_key_id = AKIAPROFILE\naws_secret_access_key = s\n")
	q := &requests{}
	clients, err := awsclient.New(t.Context(), options(q))
	if err != nil {
		t.Fatal(err)
	}
	if clients.Region() != "ap-south-1" {
		t.Errorf("region = %q", clients.Region())
	}
	if _, err := clients.Account(t.Context()); err != nil {
		t.Fatal(err)
	}
	if auth := q.seen[0].Header.Get("Authorization"); !strings.Contains(auth, "AKIAPROFILE/") || !strings.Contains(auth, "/ap-south-1/sts/") {
		t.Errorf("signed %s", auth)
	}
}

// What a start lacks is told on one line that says what to set.
func TestWhatAStartLacks(t *testing.T) {
	cases := map[string]struct {
		env    []string
		config string // of AWS_CONFIG_FILE
		region string // of Options
		answer func(string, *http.Request) (*http.Response, error)
		is     error
		want   []string
	}{
		"no Region": {
			env: []string{"AWS_ACCESS_KEY_ID", "AKIATEST", "AWS_SECRET_ACCESS_KEY", "secret"},
			is:  awsclient.ErrNoRegion, want: []string{"no AWS Region", "AWS_REGION"},
		},
		"no credentials": {
			env: []string{"AWS_REGION", "eu-west-1"},
			is:  awsclient.ErrNoCredentials, want: []string{"no AWS credentials", "AWS_ACCESS_KEY_ID", "AWS_PROFILE"},
		},
		"a Region of the configuration does for one of the environment, credentials still lack": {
			region: "eu-west-1", is: awsclient.ErrNoCredentials,
		},
		"a profile that is not there": {
			env: []string{"AWS_PROFILE", "nosuch"}, want: []string{`profile "nosuch"`, "AWS_PROFILE"},
		},
		"a configuration that cannot be read": {
			config: "[default\n", env: []string{"AWS_PROFILE", "default"}, want: []string{"AWS"},
		},
		"an expired session of Identity Center": {
			env: []string{"AWS_PROFILE", "sso"},
			config: "[profile sso]\nregion = eu-west-1\nsso_start_url = https://x.awsapps.com/start\nsso_region = eu-west-1\n" +
				"sso_account_id = 111122223333\nsso_role_name = r\n",
			want: []string{"get AWS credentials", "aws sso login"},
		},
		"expired credentials": {
			env:    withKeys("AWS_SESSION_TOKEN", "old"),
			answer: refuse(403, "ExpiredToken", "The security token included in the request is expired"),
			want:   []string{"us-east-1", "ExpiredToken", "AWS_SESSION_TOKEN"},
		},
		"an unknown access key": {
			env:    withKeys(),
			answer: refuse(403, "InvalidClientTokenId", "The security token\nincluded in the request is invalid."),
			want:   []string{"AWS_ACCESS_KEY_ID", "Region is enabled"},
		},
		"a wrong secret": {
			env:    withKeys(),
			answer: refuse(403, "SignatureDoesNotMatch", "The request signature we calculated does not match"),
			want:   []string{"AWS_SECRET_ACCESS_KEY"},
		},
		"a Region that is not one": {
			env: withKeys("AWS_REGION", "eu-wset-1"),
			answer: func(_ string, r *http.Request) (*http.Response, error) {
				return nil, noSuchHost(r.URL.Hostname())
			},
			want: []string{"sts.eu-wset-1.amazonaws.com", "AWS_REGION"},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			environment(t, c.env...)
			if c.config != "" {
				write(t, os.Getenv("AWS_CONFIG_FILE"), c.config)
			}
			o := options(&requests{answer: c.answer})
			o.Region = c.region
			_, err := open(t, o)
			if err == nil {
				t.Fatal("no error")
			}
			if c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("error %q is not %q", err, c.is)
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("more than one line: %q", err)
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q lacks %q", err, want)
				}
			}
		})
	}
}

func refuse(status int, code, message string) func(string, *http.Request) (*http.Response, error) {
	return func(string, *http.Request) (*http.Response, error) { return refusal(status, code, message), nil }
}

func TestFromConfigNeedsARegionAndCredentials(t *testing.T) {
	if _, err := awsclient.FromConfig(aws.Config{}, options(nil)); !errors.Is(err, awsclient.ErrNoRegion) {
		t.Errorf("error = %v", err)
	}
	if _, err := awsclient.FromConfig(aws.Config{Region: "eu-west-1"}, options(nil)); !errors.Is(err, awsclient.ErrNoCredentials) {
		t.Errorf("error = %v", err)
	}
}

func TestAStartOutlastsWhatPasses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failures := []func() (*http.Response, error){
			func() (*http.Response, error) { return nil, syscall.ECONNRESET },
			func() (*http.Response, error) { return answer(500, "text/plain", "oops"), nil },
			func() (*http.Response, error) { return refusal(400, "Throttling", "Rate exceeded"), nil },
		}
		n := 0
		q := &requests{answer: func(string, *http.Request) (*http.Response, error) {
			n++
			if n <= 3*len(failures) {
				return failures[n%len(failures)]()
			}
			return nil, nil
		}}
		core, logs := observer.New(zap.WarnLevel)
		o := options(q)
		o.Log = zap.New(core)
		start := time.Now()
		a := accountOf(t, o)
		if a.ID != accountID {
			t.Errorf("account = %q", a.ID)
		}
		if took := time.Since(start); took < time.Second || took > 3*time.Minute {
			t.Errorf("took %v", took)
		}
		if got := logs.FilterMessageSnippet("trying again").Len(); got != 9 {
			t.Errorf("%d warnings, want one for each of 9 failures", got)
		}
	})
}

func TestAStartGivesUpWhenItsContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clients, err := awsclient.FromConfig(aws.Config{
			Region:      "us-east-1",
			Credentials: credentials.NewStaticCredentialsProvider("AKIATEST", "secret", ""),
		}, options(&requests{answer: refuse(503, "ServiceUnavailable", "later")}))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		start := time.Now()
		_, err = clients.Account(ctx)
		var api smithy.APIError
		if !errors.As(err, &api) || api.ErrorCode() != "ServiceUnavailable" {
			t.Errorf("error = %v, want what AWS said last", err)
		}
		if took := time.Since(start); took != time.Minute {
			t.Errorf("took %v", took)
		}
	})
}

func TestTheSDKsWarningsGoToTheLog(t *testing.T) {
	core, logs := observer.New(zap.DebugLevel)
	o := options(&requests{})
	o.Log = zap.New(core)
	clients, err := awsclient.FromConfig(aws.Config{
		Region: "us-east-1", Credentials: credentials.NewStaticCredentialsProvider("AKIATEST", "secret", ""),
		ClientLogMode: aws.LogRequest,
	}, o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := clients.Account(t.Context()); err != nil {
		t.Fatal(err)
	}
	if logs.FilterMessage("the AWS SDK says").Len() == 0 {
		t.Error("the SDK's request log is not in ours")
	}
}
