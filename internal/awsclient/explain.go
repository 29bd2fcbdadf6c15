package awsclient

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/credentials/ssocreds"
	"github.com/aws/smithy-go"
)

// Explain returns err with its Hint, if it has one, on one line and fit for a terminal: what AWS says, or whoever stands in
// its place, may be neither. It wraps err.
func Explain(err error) error {
	if err == nil {
		return nil
	}
	return &explained{err: err, hint: Hint(err)}
}

type explained struct {
	err  error
	hint string
}

func (e *explained) Unwrap() error { return e.err }

func (e *explained) Error() string {
	text := strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return utf8.RuneError
		}
		return r
	}, strings.Join(strings.Fields(e.err.Error()), " "))
	if e.hint != "" {
		text += ": " + e.hint
	}
	return text
}

// Hint says what an operator can do about an error of AWS, or of the way to it. It is "" when there is nothing, as for an
// error that passes by itself.
func Hint(err error) string {
	var sso *ssocreds.InvalidTokenError
	if errors.As(err, &sso) {
		return "the session of IAM Identity Center has ended; run `aws sso login`"
	}
	var api smithy.APIError
	if errors.As(err, &api) {
		return codeHint(api.ErrorCode(), err)
	}
	return connectionHint(err)
}

// codeHint goes by AWS's error codes: each service has its own word for the same thing.
func codeHint(code string, err error) string {
	if ended(code) {
		return "the credentials have expired; renew AWS_SESSION_TOKEN and its keys, or use a profile or role that renews itself"
	}
	switch code {
	case "InvalidClientTokenId", "UnrecognizedClientException", "InvalidAccessKeyId", "AuthFailure":
		return "AWS does not know these credentials here; check AWS_ACCESS_KEY_ID and AWS_SESSION_TOKEN, " +
			"and that the Region is enabled in the account and of the same partition"
	case "IncompleteSignature", "SignatureDoesNotMatch", "InvalidSignatureException":
		return "the secret key does not fit the access key, or the clock of this host is wrong; check AWS_SECRET_ACCESS_KEY"
	case "RequestTimeTooSkewed", "RequestInTheFuture":
		return "the clock of this host is wrong; set it by NTP"
	case "RegionDisabledException":
		return "activate STS in this Region, in IAM's account settings of the account that AWS names"
	case "AWSOrganizationsNotInUseException":
		return "this account is in no organization; list the accounts' roles under `accounts` instead"
	case "OptInRequired", "SubscriptionRequiredException":
		return "enable the Region or the service in this account, or take it out of `regions`"
	case "ResourceNotFoundException":
		if serviceOf(err) == "DynamoDB" {
			return "there is no such table; make it with `autotagd check --aws --create-table`, or name another in checkpoint.dynamodb"
		}
	}
	if Denied(err) {
		return deniedHint(err)
	}
	return ""
}

// Denied reports whether err is AWS's refusal to let this identity make the call, or have the role to make it by: an operator
// can mend it, waiting cannot.
func Denied(err error) bool {
	var role *RoleError
	if errors.As(err, &role) {
		return role.Denied
	}
	var api smithy.APIError
	if !errors.As(err, &api) {
		return false
	}
	switch api.ErrorCode() {
	case "AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "UnauthorizedException", "AuthorizationError":
		return true
	}
	return false
}

// serviceOf returns the SDK's name of the service that was called, "" if err does not say.
func serviceOf(err error) string {
	var op *smithy.OperationError
	if !errors.As(err, &op) {
		return ""
	}
	return op.ServiceID
}

// deniedHint names the IAM action to grant, as far as the error says which call was denied.
func deniedHint(err error) string {
	var op *smithy.OperationError
	if !errors.As(err, &op) {
		return "grant the action to the identity that autotagd runs as"
	}
	prefix := ""
	switch op.ServiceID {
	case "Account":
		prefix = "account"
	case "CloudTrail":
		prefix = "cloudtrail"
	case "DynamoDB":
		prefix = "dynamodb"
	case "EC2":
		prefix = "ec2"
	case "Resource Groups Tagging API":
		prefix = "tag"
	case "Organizations":
		return fmt.Sprintf("grant organizations:%s to the identity that autotagd runs as, whose account must be the organization's management "+
			"account or one that it made a delegated administrator", op.OperationName)
	case "STS":
		if op.OperationName == "AssumeRole" { // STS says the same for each of these
			return "grant sts:AssumeRole on the role to the identity that autotagd runs as, and see that the role is there, its account " +
				"open, and that its trust policy names that identity, with this external id if it asks for one"
		}
		prefix = "sts"
	case "IAM":
		prefix = "iam"
	default:
		return "grant the action to the identity that autotagd runs as"
	}
	return fmt.Sprintf("grant %s:%s to the identity that autotagd runs as, and see that no policy of the organization denies it", prefix, op.OperationName)
}

func connectionHint(err error) string {
	var dns *net.DNSError
	if errors.As(err, &dns) && dns.IsNotFound {
		return fmt.Sprintf("there is no host %s; check the Region (AWS_REGION, or `regions` in the configuration), and AWS_ENDPOINT_URL if it is set", dns.Name)
	}
	if untrusted(err) {
		return "the server's certificate is not trusted; behind a proxy of your own set AWS_CA_BUNDLE"
	}
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return "AWS cannot be reached from here; check the network, HTTPS_PROXY, and AWS_ENDPOINT_URL if it is set"
	}
	return ""
}

// untrusted reports whether err is a TLS server that could not prove who it is.
func untrusted(err error) bool {
	var cert *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	return errors.As(err, &cert) || errors.As(err, &authority)
}
