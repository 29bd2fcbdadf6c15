package catalog

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"

	"github.com/autotagd/autotagd/pkg/event"
)

// maxTagBytes bounds what a Job keeps of its record: more than the 50 tags that AWS lets a resource have, in ASCII, and in JSON far
// below the size of a DynamoDB item.
const maxTagBytes = 32 << 10

// tagsOf returns the tags that the record says were given to the row's resource at creation; nil if they are too many to be kept: then
// AWS is asked, as where a record tells nothing.
func (u *rules) tagsOf(r *event.Record) map[string]string {
	tags := r.Tags(u.tags)
	if u.ec2 {
		tags = ec2Tags(r, u.template.kind())
	}
	size := 0
	for key, value := range tags {
		size += len(key) + len(value)
	}
	if size > maxTagBytes {
		return nil
	}
	return tags
}

// ec2Tags reads tag specifications of EC2. Each is for one kind of what the call makes (instance, volume), so those of
// other kinds are left out. The plain form of a record has tagSpecificationSet.items[].tags[], the wrapped one
// OPERATIONRequest.TagSpecification[].Tag[].
func ec2Tags(r *event.Record, kind string) map[string]string {
	if len(r.RequestParameters) == 0 {
		return nil
	}
	var request map[string]any
	decoder := json.NewDecoder(bytes.NewReader(r.RequestParameters))
	decoder.UseNumber() // a tag's value 007 is to stay what it was
	if decoder.Decode(&request) != nil {
		return nil
	}
	if wrapped, ok := member(request, r.EventName+"Request").(map[string]any); ok {
		request = wrapped
	}
	if config, ok := member(request, "SpotFleetRequestConfig").(map[string]any); ok {
		request = config
	}
	specs := member(request, "TagSpecification")
	if set, ok := member(request, "tagSpecificationSet").(map[string]any); ok {
		specs = member(set, "items")
		if specs == nil {
			specs = member(set, "item")
		}
	}
	tags := map[string]string{}
	for _, spec := range list(specs) {
		of := text(member(spec, "resourceType"))
		if of != "" && kind != "" && of != kind {
			continue
		}
		pairs := member(spec, "tags")
		if pairs == nil {
			pairs = member(spec, "Tag")
		}
		for _, pair := range list(pairs) {
			if key := text(member(pair, "key")); key != "" && key != hidden {
				tags[key] = text(member(pair, "value"))
			}
		}
	}
	if len(tags) == 0 {
		return nil
	}
	return tags
}

// hidden is what CloudTrail writes in place of a value that it must not show.
const hidden = "HIDDEN_DUE_TO_SECURITY_REASONS"

// member returns the member of an object called name, spelled exactly so or, failing that, in another case; nil if there is
// none. The exact one comes first since EC2 writes a counter "tag" beside the list "Tag".
func member(v any, name string) any {
	object, ok := v.(map[string]any)
	if !ok {
		return nil
	}
	if exact, ok := object[name]; ok {
		return exact
	}
	for key, inner := range object {
		if strings.EqualFold(key, name) {
			return inner
		}
	}
	return nil
}

// list returns the objects of a list; one object counts as a list of one.
func list(v any) []any {
	switch v := v.(type) {
	case []any:
		return v
	case map[string]any:
		return []any{v}
	}
	return nil
}

// text returns a string, number or boolean as text: EC2 writes a tag's value "true" as true.
func text(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case bool:
		return strconv.FormatBool(v)
	case json.Number:
		return v.String()
	}
	return ""
}
