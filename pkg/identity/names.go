package identity

import (
	"strings"

	"github.com/autotagd/autotagd/pkg/event"
)

// madeUp reports whether a session name is one that AWS or an SDK makes up when nobody gives one.
func madeUp(session string) bool {
	if id, ok := strings.CutPrefix(session, "i-"); ok && len(id) >= 8 && all(id, hexDigit) {
		return true // an EC2 instance
	}
	for _, prefix := range [...]string{"botocore-session-", "aws-go-sdk-"} {
		if n, ok := strings.CutPrefix(session, prefix); ok && n != "" && all(n, digit) {
			return true
		}
	}
	switch {
	case len(session) == 32 && all(session, hexDigit): // an ECS task
	case len(session) >= 10 && all(session, digit): // a time, an account
	case session == "GitHubActions":
	case strings.HasPrefix(session, "AWSCodeBuild-"): // with a UUID, as in github.com/aws/aws-cdk/issues/28522
	case strings.HasPrefix(session, "aws-sdk-"):
	case strings.HasPrefix(session, "AWSCLI-Session"):
	default:
		return false
	}
	return true
}

func all(s string, is func(byte) bool) bool {
	for i := range len(s) {
		if !is(s[i]) {
			return false
		}
	}
	return true
}

func digit(c byte) bool    { return '0' <= c && c <= '9' }
func hexDigit(c byte) bool { return digit(c) || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F' }

// assumedRole splits arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION; a part that is not there is empty.
func assumedRole(arn string) (role, session string) {
	role, session, _ = strings.Cut(resource(arn, "assumed-role/"), "/")
	if i := strings.LastIndexByte(session, '/'); i >= 0 { // no session name has a slash: the role was written with its path
		role, session = lastPart(role+"/"+session[:i]), session[i+1:]
	}
	return role, session
}

// issuerRole returns the name of the role that issued a session's credentials; "" if the issuer is no role.
func issuerRole(issuer event.SessionIssuer) string {
	if name := resourceName(issuer.ARN, "role/"); name != "" {
		return name
	}
	if issuer.Type == "Role" {
		return issuer.UserName
	}
	return ""
}

// resourceName returns the last part of the name, after its path, of an ARN whose resource begins with prefix.
func resourceName(arn, prefix string) string { return lastPart(resource(arn, prefix)) }

// resource returns what follows prefix in an ARN's resource; "" if it does not begin so.
func resource(arn, prefix string) string {
	a, err := event.ParseARN(arn)
	if err != nil {
		return ""
	}
	name, ok := strings.CutPrefix(a.Resource, prefix)
	if !ok {
		return ""
	}
	return name
}

func lastPart(s string) string { return s[strings.LastIndexByte(s, '/')+1:] }

func accountOf(arn string) string {
	a, err := event.ParseARN(arn)
	if err != nil {
		return ""
	}
	return a.AccountID
}
