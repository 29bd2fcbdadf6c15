package identity

import (
	"strings"

	"github.com/autotagd/autotagd/pkg/event"
)

// serviceOwner returns the AWS service that made the call for itself; ok is false if none did.
func serviceOwner(r *event.Record, id Identity) (o Owner, ok bool) {
	u := r.UserIdentity
	if service, ok := linkedService(u, id); ok {
		return byService(service, "a service-linked role"), true
	}
	switch {
	case id.Type == "AWSService" && id.InvokedBy != "":
		return byService(id.InvokedBy, "an AWS service"), true
	case id.Type == "AWSService":
		return byService(r.EventSource, "an AWS service"), true
	case id.Type == "" && id.UserName == "" && id.InvokedBy != "":
		return byService(id.InvokedBy, "an AWS service"), true
	case launches(r):
		return byService(id.InvokedBy, "a launch by a service"), true
	}
	return Owner{}, false
}

// byService is the owner of what a service did for itself.
func byService(name, reason string) Owner {
	if name == "" {
		return nobody(reason + " without a name")
	}
	return Owner{Name: name, Kind: Service, Reason: reason}
}

// linkedService returns the service whose service-linked role the caller is or has assumed; ok is false for any other
// caller. The rest of an ARN is not checked: that it is damaged elsewhere makes no person of a service.
func linkedService(u event.UserIdentity, id Identity) (service string, ok bool) {
	for _, arn := range [...]string{u.ARN, u.SessionIssuer.ARN} {
		if _, rest, ok := strings.Cut(arn, ":role/aws-service-role/"); ok {
			service, _, _ = strings.Cut(rest, "/")
			return service, true
		}
	}
	if u.SessionIssuer.ARN == "" && id.Type == "AssumedRole" {
		// Without the issuer the role's path is not there, but its name is of the kind that IAM keeps for such roles.
		if service, ok = strings.CutPrefix(id.RoleName, "AWSServiceRoleFor"); ok && strings.HasSuffix(u.InvokedBy, ".amazonaws.com") {
			service = u.InvokedBy // as the path would have it
		}
		return service, ok
	}
	return "", false
}

// launches reports whether Auto Scaling, Spot Fleet or EC2 Fleet launched something of its own accord. Records of such
// launches have named root, or whoever made the group or fleet, as the caller: nobody's hand was in it.
func launches(r *event.Record) bool {
	if !strings.EqualFold(r.EventSource, "ec2.amazonaws.com") {
		return false
	}
	switch r.EventName {
	case "RunInstances", "CreateFleet", "RequestSpotInstances", "RequestSpotFleet":
	default:
		return false
	}
	switch r.UserIdentity.InvokedBy {
	case "autoscaling.amazonaws.com", "spotfleet.amazonaws.com", "ec2fleet.amazonaws.com", "spot.amazonaws.com":
		return true
	}
	return false
}
