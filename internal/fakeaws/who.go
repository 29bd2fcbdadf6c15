package fakeaws

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"strings"
	"time"
)

// Kind is whose a resource is.
type Kind string

// The kinds.
const (
	Person   Kind = "person"
	Workload Kind = "workload" // a role whose session name names nobody
	Service  Kind = "service"  // an AWS service, for itself: no Owner
	Nobody   Kind = "none"     // a caller from another account: no Owner
)

// Who makes a call. Its zero value is not usable: take one of the constructors.
type Who struct {
	// Kind, Owner and how PrincipalID is built are the truth that a checker compares with. They are stated by each
	// constructor, not worked out from the record.
	Kind  Kind
	Owner string // the Owner tag to expect; "" for Service and Nobody

	typ            string // userIdentity.type
	name           string // user name, or role name
	path           string // of the user or role, with slashes
	session        string
	sourceIdentity string
	invokedBy      string
	foreign        string // account id, for a caller from another account
	agent          string
	console        bool
}

// Agents that people and machines use.
const (
	agentConsole   = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36"
	agentCLI       = "aws-cli/2.27.41 md/awscrt#0.26.1 ua/2.1 os/macos#24.5.0 md/arch#arm64 lang/python#3.13.4 md/pyimpl#CPython exec-env/CLI cfg/retry-mode#standard"
	agentTerraform = "APN/1.0 HashiCorp/1.0 Terraform/1.12.2 (+https://www.terraform.io) terraform-provider-aws/6.3.0 (+https://registry.terraform.io/providers/hashicorp/aws) aws-sdk-go-v2/1.36.5 ua/2.1 os/linux lang/go#1.23.8 md/GOOS#linux md/GOARCH#amd64"
	agentBoto      = "Boto3/1.39.4 md/Botocore#1.39.4 ua/2.1 os/linux#6.1.0 md/arch#x86_64 lang/python#3.12.11 md/pyimpl#CPython cfg/retry-mode#legacy Botocore/1.39.4"
)

// IAMUser is a person with long-lived keys.
func IAMUser(name string) Who {
	return Who{Kind: Person, Owner: name, typ: "IAMUser", name: name, path: "/", agent: agentCLI}
}

// SSO is a person who signed in through IAM Identity Center with a permission set.
func SSO(email, permissionSet string) Who {
	role := "AWSReservedSSO_" + permissionSet + "_" + digest("sso", permissionSet)[:16]
	return Who{
		Kind: Person, Owner: email, typ: "AssumedRole", name: role, path: "/aws-reserved/sso.amazonaws.com/eu-central-1/",
		session: email, agent: agentConsole, console: true,
	}
}

// RoleSession is a person in an assumed role, named by the session.
func RoleSession(role, person string) Who {
	return Who{Kind: Person, Owner: person, typ: "AssumedRole", name: role, path: "/", session: person, agent: agentTerraform}
}

// WithSourceIdentity is w with sessionContext.sourceIdentity set, which then names the person.
func (w Who) WithSourceIdentity(person string) Who {
	w.sourceIdentity, w.Owner, w.Kind = person, person, Person
	return w
}

// On is w calling through an AWS service that acts on the person's behalf, such as cloudformation.amazonaws.com.
func (w Who) On(service string) Who {
	w.invokedBy = service
	return w
}

// Machine is a role whose session name an SDK or AWS made up: the role is the owner.
func Machine(role, session string) Who {
	return Who{Kind: Workload, Owner: role, typ: "AssumedRole", name: role, path: "/", session: session, agent: agentBoto}
}

// Root is the account's root user.
func Root() Who {
	return Who{Kind: Person, Owner: "root", typ: "Root", agent: agentConsole, console: true}
}

// Federated is a federated user (sts:GetFederationToken).
func Federated(name string) Who {
	return Who{Kind: Person, Owner: name, typ: "FederatedUser", name: name, agent: agentCLI}
}

// ServiceRole is a service acting for itself through its service-linked role: "autoscaling", "AWSServiceRoleForAutoScaling".
func ServiceRole(service, role string) Who {
	host := service + ".amazonaws.com"
	return Who{
		Kind: Service, typ: "AssumedRole", name: role, path: "/aws-service-role/" + host + "/", session: strings.TrimPrefix(role, "AWSServiceRoleFor"),
		invokedBy: host, agent: host,
	}
}

// AWSService is a service calling as itself: identity type AWSService.
func AWSService(service string) Who {
	host := service + ".amazonaws.com"
	return Who{Kind: Service, typ: "AWSService", invokedBy: host, agent: host}
}

// AutoScaling is Auto Scaling launching for one of its groups.
func AutoScaling() Who { return ServiceRole("autoscaling", "AWSServiceRoleForAutoScaling") }

// OtherAccount is a caller from another account, of whom the record shows no more than that.
func OtherAccount(accountID string) Who {
	return Who{Kind: Nobody, typ: "AWSAccount", foreign: accountID, name: "partner", agent: agentBoto}
}

// PrincipalID returns userIdentity.principalId of w in an account: the PrincipalId tag to expect where w has an Owner.
func (w Who) PrincipalID(accountID string) string {
	switch w.typ {
	case "Root":
		return accountID
	case "IAMUser":
		return "AIDA" + id16(accountID, w.name)
	case "AssumedRole":
		return "AROA" + id16(accountID, w.name) + ":" + w.session
	case "FederatedUser":
		return accountID + ":" + w.name
	case "AWSAccount":
		return "AIDA" + id16(w.foreign, w.name)
	default:
		return ""
	}
}

// ARN returns userIdentity.arn of w in an account; "" where the record has none.
func (w Who) ARN(partition, accountID string) string {
	switch w.typ {
	case "Root":
		return "arn:" + partition + ":iam::" + accountID + ":root"
	case "IAMUser":
		return "arn:" + partition + ":iam::" + accountID + ":user" + w.path + w.name
	case "AssumedRole":
		return "arn:" + partition + ":sts::" + accountID + ":assumed-role/" + w.name + "/" + w.session
	case "FederatedUser":
		return "arn:" + partition + ":sts::" + accountID + ":federated-user/" + w.name
	default:
		return ""
	}
}

// username is LookupEvents' Username of an event of w.
func (w Who) username() string {
	switch w.typ {
	case "Root":
		return "root"
	case "AssumedRole":
		return w.session
	default:
		return w.name
	}
}

func (w Who) accessKey(accountID string) string {
	if w.typ == "IAMUser" {
		return "AKIA" + id16(accountID, w.name, "key")
	}
	return "ASIA" + id16(accountID, w.name, w.session, "key")
}

// userIdentity is the record's member of that name.
func (w Who) userIdentity(partition, accountID string, now time.Time) object {
	if w.typ == "AWSService" {
		return object{"type": "AWSService", "invokedBy": w.invokedBy}
	}
	if w.typ == "AWSAccount" {
		return object{"type": "AWSAccount", "principalId": w.PrincipalID(accountID), "accountId": w.foreign}
	}
	u := object{
		"type": w.typ, "principalId": w.PrincipalID(accountID), "arn": w.ARN(partition, accountID),
		"accountId": accountID, "accessKeyId": w.accessKey(accountID),
	}
	if w.typ == "IAMUser" {
		u["userName"] = w.name
	} else {
		attributes := object{
			"creationDate": now.Add(-17 * time.Minute).UTC().Format(time.RFC3339), "mfaAuthenticated": "false",
		}
		if w.console {
			attributes["mfaAuthenticated"] = "true"
		}
		context := object{"attributes": attributes}
		switch w.typ {
		case "AssumedRole":
			context["webIdFederationData"] = object{}
			context["sessionIssuer"] = object{
				"type": "Role", "principalId": "AROA" + id16(accountID, w.name), "accountId": accountID, "userName": w.name,
				"arn": "arn:" + partition + ":iam::" + accountID + ":role" + w.path + w.name,
			}
		case "FederatedUser":
			context["sessionIssuer"] = object{
				"type": "IAMUser", "principalId": "AIDA" + id16(accountID, "federator"), "accountId": accountID, "userName": "federator",
				"arn": "arn:" + partition + ":iam::" + accountID + ":user/federator",
			}
		}
		if w.sourceIdentity != "" {
			context["sourceIdentity"] = w.sourceIdentity
		}
		u["sessionContext"] = context
	}
	if w.invokedBy != "" {
		u["invokedBy"] = w.invokedBy
	}
	return u
}

// sourceIP is where w's calls come from; a service shows its name.
func (w Who) sourceIP(accountID string) string {
	if w.invokedBy != "" {
		return w.invokedBy
	}
	d := sha256.Sum256([]byte(accountID + w.name + w.session))
	return "203.0.113." + itoa(int(d[0]))
}

func (w Who) userAgent() string {
	if w.invokedBy != "" {
		return w.invokedBy
	}
	return w.agent
}

func digest(parts ...string) string {
	d := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(d[:])
}

// id16 is the unique part of an IAM identifier, always the same for the same parts.
func id16(parts ...string) string {
	d := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return base32.StdEncoding.EncodeToString(d[:])[:16]
}
