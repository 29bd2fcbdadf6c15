package fakeaws

import (
	"maps"
	"slices"
	"strings"
)

// listIAMTags answers ListRoleTags, ListUserTags and their kin: IAM's own way to say what tags are there.
func (a *AWS) listIAMTags(c *call) answer {
	var found *Resource
	for param, kind := range map[string]string{
		"RoleName": "role/", "UserName": "user/", "InstanceProfileName": "instance-profile/", "ServerCertificateName": "server-certificate/",
	} {
		if c.form.Has(param) {
			found = a.iamNamed(c, kind, c.form.Get(param))
		}
	}
	for _, param := range [...]string{"PolicyArn", "OpenIDConnectProviderArn", "SAMLProviderArn", "SerialNumber"} {
		if c.form.Has(param) {
			found = a.byARN[c.form.Get(param)]
		}
	}
	if found == nil || !found.exists() || found.consistentAt.After(c.now) {
		return stsError(404, "NoSuchEntity", "The entity cannot be found.")
	}
	tags := node{name: "Tags"}
	for _, k := range slices.Sorted(maps.Keys(found.Tags)) {
		tags.children = append(tags.children, node{name: "member", children: []node{el("Key", k), el("Value", found.Tags[k])}})
	}
	root := el(c.op+"Response", el(c.op+"Result", el("IsTruncated", "false"), tags),
		el("ResponseMetadata", el("RequestId", "00000000-0000-4000-8000-000000000000")))
	root.attr = ` xmlns="https://iam.amazonaws.com/doc/2010-05-08/"`
	return answer{status: 200, typ: "text/xml", body: root.document()}
}

// iamNamed finds an IAM resource of the caller's account by its name, whatever its path.
func (a *AWS) iamNamed(c *call, kind, name string) *Resource {
	for arn, r := range a.byARN {
		if r.Service == "iam" && r.Scope.AccountID == c.scope.AccountID && strings.Contains(arn, ":"+kind) && strings.HasSuffix(arn, "/"+name) && r.exists() {
			return r
		}
	}
	return nil
}
