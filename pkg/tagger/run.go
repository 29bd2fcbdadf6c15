package tagger

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/autotagd/autotagd/pkg/resource"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	tagging "github.com/aws/aws-sdk-go-v2/service/resourcegroupstaggingapi"
)

const (
	callTimeout = 30 * time.Second
	// maxReadAge is how old the read of existing tags may be when the write is sent: at most 30 s when AWS has it.
	maxReadAge = 25 * time.Second

	minBackoff = time.Second
	maxBackoff = 30 * time.Second

	notFoundDelay    = 10 * time.Second
	notFoundAttempts = 3
	notFoundSpan     = 20 * time.Second
	// unansweredAttempts of TagResources for one ARN, over unansweredSpan, end in unsupported: any less may be an outage. One
	// is enough for a kind that ended so before.
	unansweredAttempts = 5
	unansweredSpan     = 10 * time.Minute

	// failsInRow calls of one batch without a success between them end its taking apart; the rest is tried again later.
	failsInRow = 16
	// outageInRow is the same for server errors, where an outage is likelier than a resource that is to blame.
	outageInRow = 4

	// unreadableAge: a resource whose tags can't be read is tagged by its create event only while that is younger. Later
	// somebody may long have corrected what we would overwrite.
	unreadableAge = 24 * time.Hour
)

// unlisted are the services whose resources GetResources never shows, though TagResources tags them: see
// https://docs.aws.amazon.com/resourcegroupstagging/latest/APIReference/supported-services.html. Their own calls read their tags.
var unlisted = map[string]bool{"iam": true, "autoscaling": true}

// backoff returns the jittered wait after the nth failure in a row.
func backoff(n int) time.Duration {
	d := min(minBackoff<<min(max(n, 1)-1, 10), maxBackoff)
	return d/2 + rand.N(d/2)
}

// run is the work on one batch.
type run struct {
	*Tagger
	lane  laneKey
	api   API
	parts []part // still to do
	fails int    // calls in a row without success
}

// part is some tasks of a batch that make one attempt together.
type part struct {
	tasks  []*task
	denial error // if set, they were denied together, and are tried again only when the action turns out not to be denied as such
}

// run works on a batch until each of its tasks has ended, is deferred or is delayed, or ctx ends.
func (t *Tagger) run(ctx context.Context, b batch) {
	defer t.done(b)
	api, err := t.opts.API(b.lane.scope)
	r := &run{Tagger: t, lane: b.lane.laneKey, api: api, parts: []part{{tasks: b.tasks}}}
	if errors.Is(err, ErrForeign) {
		for _, tk := range b.tasks {
			r.end(tk, resource.Missed, resource.AccessDenied, err.Error())
		}
		return
	}
	if err != nil {
		c := classify(err)
		if c == classCanceled {
			c = classUnavailable // by whomever: not by us
		}
		r.later(b.tasks, c, fmt.Errorf("clients for %s: %w", b.lane.scope, err))
		return
	}
	for len(r.parts) > 0 && ctx.Err() == nil {
		p := r.parts[0]
		r.parts = r.parts[1:]
		switch {
		case p.denial != nil && r.deniedAsSuch(p.tasks):
			r.later(p.tasks, classDenied, p.denial)
		case r.lane.api == describeVolumes:
			r.expandVolumes(ctx, p.tasks)
		case r.lane.api == describeImages:
			r.expandImages(ctx, p.tasks)
		default:
			r.tag(ctx, p.tasks)
		}
	}
}

// first puts tasks before those still to do.
func (r *run) first(parts ...[]*task) {
	for i, tasks := range parts {
		r.parts = slices.Insert(r.parts, i, part{tasks: tasks})
	}
}

// call makes one call, at the rate of its account, Region and API, and adapts that to the answer. It waits for its turn
// unless paid says that the caller did.
func call[In, Out, Opts any](ctx context.Context, r *run, api resource.TagAPI, paid bool,
	f func(context.Context, *In, ...func(*Opts)) (*Out, error), in *In,
) (*Out, error) {
	limit := r.limiterOf(laneKey{r.lane.scope, api})
	if !paid {
		if err := limit.wait(ctx); err != nil {
			return nil, context.Canceled
		}
	}
	callCtx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	out, err := f(callCtx, in)
	switch {
	case err != nil && ctx.Err() != nil:
		err = fmt.Errorf("%w: %w", context.Canceled, err)
	case errors.Is(err, context.Canceled):
		err = errors.New(err.Error()) // not by us: a failure like others
	case err == nil && out == nil:
		err = errors.New("no answer")
	}
	c := classify(err)
	limit.answered(c, time.Now())
	r.metrics.requests.WithLabelValues(string(api), c.String()).Inc()
	if err != nil {
		return nil, fmt.Errorf("%s in %s: %w", api, r.lane.scope, err)
	}
	return out, nil
}

// plan is what is to be written on a task's resource.
type plan struct {
	write []resource.Tag
	kept  []string // what stays as it is, for people
	right int      // tags whose value is right already
}

// mustRead reports whether the tags of the task's resource have to be known before it is written.
func (t *Tagger) mustRead(tk *task) bool {
	return tk.job.Upsert || replaces(tk.job.Resource) != "" || slices.ContainsFunc(tk.job.Tags, func(tag resource.Tag) bool { return !t.opts.Overwrite(tag.Key) })
}

// plan compares the wanted tags with those that are there. The caller holds the lock.
func (t *Tagger) plan(tk *task, now time.Time) plan {
	known := []map[string]string{tk.existing, tk.job.Resource.Tags}
	if tk.job.Upsert {
		// What we wrote stands for what a read may not show yet. Not so for a create: by the same name it made a new resource.
		known = append(known, t.memory.there(tk.key, now))
	}
	fold := tk.job.Resource.Service == "iam" // whose tag keys don't differ by case: Owner would replace owner
	var p plan
	there := 0
	for _, tag := range tk.job.Tags {
		replace := !tk.job.Upsert && t.opts.Overwrite(tag.Key)
		for i, tags := range known {
			if v, ok := value(tags, tag.Key, fold); ok && (i == 0 || !replace) {
				there++
				if v == tag.Value {
					p.right++
				} else if !replace {
					p.kept = append(p.kept, fmt.Sprintf("%s is %.80q", tag.Key, v))
				} else {
					p.write = append(p.write, tag)
				}
				break
			} else if i == len(known)-1 {
				p.write = append(p.write, tag)
			}
		}
	}
	if tk.job.Upsert && there > 0 && len(p.write) > 0 {
		p.write = nil
		p.kept = append(p.kept, "it has some of these tags, and this event need not have made it")
	}
	return p
}

func value(tags map[string]string, key string, fold bool) (string, bool) {
	v, ok := tags[key]
	if !ok && fold {
		for k, v := range tags {
			if strings.EqualFold(k, key) {
				return v, true
			}
		}
	}
	return v, ok
}

// tag reads, compares and writes one part of a batch.
func (r *run) tag(ctx context.Context, tasks []*task) {
	defer r.poke()
	// The turn to write comes first, so that the read is fresh however long that takes.
	if !r.opts.DryRun {
		if err := r.limiterOf(r.lane).wait(ctx); err != nil {
			return
		}
	}
	if tasks = r.readAlone(ctx, tasks); len(tasks) == 0 {
		return
	}
	if err := r.read(ctx, tasks); err != nil {
		r.failed(tasks, err)
		return
	}
	if !fresh(tasks) {
		if len(tasks) == 1 {
			r.later(tasks, classUnavailable, errors.New("reading the tags took too long"))
			return
		}
		r.first(halves(tasks)...)
		return
	}
	for i, set := range r.toWrite(tasks) {
		if i > 0 {
			if err := r.limiterOf(r.lane).wait(ctx); err != nil {
				return
			}
			if !fresh(set) {
				r.first(set)
				continue
			}
		}
		if err := r.write(ctx, set); err != nil {
			r.failed(set, err)
		}
	}
}

// toWrite ends the tasks that need no write and groups the others by what is to be written.
func (r *run) toWrite(tasks []*task) [][]*task {
	r.mu.Lock()
	defer r.mu.Unlock()
	var sets [][]*task
	index := map[string]int{}
	for _, tk := range tasks {
		tk.plan = r.plan(tk, time.Now())
		switch {
		case len(tk.plan.write) == 0:
			r.decideUnwritten(tk)
		case r.opts.DryRun:
			would := r.outcome(tk, resource.WouldTag, "", strings.Join(tk.plan.kept, "; "))
			would.Outcome.Job.Tags = tk.plan.write
			r.decide(tk, would)
		default:
			var keys strings.Builder
			for _, tag := range tk.plan.write {
				keys.WriteString(tag.Key + "\x00")
			}
			i, ok := index[keys.String()]
			if !ok {
				i = len(sets)
				index[keys.String()] = i
				sets = append(sets, nil)
			}
			sets[i] = append(sets[i], tk)
		}
	}
	return sets
}

// decideUnwritten ends a task whose plan has nothing to write. The caller holds the lock.
func (t *Tagger) decideUnwritten(tk *task) {
	if len(tk.plan.kept) > 0 {
		t.decide(tk, t.outcome(tk, resource.Kept, "", strings.Join(tk.plan.kept, "; ")))
		return
	}
	t.metrics.tagged(tk.job, t.opts.Now())
	t.decide(tk, t.outcome(tk, resource.Tagged, "", "the values were right already"))
}

// write makes one call that tags a set. The caller has waited for its turn.
func (r *run) write(ctx context.Context, set []*task) error {
	names := make([]string, len(set))
	for i, tk := range set {
		names[i] = target(tk.job.Resource)
	}
	if !set[0].job.Event.Backlog { // which travels apart
		r.metrics.batch.WithLabelValues(r.metrics.region(r.lane.scope.Region)).Observe(float64(len(set)))
	}
	tags := set[0].plan.write
	if r.lane.api == resource.EC2CreateTags {
		in := &ec2.CreateTagsInput{Resources: names}
		for _, tag := range tags {
			in.Tags = append(in.Tags, ec2types.Tag{Key: aws.String(tag.Key), Value: aws.String(tag.Value)})
		}
		if _, err := call(ctx, r, r.lane.api, true, r.api.CreateTags, in); err != nil {
			return err
		}
		r.wrote(set)
		return nil
	}
	if r.lane.api.Own() {
		return r.writeOwn(ctx, set[0])
	}
	in := &tagging.TagResourcesInput{ResourceARNList: names, Tags: map[string]string{}}
	for _, tag := range tags {
		in.Tags[tag.Key] = tag.Value
	}
	out, err := call(ctx, r, r.lane.api, true, r.api.TagResources, in)
	if err != nil {
		return err
	}
	var ok []*task
	failed := map[class][]*task{}
	for _, tk := range set {
		info, bad := out.FailedResourcesMap[tk.job.Resource.ARN]
		if !bad {
			ok = append(ok, tk)
			continue
		}
		c := classifyCode(string(info.ErrorCode), int(info.StatusCode))
		tk.job.LastError = fmt.Sprintf("%s: %s", info.ErrorCode, aws.ToString(info.ErrorMessage))
		failed[c] = append(failed[c], tk)
	}
	r.wrote(ok)
	for c, tasks := range failed {
		r.denials(c, tasks)
		for _, tk := range tasks {
			r.one(tk, c, tk.job.LastError)
		}
	}
	return nil
}

// wrote ends tasks whose tags AWS accepted.
func (r *run) wrote(set []*task) {
	if len(set) == 0 {
		return
	}
	r.fails = 0
	now, awsNow := time.Now(), r.opts.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, tk := range set {
		r.metrics.tagged(tk.job, awsNow)
		r.memory.prove(tk.job.Resource)
		r.memory.worked[worked{form(tk.job.Resource), r.lane.api}] = true
		if slices.Contains(tk.refusedBy, resource.TagResources) {
			r.memory.own[form(tk.job.Resource)] = instead{r.lane.api, now}
		}
		r.memory.wrote(tk, now)
		r.worked(tk, now)
		if len(tk.plan.kept) > 0 {
			r.decide(tk, r.outcome(tk, resource.Kept, "", strings.Join(tk.plan.kept, "; ")+"; the other tags were written"))
		} else {
			r.decide(tk, r.outcome(tk, resource.Tagged, "", ""))
		}
	}
}

// end ends one task.
func (r *run) end(tk *task, kind resource.OutcomeKind, reason resource.Reason, detail string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.decide(tk, r.outcome(tk, kind, reason, detail))
}

func halves(tasks []*task) [][]*task { return [][]*task{tasks[:len(tasks)/2], tasks[len(tasks)/2:]} }
