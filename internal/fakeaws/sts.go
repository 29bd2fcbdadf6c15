package fakeaws

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/autotagd/autotagd/pkg/event"
)

// Role is a role that can be assumed, in one of the accounts.
type Role struct {
	ARN        string
	ExternalID string   // "": none is asked for
	Trusts     []string // accounts, or ARNs of callers; none: whoever may call sts:AssumeRole
}

// SetRole makes a role, or changes what it trusts. Sessions that it has go on.
func (a *AWS) SetRole(r Role) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.roles[r.ARN] = r
}

// RemoveRole removes a role. Its sessions go on, as AWS's do for a while.
func (a *AWS) RemoveRole(arn string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.roles, arn)
}

// CloseAccount closes an account: nobody can work in it any more, nor assume a role there.
func (a *AWS) CloseAccount(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed[id] = true
}

// Key is an access key that expires.
type Key struct {
	ID, Secret, Token string
	Expires           time.Time // AWS's time
}

// key is what AWS knows of a Key.
type key struct {
	accountID, token string
	expires          time.Time
	role             string // the role's name, of a session that AssumeRole made
	session          string
}

// NewKey returns a key for an account that holds for a while: of the program's own identity there, as an instance's role gives
// it. After that, or once RevokeKey has taken it back, calls with it fail as AWS's do.
func (a *AWS) NewKey(accountID string, life time.Duration) Key {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.newKey(key{accountID: accountID, expires: a.Now().Add(life)})
}

// RevokeKey makes AWS forget a key.
func (a *AWS) RevokeKey(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if k := a.keys[id]; k != nil {
		k.token = ""
	}
}

func (a *AWS) newKey(k key) Key {
	k.token = "token-" + a.letters(24)
	id := "ASIAFAKE" + strings.ToUpper(a.letters(12))
	a.keys[id] = &k
	return Key{ID: id, Secret: a.letters(40), Token: k.token, Expires: k.expires}
}

// refused is the answer to a call by credentials that AWS does not take, or nil.
func (a *AWS) refused(c *call) *answer {
	k, temporary := a.keys[c.keyID]
	var e answer
	switch {
	case temporary && k.token != c.token:
		e = c.failure(403, c.spelled("AuthFailure", "InvalidClientTokenId", "UnrecognizedClientException"), "The security token included in the request is invalid.")
	case temporary && !c.now.Before(k.expires):
		e = c.failure(403, c.spelled("RequestExpired", "ExpiredToken", "ExpiredTokenException"), "The security token included in the request is expired")
	case a.closed[c.scope.AccountID]:
		e = a.refusal(c)
	default:
		return nil
	}
	return &e
}

// spelled chooses among the ways in which services say the same.
func (c *call) spelled(ec2, query, other string) string {
	switch c.service {
	case "ec2":
		return ec2
	case "sts", "iam":
		return query
	}
	return other
}

// ours is who the program under test is: a role of the instance that it runs on.
func ours() Who { return Machine("autotagd", "i-0a0b0c0d0e0f01234") }

// caller is who makes a call: the program under test as itself, or in a role.
func (a *AWS) caller(c *call) Who {
	if k := a.keys[c.keyID]; k != nil && k.role != "" {
		return Machine(k.role, k.session)
	}
	return ours()
}

func (a *AWS) callerARN(c *call) string {
	k := a.keys[c.keyID]
	if itself := k == nil || k.role == ""; itself && a.cfg.Caller != "" && c.scope.AccountID == a.cfg.Accounts[0] {
		return a.cfg.Caller
	}
	return a.caller(c).ARN(event.Partition(c.scope.Region), c.scope.AccountID)
}

// stsAnswer is one of STS's.
func stsAnswer(op string, members ...node) answer {
	root := el(op+"Response", el(op+"Result", members...), el("ResponseMetadata", el("RequestId", "00000000-0000-4000-8000-000000000000")))
	root.attr = ` xmlns="https://sts.amazonaws.com/doc/2011-06-15/"`
	return answer{status: 200, typ: "text/xml", body: root.document()}
}

func (a *AWS) getCallerIdentity(c *call) answer {
	return stsAnswer(c.op, el("Arn", a.callerARN(c)), el("UserId", a.caller(c).PrincipalID(c.scope.AccountID)), el("Account", c.scope.AccountID))
}

// assumeRole gives a key for a role that is there, in an account that is open, and that trusts the caller. It says the same
// whichever of these is not so.
func (a *AWS) assumeRole(c *call) answer {
	name, session, life := c.form.Get("RoleArn"), c.form.Get("RoleSessionName"), time.Hour
	arn, err := event.ParseARN(name)
	if err != nil || !regexp.MustCompile(`^[\w+=,.@-]{2,64}$`).MatchString(session) {
		return c.failure(400, "ValidationError", "1 validation error detected")
	}
	if s := c.form.Get("DurationSeconds"); s != "" {
		seconds, err := strconv.Atoi(s)
		life = time.Duration(seconds) * time.Second
		if err != nil || life < 15*time.Minute || life > 12*time.Hour {
			return c.failure(400, "ValidationError", "1 validation error detected: Value '"+s+"' at 'durationSeconds' failed to satisfy constraint")
		}
		if life > time.Hour { // nobody has raised a role's own limit here
			return c.failure(400, "ValidationError", "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
		}
	}
	r, found := a.roles[name]
	trusted := len(r.Trusts) == 0 || slices.Contains(r.Trusts, c.scope.AccountID) || slices.Contains(r.Trusts, a.callerARN(c))
	if !found || !trusted || a.closed[arn.AccountID] || arn.Partition != event.Partition(c.scope.Region) || r.ExternalID != "" && r.ExternalID != c.form.Get("ExternalId") {
		return c.failure(403, "AccessDenied", "User: "+a.callerARN(c)+" is not authorized to perform: sts:AssumeRole on resource: "+name)
	}
	role := name[strings.LastIndex(name, "/")+1:]
	k := a.newKey(key{accountID: arn.AccountID, role: role, session: session, expires: c.now.Add(life).Truncate(time.Second)})
	who := Machine(role, session)
	return stsAnswer(c.op,
		el("AssumedRoleUser", el("AssumedRoleId", who.PrincipalID(arn.AccountID)), el("Arn", who.ARN(arn.Partition, arn.AccountID))),
		el("Credentials", el("AccessKeyId", k.ID), el("SecretAccessKey", k.Secret), el("SessionToken", k.Token), el("Expiration", k.Expires)),
	)
}
