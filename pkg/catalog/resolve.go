package catalog

import (
	"slices"
	"strings"

	"github.com/autotagd/autotagd/pkg/event"
	"github.com/autotagd/autotagd/pkg/resource"
)

// Result is what a create event made.
type Result struct {
	Service  string   // of the row that says so, as in `services` and in metrics
	Services []string // all services it may be of, Service among them: where records can't be told apart

	// Failed says why this is no create event although its name is one's: the call failed, only read, or made what takes
	// no tags. Everything below is empty then, but for an event that tells of Resources which the event of a call made.
	Failed string

	// Resources made, in the order of the record; none twice. They are empty without a Problem after a dry run. Those of
	// one kind share a map of Tags.
	Resources []resource.Resource

	// Upsert is set when the call may have found its resource instead of making it.
	Upsert bool

	// Expand says what was made besides that the record does not name, found by describing ExpandIDs. ExpandSkip are ids
	// that such a description may show although the call did not make them.
	Expand     resource.Expand
	ExpandIDs  []string
	ExpandSkip []string

	// Problem is Unresolved when something was made and the record doesn't say which; there are no Resources then.
	Problem resource.Reason
	Detail  string // for people: why there are no Resources
}

// Problem says why r, as the catalog resolved it, cannot be tagged: Unresolved when the call that tags it needs an ARN or
// id that is not known, Unsupported when there is no such call, "" when all is well.
func Problem(r resource.Resource) resource.Reason {
	switch {
	case r.TagAPI == resource.NoTagAPI:
		return resource.Unsupported
	case r.TagAPI == resource.EC2CreateTags && r.ID == "", r.TagAPI == resource.TagResources && r.ARN == "",
		r.TagAPI.Own() && r.OwnCall() == nil, r.Scope.AccountID == "", r.Scope.Region == "":
		return resource.Unresolved
	}
	return ""
}

// Resolve says what the event made. It returns false when its name is not a create event's.
func (c *Catalog) Resolve(r *event.Record) (Result, bool) {
	rows := c.lookup(r.EventSource, r.EventName)
	if len(rows) == 0 {
		return Result{}, false
	}
	result := Result{Service: rows[0].Services[0], Services: rows[0].Services}
	if result.Failed = failed(r); result.Failed != "" {
		return result, true
	}
	if slices.Contains(r.Lookup(dryRun), "true") {
		result.Detail = "a dry run makes nothing"
		return result, true
	}
	var main *Row
	for _, row := range rows {
		u, err := row.rules()
		if err != nil || !u.also && main != nil || !allHold(u.when, r) {
			continue
		}
		result.take(c, row, u, r)
		if u.also {
			continue
		}
		main = row
		result.Service, result.Services = row.Services[0], row.Services
		result.Upsert = u.upsert && allHold(u.onlyIf, r)
	}
	switch {
	case main != nil && main.told():
		return Result{
			Service: result.Service, Services: result.Services, Resources: result.Resources,
			Failed: "it tells of what another event made: that one says who made it",
		}, true
	case main == nil:
		return Result{Service: result.Service, Services: result.Services, Failed: "it made nothing that takes tags"}, true
	case len(result.Resources) == 0 && main.madeNone(r):
		return Result{Service: result.Service, Services: result.Services, Failed: "it made nothing: the list of its results is empty"}, true
	case len(result.Resources) == 0:
		result.Problem = resource.Unresolved
		result.Detail = "the record names no " + main.ResourceType
	}
	return result, true
}

// madeNone reports whether the record has the row's list, and nothing in it: some calls succeed and put what failed elsewhere.
func (row *Row) madeNone(r *event.Record) bool {
	u, err := row.rules()
	if err != nil || !u.many {
		return false
	}
	return r.Empty(u.arn) || slices.ContainsFunc(u.ids, func(id idPath) bool { return r.Empty(id.path) })
}

var (
	dryRun        = mustPath("requestParameters.dryRun")
	responseError = mustPath("responseElements.errorCode|responseElements.error.code|responseElements.error")
)

// mustPath is for paths in the code.
func mustPath(s string) event.Path {
	p, err := event.ParsePath(s)
	if err != nil {
		panic(err)
	}
	return p
}

// failed says why the call made nothing; "" if it succeeded. Some services put an error into the response.
func failed(r *event.Record) string {
	switch {
	case r.ErrorCode != "":
		return "the call failed: " + event.Printable(r.ErrorCode, 200)
	case r.ErrorMessage != "":
		return "the call failed: " + event.Printable(r.ErrorMessage, 200)
	case r.ReadOnly:
		return "a call that only reads"
	case r.EventType == "AwsVpceEvent":
		return "a network activity event: the call has a record of its own"
	}
	if values := r.Lookup(responseError); len(values) > 0 && values[0] != "0" && values[0] != "false" {
		return "the call failed: " + event.Printable(values[0], 200)
	}
	return ""
}

// take adds what row says was made.
func (result *Result) take(c *Catalog, row *Row, u *rules, r *event.Record) {
	given := r.Lookup(u.except)
	result.ExpandSkip = append(result.ExpandSkip, given...)
	skip := make(map[named]bool, len(given))
	for _, id := range given {
		skip[named{id: id}] = true
	}
	var ids []string
	for _, res := range c.resources(row, u, r) {
		name := named{res.ARN, res.ID}
		if skip[named{id: res.ID}] || skip[name] {
			continue
		}
		skip[name] = true
		ids = append(ids, res.ID)
		result.Resources = append(result.Resources, res)
	}
	if u.expand != resource.ExpandNone && len(ids) > 0 {
		result.Expand = u.expand
		result.ExpandIDs = append(result.ExpandIDs, ids...)
	}
}

// resources returns what a row finds in the record.
func (c *Catalog) resources(row *Row, u *rules, r *event.Record) []resource.Resource {
	home := homeOf(r)
	if region := r.Lookup(u.region); len(region) > 0 {
		home.setRegion(region[0])
	}
	if owner := r.Lookup(u.account); len(owner) > 0 && isAccount(owner[0]) {
		home.AccountID = owner[0]
	}
	names := u.names(r, home)
	if len(names) == 0 {
		return nil
	}
	tags := u.tagsOf(r)
	found := make([]resource.Resource, 0, len(names))
	for _, n := range names {
		res := resource.Resource{
			ARN:        n.arn,
			ID:         n.id,
			Type:       row.ResourceType,
			Service:    row.Services[0],
			Scope:      home.scopeOf(n.arn),
			TagAPI:     u.tagAPI(n.arn != ""),
			IAMAction:  row.IAMAction,
			Confidence: row.Confidence,
			Tags:       tags,
		}
		res.Own = c.own(u, r, res)
		found = append(found, res)
	}
	return found
}

// named is one resource by its names. One of the two may be empty.
type named struct{ arn, id string }

// names finds the resource's names: by an ARN in the record, else built from ids, else an ARN anywhere in the response
// that has the form of the row's, else the bare id.
func (u *rules) names(r *event.Record, h home) []named {
	values := make([][]string, len(u.ids))
	for i, id := range u.ids {
		if values[i] = r.Lookup(id.path); values[i] == nil && id.fallback != "" {
			values[i] = []string{id.fallback}
		}
	}
	if found := u.byARN(r, values); found != nil {
		return found
	}
	if found := u.byTemplate(values, h); found != nil {
		return found
	}
	if found := u.bySearch(r); found != nil {
		return found
	}
	if len(values) == 0 {
		return nil
	}
	var found []named
	for _, v := range values[len(values)-1] {
		found = append(found, u.byValue(v))
	}
	return found
}

// byARN takes the ARNs at the row's path. The ids beside them are used when they are as many.
func (u *rules) byARN(r *event.Record, values [][]string) []named {
	var found []named
	for _, v := range r.Lookup(u.arn) {
		if arn, err := event.ParseARN(v); err == nil {
			found = append(found, named{arn.String(), tail(arn)})
		}
	}
	if len(values) == 0 {
		return found
	}
	last := len(values) - 1
	if ids := values[last]; len(ids) == len(found) {
		for i := range found {
			if !strings.HasPrefix(ids[i], "arn:") {
				found[i].id = u.template.mod(u.ids[last].name).apply(ids[i])
			}
		}
	}
	return found
}

// byTemplate builds ARNs. Where a value has several, there is a resource for each; every other has as many, or one.
func (u *rules) byTemplate(values [][]string, h home) []named {
	if u.template.text == "" {
		return nil
	}
	n := 1
	for _, v := range values {
		if len(v) == 0 || len(v) > 1 && n > 1 && len(v) != n {
			return nil
		}
		n = max(n, len(v))
	}
	var found []named
	for i := range n {
		built, incomplete := named{}, false
		arn := u.template.fill(func(name string) string {
			switch name {
			case "partition":
				return event.Partition(h.Region)
			case "region":
				incomplete = incomplete || h.Region == ""
				return h.Region
			case "account":
				incomplete = incomplete || h.AccountID == ""
				return h.AccountID
			}
			k := slices.IndexFunc(u.ids, func(id idPath) bool { return id.name == name })
			v := values[k][min(i, len(values[k])-1)]
			if k == len(u.ids)-1 {
				built = u.byValue(v)
				return built.id
			}
			if parent, err := event.ParseARN(v); err == nil {
				v = tail(parent)
			}
			return u.template.mod(name).apply(v)
		})
		if built.arn == "" && !incomplete {
			built.arn = arn
		}
		if len(values) == 0 { // a template without values of its own names the one thing there can be
			if a, err := event.ParseARN(arn); err == nil {
				built.id = tail(a)
			}
		}
		found = append(found, built)
	}
	return found
}

// byValue names a resource by the value of its id, which may be a full ARN: what stands in a request is the caller's word.
func (u *rules) byValue(v string) named {
	mod := u.template.mod(u.ids[len(u.ids)-1].name)
	arn, err := event.ParseARN(v)
	if err != nil {
		return named{id: mod.apply(v)}
	}
	if u.template.text == "" || u.template.matches(arn) {
		return named{arn: arn.String(), id: tail(arn)}
	}
	return named{id: mod.apply(tail(arn))} // of something else, by the look of it
}

// tail returns the last part of an ARN's resource: the bare id or name.
func tail(a event.ARN) string { return a.Resource[strings.LastIndexAny(a.Resource, "/:")+1:] }

// home is where an event happened: account and Region.
type home struct{ event.Scope }

func homeOf(r *event.Record) home {
	account := r.RecipientAccountID
	if account == "" {
		account = r.UserIdentity.AccountID
	}
	return home{event.Scope{AccountID: account, Region: r.AWSRegion}}
}

// setRegion takes a bucket's location constraint too, whose oldest is "EU".
func (h *home) setRegion(region string) {
	if region == "EU" {
		region = "eu-west-1"
	}
	if isRegion(region) {
		h.Region = region
	}
}

// scopeOf returns where the resource lives: what its ARN says, else where the event happened.
func (h home) scopeOf(arn string) event.Scope {
	scope := h.Scope
	a, err := event.ParseARN(arn)
	if err != nil {
		return scope
	}
	if isRegion(a.Region) {
		scope.Region = a.Region
	}
	if isAccount(a.AccountID) {
		scope.AccountID = a.AccountID
	}
	return scope
}

// isRegion reports whether s has the form of a Region's name: us-gov-west-1.
func isRegion(s string) bool {
	if strings.Count(s, "-") < 2 || !isDigit(s[len(s)-1]) || len(s) > 30 {
		return false
	}
	return !strings.ContainsFunc(s, func(c rune) bool { return c != '-' && (c < '0' || c > '9') && (c < 'a' || c > 'z') })
}

func isAccount(s string) bool {
	return len(s) == 12 && !strings.ContainsFunc(s, func(c rune) bool { return c < '0' || c > '9' })
}
