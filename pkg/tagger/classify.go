package tagger

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/aws/smithy-go"
)

// class is why a call, or one resource of a call, failed: the closed set that steers what happens next, and a metric's label.
type class uint8

const (
	classOK          class = iota
	classThrottled         // slow down, for the whole account, Region and API
	classUnavailable       // 5xx, resets, timeouts: may have happened all the same
	classBusy              // the resource is still being created or changed: wait
	classNotFound          // deleted, or not visible yet
	classDenied            // this action on this resource
	classCredentials       // no call of ours is accepted: expired, not activated, clock
	classTagLimit          // the resource has its 50 tags
	classQuota             // some limit, perhaps of tags, perhaps of calls
	classInvalid           // this request will never be accepted
	classUnanswered        // InternalServiceException for one ARN: no answer, or a kind that TagResources can't tag
	classRefused           // a client error that we don't know
	classCanceled          // our own context ended: says nothing
	classCount
)

// String returns the class as the metric's label shows it.
func (c class) String() string {
	return [classCount]string{
		"ok", "throttled", "unavailable", "busy", "not_found", "access_denied", "credentials",
		"tag_limit", "quota", "invalid", "unanswered", "refused", "canceled",
	}[c]
}

// codes are the error codes of AWS's APIs that tag, as far as they don't follow the patterns of classifyCode. The services
// spell the same thing in many ways, and TagResources passes their codes through.
var codes = map[string]class{
	"RequestLimitExceeded":                   classThrottled,
	"Throttling":                             classThrottled,
	"ThrottlingException":                    classThrottled,
	"ThrottledException":                     classThrottled,
	"ThrottlingError":                        classThrottled,
	"RequestThrottled":                       classThrottled,
	"RequestThrottledException":              classThrottled,
	"TooManyRequests":                        classThrottled,
	"TooManyRequestsException":               classThrottled,
	"ProvisionedThroughputExceededException": classThrottled,
	"BandwidthLimitExceeded":                 classThrottled,
	"EC2ThrottledException":                  classThrottled,
	"SlowDown":                               classThrottled,
	"RateExceeded":                           classThrottled,
	"Client.RequestLimitExceeded":            classThrottled,
	"RateLimitExceededException":             classThrottled,
	"ClientLimitExceededException":           classThrottled,

	"InternalError":               classUnavailable,
	"InternalFailure":             classUnavailable,
	"InternalServerError":         classUnavailable,
	"InternalServerException":     classUnavailable,
	"InternalServiceError":        classUnavailable,
	"ServerException":             classUnavailable,
	"ServiceException":            classUnavailable,
	"ServiceUnavailable":          classUnavailable,
	"ServiceUnavailableException": classUnavailable,
	"Unavailable":                 classUnavailable,
	"RequestTimeout":              classUnavailable,
	"RequestTimeoutException":     classUnavailable,
	"DependencyTimeout":           classUnavailable,
	"InternalServiceException":    classUnanswered, // of a whole call: unavailable, see classify

	"PriorRequestNotComplete":         classBusy,
	"ConcurrentModification":          classBusy,
	"ConcurrentModificationException": classBusy,
	"ConflictException":               classBusy,
	"OperationAborted":                classBusy,
	"OperationInProgress":             classBusy,
	"TransactionInProgressException":  classBusy,
	"ResourceContention":              classBusy,
	"ResourceContentionFault":         classBusy,
	"ResourceInUse":                   classBusy,
	"ResourceInUseException":          classBusy,
	"ResourceNotReadyException":       classBusy,
	"IncorrectState":                  classBusy,
	"ConcurrentAccess":                classBusy,
	"ContainerInUseException":         classBusy,
	"ConcurrentAccessException":       classBusy,
	"TooManyUpdates":                  classBusy,
	"StaleTag":                        classBusy,

	"AWS.SimpleQueueService.NonExistentQueue": classNotFound,
	"InvalidResourceId":                       classNotFound, // SSM's word for it
	"PipelineDeletedException":                classNotFound,
	"UnknownResourceException":                classNotFound,
	"UnknownResourceFault":                    classNotFound,
	"WAFNonexistentItemException":             classNotFound,

	"UnauthorizedOperation":          classDenied,
	"Client.UnauthorizedOperation":   classDenied,
	"AccessDenied":                   classDenied,
	"AccessDeniedException":          classDenied,
	"AccessDeniedFault":              classDenied,
	"AuthorizationError":             classDenied,
	"AuthorizationErrorException":    classDenied,
	"AuthorizationException":         classDenied,
	"NotAuthorized":                  classDenied,
	"NotAuthorizedException":         classDenied,
	"UnauthorizedException":          classDenied,
	"ForbiddenException":             classDenied,
	"OperationNotPermitted":          classDenied,
	"OperationNotPermittedException": classDenied,
	// Of one resource that belongs to another account, or of our credentials: taking the batch apart tells which.
	"AuthFailure": classDenied,

	"ExpiredToken":                  classCredentials,
	"ExpiredTokenException":         classCredentials,
	"RequestExpired":                classCredentials,
	"InvalidClientTokenId":          classCredentials,
	"InvalidToken":                  classCredentials,
	"UnrecognizedClientException":   classCredentials,
	"SignatureDoesNotMatch":         classCredentials,
	"InvalidSignatureException":     classCredentials,
	"IncompleteSignature":           classCredentials,
	"MissingAuthenticationToken":    classCredentials,
	"OptInRequired":                 classCredentials,
	"Blocked":                       classCredentials,
	"InvalidAccessKeyId":            classCredentials,
	"InvalidIdentityToken":          classCredentials,
	"SubscriptionRequiredException": classCredentials,
	"PendingVerification":           classCredentials,

	"TagLimitExceeded":                      classTagLimit,
	"TagLimitExceededException":             classTagLimit,
	"TagLimitExceededFault":                 classTagLimit,
	"TagsLimitExceededException":            classTagLimit,
	"TooManyTags":                           classTagLimit,
	"TooManyTagsException":                  classTagLimit,
	"TagQuotaPerResourceExceeded":           classTagLimit,
	"TagsPerResourceExceededLimitException": classTagLimit,
	"TooManyTagsError":                      classTagLimit,
	"TooManyTagsFault":                      classTagLimit,

	"LimitExceeded":                 classQuota,
	"LimitExceededException":        classQuota,
	"ServiceQuotaExceededException": classQuota,

	"BadRequest":                   classInvalid,
	"BadRequestException":          classInvalid,
	"InvalidArgument":              classInvalid,
	"InvalidArgumentException":     classInvalid,
	"InvalidArn":                   classInvalid,
	"InvalidArnException":          classInvalid,
	"InvalidID":                    classInvalid,
	"InvalidInput":                 classInvalid,
	"InvalidInputException":        classInvalid,
	"InvalidParameter":             classInvalid,
	"InvalidParameterException":    classInvalid,
	"InvalidParameterCombination":  classInvalid,
	"InvalidParameterValue":        classInvalid,
	"InvalidRequest":               classInvalid,
	"InvalidRequestException":      classInvalid,
	"InvalidTag":                   classInvalid,
	"InvalidTagException":          classInvalid,
	"ConstraintViolationException": classInvalid,
	"MissingParameter":             classInvalid,
	"NotImplemented":               classInvalid, // with status 501: it says nothing of S3's other requests
	"TagException":                 classInvalid,
	"TagPolicyException":           classInvalid,
	"TagPolicyViolation":           classInvalid,
	"ValidationError":              classInvalid,
	"ValidationException":          classInvalid,
}

// classifyCode returns the class of an error code, by table and pattern, else by the HTTP status (0 when unknown).
func classifyCode(code string, status int) class {
	if c, ok := codes[code]; ok {
		return c
	}
	switch {
	case hasAnySuffix(code, ".NotFound", "NotFound", "NotFoundException", "NotFoundFault", "DoesNotExist", "DoesNotExistException"),
		strings.HasPrefix(code, "NoSuch"):
		return classNotFound
	case hasAnySuffix(code, ".Malformed"):
		return classInvalid
	// InvalidDBInstanceState, InvalidVolume.ZoneMismatch is none, IncorrectInstanceState, ...StateFault, ...StateException
	case hasAnySuffix(code, "State", "StateFault", "StateException", "InProgress", "InProgressException", "InProgressFailure", "InUse"):
		return classBusy
	case hasAnySuffix(code, "AccessDeniedException"):
		return classDenied
	case strings.Contains(code, "Internal"):
		return classUnavailable
	case hasAnySuffix(code, "LimitExceeded", "LimitExceededException", "LimitExceededFault", "LimitsExceededException"):
		return classQuota
	case hasAnyPrefix(code, "InvalidParameter", "InvalidTag", "InvalidArn", "InvalidARN", "InvalidResourceArn", "InvalidResourceType", "TagPolicy"),
		hasAnySuffix(code, "InvalidParameterException", "InvalidRequestException", "TypeNotSupportedException", "ArnNotSupportedException"):
		return classInvalid
	}
	switch {
	case status == http.StatusNotFound || status == http.StatusGone:
		return classNotFound
	case status == http.StatusTooManyRequests:
		return classThrottled
	case status == http.StatusForbidden:
		return classDenied
	case status == http.StatusUnauthorized:
		return classCredentials
	case status == http.StatusConflict:
		return classBusy
	case status >= 500:
		return classUnavailable
	}
	return classRefused
}

func hasAnyPrefix(s string, prefixes ...string) bool {
	for _, prefix := range prefixes {
		if strings.HasPrefix(s, prefix) {
			return true
		}
	}
	return false
}

func hasAnySuffix(s string, suffixes ...string) bool {
	for _, suffix := range suffixes {
		if strings.HasSuffix(s, suffix) {
			return true
		}
	}
	return false
}

// classify returns the class of a whole call's error. What is no answer of AWS at all is unavailable: it may have happened.
func classify(err error) class {
	if err == nil {
		return classOK
	}
	if errors.Is(err, context.Canceled) {
		return classCanceled
	}
	status := 0
	var response interface{ HTTPStatusCode() int }
	if errors.As(err, &response) {
		status = response.HTTPStatusCode()
	}
	var api smithy.APIError
	if errors.As(err, &api) {
		c := classifyCode(api.ErrorCode(), status)
		switch {
		case c == classUnanswered:
			return classUnavailable
		case c == classRefused && api.ErrorFault() == smithy.FaultServer:
			return classUnavailable
		case c == classNotFound && classifyCode(api.ErrorCode(), 0) != classNotFound:
			return classUnavailable // a 404 without AWS's word for it: from a proxy, or of the endpoint
		}
		return c
	}
	// A request that can't be written: nothing was sent.
	var params *smithy.InvalidParamsError
	var serialization *smithy.SerializationError
	if errors.As(err, &params) || errors.As(err, &serialization) {
		return classInvalid
	}
	return classUnavailable
}

// named returns which of ids the error text names, as AWS does for ids that don't exist or are malformed. It steers only
// who is tried apart from the others, never what becomes of him.
func named(err error, has func(id string) bool) map[string]bool {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return nil
	}
	found := map[string]bool{}
	for _, word := range strings.FieldsFunc(api.ErrorMessage(), func(r rune) bool {
		return r == '\'' || r == '"' || r == ',' || r == ' ' || r == '(' || r == ')' || r == '[' || r == ']' || r == ';'
	}) {
		word = strings.TrimRight(word, ".:")
		if has(word) {
			found[word] = true
		}
	}
	return found
}
