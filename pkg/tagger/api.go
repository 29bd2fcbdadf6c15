// Package tagger writes tags: it takes Jobs, batches them, calls AWS, and gives every Job one Outcome.
//
// What holds, whatever AWS answers:
//   - Every Job taken by Submit or Restore ends in exactly one Outcome, or is reported as Deferred (or Expanded, or PutBack) and so is
//     somebody's durable business; none is dropped in silence.
//   - A tag that was seen by the read before a write (at most 30 s earlier) is not changed unless Options.Overwrite says so.
//     An upsert writes only where none of its keys is there, and Jobs for one resource run one after another, oldest event first.
//   - A Scope's or a service's failure delays no other: rate and calls in flight are kept per account, Region and API, an IAM
//     action that fails travels alone with one call at a time, and Submit waits only for its own Scope.
//   - Memory is bounded: Jobs in hand per Scope, Jobs deferred per Scope, API and action.
//
// It knows nothing of CloudTrail: what a launch made beside what its record names, it finds by description (Job.Expand).
package tagger

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	tagging "github.com/aws/aws-sdk-go-v2/service/resourcegroupstaggingapi"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/autotagd/autotagd/pkg/event"
	"github.com/autotagd/autotagd/pkg/resource"
)

// API is the calls that tag in one Scope. They are functions, not an interface over the clients: an *ec2.Client in an
// interface makes the linker keep its 770 operations.
//
// The tagger retries, limits and splits above them: each should make one attempt, or two, and return smithy errors as they are.
type API struct {
	CreateTags        func(context.Context, *ec2.CreateTagsInput, ...func(*ec2.Options)) (*ec2.CreateTagsOutput, error)
	DescribeTags      func(context.Context, *ec2.DescribeTagsInput, ...func(*ec2.Options)) (*ec2.DescribeTagsOutput, error)
	DescribeInstances func(context.Context, *ec2.DescribeInstancesInput, ...func(*ec2.Options)) (*ec2.DescribeInstancesOutput, error)
	DescribeVolumes   func(context.Context, *ec2.DescribeVolumesInput, ...func(*ec2.Options)) (*ec2.DescribeVolumesOutput, error)
	DescribeImages    func(context.Context, *ec2.DescribeImagesInput, ...func(*ec2.Options)) (*ec2.DescribeImagesOutput, error)
	TagResources      func(context.Context, *tagging.TagResourcesInput, ...func(*tagging.Options)) (*tagging.TagResourcesOutput, error)
	GetResources      func(context.Context, *tagging.GetResourcesInput, ...func(*tagging.Options)) (*tagging.GetResourcesOutput, error)
	// OwnTag and OwnTags are the services' own calls, for kinds that TagResources can't tag or GetResources never lists: one
	// writes tags on a resource, the other reads all that it has. Both may be nil: then there are none.
	OwnTag  func(ctx context.Context, service string, call resource.Call, tags []resource.Tag) error
	OwnTags func(ctx context.Context, service string, call resource.Call) (map[string]string, error)
}

// Options is what a Tagger needs. API and Report are required; a zero duration, rate or count means its default.
type Options struct {
	// API gives the calls for the Scope where a resource lives. It may fail (a role that can't be assumed), which is retried,
	// unless the error is ErrForeign.
	API func(event.Scope) (API, error)
	// Report is told what became of each Job, by Run's goroutine, never from inside Submit, Restore or Flush.
	// It must not block long: calls and other reports wait behind it. It may call Flush, but not Submit.
	Report func(Result)

	Workers         int           // calls in flight per account, Region and API; 8
	BatchWait       time.Duration // a batch goes this long after its first Job; 3 s
	Rate            float64       // calls a second per account, Region and API, burst four times that; 5
	ConsistencyWait time.Duration // 'not found' is believed no earlier than this after the event; 2 min
	DeferAfter      time.Duration // a Job that fails this long is deferred; 2 min
	GiveUpAfter     time.Duration // and missed this long after its first try; 24 h

	// Overwrite says whether an existing value of the tag key is replaced; nil keeps all.
	Overwrite func(key string) bool
	// DryRun makes no writing call: what would be written ends as would_tag.
	DryRun bool
	// OneShot, if set, is for how long a Job is tried before it is deferred, and deferred ones are tried once at the start only.
	OneShot time.Duration

	Log        *zap.Logger           // nil logs nothing
	Registerer prometheus.Registerer // nil registers nowhere
	// Now is AWS's time, to compare with event times; nil is time.Now.
	Now func() time.Time
}

// ResultKind says what a Result reports.
type ResultKind uint8

// Every ResultKind.
const (
	// Ended: the Job has its Outcome.
	Ended ResultKind = iota
	// Deferred: the Job, as it stands in the Result, is to be kept durably. The Tagger tries it again and reports its end; at
	// the end of Run all Jobs in hand become Deferred.
	Deferred
	// Unstored: too many Jobs of its Scope, API and action wait already. The Job is missed and not to be stored; the caller
	// keeps the API, the action and the earliest event time, and never notes the event as settled by id.
	Unstored
	// Expanded: the Job found the Jobs in Expanded, perhaps none, and is done. The Tagger goes on with them by itself; it
	// reports nothing of them before this Result was handled.
	Expanded
	// PutBack: the calls for its Scope, API and action work, and can't keep up. The Job has no Outcome and is not to be stored;
	// the caller keeps the event's name and time, never notes the event as settled by id, and reads it again later, of the
	// backlog. Only Jobs of new events are.
	PutBack
	// Replay: calls for this Scope, API and action work again, so what went Unstored may be read again. Comes also when
	// nothing was: once for each action at its first success.
	Replay
)

// String returns the kind as logs show it.
func (k ResultKind) String() string {
	return [...]string{"ended", "deferred", "unstored", "expanded", "put back", "replay"}[k]
}

// Result is one report of the Tagger.
type Result struct {
	Kind     ResultKind
	Job      resource.Job     // not for Replay
	Outcome  resource.Outcome // for Ended and Unstored
	Expanded []resource.Job   // for Expanded
	// Scope is where the event was read, whose checkpoint is concerned. API and Action are those of the Job's denial record.
	Scope  event.Scope
	API    resource.TagAPI
	Action string
}
