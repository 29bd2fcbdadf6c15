package daemon

import (
	"slices"
	"strings"
	"time"

	"github.com/autotagd/autotagd/pkg/event"
	"github.com/autotagd/autotagd/pkg/identity"
	"github.com/autotagd/autotagd/pkg/resource"
)

// Explanation is what `autotagd explain` writes for one Record. Its JSON is a contract with scripts.
type Explanation struct {
	EventID        string              `json:"event_id"`
	EventSource    string              `json:"event_source"`
	EventName      string              `json:"event_name"`
	EventTime      string              `json:"event_time"`
	Region         string              `json:"region"`
	AccountID      string              `json:"account_id"`
	Create         bool                `json:"create"`
	Owner          *string             `json:"owner"`
	PrincipalID    *string             `json:"principal_id"`
	SourceIdentity *string             `json:"source_identity"`
	IdentityType   string              `json:"identity_type"`
	Resources      []ExplainedResource `json:"resources"`
	Tags           map[string]string   `json:"tags"`
	Action         string              `json:"action"` // tag, skip, miss, ignore
	Reason         string              `json:"reason"`
}

// ExplainedResource is one resource that the event made. An ARN that cannot be known is "".
type ExplainedResource struct {
	ARN    string `json:"arn"`
	ID     string `json:"id"`
	Type   string `json:"type"`
	TagAPI string `json:"tag_api"`
}

// Explain says what would be done about r, and why.
func (p *Planner) Explain(r *event.Record) Explanation {
	plan := p.Plan(r, resource.EventRef{
		ID: r.EventID, Source: r.EventSource, Name: r.EventName, Time: r.EventTime,
		Scope: event.Scope{AccountID: r.RecipientAccountID, Region: r.AWSRegion},
	})
	e := Explanation{
		EventID: r.EventID, EventSource: r.EventSource, EventName: r.EventName,
		Region: r.AWSRegion, AccountID: r.RecipientAccountID,
		Create: plan.Create, IdentityType: r.UserIdentity.Type,
		PrincipalID: nonEmpty(plan.Identity.PrincipalID), SourceIdentity: nonEmpty(plan.Identity.SourceIdentity),
		Resources: []ExplainedResource{}, Tags: map[string]string{},
	}
	if !r.EventTime.IsZero() {
		e.EventTime = r.EventTime.Format(time.RFC3339)
	}
	if plan.Owner.Kind == identity.Person || plan.Owner.Kind == identity.Workload {
		e.Owner = nonEmpty(plan.Owner.Name)
	}
	for _, res := range plan.Found.Resources {
		e.Resources = append(e.Resources, ExplainedResource{res.ARN, res.ID, res.Type, string(res.TagAPI)})
	}
	e.Action, e.Reason = plan.verdict()
	reasons := slices.DeleteFunc([]string{e.Reason}, func(s string) bool { return s == "" })
	if plan.Unmapped && e.Action == "tag" {
		reasons = append(reasons, "no row of the directory matches the owner")
	}
	e.Reason = strings.Join(append(reasons, plan.Problems...), "; ")
	for _, j := range plan.Jobs {
		for _, t := range j.Tags {
			e.Tags[t.Key] = t.Value
		}
	}
	return e
}

// verdict sums the plan up in one word and a reason. One resource that is tagged makes it "tag".
func (plan *Plan) verdict() (action, reason string) {
	var skipped string
	for _, o := range plan.Outcomes {
		if o.Kind == resource.Missed {
			action, reason = "miss", string(o.Reason)
			if o.Detail != "" {
				reason += ": " + o.Detail
			}
			continue
		}
		skipped = o.Detail
	}
	switch {
	case len(plan.Jobs) > 0 && plan.Found.Upsert:
		return "tag", "only if none of these tags is there: the call may have updated what was there before"
	case len(plan.Jobs) > 0:
		return "tag", reason
	case action != "":
		return action, reason
	case skipped != "":
		return "skip", skipped
	}
	return "ignore", plan.Why
}

func nonEmpty(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
