package awsclient

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/autotagd/autotagd/pkg/event"
	"github.com/autotagd/autotagd/pkg/resource"
	"github.com/autotagd/autotagd/pkg/tagapi"
)

const (
	// maxTagPages ends a reading that would go on for ever: a resource has 50 tags, and the smallest page has ten.
	maxTagPages = 10
	// maxAnswer bounds an answer. Those of tag calls have a few KB, descriptions of a project some hundred.
	maxAnswer = 8 << 20
)

// own is what the services' own tag calls are made with, beside an account's credentials: there is no SDK module of each, but
// its signer and its HTTP client.
type own struct {
	http      aws.HTTPClient
	userAgent string
	variant   tagapi.Variant
	endpoint  func(sdkID string) string // "" = AWS's
}

// WriteTags makes one attempt of a call that tags, in s. It fails when s is of another account.
func (a *Account) WriteTags(ctx context.Context, s event.Scope, call *tagapi.Call, params map[string]string, tags []resource.Tag) error {
	if err := a.check(s); err != nil {
		return err
	}
	return a.own(ctx, s, call, &call.Write, func(endpoint string) (*http.Request, error) {
		return call.NewWrite(ctx, endpoint, params, tags)
	}, func(status int, header http.Header, body []byte) error {
		return call.Answered(status, header, body)
	})
}

// ReadTags reads the tags of a resource by its service's own call, which must have a read, one attempt a page. It fails when
// s is of another account, and gives all tags or none.
func (a *Account) ReadTags(ctx context.Context, s event.Scope, call *tagapi.Call, params map[string]string) (map[string]string, error) {
	if err := a.check(s); err != nil {
		return nil, err
	}
	tags, more := map[string]string{}, ""
	for range maxTagPages {
		next := ""
		err := a.own(ctx, s, call, call.Read, func(endpoint string) (*http.Request, error) {
			return call.NewRead(ctx, endpoint, params, more)
		}, func(status int, header http.Header, body []byte) error {
			page, token, err := call.Page(status, header, body)
			for key, value := range page {
				tags[key] = value
			}
			next = token
			return err
		})
		if err != nil {
			return nil, err
		}
		if next == "" {
			return tags, nil
		}
		more = next
	}
	return nil, fmt.Errorf("%s: the tags go on for more than %d pages", call.Read.Name, maxTagPages)
}

// own signs and sends one request. Its errors are such as those of the SDK's clients, so that nobody has to tell them apart.
func (a *Account) own(ctx context.Context, s event.Scope, call *tagapi.Call, op *tagapi.Op,
	request func(endpoint string) (*http.Request, error), read func(int, http.Header, []byte) error,
) error {
	o, service := a.clients.own, call.SDKService()
	failed := func(err error) error {
		return &smithy.OperationError{ServiceID: service.ID, OperationName: op.Name, Err: err}
	}
	host, signingRegion := service.Host(s.Region, o.variant)
	endpoint := o.endpoint(service.ID)
	if endpoint == "" {
		endpoint = "https://" + strings.ReplaceAll(op.HostPrefix, "{AccountId}", s.AccountID) + host
	}
	if at, err := url.Parse(endpoint); err != nil || at.Host == "" { // of the settings, not of the call
		return failed(errors.New("the endpoint in the settings is no URL with a host; want https://HOST"))
	}
	req, err := request(endpoint)
	if err != nil {
		return failed(&smithy.SerializationError{Err: err})
	}
	req.Header.Set("User-Agent", o.userAgent)
	credentials, err := a.credentials.Retrieve(ctx)
	if err != nil {
		return failed(fmt.Errorf("get credentials: %w", err))
	}
	if err := o.sign(ctx, credentials, req, service.Signing, signingRegion, a); err != nil {
		return failed(fmt.Errorf("sign: %w", err))
	}
	response, err := o.http.Do(req)
	if err != nil {
		return failed(&smithyhttp.RequestSendError{Err: err})
	}
	defer response.Body.Close()
	if date, err := http.ParseTime(response.Header.Get("Date")); err == nil {
		a.clients.clock.told(date)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err == nil {
		err = read(response.StatusCode, response.Header, body)
	}
	if err != nil {
		a.heed(err)
		return failed(&awshttp.ResponseError{
			RequestID:     response.Header.Get("X-Amzn-Requestid"),
			ResponseError: &smithyhttp.ResponseError{Response: &smithyhttp.Response{Response: response}, Err: err},
		})
	}
	return nil
}

// sign signs req by AWS's time, as far as it is known: the host's clock may be wrong.
func (o own) sign(ctx context.Context, credentials aws.Credentials, req *http.Request, name, region string, a *Account) error {
	body, err := req.GetBody()
	if err != nil {
		return err
	}
	hash := sha256.New()
	if _, err := io.Copy(hash, body); err != nil {
		return err
	}
	sum := hex.EncodeToString(hash.Sum(nil))
	s3 := name == "s3" // which wants the sum in a header, and its paths escaped once
	if s3 {
		req.Header.Set("X-Amz-Content-Sha256", sum)
	}
	return v4.NewSigner().SignHTTP(ctx, credentials, req, sum, name, region, a.Now(), func(so *v4.SignerOptions) {
		so.DisableURIPathEscaping = s3
	})
}

// endpoints returns where the environment and the shared files send a service's calls: "" where they say nothing. The SDK's
// own clients have it from a package that only they may use.
func endpoints(cfg aws.Config) func(sdkID string) string {
	return func(sdkID string) string {
		variable := "AWS_ENDPOINT_URL_" + strings.ToUpper(strings.ReplaceAll(sdkID, " ", "_"))
		_, all := os.LookupEnv("AWS_ENDPOINT_URL")
		_, one := os.LookupEnv(variable)
		base := aws.ToString(cfg.BaseEndpoint)
		if all && !one { // goes before a service's in a file
			return base
		}
		ctx := context.Background()
		for _, source := range cfg.ConfigSources {
			if p, ok := source.(interface {
				GetIgnoreConfiguredEndpoints(ctx context.Context) (bool, bool, error)
			}); ok {
				if ignore, found, err := p.GetIgnoreConfiguredEndpoints(ctx); found && err == nil && ignore {
					return base
				}
			}
		}
		for _, source := range cfg.ConfigSources {
			if p, ok := source.(interface {
				GetServiceBaseEndpoint(ctx context.Context, sdkID string) (string, bool, error)
			}); ok {
				if endpoint, found, err := p.GetServiceBaseEndpoint(ctx, sdkID); found && err == nil {
					return endpoint
				}
			}
		}
		return base
	}
}
