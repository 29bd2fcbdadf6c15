package daemon

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode/utf16"

	"github.com/autotagd/autotagd/pkg/catalog"
	"github.com/autotagd/autotagd/pkg/config"
	"github.com/autotagd/autotagd/pkg/event"
	"github.com/autotagd/autotagd/pkg/resource"
	"github.com/autotagd/autotagd/pkg/rules"
	"github.com/autotagd/autotagd/pkg/tagapi"
)

// maxPolicy is what a managed policy must stay below, in characters that are no white space.
const maxPolicy = 6144

// maxCondition bounds the values of one condition: fifty tag keys can be longer than a policy. Where they are, the condition
// is left out.
const maxCondition = 1200

// Policy is an IAM policy as `aws iam create-policy` takes it.
type Policy struct {
	Version   string
	Statement []Statement
}

// Statement allows actions.
type Statement struct {
	Sid       string
	Effect    string
	Action    []string
	Resource  []string
	Condition map[string]map[string][]string `json:",omitempty"`
}

// JSON writes the policy for people, in ASCII: IAM takes no character above U+00FF.
func (p Policy) JSON() ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(p); err != nil {
		return nil, fmt.Errorf("write a policy: %w", err)
	}
	return ascii(b.Bytes()), nil
}

// size is at least what AWS counts: it leaves out white space, this only what stands between the values.
func (p Policy) size() (int, error) {
	b, err := p.JSON()
	if err != nil {
		return 0, err
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, b); err != nil {
		return 0, fmt.Errorf("write a policy: %w", err)
	}
	return compact.Len(), nil
}

// ascii writes what is not ASCII as JSON's escapes.
func ascii(b []byte) []byte {
	var out []byte
	for _, r := range string(b) {
		if r < 0x7f {
			out = append(out, byte(r))
			continue
		}
		for _, unit := range utf16.AppendRune(nil, r) {
			out = fmt.Appendf(out, `\u%04x`, unit)
		}
	}
	return out
}

// A grant is one action of a policy. Those of one sid have the same condition, and share a statement: each must be allowed on
// the resources of all of them.
type grant struct {
	sid       string
	action    string
	resources []string
	condition map[string]map[string][]string
}

// The statements, in the order of the documents.
const (
	sidRoles    = "AssumeRoles"
	sidOrg      = "ListOrganization"
	sidRegions  = "ListRegions"
	sidEvents   = "ReadEvents"
	sidEC2      = "ReadEC2"
	sidTags     = "ReadTags"
	sidOwn      = "ReadServiceTags"
	sidOwnMore  = "ReadMoreThanTags" // actions that tell more of a resource than its tags
	sidTagEC2   = "TagEC2"
	sidTagging  = "TagByTaggingAPI"
	sidTag      = "TagServices"
	sidTagPaths = "TagAPIGateway" // actions that may have no resources but their own: see resourceOf
	sidTable    = "KeepCheckpoints"
	sidTagAny   = "TagServicesAnyKey" // calls that may carry keys which the resource has already, or that have no condition on keys
	sidTagAll   = "TagAnyResource"    // actions that can't be restricted to resources
	sidTagAnyOf = "TagAnyResourceAnyKey"
)

// grants returns what work in one account takes, by statement and action: the calls that this release makes for what the
// catalog, the services and the filters leave. sts:GetCallerIdentity, called at a start, needs no permission.
func grants(cfg *config.Config, planner *Planner, region string) []grant {
	regions, named := policyRegions(cfg, region)
	g := granter{cfg: cfg, partitions: partitionsOf(cfg, region), byAction: make(map[[2]string]grant)}
	keys := planner.Rules.Keys()
	// A call without tags, or of a service that doesn't tell IAM about them, has no such keys: ForAllValues lets it pass.
	g.keys = condition("ForAllValues:StringEquals", "aws:TagKeys", keys)
	g.overwrite = !slices.ContainsFunc(keys, func(key string) bool { return !cfg.ExistingTags.Overwrite(key) })

	var polled map[string]map[string][]string
	if named {
		polled = condition("StringEquals", "aws:RequestedRegion", regions)
	}
	g.add(grant{sid: sidEvents, action: "cloudtrail:LookupEvents", condition: polled})
	if slices.Contains(cfg.Regions, config.AllRegions) { // one of the two does, where it can be reached
		g.add(grant{sid: sidRegions, action: "account:ListRegions"})
		g.add(grant{sid: sidRegions, action: "ec2:DescribeRegions"})
	}
	for need := range planner.Catalog.Needs() {
		if need.TagAPI != resource.NoTagAPI && handled(planner.Rules, need) {
			g.need(need)
		}
	}
	all := make([]grant, 0, len(g.byAction))
	for _, one := range g.byAction {
		slices.Sort(one.resources)
		one.resources = slices.Compact(one.resources)
		all = append(all, one)
	}
	order := []string{sidRegions, sidEvents, sidEC2, sidTags, sidOwn, sidOwnMore, sidTagEC2, sidTagging, sidTag, sidTagPaths, sidTagAny, sidTagAll, sidTagAnyOf}
	slices.SortFunc(all, func(a, b grant) int {
		return cmp.Or(slices.Index(order, a.sid)-slices.Index(order, b.sid), strings.Compare(a.action, b.action))
	})
	return all
}

// handled reports whether services and filters leave anything of what need is about.
func handled(r *rules.Rules, need catalog.Need) bool {
	known := []string{"event.source", "resource.service", "resource.type"}
	switch need.EventSource {
	case "lambda.amazonaws.com", "cloudfront.amazonaws.com":
		// CloudTrail adds the date of an API version to the names of their calls, and the table has not every one.
	default:
		known = append(known, "event.name")
	}
	return r.Possible(rules.Input{
		Record:   &event.Record{EventSource: need.EventSource, EventName: need.EventName},
		Resource: resource.Resource{Service: need.Services[0], Type: need.ResourceType},
		Services: need.Services,
	}, known...)
}

// condition returns one, or none where its values are too long for a policy.
func condition(operator, key string, values []string) map[string]map[string][]string {
	length := 0
	for _, v := range values {
		length += len(ascii([]byte(v))) + len(`"",`)
	}
	if length > maxCondition {
		return nil
	}
	return map[string]map[string][]string{operator: {key: values}}
}

// granter collects grants.
type granter struct {
	cfg        *config.Config
	partitions []string
	keys       map[string]map[string][]string // the condition on the keys of the tags
	overwrite  bool                           // no key is kept, so that nothing is read before it is written
	byAction   map[[2]string]grant            // by sid and action
}

func (g *granter) add(one grant) {
	if one.resources == nil {
		one.resources = []string{"*"}
	}
	key := [2]string{one.sid, one.action}
	one.resources = append(one.resources, g.byAction[key].resources...)
	g.byAction[key] = one
}

// arns returns rest as an ARN in each partition, or none for "".
func (g *granter) arns(rest string) []string {
	if rest == "" {
		return nil
	}
	arns := make([]string, len(g.partitions))
	for i, p := range g.partitions {
		arns[i] = "arn:" + p + ":" + rest
	}
	return arns
}

// need adds what one row of the catalog takes. Accounts and Regions in ARNs stay open: the account is not known here, and a
// resource may live in another Region than its event (a bucket), or its ARN have neither (an image).
func (g *granter) need(need catalog.Need) {
	reads := need.Upsert || !g.overwrite
	if need.TagAPI == resource.EC2CreateTags {
		g.ec2(need.Expand, reads)
		return
	}
	if need.TagAPI == resource.TagResources {
		if reads && need.Services[0] != "iam" {
			g.add(grant{sid: sidTags, action: "tag:GetResources"})
		}
		if !g.cfg.DryRun {
			g.add(grant{sid: sidTagging, action: "tag:TagResources"})
		}
	}
	if !g.cfg.DryRun {
		for action := range strings.SplitSeq(need.IAMAction, "+") {
			if readsOnly(action) {
				g.read(action, need.ARNService)
			} else {
				g.service(action, need.ARNService)
			}
		}
	}
	if g.cfg.DryRun && need.TagAPI == resource.TagResources && need.Services[0] != "iam" {
		return // it never turns out that the tagging API does not tag a kind
	}
	for _, call := range need.Calls {
		if call.Read != nil && (reads || call.Replace != tagapi.KeepsOthers) {
			g.read(call.Read.Action, need.ARNService)
		}
	}
}

// read adds a service's own read of tags. It is needed where GetResources never lists a kind, and for kinds that the tagging
// API turns out not to tag.
//
// Reads of tags alone are allowed on every resource: some forty can't be restricted, and a whole service's ARNs would restrict
// the others to what they take anyway, for a policy and a half more.
func (g *granter) read(action, arnService string) {
	one := grant{sid: sidOwn, action: action}
	if !tagsAlone(action) {
		one.resources = g.arns(resourceOf(action, arnService))
	}
	if one.resources != nil {
		one.sid = sidOwnMore
	}
	g.add(one)
}

// ec2 adds EC2's own calls. A launch makes several kinds of things, and CreateTags is one call for all of them: every kind is allowed.
func (g *granter) ec2(expand []resource.Expand, reads bool) {
	read := func(action string) { g.add(grant{sid: sidEC2, action: action}) }
	if slices.Contains(expand, resource.ExpandInstanceVolumes) {
		read("ec2:DescribeInstances")
		read("ec2:DescribeVolumes")
	}
	if slices.Contains(expand, resource.ExpandImageSnapshots) {
		read("ec2:DescribeImages")
	}
	if reads {
		read("ec2:DescribeTags")
	}
	if !g.cfg.DryRun {
		g.add(grant{sid: sidTagEC2, action: "ec2:CreateTags", resources: g.arns("ec2:*:*:*/*"), condition: g.keys})
	}
}

// service adds what the tagging API, or the service's own call, needs of the service whose resource is tagged.
func (g *granter) service(action, arnService string) {
	one := grant{action: action, resources: g.arns(resourceOf(action, arnService))}
	switch keyed := onKeys(action); {
	case action == "apigateway:POST", action == "apigateway:PUT":
		one.sid, one.condition = sidTagPaths, g.keys
	case keyed && one.resources != nil:
		one.sid, one.condition = sidTag, g.keys
	case keyed:
		one.sid, one.condition = sidTagAll, g.keys
	case one.resources != nil:
		one.sid = sidTagAny
	default:
		one.sid = sidTagAnyOf
	}
	g.add(one)
}

// documents puts grants, sorted, into as few policies below limit as their order allows.
func documents(all []grant, limit int) ([]Policy, error) {
	var done []Policy
	var open []grant
	for _, one := range all {
		size, err := policyOf(append(open, one)).size()
		if err != nil {
			return nil, err
		}
		if size >= limit && len(open) > 0 {
			done = append(done, policyOf(open))
			open = nil
			if size, err = policyOf([]grant{one}).size(); err != nil {
				return nil, err
			}
		}
		if size >= limit {
			return nil, fmt.Errorf("%s alone takes a policy of %d characters; AWS allows %d", one.action, size, limit)
		}
		open = append(open, one)
	}
	return append(done, policyOf(open)), nil
}

// policyOf makes one document of grants, sorted.
func policyOf(all []grant) Policy {
	p := Policy{Version: "2012-10-17"}
	for _, one := range all {
		if n := len(p.Statement); n == 0 || p.Statement[n-1].Sid != one.sid {
			p.Statement = append(p.Statement, Statement{Sid: one.sid, Effect: "Allow", Condition: one.condition})
		}
		s := &p.Statement[len(p.Statement)-1]
		if !slices.Contains(s.Action, one.action) { // one grant a role has the same
			s.Action = append(s.Action, one.action)
		}
		s.Resource = append(s.Resource, one.resources...)
	}
	for i := range p.Statement {
		slices.Sort(p.Statement[i].Resource)
		p.Statement[i].Resource = slices.Compact(p.Statement[i].Resource)
	}
	return p
}
