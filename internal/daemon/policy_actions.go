package daemon

import (
	"cmp"
	"strings"
)

// What no rule tells about tag calls and reads of tags, by IAM action: from AWS's Service Authorization Reference of
// 2026-09-26. It has every action of the catalog and of pkg/tagapi but two services': apigateway:TagResource is not in it,
// though AWS names it when it denies a call, and IoT Things Graph's went when that service ended.

// resourceOf returns what the action is allowed on, as an ARN from the service on, or "": every resource. arnService is what
// the catalog says of the resource, or "". In general that is whatever its service has, since a service's tag action takes
// what the catalog has of it, nearly; a star stands for no Region and no account too.
func resourceOf(action, arnService string) string {
	prefix, _, _ := strings.Cut(action, ":")
	switch action {
	case "aoss:TagResource", "applicationinsights:TagResource", "bcm-dashboards:TagResource",
		"mpa:TagResource", "ram:GetResourceShares", "route53domains:UpdateTagsForDomain", "servicediscovery:TagResource",
		"transcribe:TagResource", "workspaces:CreateTags":
		return "" // the reference has no kinds of resources for it: restricting it would deny it
	case "mediaconnect:TagResource":
		return "" // the reference has them only lately
	case "s3:PutJobTagging", "s3:PutStorageLensConfigurationTagging", "s3:TagResource":
		return "" // of S3's ARNs with a Region IAM has refused some in policies
	case "s3:PutBucketTagging":
		return "s3:::*"
	case "apigateway:POST", "apigateway:PUT":
		return "apigateway:*::/tags/*" // anywhere else they make resources, or overwrite whole APIs
	case "route53-recovery-control-config:TagResource":
		arnService = "route53-recovery-control"
	}
	if kind := iamKind(action); kind != "" {
		return "iam::*:" + kind + "/*"
	}
	return cmp.Or(arnService, prefix) + ":*:*:*"
}

// iamKind returns what ARNs of the kind of resource that the action tags begin with. It returns "" for any other action.
func iamKind(action string) string {
	switch action {
	case "iam:TagInstanceProfile":
		return "instance-profile"
	case "iam:TagMFADevice":
		return "mfa"
	case "iam:TagOpenIDConnectProvider":
		return "oidc-provider"
	case "iam:TagPolicy":
		return "policy"
	case "iam:TagRole":
		return "role"
	case "iam:TagSAMLProvider":
		return "saml-provider"
	case "iam:TagServerCertificate":
		return "server-certificate"
	case "iam:TagUser":
		return "user"
	}
	return ""
}

// readsOnly reports whether an action of the catalog reads: TagResources reads a bucket's tags before it writes them all.
func readsOnly(action string) bool {
	_, name, _ := strings.Cut(action, ":")
	return strings.HasPrefix(name, "Get")
}

// tagsAlone reports whether an action that reads tells nothing but tags. Others tell all of a build project, say, with its
// environment.
func tagsAlone(action string) bool { return strings.Contains(action, "Tag") }

// onKeys reports whether the action may be allowed for our tag keys alone. Not so for calls that replace what is there: they
// carry the keys of others too. Nor for those that, says the reference, have no aws:TagKeys: there the condition would only
// seem to restrict.
func onKeys(action string) bool {
	switch action {
	case "dax:TagResource", "glacier:AddTagsToVault", "route53:ChangeTagsForResource", "route53domains:UpdateTagsForDomain",
		"securityhub:TagResource":
		return false
	case "servicecatalog:UpdatePortfolio", "servicecatalog:UpdateProduct":
		return true // these add
	}
	_, name, _ := strings.Cut(action, ":")
	for _, verb := range [...]string{"Put", "Set", "Update"} {
		if strings.HasPrefix(name, verb) {
			return false
		}
	}
	return true
}
