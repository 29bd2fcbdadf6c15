// Package identity works out whom to credit for a call: from the caller as CloudTrail wrote it to an Owner.
//
// It is pure. Nothing is invented: every name it gives stands in the record, and where none can be trusted the Owner is
// nobody, with the reason. A service that acts for itself is never taken for a person, nor a machine's session for one.
package identity

import (
	"fmt"
	"path"
	"strings"

	"github.com/autotagd/autotagd/pkg/event"
)

// Kind is what sort of owner it is.
type Kind string

// Every Kind.
const (
	Person   Kind = "person"   // a user, root, or whoever named the session
	Workload Kind = "workload" // a role whose session name says nothing of a person
	Service  Kind = "service"  // an AWS service acting for itself: nobody to credit
	None     Kind = "none"     // nobody to credit; Reason says why
)

// Owner is whom we credit.
type Owner struct {
	// Name goes into the tag. For a Service it is the service, as in autoscaling.amazonaws.com; for None it is empty.
	Name string
	Kind Kind
	// Reason says for people how the owner was found, or why there is none.
	Reason string
	// Attributes are what the directory knows of the owner: filled in by whoever has a directory.
	Attributes map[string]string
}

// Credited reports whether somebody is to be credited: a person or a workload.
func (o Owner) Credited() bool { return o.Kind == Person || o.Kind == Workload }

// Identity is the caller, in the words that rules and explain use. What a record lacks is empty.
type Identity struct {
	Type           string
	PrincipalID    string // whole, with the colon: access policies compare it with ${aws:userid}
	ARN            string
	AccountID      string
	UserName       string
	RoleName       string // of an assumed role
	SessionName    string // of an assumed role or a federated user
	SourceIdentity string
	InvokedBy      string
	Foreign        string // the caller's account, where AWS tells no more than that (type AWSAccount)
}

// Trust says whether the session names of some roles name people.
type Trust struct {
	Role  string // a glob, matched with the role's name, case included
	Trust bool
}

// Resolver credits callers. It is immutable and safe for concurrent use.
type Resolver struct {
	trust []Trust
}

// New returns a Resolver that follows trust: the first entry that matches a role decides, and a role that none matches is
// not trusted. Without any entry every role is. It fails on a malformed glob.
func New(trust []Trust) (*Resolver, error) {
	for i, t := range trust {
		if _, err := path.Match(t.Role, ""); err != nil || t.Role == "" {
			return nil, fmt.Errorf("session_names[%d].role: %q is not a glob; want a role's name, with * for any characters", i, t.Role)
		}
	}
	return &Resolver{trust: append([]Trust(nil), trust...)}, nil
}

func (res *Resolver) trusted(role string) bool {
	for _, t := range res.trust {
		if ok, _ := path.Match(t.Role, role); ok { // New has tried every glob
			return t.Trust
		}
	}
	return len(res.trust) == 0
}

// Of returns the caller of r and whom to credit for the call.
func (res *Resolver) Of(r *event.Record) (Identity, Owner) {
	id := describe(r.UserIdentity)
	return id, res.owner(r, id)
}

// describe puts the caller into our words.
func describe(u event.UserIdentity) Identity {
	id := Identity{
		Type:           u.Type,
		PrincipalID:    u.PrincipalID,
		ARN:            u.ARN,
		AccountID:      u.AccountID,
		UserName:       u.UserName,
		SourceIdentity: u.SourceIdentity,
		InvokedBy:      u.InvokedBy,
	}
	_, afterColon, _ := strings.Cut(u.PrincipalID, ":")
	switch u.Type {
	case "AssumedRole":
		id.RoleName, id.SessionName = assumedRole(u.ARN)
		if id.SessionName == "" {
			id.SessionName = afterColon
		}
		if id.RoleName == "" {
			id.RoleName = issuerRole(u.SessionIssuer)
		}
	case "FederatedUser":
		id.SessionName = afterColon
		if id.SessionName == "" {
			id.SessionName = resourceName(u.ARN, "federated-user/")
		}
	case "AWSAccount":
		id.Foreign = u.AccountID
		if id.Foreign == "" {
			id.Foreign = accountOf(u.ARN)
		}
	}
	return id
}

// owner applies the rules, the strongest first.
func (res *Resolver) owner(r *event.Record, id Identity) Owner {
	u := r.UserIdentity
	if o, ok := serviceOwner(r, id); ok {
		return o
	}
	if id.Type == "AWSAccount" {
		return nobody("the caller is of another account: " + id.Foreign)
	}
	if id.SourceIdentity != "" {
		return Owner{Name: id.SourceIdentity, Kind: Person, Reason: "source identity"}
	}
	switch id.Type {
	case "Root":
		return Owner{Name: "root", Kind: Person, Reason: "root user"}
	case "IAMUser":
		if id.UserName != "" {
			return Owner{Name: id.UserName, Kind: Person, Reason: "user name"}
		}
		if name := resourceName(id.ARN, ""); name != "" {
			return Owner{Name: name, Kind: Person, Reason: "user name in the ARN"}
		}
		return nobody("an IAM user without a name")
	case "AssumedRole":
		return res.sessionOwner(id)
	case "FederatedUser":
		if id.SessionName != "" {
			return Owner{Name: id.SessionName, Kind: Person, Reason: "federated user name"}
		}
		return nobody("a federated user without a name")
	}
	switch {
	case id.UserName != "":
		return Owner{Name: id.UserName, Kind: Person, Reason: "user name"}
	case u.OnBehalfOf.UserID != "":
		return Owner{Name: u.OnBehalfOf.UserID, Kind: Person, Reason: "user id of IAM Identity Center"}
	case !u.Present:
		return nobody("the record names no caller")
	case id.Type == "":
		return nobody("a caller without a type or a name")
	}
	return nobody("a caller of type " + event.Printable(id.Type, 64) + " without a name")
}

// sessionOwner credits the session of an assumed role: who named it, or the role if its name tells of nobody.
func (res *Resolver) sessionOwner(id Identity) Owner {
	var reason string
	switch {
	case id.SessionName == "":
		return nobody("an assumed role without a session name")
	case madeUp(id.SessionName):
		reason = "the role: its session name was made up by AWS or an SDK"
	case !res.trusted(id.RoleName):
		reason = "the role: its session names are not trusted"
	default:
		return Owner{Name: id.SessionName, Kind: Person, Reason: "role session name"}
	}
	if id.RoleName == "" {
		return nobody("a session name that names nobody, of a role without a name")
	}
	return Owner{Name: id.RoleName, Kind: Workload, Reason: reason}
}

func nobody(reason string) Owner { return Owner{Kind: None, Reason: reason} }
