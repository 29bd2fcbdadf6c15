package tagger

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	tagging "github.com/aws/aws-sdk-go-v2/service/resourcegroupstaggingapi"
	tagtypes "github.com/aws/aws-sdk-go-v2/service/resourcegroupstaggingapi/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/autotagd/autotagd/pkg/event"
	"github.com/autotagd/autotagd/pkg/resource"
)

var (
	paris   = event.Scope{AccountID: "123456789012", Region: "eu-west-3"}
	ireland = event.Scope{AccountID: "123456789012", Region: "eu-west-1"}
)

// thing is a resource in the fake, by its id (EC2) or ARN.
type thing struct {
	tags    map[string]string
	visible time.Time // eventual consistency: not found before
	code    string    // every attempt to tag it fails with this code
	status  int32
	busy    time.Time         // IncorrectState until then
	only    []resource.TagAPI // the calls that know such a thing; all if there are none
	refusal string            // the code with which TagResources says that it doesn't
}

// fakeAWS keeps resources and their tags. It fails the test when a call breaks AWS's limits.
type fakeAWS struct {
	t  *testing.T
	mu sync.Mutex

	things    map[string]*thing
	instances map[string]ec2types.Instance
	volumes   []ec2types.Volume
	images    map[string]ec2types.Image
	calls     []fakeCall
	latency   time.Duration
	ownError  error // of reading tags by a service's own call
	pageSize  int   // of all descriptions
	readLag   time.Duration
	mute      bool // messages name no ids

	// before is asked before a call has its effect, after when it had it; an error of either is the answer.
	before, after func(c fakeCall) error
	writes        map[string][]time.Time
}

type fakeCall struct {
	api   resource.TagAPI
	scope event.Scope
	names []string
	tags  map[string]string
	at    time.Time
}

func newFake(t *testing.T) *fakeAWS {
	return &fakeAWS{
		t: t, things: map[string]*thing{}, instances: map[string]ec2types.Instance{}, images: map[string]ec2types.Image{},
		latency: 50 * time.Millisecond, pageSize: 1000, writes: map[string][]time.Time{},
	}
}

// make adds a resource, with tags as key, value, key, value.
func (f *fakeAWS) make(name string, tags ...string) *thing {
	th := &thing{tags: map[string]string{}}
	for i := 0; i+1 < len(tags); i += 2 {
		th.tags[tags[i]] = tags[i+1]
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.things[name] = th
	return th
}

func (f *fakeAWS) tagsOf(name string) map[string]string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.things[name] == nil {
		return nil
	}
	return maps.Clone(f.things[name].tags)
}

// written returns the names of all that was written.
func (f *fakeAWS) written() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Collect(maps.Keys(f.writes))
}

// writesOf returns how often a resource was written.
func (f *fakeAWS) writesOf(name string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.writes[name])
}

// all returns all calls so far.
func (f *fakeAWS) all() []fakeCall {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.calls)
}

// count returns how many calls of an API were made.
func (f *fakeAWS) count(api resource.TagAPI) int { return len(f.of(api)) }

func (f *fakeAWS) of(api resource.TagAPI) []fakeCall {
	f.mu.Lock()
	defer f.mu.Unlock()
	var calls []fakeCall
	for _, c := range f.calls {
		if c.api == api {
			calls = append(calls, c)
		}
	}
	return calls
}

func apiError(code, message string) error {
	return &smithy.GenericAPIError{Code: code, Message: message, Fault: smithy.FaultClient}
}

func httpError(status int, err error) error {
	return &smithyhttp.ResponseError{Response: &smithyhttp.Response{Response: &http.Response{StatusCode: status}}, Err: err}
}

func (f *fakeAWS) enter(ctx context.Context, c fakeCall) error {
	c.at = time.Now()
	f.mu.Lock()
	f.calls = append(f.calls, c)
	before, latency := f.before, f.latency
	f.mu.Unlock()
	select {
	case <-time.After(latency):
	case <-ctx.Done():
		return ctx.Err()
	}
	if before != nil {
		return before(c)
	}
	return nil
}

func (f *fakeAWS) leave(c fakeCall) error {
	if f.after != nil {
		return f.after(c)
	}
	return nil
}

// api gives the calls in one Scope.
func (f *fakeAWS) api(scope event.Scope) (API, error) {
	return API{
		CreateTags: func(ctx context.Context, in *ec2.CreateTagsInput, _ ...func(*ec2.Options)) (*ec2.CreateTagsOutput, error) {
			return f.createTags(ctx, scope, in)
		},
		DescribeTags: func(ctx context.Context, in *ec2.DescribeTagsInput, _ ...func(*ec2.Options)) (*ec2.DescribeTagsOutput, error) {
			return f.describeTags(ctx, scope, in)
		},
		OwnTag: func(ctx context.Context, _ string, call resource.Call, tags []resource.Tag) error {
			return f.ownTag(ctx, scope, call, tags)
		},
		OwnTags: func(ctx context.Context, _ string, call resource.Call) (map[string]string, error) {
			return f.ownTags(ctx, scope, call)
		},
		TagResources: func(ctx context.Context, in *tagging.TagResourcesInput, _ ...func(*tagging.Options)) (*tagging.TagResourcesOutput, error) {
			return f.tagResources(ctx, scope, in)
		},
		GetResources: func(ctx context.Context, in *tagging.GetResourcesInput, _ ...func(*tagging.Options)) (*tagging.GetResourcesOutput, error) {
			return f.getResources(ctx, scope, in)
		},
		DescribeInstances: func(ctx context.Context, in *ec2.DescribeInstancesInput, _ ...func(*ec2.Options)) (*ec2.DescribeInstancesOutput, error) {
			ids := f.filter(in.Filters, "instance-id")
			if err := f.enter(ctx, fakeCall{api: describeInstances, scope: scope, names: ids}); err != nil {
				return nil, err
			}
			f.mu.Lock()
			defer f.mu.Unlock()
			var all []ec2types.Reservation
			for _, id := range ids {
				if instance, ok := f.instances[id]; ok {
					all = append(all, ec2types.Reservation{Instances: []ec2types.Instance{instance}})
				}
			}
			return &ec2.DescribeInstancesOutput{Reservations: page(all, in.NextToken, f.pageSize), NextToken: nextPage(all, in.NextToken, f.pageSize)}, nil
		},
		DescribeVolumes: func(ctx context.Context, in *ec2.DescribeVolumesInput, _ ...func(*ec2.Options)) (*ec2.DescribeVolumesOutput, error) {
			ids := f.filter(in.Filters, "attachment.instance-id")
			if err := f.enter(ctx, fakeCall{api: describeVolumes, scope: scope, names: ids}); err != nil {
				return nil, err
			}
			f.mu.Lock()
			defer f.mu.Unlock()
			var all []ec2types.Volume
			for _, v := range f.volumes {
				if slices.Contains(ids, aws.ToString(v.Attachments[0].InstanceId)) {
					all = append(all, v)
				}
			}
			return &ec2.DescribeVolumesOutput{Volumes: page(all, in.NextToken, f.pageSize), NextToken: nextPage(all, in.NextToken, f.pageSize)}, nil
		},
		DescribeImages: func(ctx context.Context, in *ec2.DescribeImagesInput, _ ...func(*ec2.Options)) (*ec2.DescribeImagesOutput, error) {
			ids := f.filter(in.Filters, "image-id")
			if err := f.enter(ctx, fakeCall{api: describeImages, scope: scope, names: ids}); err != nil {
				return nil, err
			}
			f.mu.Lock()
			defer f.mu.Unlock()
			var all []ec2types.Image
			for _, id := range ids {
				if image, ok := f.images[id]; ok {
					all = append(all, image)
				}
			}
			return &ec2.DescribeImagesOutput{Images: page(all, in.NextToken, f.pageSize), NextToken: nextPage(all, in.NextToken, f.pageSize)}, nil
		},
	}, nil
}

// page cuts a list; the token is the place where the page starts, in unary.
func page[T any](all []T, token *string, size int) []T {
	start := min(len(aws.ToString(token)), len(all))
	return all[start:min(start+size, len(all))]
}

func nextPage[T any](all []T, token *string, size int) *string {
	if end := len(aws.ToString(token)) + size; end < len(all) {
		return aws.String(strings.Repeat("x", end))
	}
	return nil
}

func (f *fakeAWS) filter(filters []ec2types.Filter, name string) []string {
	for _, fl := range filters {
		if aws.ToString(fl.Name) == name {
			if len(fl.Values) == 0 || len(fl.Values) > 200 {
				f.t.Errorf("%d values in filter %s, want 1 to 200", len(fl.Values), name)
			}
			return fl.Values
		}
	}
	f.t.Errorf("no filter %s", name)
	return nil
}

func (f *fakeAWS) checkTags(tags map[string]string) {
	if len(tags) == 0 || len(tags) > 50 {
		f.t.Errorf("%d tags in a call", len(tags))
	}
	for k, v := range tags {
		if strings.HasPrefix(k, "aws:") || len(k) > 127 || len(v) > 256 {
			f.t.Errorf("tag %q=%q sent", k, v)
		}
	}
}

// trouble returns the EC2-like error code of a resource, or "".
func (f *fakeAWS) trouble(name string) (string, int32) {
	th := f.things[name]
	switch {
	case th == nil || time.Now().Before(th.visible):
		return "NotFound", 404
	case th.code != "":
		return th.code, th.status
	case time.Now().Before(th.busy):
		return "IncorrectState", 400
	}
	return "", 0
}

func (f *fakeAWS) createTags(ctx context.Context, scope event.Scope, in *ec2.CreateTagsInput) (*ec2.CreateTagsOutput, error) {
	c := fakeCall{api: resource.EC2CreateTags, scope: scope, names: slices.Clone(in.Resources), tags: map[string]string{}}
	for _, tag := range in.Tags {
		c.tags[*tag.Key] = *tag.Value
	}
	f.checkTags(c.tags)
	if len(c.names) == 0 || len(c.names) > 1000 {
		f.t.Errorf("%d ids in one CreateTags, want 1 to 1000", len(c.names))
	}
	if err := f.enter(ctx, c); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	bad := map[string][]string{}
	for _, id := range c.names {
		if code, _ := f.trouble(id); code != "" {
			bad[code] = append(bad[code], id)
		}
	}
	if len(bad) > 0 {
		code := slices.Sorted(maps.Keys(bad))[0]
		ids := strings.Join(bad[code], ", ")
		switch {
		case f.mute:
			return nil, apiError(code, "something is wrong")
		case code == "NotFound" && len(bad[code]) == 1:
			return nil, apiError("InvalidInstanceID.NotFound", fmt.Sprintf("The instance ID '%s' does not exist", ids))
		case code == "NotFound":
			return nil, apiError("InvalidInstanceID.NotFound", fmt.Sprintf("The instance IDs '%s' do not exist", ids))
		case code == "InvalidID":
			return nil, apiError(code, fmt.Sprintf("The ID '%s' is not valid", bad[code][0]))
		}
		return nil, apiError(code, "You are not authorized, or the like")
	}
	f.apply(c)
	return &ec2.CreateTagsOutput{}, f.leave(c)
}

func (f *fakeAWS) apply(c fakeCall) {
	for _, name := range c.names {
		maps.Copy(f.things[name].tags, c.tags)
		f.writes[name] = append(f.writes[name], time.Now())
	}
}

func (f *fakeAWS) describeTags(ctx context.Context, scope event.Scope, in *ec2.DescribeTagsInput) (*ec2.DescribeTagsOutput, error) {
	ids := f.filter(in.Filters, "resource-id")
	keys := f.filter(in.Filters, "key")
	if err := f.enter(ctx, fakeCall{api: describeTags, scope: scope, names: ids}); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []ec2types.TagDescription
	for _, id := range ids {
		if f.things[id] == nil {
			continue
		}
		for _, k := range slices.Sorted(maps.Keys(f.things[id].tags)) {
			if slices.Contains(keys, k) {
				all = append(all, ec2types.TagDescription{ResourceId: &id, Key: &k, Value: aws.String(f.things[id].tags[k])})
			}
		}
	}
	return &ec2.DescribeTagsOutput{Tags: page(all, in.NextToken, f.pageSize), NextToken: nextPage(all, in.NextToken, f.pageSize)}, nil
}

func (f *fakeAWS) tagResources(ctx context.Context, scope event.Scope, in *tagging.TagResourcesInput) (*tagging.TagResourcesOutput, error) {
	c := fakeCall{api: resource.TagResources, scope: scope, names: slices.Clone(in.ResourceARNList), tags: maps.Clone(in.Tags)}
	f.checkTags(c.tags)
	if len(c.names) == 0 || len(c.names) > 20 {
		f.t.Errorf("%d ARNs in one TagResources, want 1 to 20", len(c.names))
	}
	if err := f.enter(ctx, c); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	out := &tagging.TagResourcesOutput{FailedResourcesMap: map[string]tagtypes.FailureInfo{}}
	var good []string
	for _, arn := range c.names {
		code, status := f.trouble(arn)
		if th := f.things[arn]; code == "" && !th.knows(resource.TagResources) {
			code, status = cmp.Or(th.refusal, "InternalServiceException"), 500
			if th.refusal != "" && th.refusal != "InternalServiceException" {
				status = 400
			}
		}
		switch code {
		case "":
			good = append(good, arn)
		case "malformed":
			return nil, apiError("InvalidParameterException", "an ARN is malformed")
		case "NotFound":
			out.FailedResourcesMap[arn] = tagtypes.FailureInfo{ErrorCode: "ResourceNotFoundException", StatusCode: 404, ErrorMessage: aws.String("no such thing")}
		default:
			out.FailedResourcesMap[arn] = tagtypes.FailureInfo{ErrorCode: tagtypes.ErrorCode(code), StatusCode: status, ErrorMessage: aws.String("message of " + code)}
		}
	}
	c.names = good
	f.apply(c)
	return out, f.leave(c)
}

func (f *fakeAWS) getResources(ctx context.Context, scope event.Scope, in *tagging.GetResourcesInput) (*tagging.GetResourcesOutput, error) {
	if n := len(in.ResourceARNList); n == 0 || n > 100 || in.PaginationToken != nil || in.ResourcesPerPage != nil || in.TagFilters != nil {
		f.t.Errorf("GetResources with %d ARNs and parameters that exclude each other", n)
	}
	if err := f.enter(ctx, fakeCall{api: getResources, scope: scope, names: in.ResourceARNList}); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	out := &tagging.GetResourcesOutput{}
	for _, arn := range in.ResourceARNList {
		th := f.things[arn]
		if w := f.writes[arn]; th == nil || len(th.tags) == 0 || strings.Contains(arn, ":iam:") || len(w) > 0 && time.Since(w[len(w)-1]) < f.readLag {
			continue
		}
		m := tagtypes.ResourceTagMapping{ResourceARN: &arn}
		for k, v := range th.tags {
			m.Tags = append(m.Tags, tagtypes.Tag{Key: &k, Value: &v})
		}
		out.ResourceTagMappingList = append(out.ResourceTagMappingList, m)
	}
	return out, nil
}

// world is a Tagger at work on a fake, in a bubble.
type world struct {
	*testing.T
	aws    *fakeAWS
	tagger *Tagger
	reg    *prometheus.Registry
	cancel context.CancelFunc
	done   chan struct{}

	mu       sync.Mutex
	results  []Result
	final    map[string]Result // by Job key
	deferred map[string]Result
	at       map[string]time.Time // when the first result of a Job came
}

// start runs a Tagger until the test's bubble ends. It checks that each Job ends once.
func start(t *testing.T, f *fakeAWS, change func(*Options)) *world {
	w := prepare(t, f, change)
	w.run()
	return w
}

func prepare(t *testing.T, f *fakeAWS, change func(*Options)) *world {
	t.Helper()
	w := &world{T: t, aws: f, reg: prometheus.NewPedanticRegistry(), final: map[string]Result{}, deferred: map[string]Result{}, at: map[string]time.Time{}, done: make(chan struct{})}
	opts := Options{API: f.api, Report: w.report, Registerer: w.reg}
	if change != nil {
		change(&opts)
	}
	w.tagger = New(opts)
	return w
}

func (w *world) run() {
	ctx, cancel := context.WithCancel(w.Context())
	w.cancel = cancel
	go func() {
		defer close(w.done)
		if err := w.tagger.Run(ctx); err != nil {
			w.Errorf("Run: %v", err)
		}
	}()
	w.Cleanup(w.stop)
}

func (w *world) stop() {
	w.cancel()
	<-w.done
}

func (w *world) report(r Result) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.results = append(w.results, r)
	if r.Kind == Replay {
		return
	}
	key := r.Job.Key()
	if w.at[key].IsZero() {
		w.at[key] = time.Now()
	}
	if old, ok := w.final[key]; ok {
		w.Errorf("%q ended twice: %v %v, then %v %v", key, old.Kind, old.Outcome.Kind, r.Kind, r.Outcome.Kind)
	}
	switch r.Kind {
	case Deferred:
		if _, ok := w.deferred[key]; ok {
			w.Errorf("%q was deferred twice", key)
		}
		w.deferred[key] = r
	default:
		w.final[key] = r
	}
}

func (w *world) submit(jobs ...resource.Job) {
	w.Helper()
	if err := w.tagger.Submit(w.Context(), jobs); err != nil {
		w.Fatal(err)
	}
}

// outcome returns a Job's end, as "kind" or "missed/reason", else "deferred", "unstored/reason", "expanded" or "".
func (w *world) outcome(j resource.Job) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	r, ok := w.final[j.Key()]
	switch {
	case !ok:
		if _, ok := w.deferred[j.Key()]; ok {
			return "deferred"
		}
		return ""
	case r.Kind == Expanded:
		return "expanded"
	case r.Kind == PutBack:
		return "put back"
	case r.Kind == Unstored:
		return "unstored/" + string(r.Outcome.Reason)
	case r.Outcome.Kind == resource.Missed:
		return "missed/" + string(r.Outcome.Reason)
	}
	return string(r.Outcome.Kind)
}

func (w *world) want(j resource.Job, outcome string) {
	w.Helper()
	if got := w.outcome(j); got != outcome {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.Errorf("%s: outcome %q (%s), want %q", j.Resource.ID, got, w.final[j.Key()].Outcome.Detail, outcome)
	}
}

// end returns the last Result of a Job, or the zero one.
func (w *world) end(j resource.Job) Result {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.final[j.Key()]
}

func (w *world) deferral(j resource.Job) Result {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.deferred[j.Key()]
}

func (w *world) when(j resource.Job) time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.at[j.Key()]
}

func (w *world) kinds(kind ResultKind) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, r := range w.results {
		if r.Kind == kind {
			n++
		}
	}
	return n
}

// ec2Job makes a Job for an EC2 instance of an event three minutes ago, by a person.
func ec2Job(id, owner string) resource.Job {
	return job(id, owner, func(j *resource.Job) {
		j.Resource = resource.Resource{
			ARN: "arn:aws:ec2:eu-west-3:123456789012:instance/" + id, ID: id, Type: "AWS::EC2::Instance", Service: "ec2", Scope: paris,
			TagAPI: resource.EC2CreateTags, IAMAction: "ec2:CreateTags", Confidence: resource.Verified,
		}
	})
}

// arnJob makes a Job for a resource that TagResources tags.
func arnJob(arn, owner string) resource.Job {
	service := strings.Split(arn, ":")[2]
	return job(arn, owner, func(j *resource.Job) {
		j.Resource = resource.Resource{
			ARN: arn, ID: arn[strings.LastIndex(arn, ":")+1:], Type: "type of " + service, Service: service, Scope: paris,
			TagAPI: resource.TagResources, IAMAction: service + ":TagResource", Confidence: resource.Verified,
		}
		if service == "iam" && !strings.Contains(arn, ":group/") {
			j.Resource.Own = []resource.Call{own("iam:TagRole", arn)}
		}
	})
}

func job(id, owner string, change func(*resource.Job)) resource.Job {
	now := time.Now()
	j := resource.Job{
		Event: resource.EventRef{ID: "event-of-" + id, Source: "x.amazonaws.com", Name: "CreateX", Time: now.Add(-3 * time.Minute), Scope: paris, Seen: now},
		Owner: owner,
		Tags:  []resource.Tag{{Key: "Owner", Value: owner}, {Key: "PrincipalId", Value: "AROA:" + owner}},
	}
	change(&j)
	return j
}

// bubble runs a test in a synctest bubble.
func bubble(t *testing.T, f func(t *testing.T)) { synctest.Test(t, f) }
