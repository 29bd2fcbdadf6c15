package daemon

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/autotagd/autotagd/pkg/catalog"
	"github.com/autotagd/autotagd/pkg/directory"
	"github.com/autotagd/autotagd/pkg/event"
	"github.com/autotagd/autotagd/pkg/identity"
	"github.com/autotagd/autotagd/pkg/resource"
	"github.com/autotagd/autotagd/pkg/rules"
)

// Planner turns a Record into what is to be done about it. It is pure, but that the Directory's file may change from one
// Record to the next: `run` and `explain` decide by the same code.
type Planner struct {
	Catalog   *catalog.Catalog
	Identity  *identity.Resolver
	Directory *directory.File // nil: none
	Rules     *rules.Rules
	// PropagateAtLaunch has Auto Scaling put an Auto Scaling group's tags on the instances that it launches from now on, too.
	PropagateAtLaunch bool
}

// Plan is what is to be done about one Record.
type Plan struct {
	Create   bool // it created something taggable
	Identity identity.Identity
	Owner    identity.Owner
	// Unmapped says that it created something, and that the Directory has no row for its Owner, whom we credit.
	Unmapped bool
	// Found is what the catalog knows of the event; zero when it knows nothing.
	Found catalog.Result
	// Jobs are for the tagger. Outcomes are of those resources whose fate needs no call.
	Jobs     []resource.Job
	Outcomes []resource.Outcome
	// Problems are tag expressions that failed on this Record: those tags are left out.
	Problems []string
	// Why says in words why there is nothing to do.
	Why string
}

// Plan decides about r. It never fails: what cannot be worked out becomes an Outcome with its reason.
func (p *Planner) Plan(r *event.Record, ref resource.EventRef) Plan {
	var plan Plan
	plan.Identity, plan.Owner = p.Identity.Of(r)
	found, ok := p.Catalog.Resolve(r)
	if !ok {
		plan.Why = "not an event that creates a taggable resource"
		return plan
	}
	plan.Found = found
	if found.Failed != "" {
		plan.Why = found.Failed
		return plan
	}
	plan.Create = true
	p.attribute(&plan)
	if len(found.Resources) == 0 && found.Problem == "" {
		plan.Why = found.Detail // a dry run
		return plan
	}
	if len(found.Resources) == 0 {
		p.unnamed(&plan, r, ref)
		return plan
	}
	var tags []resource.Tag // of the first resource that is tagged: what Expand finds gets the same
	for _, res := range found.Resources {
		job := resource.Job{Event: ref, Resource: res, Owner: plan.creditedName(), Upsert: found.Upsert}
		if p.PropagateAtLaunch {
			propagate(&job.Resource)
		}
		decision := p.decide(&plan, r, res)
		switch {
		case decision.Skip != "":
			plan.end(job, resource.Skipped, "", decision.Skip)
			continue
		case catalog.Problem(res) != "":
			plan.end(job, resource.Missed, catalog.Problem(res), why(res))
			continue
		}
		job.Tags = decision.Tags
		if tags == nil {
			tags = decision.Tags
		}
		plan.Jobs = append(plan.Jobs, job)
	}
	if found.Expand != resource.ExpandNone && tags != nil {
		plan.Jobs = append(plan.Jobs, resource.Job{
			Event: ref, Resource: found.Resources[0], Tags: tags, Owner: plan.creditedName(),
			Expand: found.Expand, ExpandIDs: found.ExpandIDs, ExpandSkip: found.ExpandSkip,
		})
	}
	return plan
}

// maxOwner bounds the name that a Job carries, in bytes. It is for logs and to tell people apart, and many Jobs are remembered.
const maxOwner = 512

// creditedName is the Owner's name as a Job carries it.
func (plan *Plan) creditedName() string {
	name := plan.Owner.Name
	if len(name) > maxOwner {
		name = strings.Clone(strings.ToValidUTF8(name[:maxOwner], "")) // a part of it would keep all of it in memory
	}
	return name
}

// attribute fills in what the Directory knows of the Owner: once an event, so that all its resources get the same.
func (p *Planner) attribute(plan *Plan) {
	if p.Directory == nil || plan.Owner.Kind == identity.None {
		return
	}
	attributes, ok := p.Directory.Current().Attributes(plan.Owner.Name)
	plan.Owner.Attributes = attributes
	plan.Unmapped = !ok && plan.Owner.Credited()
}

// unnamed ends an event whose resources the Record doesn't name: one Outcome for the event.
func (p *Planner) unnamed(plan *Plan, r *event.Record, ref resource.EventRef) {
	res := resource.Resource{Service: plan.Found.Service, Scope: ref.Scope}
	job := resource.Job{Event: ref, Resource: res, Owner: plan.creditedName()}
	if decision := p.decide(plan, r, res); decision.Skip != "" {
		plan.end(job, resource.Skipped, "", decision.Skip)
		return
	}
	plan.end(job, resource.Missed, plan.Found.Problem, plan.Found.Detail)
}

// propagateParam is the parameter of autoscaling:CreateOrUpdateTags by which an Auto Scaling group hands a tag on.
const propagateParam = "Tags[].PropagateAtLaunch"

// propagate has tags handed on by a resource whose tag call can do that: TagResources can't.
func propagate(res *resource.Resource) {
	for i, call := range res.Own {
		if _, can := call.Params[propagateParam]; can {
			call.Params = maps.Clone(call.Params)
			call.Params[propagateParam] = "true"
			res.Own = slices.Clone(res.Own)
			res.Own[i] = call
			res.TagAPI = call.API
			return
		}
	}
}

// why says in words what catalog.Problem found.
func why(r resource.Resource) string {
	if r.TagAPI == resource.NoTagAPI {
		return "autotagd has no call that tags it and does nothing else"
	}
	return "the record does not say which one it made"
}

func (p *Planner) decide(plan *Plan, r *event.Record, res resource.Resource) rules.Decision {
	d := p.Rules.Apply(rules.Input{Record: r, Identity: plan.Identity, Owner: plan.Owner, Resource: res, Services: plan.Found.Services})
	for _, problem := range d.Problems {
		if !slices.Contains(plan.Problems, problem) {
			plan.Problems = append(plan.Problems, problem)
		}
	}
	return d
}

func (plan *Plan) end(j resource.Job, kind resource.OutcomeKind, reason resource.Reason, detail string) {
	plan.Outcomes = append(plan.Outcomes, resource.Outcome{Job: j, Kind: kind, Reason: reason, Detail: detail, At: time.Now()})
}
