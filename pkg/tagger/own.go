package tagger

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/autotagd/autotagd/pkg/event"
	"github.com/autotagd/autotagd/pkg/resource"
)

// A service's own calls know one resource at a time, and each in its own way. They are made where TagResources can't tag a
// kind, or refused it, and to read the tags of what GetResources never lists.

// errChanged says that somebody wrote tags at the same time as we did, where a write is the whole new set.
var errChanged = errors.New("its tags were changed at the same time")

// readsAlone reports whether the tags of a resource are to be had from its service, or from nobody. A few services have no such
// read: where the ARN is known, GetResources may list what their own call tags, in TagResources' place.
func readsAlone(r resource.Resource) bool {
	if !r.TagAPI.Own() || unlisted[r.Service] {
		return r.TagAPI != resource.EC2CreateTags && unlisted[r.Service]
	}
	call := r.OwnCall()
	return r.ARN == "" || call == nil || call.Read != ""
}

// replaces says how the call that tags the resource treats tags that it isn't given: see resource.Call.
func replaces(r resource.Resource) string {
	if call := r.OwnCall(); call != nil && r.TagAPI.Own() {
		return call.Replaces
	}
	return ""
}

// readAlone reads, one by one, the tags that can be had only from the services. It returns the part without the tasks where that failed,
// and without those that have no such read where a blind write would risk somebody's tags.
func (r *run) readAlone(ctx context.Context, tasks []*task) []*task {
	var left []*task
	// Reads that fail for everybody, by action: one by one the others would take as long, or add to the throttling.
	down, row, behind := map[*group]error{}, map[*group]int{}, map[*group][]*task{}
	for _, tk := range tasks {
		tk.existing, tk.readAt = nil, time.Time{}
		if !readsAlone(tk.job.Resource) || !r.mustRead(tk) {
			left = append(left, tk)
			continue
		}
		if down[tk.group] != nil {
			behind[tk.group] = append(behind[tk.group], tk)
			continue
		}
		known, err := r.ownTags(ctx, tk)
		switch {
		case err != nil:
			c := classify(err)
			row[tk.group]++ // one alone may be to blame, or have met a moment's throttling
			if c == classCredentials || (c == classThrottled || c == classUnavailable) && row[tk.group] >= outageInRow {
				down[tk.group] = err
			}
			r.failed([]*task{tk}, err)
		case known:
			row[tk.group] = 0
			left = append(left, tk)
		case replaces(tk.job.Resource) != "":
			r.end(tk, resource.Missed, resource.Unsupported, "its tags can't be read, and its tag call would replace them")
		case tk.job.Upsert:
			r.end(tk, resource.Kept, "", "its tags can't be read, and this event need not have made it")
		case r.opts.Now().Sub(tk.job.Event.Time) > unreadableAge:
			r.end(tk, resource.Kept, "", "its tags can't be read, and the event is older than a day")
		default:
			left = append(left, tk)
		}
	}
	for g, tasks := range behind {
		r.later(tasks, classify(down[g]), down[g])
	}
	return left
}

// ownTags reads the tags of one resource; known is false for a kind that has no such read.
func (r *run) ownTags(ctx context.Context, tk *task) (known bool, err error) {
	own := tk.job.Resource.OwnCall()
	if r.api.OwnTags == nil || own == nil || own.Read == "" {
		return false, nil
	}
	at := time.Time{}
	read := func(ctx context.Context, in *resource.Call, _ ...func(*struct{})) (*map[string]string, error) {
		at = time.Now()
		tags, err := r.api.OwnTags(ctx, tk.job.Resource.Service, *in)
		return &tags, err
	}
	tags, err := call(ctx, r, own.Read, false, read, own)
	if err != nil {
		return false, err
	}
	tk.existing, tk.readAt = *tags, at
	return true, nil
}

// writeOwn tags one resource by its service's own call. The caller has waited for its turn.
func (r *run) writeOwn(ctx context.Context, tk *task) error {
	own := tk.job.Resource.OwnCall()
	if r.api.OwnTag == nil || own == nil {
		r.end(tk, resource.Missed, resource.Unsupported, "there is no call "+string(r.lane.api))
		return nil
	}
	tags := tk.plan.write
	if own.Replaces != "" {
		tags = merged(tk.existing, tags, own.Replaces)
	}
	write := func(ctx context.Context, in *resource.Call, _ ...func(*struct{})) (*struct{}, error) {
		return &struct{}{}, r.api.OwnTag(ctx, tk.job.Resource.Service, *in, tags)
	}
	if _, err := call(ctx, r, r.lane.api, true, write, own); err != nil {
		return err
	}
	if own.Replaces != "" {
		// Another's write between our read and ours is lost, and ours if it came later: at least that is seen.
		if _, err := r.ownTags(ctx, tk); err != nil {
			return err
		}
		for _, tag := range tags {
			if tk.existing[tag.Key] != tag.Value {
				r.one(tk, classBusy, errChanged.Error())
				return nil
			}
		}
	}
	r.wrote([]*task{tk})
	return nil
}

// merged returns the whole set of tags that a resource with existing ones is to have, sorted by key.
func merged(existing map[string]string, write []resource.Tag, replaces string) []resource.Tag {
	all := maps.Clone(existing)
	if all == nil {
		all = map[string]string{}
	}
	if replaces != "all" {
		maps.DeleteFunc(all, func(key, _ string) bool { return strings.HasPrefix(key, "aws:") })
	}
	for _, tag := range write {
		all[tag.Key] = tag.Value
	}
	tags := make([]resource.Tag, 0, len(all))
	for _, key := range sortedKeys(all) {
		tags = append(tags, resource.Tag{Key: key, Value: all[key]})
	}
	return tags
}

// fallBack has another of the service's own calls tag a resource, of a kind that the call before is none for by the look of
// it: c is its answer. It reports false when there is none left, or when that call tagged such a resource before. The caller
// holds the lock.
func (r *run) fallBack(tk *task, c class, now time.Time) bool {
	res := &tk.job.Resource
	kind := form(*res)
	if tk.abandoned || res.TagAPI == resource.EC2CreateTags || r.memory.worked[worked{kind, res.TagAPI}] && r.memory.own[kind].api == "" || tk.job.Expand != resource.ExpandNone {
		return false
	}
	if !slices.Contains(tk.refusedBy, res.TagAPI) {
		tk.refusedBy = append(tk.refusedBy, res.TagAPI)
	}
	next := slices.IndexFunc(res.Own, func(c resource.Call) bool { return !slices.Contains(tk.refusedBy, c.API) })
	if next < 0 {
		return false
	}
	r.opts.Log.Debug("another call tags it, perhaps", zap.String("resource", event.Printable(target(*res), 512)),
		zap.String("refused_by", string(res.TagAPI)), zap.String("api", string(res.Own[next].API)))
	if res.TagAPI == resource.TagResources {
		tk.doubted = c == classUnanswered || c == classRefused
	}
	res.TagAPI = res.Own[next].API
	tk.unanswered = 0
	r.regroup(tk, now)
	r.delay(tk, now)
	return true
}

// comeBack has a task that fell back wait for TagResources again, where the call that it fell back to does no better: what
// sent it there may have been an outage. The next attempt tries both. It reports false where TagResources was clear about the
// resource. The caller holds the lock.
func (r *run) comeBack(tk *task, now time.Time) bool {
	if tk.abandoned || !tk.doubted || !slices.Contains(tk.refusedBy, resource.TagResources) {
		return false
	}
	tk.job.Resource.TagAPI, tk.refusedBy = resource.TagResources, nil
	tk.unanswered, tk.unansweredAt = 1, now // once more is enough
	r.regroup(tk, now)
	return true
}
