package catalog

import (
	"fmt"
	"slices"
	"strings"

	"github.com/autotagd/autotagd/pkg/event"
	"github.com/autotagd/autotagd/pkg/resource"
	"github.com/autotagd/autotagd/pkg/tagapi"
)

// tagCall is a call of a row's column tag_api, and what it knows the resource by.
type tagCall struct {
	api    resource.TagAPI
	params []tagParam
}

// tagParam is a parameter and where its value comes from.
type tagParam struct {
	name  string
	parts []valuePart
}

// valuePart is a literal, a name (arn, id, account, region, partition, dns), or a path in the record.
type valuePart struct {
	literal, name string
	path          event.Path
}

// parseCalls reads calls joined by "|": SERVICE:OPERATION(PARAM=VALUE,PARAM=VALUE). Without a value a parameter whose name ends
// in Arn is the resource's ARN, and any other its id.
func (u *rules) parseCalls(s string) error {
	for text := range strings.SplitSeq(s, "|") {
		if text == string(resource.NoTagAPI) {
			u.calls = append(u.calls, tagCall{api: resource.NoTagAPI})
			continue
		}
		name, inner, bracket := strings.Cut(text, "(")
		inner, closed := strings.CutSuffix(inner, ")")
		service, operation, ok := strings.Cut(name, ":")
		if !ok || service == "" || operation == "" || bracket != closed {
			return fmt.Errorf("bad tag call %.80q; want service:Operation(Parameter) or service:Operation(Parameter=VALUE,...), or none", text)
		}
		call := tagCall{api: resource.TagAPI(name)}
		if call.api.Own() {
			for param := range strings.SplitSeq(inner, ",") {
				p, err := u.parseParam(param)
				if err != nil {
					return fmt.Errorf("tag call %s: %w", name, err)
				}
				call.params = append(call.params, p)
			}
		}
		u.calls = append(u.calls, call)
	}
	return nil
}

func (u *rules) parseParam(s string) (tagParam, error) {
	name, value, given := strings.Cut(s, "=")
	if name == "" || given && value == "" {
		return tagParam{}, fmt.Errorf("bad parameter %.80q; want NAME or NAME=VALUE", s)
	}
	if !given {
		value = "{id}"
		if lower := strings.ToLower(name); strings.HasSuffix(lower, "arn") || strings.HasSuffix(lower, "arns") {
			value = "{arn}"
		}
	}
	p := tagParam{name: name}
	for rest := value; rest != ""; {
		literal, after, found := strings.Cut(rest, "{")
		if literal != "" {
			p.parts = append(p.parts, valuePart{literal: literal})
		}
		if !found {
			break
		}
		place, tail, closed := strings.Cut(after, "}")
		part := valuePart{name: place}
		switch {
		case !closed:
			return p, fmt.Errorf("parameter %.80q: no closing bracket; want {NAME}", s)
		case strings.Contains(place, "."):
			path, err := u.parsePath(place)
			if err != nil {
				return p, err
			}
			part = valuePart{path: path}
		case !slices.Contains([]string{"arn", "id", "account", "region", "partition", "dns"}, place):
			return p, fmt.Errorf("parameter %.80q: unknown {%.40s}; want {arn}, {id}, {account}, {region}, {partition}, {dns} or a path in the record", s, place)
		}
		p.parts = append(p.parts, part)
		rest = tail
	}
	return p, nil
}

// tagAPI chooses the call that tags the row's resources: for EC2's its own, else the tagging API where the row names it
// and the ARN is known, else the service's own.
func (u *rules) tagAPI(haveARN bool) resource.TagAPI {
	own := resource.NoTagAPI
	for _, call := range u.calls {
		switch {
		case call.api == resource.EC2CreateTags, call.api == resource.TagResources && haveARN:
			return call.api
		case call.api.Own() && own == resource.NoTagAPI:
			own = call.api
		}
	}
	if own == resource.NoTagAPI {
		return u.calls[0].api
	}
	return own
}

// own returns the service's own calls for one resource: those whose parameters the record gives.
func (c *Catalog) own(u *rules, r *event.Record, res resource.Resource) []resource.Call {
	var calls []resource.Call
	for _, call := range u.calls {
		known := c.calls.Lookup(res.Service, string(call.api))
		if !call.api.Own() || known == nil {
			continue
		}
		made := resource.Call{
			API: call.api, Params: make(map[string]string, len(call.params)),
			Read: resource.TagAPI(known.ReadAPI()), Replaces: string(known.Replace),
		}
		for _, p := range call.params {
			if v := p.value(r, res); v != "" {
				made.Params[p.name] = v
			}
		}
		if len(made.Params) == len(call.params) {
			calls = append(calls, made)
		}
	}
	return calls
}

// Complete gives res, which an earlier release kept of such an event, the own calls that it lacks, as far as they follow from
// its names alone. IAM's do, whose tags nothing else reads.
func (c *Catalog) Complete(source, name string, res *resource.Resource) {
	if len(res.Own) > 0 {
		return
	}
	for _, row := range c.lookup(source, name) {
		if row.ResourceType != res.Type || row.Services[0] != res.Service {
			continue
		}
		if u, err := row.rules(); err == nil {
			res.Own = c.own(u, &event.Record{}, *res)
			return
		}
	}
}

// value returns the parameter's value, or "" when a part of it isn't known.
func (p tagParam) value(r *event.Record, res resource.Resource) string {
	var b strings.Builder
	for _, part := range p.parts {
		v := part.literal
		switch part.name {
		case "arn":
			v = res.ARN
		case "id":
			v = res.ID
		case "account":
			v = res.Scope.AccountID
		case "region":
			v = res.Scope.Region
		case "partition":
			v = event.Partition(res.Scope.Region)
		case "dns":
			v = tagapi.Suffix(res.Scope.Region)
		}
		if !part.path.IsZero() {
			if found := r.Lookup(part.path); len(found) == 1 {
				v = found[0]
			}
		}
		if v == "" {
			return ""
		}
		b.WriteString(v)
	}
	return b.String()
}

// checkCalls returns what is wrong with the row's calls: one that no release knows how to make, or parameters that it doesn't have.
func (row *Row) checkCalls(known *tagapi.Table) []error {
	var bad []error
	for _, call := range row.read.calls {
		if !call.api.Own() {
			continue
		}
		for _, service := range row.Services {
			made := known.Lookup(service, string(call.api))
			if made == nil {
				want := "tagging:TagResources(ResourceARNList) or none"
				if own := known.Of(service); own != nil {
					want += ", or of " + service + " " + strings.Join(own, ", ")
				}
				bad = append(bad, fmt.Errorf("unknown tag call %.80q of service %.40s; want %s", call.api, service, want))
				continue
			}
			bad = append(bad, call.check(made)...)
		}
	}
	return bad
}

func (call tagCall) check(made *tagapi.Call) []error {
	var bad []error
	required, optional := made.Params()
	want := fmt.Errorf("want %s(%s)", call.api, strings.Join(append(slices.Clone(required), optional...), ", "))
	for _, p := range call.params {
		if !slices.Contains(required, p.name) && !slices.Contains(optional, p.name) {
			bad = append(bad, fmt.Errorf("tag call %s has no parameter %.80q; %w", call.api, p.name, want))
		}
	}
	for _, name := range required {
		if !slices.ContainsFunc(call.params, func(p tagParam) bool { return p.name == name }) {
			bad = append(bad, fmt.Errorf("tag call %s lacks the parameter %s; %w", call.api, name, want))
		}
	}
	return bad
}
