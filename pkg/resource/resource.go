// Package resource has the nouns of tagging: a Resource, the TagAPI that tags it, the Job to do it, and the Outcome it ends in.
//
// Everything here is plain data. A Job is stored as JSON when it is deferred, so its field tags are a file format.
package resource

import (
	"time"

	"github.com/autotagd/autotagd/pkg/event"
)

// TagAPI names a call that tags, as "service:Operation".
type TagAPI string

// The calls that tag resources of many kinds, and none. Every other TagAPI is a service's own: see Call.
const (
	EC2CreateTags TagAPI = "ec2:CreateTags"
	TagResources  TagAPI = "tagging:TagResources"
	NoTagAPI      TagAPI = "none"
)

// Own reports whether it is a service's own call.
func (a TagAPI) Own() bool {
	return a != EC2CreateTags && a != TagResources && a != NoTagAPI && a != ""
}

// Call is a service's own call that tags one resource.
type Call struct {
	API    TagAPI            `json:"api"`
	Params map[string]string `json:"params"`         // what it knows the resource by; none is ""
	Read   TagAPI            `json:"read,omitempty"` // the call that reads the tags; "" when the service has none
	// Replaces is set when what it writes is the whole new set: "all", with AWS's own tags (aws:...), or "own", without.
	Replaces string `json:"replaces,omitempty"`
}

// Confidence says how sure the catalog is of a Resource's id and ARN.
type Confidence string

// The grades of confidence.
const (
	Verified Confidence = "verified" // seen in a real record
	Model    Confidence = "model"    // worked out from AWS's service model
	Guess    Confidence = "guess"    // uncertain: 'not found' may mean a wrong id
)

// Resource is one thing that a create event made.
type Resource struct {
	ARN       string      `json:"arn"`     // "" when it cannot be known
	ID        string      `json:"id"`      // bare id or name
	Type      string      `json:"type"`    // CloudFormation type, else prefix:type
	Service   string      `json:"service"` // as in `services` and in metrics: ec2, s3, ...
	Scope     event.Scope `json:"scope"`   // where it lives: its tag calls go there
	TagAPI    TagAPI      `json:"tag_api"`
	IAMAction string      `json:"iam_action"` // what the tag call needs permission for
	// Own are the service's own calls that tag it, in the order to try: TagAPI is one of them, or they are for when
	// TagResources refuses it. Empty for EC2's.
	Own []Call `json:"own,omitempty"`
	// Confidence in ID and ARN.
	Confidence Confidence `json:"confidence"`
	// Tags given at creation, as far as the Record says. Its absence proves nothing.
	Tags map[string]string `json:"tags,omitempty"`
}

// OwnCall returns the service's own call that tags the resource, if TagAPI is one, and the first there is if TagAPI is
// TagResources. It returns nil when there is none.
func (r Resource) OwnCall() *Call {
	for i, call := range r.Own {
		if call.API == r.TagAPI || r.TagAPI == TagResources {
			return &r.Own[i]
		}
	}
	return nil
}

// Tag is one key and its value.
type Tag struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// Expand says what else a call made that its Record does not name.
type Expand string

// The kinds of expansion.
const (
	ExpandNone            Expand = ""
	ExpandInstanceVolumes Expand = "instance-volumes" // volumes (and interfaces not named) of the instances in ExpandIDs
	ExpandImageSnapshots  Expand = "image-snapshots"  // snapshots of the images in ExpandIDs
)

// EventRef is what a Job keeps of its event.
type EventRef struct {
	ID     string    `json:"id"`
	Source string    `json:"source"`
	Name   string    `json:"name"`
	Time   time.Time `json:"time"`
	// Scope is where the event was read: its checkpoint keeps the Job. The Resource may live elsewhere.
	Scope event.Scope `json:"scope"`
	// Seen is when this process or an earlier one first read the event.
	Seen time.Time `json:"seen"`
	// Backlog is set when it came from the backlog: histograms leave it out.
	Backlog bool `json:"backlog,omitempty"`
}

// Job is one Resource to tag with one set of tags. It ends in one Outcome.
type Job struct {
	Event    EventRef `json:"event"`
	Resource Resource `json:"resource"`
	Tags     []Tag    `json:"tags"` // sorted by key, no key twice
	Owner    string   `json:"owner"`
	// Upsert is set when the event may not have created the Resource: see DESIGN 'Tagging, exactly'.
	Upsert bool `json:"upsert,omitempty"`
	// Expand makes this a Job that finds other Resources by description instead of tagging Resource itself.
	Expand    Expand   `json:"expand,omitempty"`
	ExpandIDs []string `json:"expand_ids,omitempty"`
	// ExpandSkip are ids that a description may show although the call did not make them (an interface passed in, say).
	ExpandSkip []string `json:"expand_skip,omitempty"`

	// What deferral keeps.
	Attempts   int       `json:"attempts,omitempty"`
	FirstTried time.Time `json:"first_tried,omitzero"`
	LastReason Reason    `json:"last_reason,omitempty"` // of the last failed attempt
	LastError  string    `json:"last_error,omitempty"`
}

// Key identifies the Job among all Jobs of all events.
func (j Job) Key() string {
	k := j.Resource.ARN
	if k == "" {
		k = j.Resource.ID
	}
	return j.Event.ID + "\x00" + k + "\x00" + string(j.Expand)
}

// OutcomeKind is how a Job ended.
type OutcomeKind string

// Every OutcomeKind.
const (
	Tagged   OutcomeKind = "tagged"    // written now, or the values were right already
	Kept     OutcomeKind = "kept"      // has such a key with another value, and the configuration keeps it
	Skipped  OutcomeKind = "skipped"   // a filter, or nobody to credit, by rule
	Gone     OutcomeKind = "gone"      // deleted before we came
	Missed   OutcomeKind = "missed"    // see Reason
	WouldTag OutcomeKind = "would_tag" // dry run
)

// OutcomeKinds lists every kind, for metrics that start at zero.
func OutcomeKinds() []OutcomeKind {
	return []OutcomeKind{Tagged, Kept, Skipped, Gone, Missed, WouldTag}
}

// Reason is why a Job was missed.
type Reason string

// Every Reason.
const (
	AccessDenied Reason = "access_denied"
	TagLimit     Reason = "tag_limit"
	Invalid      Reason = "invalid"
	Unresolved   Reason = "unresolved"  // no usable id in the Record
	Unsupported  Reason = "unsupported" // no tag API
	Exhausted    Reason = "exhausted"   // retried until the limit
)

// Reasons lists every Reason, for metrics that start at zero.
func Reasons() []Reason {
	return []Reason{AccessDenied, TagLimit, Invalid, Unresolved, Unsupported, Exhausted}
}

// Outcome is how one Job ended.
type Outcome struct {
	Job    Job
	Kind   OutcomeKind
	Reason Reason // set when Kind is Missed
	Detail string // for people: why skipped, kept or missed
	At     time.Time
}
