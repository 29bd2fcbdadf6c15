package fakeaws

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"

	"github.com/autotagd/autotagd/pkg/event"
)

const (
	maxTags      = 50
	maxTagValue  = 256
	maxEC2IDs    = 1000
	maxARNs      = 20
	maxARNsRead  = 100
	ec2PageLimit = 1000
)

// tagText is what the tagging API takes; EC2 documents the same.
var tagText = regexp.MustCompile(`^[\p{L}\p{Z}\p{N}_.:/=+\-@]*$`)

// find returns an EC2 resource that a call sees now, or nil.
func (a *AWS) find(s event.Scope, id string, now time.Time) *Resource {
	if r := a.byID[s][id]; r != nil && r.exists() && !r.consistentAt.After(now) {
		return r
	}
	return nil
}

func (a *AWS) createTags(c *call) answer {
	ids := c.params("ResourceId")
	type tag struct{ key, value string }
	var tags []tag
	for i := 1; c.form.Has("Tag." + strconv.Itoa(i) + ".Key"); i++ {
		p := "Tag." + strconv.Itoa(i)
		tags = append(tags, tag{c.form.Get(p + ".Key"), c.form.Get(p + ".Value")})
	}
	switch {
	case len(ids) == 0:
		return ec2Error(400, "MissingParameter", "The request must contain the parameter resourceIdSet")
	case len(tags) == 0:
		return ec2Error(400, "MissingParameter", "The request must contain the parameter tagSet")
	case len(ids) > maxEC2IDs:
		return ec2Error(400, "InvalidParameterValue", fmt.Sprintf("The maximum number of resources per call is %d", maxEC2IDs))
	}
	for i, t := range tags {
		if bad := badTag(t.key, t.value, 127); bad != "" {
			return ec2Error(400, "InvalidParameterValue", bad)
		}
		if slices.ContainsFunc(tags[:i], func(o tag) bool { return o.key == t.key }) {
			return ec2Error(400, "InvalidParameterValue", "Duplicate tag key '"+t.key+"' specified.")
		}
	}
	found := make([]*Resource, len(ids))
	missing := make(map[string][]string) // by kind
	var kinds []string
	for i, id := range ids {
		prefix, _, ok := strings.Cut(id, "-")
		if _, known := notFoundCodes(prefix); !ok || !known {
			return ec2Error(400, "InvalidID", "The ID '"+id+"' is not valid")
		}
		if found[i] = a.find(c.scope, id, c.now); found[i] == nil {
			if missing[prefix] == nil {
				kinds = append(kinds, prefix)
			}
			missing[prefix] = append(missing[prefix], id)
		}
	}
	if len(kinds) > 0 { // AWS names the ids of one kind only
		return a.notFound(kinds[0], missing[kinds[0]])
	}
	for _, r := range found {
		more := 0
		for _, t := range tags {
			if _, has := r.Tags[t.key]; !has {
				more++
			}
		}
		if more > 0 && countTags(r.Tags)+more > maxTags {
			return ec2Error(400, "TagLimitExceeded", "The maximum number of Tags for a resource has been reached.")
		}
	}
	for _, r := range found {
		for _, t := range tags {
			r.write(c.now, a.callerARN(c), true, t.key, t.value)
		}
	}
	return ec2OK("CreateTags", el("return", "true"))
}

// badTag says what is wrong with a tag; "" when nothing is.
func badTag(key, value string, maxKey int) string {
	switch {
	case key == "":
		return "Tag key cannot be empty"
	case strings.HasPrefix(strings.ToLower(key), "aws:"):
		return "Tag keys starting with 'aws:' are reserved for internal use"
	case len([]rune(key)) > maxKey:
		return fmt.Sprintf("Tag key exceeds the maximum length of %d characters", maxKey)
	case len(utf16.Encode([]rune(value))) > maxTagValue:
		return fmt.Sprintf("Tag value exceeds the maximum length of %d characters", maxTagValue)
	case !tagText.MatchString(key) || !tagText.MatchString(value):
		return "Tag keys and values must match " + tagText.String()
	default:
		return ""
	}
}

// countTags counts what the limit counts.
func countTags(tags map[string]string) int {
	n := 0
	for k := range tags {
		if !strings.HasPrefix(k, "aws:") {
			n++
		}
	}
	return n
}

// notFoundCodes returns the error code, and the words of its message, for ids with a prefix.
func notFoundCodes(prefix string) (codeAndNoun [2]string, known bool) {
	switch prefix {
	case "i":
		return [2]string{"InvalidInstanceID.NotFound", "instance ID"}, true
	case "vol":
		return [2]string{"InvalidVolume.NotFound", "volume"}, true
	case "snap":
		return [2]string{"InvalidSnapshot.NotFound", "snapshot"}, true
	case "ami":
		return [2]string{"InvalidAMIID.NotFound", "image id"}, true
	case "eni":
		return [2]string{"InvalidNetworkInterfaceID.NotFound", "networkInterface ID"}, true
	case "sg":
		return [2]string{"InvalidGroup.NotFound", "security group"}, true
	case "key":
		return [2]string{"InvalidKeyPair.NotFound", "key pair"}, true
	case "eipalloc":
		return [2]string{"InvalidAllocationID.NotFound", "allocation ID"}, true
	case "vpc":
		return [2]string{"InvalidVpcID.NotFound", "vpc ID"}, true
	case "subnet":
		return [2]string{"InvalidSubnetID.NotFound", "subnet ID"}, true
	case "lt":
		return [2]string{"InvalidLaunchTemplateId.NotFound", "launch template ID"}, true
	case "nat":
		return [2]string{"InvalidNatGatewayID.NotFound", "NAT gateway"}, true
	default:
		return [2]string{}, false
	}
}

func (a *AWS) notFound(prefix string, ids []string) answer {
	words, _ := notFoundCodes(prefix)
	message := "The " + words[1] + " '" + ids[0] + "' does not exist"
	if len(ids) > 1 {
		message = "The " + words[1] + "s '" + strings.Join(ids, ", ") + "' do not exist"
	}
	if a.hideIDs {
		message = "One or more of the resources do not exist"
	}
	return ec2Error(400, words[0], message)
}

func (a *AWS) describeTags(c *call) answer {
	filters := c.filters()
	values := 0
	for name := range filters {
		if values += len(filters[name]); values > maxFilterValues {
			return ec2Error(400, "FilterLimitExceeded", "The maximum number of filter values specified on a single call is 200")
		}
		switch name {
		case "resource-id", "resource-type", "key", "value":
		default:
			return ec2Error(400, "InvalidParameterValue", "The filter '"+name+"' is invalid")
		}
	}
	matches := func(name, value string) bool {
		values, ok := filters[name]
		return !ok || slices.Contains(values, value)
	}
	var candidates []*Resource
	if ids, ok := filters["resource-id"]; ok {
		for _, id := range ids {
			if r := a.find(c.scope, id, c.now); r != nil {
				candidates = append(candidates, r)
			}
		}
	} else {
		for _, r := range a.byID[c.scope] {
			if r.exists() && !r.consistentAt.After(c.now) {
				candidates = append(candidates, r)
			}
		}
	}
	type row struct {
		r     *Resource
		key   string
		value string
	}
	var rows []row
	for _, r := range candidates {
		if !matches("resource-type", r.Type) {
			continue
		}
		for k, v := range r.Tags {
			if matches("key", k) && matches("value", v) {
				rows = append(rows, row{r, k, v})
			}
		}
	}
	slices.SortFunc(rows, func(x, y row) int {
		return strings.Compare(x.r.ID+"\x00"+x.key, y.r.ID+"\x00"+y.key)
	})
	rows, next, bad := page(c, rows, 5, ec2PageLimit, func(r row) string { return r.r.ID + "\x00" + r.key })
	if bad != nil {
		return *bad
	}
	return ec2OK("DescribeTags", append(next, list("tagSet", rows, func(r row) []node {
		return []node{el("resourceId", r.r.ID), el("resourceType", r.r.Type), el("key", r.key), el("value", r.value)}
	}))...)
}

type tagResourcesInput struct {
	ResourceARNList []string
	Tags            map[string]string
}

func (a *AWS) tagResources(c *call) answer {
	var in tagResourcesInput
	if err := json.Unmarshal(c.body, &in); err != nil {
		return jsonError(400, "SerializationException", err.Error())
	}
	switch {
	case len(in.ResourceARNList) == 0 || len(in.ResourceARNList) > maxARNs:
		return jsonError(400, "InvalidParameterException", "Member must have length less than or equal to 20")
	case len(in.Tags) == 0 || len(in.Tags) > maxTags:
		return jsonError(400, "InvalidParameterException", "Member must have length less than or equal to 50")
	}
	for k, v := range in.Tags {
		if bad := badTag(k, v, 128); bad != "" {
			return jsonError(400, "InvalidParameterException", bad)
		}
	}
	for _, arn := range in.ResourceARNList {
		p, err := event.ParseARN(arn)
		if err != nil || p.Partition != event.Partition(c.scope.Region) {
			return jsonError(400, "InvalidParameterException", "Malformed ARN: "+arn)
		}
	}
	failed := object{}
	for _, arn := range in.ResourceARNList {
		if code := a.tagOne(c, arn, in.Tags); code != "" {
			status := 400
			if code == "InternalServiceException" {
				status = 500
			}
			failed[arn] = object{"StatusCode": status, "ErrorCode": code, "ErrorMessage": code + ": " + arn}
		}
	}
	return jsonOK(object{"FailedResourcesMap": failed})
}

// tagOne writes tags for TagResources; it returns an error code when it can't.
func (a *AWS) tagOne(c *call, arn string, tags map[string]string) string {
	if code := a.arnFailure(arn); code != "" {
		return code
	}
	r := a.byARN[arn]
	p, _ := event.ParseARN(arn) // was checked
	switch {
	case r == nil || !r.exists() || r.consistentAt.After(c.now):
		return notFoundCode(p.Service)
	case p.AccountID != "" && p.AccountID != c.scope.AccountID || r.Scope.AccountID != c.scope.AccountID:
		return "InvalidParameterException"
	case r.Scope.Region != c.scope.Region:
		return "InvalidParameterException"
	case r.OwnCallOnly:
		return "InternalServiceException"
	}
	return a.tagKnown(c, r, tags)
}

// tagKnown writes tags on a resource of the caller's; it returns an error code when it can't.
func (a *AWS) tagKnown(c *call, r *Resource, tags map[string]string) string {
	switch {
	case r.denyAction != "" && a.isDenied(r.denyAction, c.scope):
		return "AccessDeniedException"
	case r.readyAt.After(c.now) && r.Service == "dynamodb":
		return "ResourceInUseException"
	}
	more := 0
	for k := range tags {
		if _, has := r.Tags[k]; !has {
			more++
		}
	}
	if more > 0 && countTags(r.Tags)+more > maxTags {
		return "TooManyTagsException"
	}
	for k, v := range tags {
		r.write(c.now, a.callerARN(c), true, k, v)
	}
	return ""
}

// notFoundCode is how a service says it through TagResources.
func notFoundCode(service string) string {
	switch service {
	case "s3":
		return "NoSuchBucket"
	case "sqs":
		return "AWS.SimpleQueueService.NonExistentQueue"
	case "kms", "sns":
		return "NotFoundException"
	case "rds":
		return "DBInstanceNotFound"
	case "iam":
		return "NoSuchEntity"
	default:
		return "ResourceNotFoundException"
	}
}

type getResourcesInput struct {
	ResourceARNList     []string
	ResourceTypeFilters []string
	TagFilters          []struct {
		Key    string
		Values []string
	}
	ResourcesPerPage *int
	TagsPerPage      *int
	PaginationToken  string
}

func (a *AWS) getResources(c *call) answer {
	var in getResourcesInput
	if err := json.Unmarshal(c.body, &in); err != nil {
		return jsonError(400, "SerializationException", err.Error())
	}
	perPage := 50
	if in.ResourcesPerPage != nil {
		perPage = *in.ResourcesPerPage
	}
	switch {
	case len(in.ResourceARNList) > maxARNsRead:
		return jsonError(400, "InvalidParameterException", "Member must have length less than or equal to 100")
	case len(in.ResourceARNList) > 0 && (len(in.ResourceTypeFilters) > 0 || len(in.TagFilters) > 0 || in.ResourcesPerPage != nil || in.TagsPerPage != nil || in.PaginationToken != ""):
		return jsonError(400, "InvalidParameterException", "ResourceARNList cannot be used with filters or pagination parameters")
	case perPage < 1 || perPage > 100:
		return jsonError(400, "InvalidParameterException", "ResourcesPerPage must be between 1 and 100")
	}
	candidates := maps.Values(a.byARN)
	if len(in.ResourceARNList) > 0 {
		candidates = func(yield func(*Resource) bool) {
			for _, arn := range in.ResourceARNList {
				if r := a.byARN[arn]; r != nil && !yield(r) {
					return
				}
			}
		}
	}
	var found []*Resource
	for r := range candidates {
		if !r.exists() || !r.everTagged || r.Scope != c.scope || r.Service == "iam" || r.consistentAt.After(c.now) || r.ARN <= in.PaginationToken {
			continue
		}
		p, _ := event.ParseARN(r.ARN) // was built here
		if len(in.ResourceTypeFilters) > 0 && !slices.ContainsFunc(in.ResourceTypeFilters, func(f string) bool {
			return f == p.Service || f == p.Service+":"+r.Type
		}) {
			continue
		}
		if slices.ContainsFunc(in.TagFilters, func(f struct {
			Key    string
			Values []string
		},
		) bool {
			v, has := r.Tags[f.Key]
			return !has || len(f.Values) > 0 && !slices.Contains(f.Values, v)
		}) {
			continue
		}
		found = append(found, r)
	}
	slices.SortFunc(found, func(x, y *Resource) int { return strings.Compare(x.ARN, y.ARN) })
	token := ""
	if len(in.ResourceARNList) == 0 && len(found) > perPage {
		found = found[:perPage]
		token = found[perPage-1].ARN
	}
	out := make([]object, len(found))
	for i, r := range found {
		tags := make([]object, 0, len(r.Tags))
		for k, v := range r.Tags {
			tags = append(tags, object{"Key": k, "Value": v})
		}
		out[i] = object{"ResourceARN": r.ARN, "Tags": tags}
	}
	return jsonOK(object{"PaginationToken": token, "ResourceTagMappingList": out})
}

// size is how many ids or ARNs a call names.
func (c *call) size() int {
	if c.service == "tagging" {
		var in tagResourcesInput
		_ = json.Unmarshal(c.body, &in) // a call that could not be read names none
		return len(in.ResourceARNList)
	}
	return len(c.params("ResourceId"))
}
