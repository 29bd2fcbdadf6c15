package poller

import (
	"errors"
	"math/rand/v2"
	"time"

	"github.com/aws/smithy-go"
)

// outcome is how one LookupEvents attempt ended: a closed set, and a metric's label.
type outcome uint8

const (
	ok        outcome = iota
	throttled         // the rate is shared with everyone in the account and Region
	denied            // no permission, for it or for the role to make it by, or credentials that AWS does not take (any more)
	badToken          // the walk goes on in a new window
	badRange          // the window is older than 90 days, or AWS's time is not what it was
	refused           // any other answer that says the request is wrong
	failed            // no answer, or AWS's own failure
	outcomes          // their number
)

func (o outcome) String() string {
	return [...]string{"ok", "throttled", "denied", "bad_token", "bad_range", "refused", "failed"}[o]
}

// classify decides by the error's code alone. LookupEvents does not declare its throttling error, so no Go type has it.
func classify(err error) outcome {
	if err == nil {
		return ok
	}
	var never interface{ Permanent() bool } // what failed before the call: a role that may not be assumed
	if errors.As(err, &never) && never.Permanent() {
		return denied
	}
	var api smithy.APIError
	if !errors.As(err, &api) {
		return failed
	}
	switch api.ErrorCode() {
	case "ThrottlingException", "Throttling", "ThrottledException", "RequestLimitExceeded", "TooManyRequestsException",
		"RequestThrottled", "RequestThrottledException", "SlowDown", "PriorRequestNotComplete":
		return throttled
	case "AccessDeniedException", "AccessDenied", "UnauthorizedOperation", "NotAuthorized", "OperationNotPermittedException",
		"ExpiredTokenException", "ExpiredToken", "RequestExpired", "UnrecognizedClientException", "InvalidClientTokenId",
		"InvalidSignatureException", "SignatureDoesNotMatch", "IncompleteSignature", "MissingAuthenticationToken",
		"MissingAuthenticationTokenException", "OptInRequired", "AuthFailure":
		return denied
	case "InvalidNextTokenException", "InvalidNextToken":
		return badToken
	case "InvalidTimeRangeException", "InvalidTimeRange":
		return badRange
	}
	if api.ErrorFault() == smithy.FaultClient {
		return refused
	}
	return failed
}

// permanent reports whether trying again is unlikely to help before an operator does something.
func (o outcome) permanent() bool { return o == denied || o == refused }

// backoff is how long to wait after the nth failure in a row, from 1: doubling from first, at most longest, of which a
// random half is left out so that Scopes do not come back together.
func backoff(n int, first, longest time.Duration) time.Duration {
	d := first << min(max(n-1, 0), 16)
	if d > longest || d <= 0 {
		d = longest
	}
	return d/2 + rand.N(d/2+1)
}
