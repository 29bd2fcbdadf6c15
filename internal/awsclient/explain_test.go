package awsclient_test

import (
	"crypto/x509"
	"errors"
	"net"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/aws/smithy-go"

	"github.com/autotagd/autotagd/internal/awsclient"
)

func noSuchHost(host string) error {
	return &url.Error{Op: "Post", URL: "https://" + host, Err: &net.OpError{
		Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: host, IsNotFound: true},
	}}
}

func called(service, operation string, err error) error {
	return &smithy.OperationError{ServiceID: service, OperationName: operation, Err: err}
}

func code(c string) error { return &smithy.GenericAPIError{Code: c, Message: "no"} }

func TestHints(t *testing.T) {
	refused := &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	cases := map[string]struct {
		err  error
		want string // "" = none
	}{
		"denied lookup":                 {called("CloudTrail", "LookupEvents", code("AccessDeniedException")), "grant cloudtrail:LookupEvents"},
		"denied EC2":                    {called("EC2", "CreateTags", code("UnauthorizedOperation")), "grant ec2:CreateTags"},
		"denied tagging":                {called("Resource Groups Tagging API", "TagResources", code("AccessDeniedException")), "grant tag:TagResources"},
		"denied IAM":                    {called("IAM", "ListRoleTags", code("AccessDenied")), "grant iam:ListRoleTags"},
		"denied role":                   {called("STS", "AssumeRole", code("AccessDenied")), "grant sts:AssumeRole on the role"},
		"denied identity":               {called("STS", "GetCallerIdentity", code("AccessDenied")), "grant sts:GetCallerIdentity"},
		"denied organization":           {called("Organizations", "ListAccounts", code("AccessDeniedException")), "delegated administrator"},
		"no organization":               {called("Organizations", "ListAccounts", code("AWSOrganizationsNotInUseException")), "`accounts`"},
		"denied Regions":                {called("Account", "ListRegions", code("AccessDeniedException")), "grant account:ListRegions"},
		"STS is off in the Region":      {called("STS", "AssumeRole", code("RegionDisabledException")), "activate STS"},
		"denied DynamoDB":               {called("DynamoDB", "UpdateItem", code("AccessDeniedException")), "grant dynamodb:UpdateItem"},
		"no such table":                 {called("DynamoDB", "Query", code("ResourceNotFoundException")), "autotagd check --aws --create-table"},
		"no such thing elsewhere":       {called("Lambda", "TagResource", code("ResourceNotFoundException")), ""},
		"denied by a service not ours":  {called("SSO", "GetRoleCredentials", code("AccessDenied")), "grant the action"},
		"denied, call unknown":          {code("AccessDenied"), "grant the action"},
		"expired":                       {called("EC2", "CreateTags", code("RequestExpired")), "expired"},
		"unknown key, or Region is off": {called("CloudTrail", "LookupEvents", code("UnrecognizedClientException")), "Region is enabled"},
		"Region not opted in":           {called("EC2", "CreateTags", code("OptInRequired")), "enable the Region"},
		"clock":                         {called("EC2", "CreateTags", code("RequestTimeTooSkewed")), "NTP"},
		"signature":                     {called("CloudTrail", "LookupEvents", code("InvalidSignatureException")), "clock"},
		"no such host":                  {called("STS", "GetCallerIdentity", noSuchHost("sts.nowhere.amazonaws.com")), "no host sts.nowhere.amazonaws.com"},
		"nobody listens":                {called("STS", "GetCallerIdentity", refused), "HTTPS_PROXY"},
		"certificate":                   {called("STS", "GetCallerIdentity", x509.UnknownAuthorityError{}), "AWS_CA_BUNDLE"},
		"throttle passes":               {called("EC2", "CreateTags", code("RequestLimitExceeded")), ""},
		"not AWS's":                     {errors.New("disk full"), ""},
		"none":                          {nil, ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got := awsclient.Hint(c.err)
			if c.want == "" && got != "" || !strings.Contains(got, c.want) {
				t.Errorf("hint = %q, want %q in it", got, c.want)
			}
		})
	}
}

func TestDeniedIsOnlyWhatAGrantMends(t *testing.T) {
	for c, want := range map[string]bool{
		"AccessDenied": true, "AccessDeniedException": true, "UnauthorizedOperation": true,
		"ExpiredToken": false, "UnrecognizedClientException": false, "ThrottlingException": false,
	} {
		if got := awsclient.Denied(called("CloudTrail", "LookupEvents", code(c))); got != want {
			t.Errorf("%s: denied = %v, want %v", c, got, want)
		}
	}
	if awsclient.Denied(nil) || awsclient.Denied(errors.New("AccessDenied")) {
		t.Error("denied by text, or by nothing")
	}
}

func TestExplainKeepsTheErrorOnOneLine(t *testing.T) {
	cause := &smithy.GenericAPIError{Code: "AccessDenied", Message: "not\nauthorized\tto do that"}
	err := awsclient.Explain(called("STS", "GetCallerIdentity", cause))
	if !errors.Is(err, cause) {
		t.Error("the cause is lost")
	}
	if want := "operation error STS: GetCallerIdentity, api error AccessDenied: not authorized to do that: grant sts:GetCallerIdentity"; !strings.HasPrefix(err.Error(), want) {
		t.Errorf("text = %q, want %q first", err, want)
	}
	if awsclient.Explain(nil) != nil {
		t.Error("no error became one")
	}
	if got := awsclient.Explain(errors.New("a\x1b[31mb")).Error(); strings.Contains(got, "\x1b") {
		t.Errorf("text = %q reaches a terminal", got)
	}
}
