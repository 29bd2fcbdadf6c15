package tagger

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	tagging "github.com/aws/aws-sdk-go-v2/service/resourcegroupstaggingapi"

	"github.com/autotagd/autotagd/pkg/resource"
)

// maxFilterValues is how many values EC2 takes in one filter.
const maxFilterValues = 200

// maxPages ends a read that would go on for ever.
const maxPages = 1000

// fresh reports whether the tags of all tasks are known as they were a moment ago, as far as they have to be.
func fresh(tasks []*task) bool {
	return !slices.ContainsFunc(tasks, func(tk *task) bool {
		return !tk.readAt.IsZero() && time.Since(tk.readAt) > maxReadAge
	})
}

// read fetches the tags that are there, for those tasks of the part that need it.
func (r *run) read(ctx context.Context, tasks []*task) error {
	var need []*task
	for _, tk := range tasks {
		if r.mustRead(tk) && !readsAlone(tk.job.Resource) {
			need = append(need, tk)
		}
	}
	if r.lane.api == resource.EC2CreateTags {
		for chunk := range slices.Chunk(need, maxFilterValues) {
			if err := r.describeTags(ctx, chunk); err != nil {
				return err
			}
		}
		return nil
	}
	if len(need) == 0 {
		return nil
	}
	return r.getResources(ctx, need)
}

// describeTags reads the wanted keys of EC2 resources, whose tag set is the same.
func (r *run) describeTags(ctx context.Context, tasks []*task) error {
	byID := map[string]*task{}
	ids := ec2types.Filter{Name: aws.String("resource-id")}
	keys := ec2types.Filter{Name: aws.String("key")}
	for _, tk := range tasks {
		byID[tk.job.Resource.ID] = tk
		ids.Values = append(ids.Values, escapeFilter(tk.job.Resource.ID))
	}
	for _, tag := range tasks[0].job.Tags {
		keys.Values = append(keys.Values, escapeFilter(tag.Key))
	}
	in := &ec2.DescribeTagsInput{Filters: []ec2types.Filter{ids, keys}, MaxResults: aws.Int32(1000)}
	found := map[*task]map[string]string{}
	var at time.Time
	for range maxPages {
		if err := r.limiterOf(laneKey{r.lane.scope, describeTags}).wait(ctx); err != nil {
			return context.Canceled
		}
		if at.IsZero() {
			at = time.Now()
		}
		out, err := call(ctx, r, describeTags, true, r.api.DescribeTags, in)
		if err != nil {
			return err
		}
		for _, d := range out.Tags {
			tk := byID[aws.ToString(d.ResourceId)]
			if tk == nil {
				continue
			}
			if found[tk] == nil {
				found[tk] = map[string]string{}
			}
			found[tk][aws.ToString(d.Key)] = aws.ToString(d.Value)
		}
		if aws.ToString(out.NextToken) == "" {
			break
		}
		in.NextToken = out.NextToken
	}
	for _, tk := range tasks {
		tk.existing, tk.readAt = found[tk], at
	}
	return nil
}

// getResources reads the tags of other resources. One that was never tagged is not in the answer, and has none.
func (r *run) getResources(ctx context.Context, tasks []*task) error {
	byARN := map[string]*task{}
	in := &tagging.GetResourcesInput{}
	for _, tk := range tasks {
		byARN[tk.job.Resource.ARN] = tk
		in.ResourceARNList = append(in.ResourceARNList, tk.job.Resource.ARN)
	}
	if err := r.limiterOf(laneKey{r.lane.scope, getResources}).wait(ctx); err != nil {
		return context.Canceled
	}
	at := time.Now()
	// There are no further pages: a list of ARNs and the parameters of paging exclude each other.
	out, err := call(ctx, r, getResources, true, r.api.GetResources, in)
	if err != nil {
		return err
	}
	for _, tk := range tasks {
		tk.existing, tk.readAt = nil, at
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range out.ResourceTagMappingList {
		tk := byARN[aws.ToString(m.ResourceARN)]
		if tk == nil {
			continue
		}
		r.memory.prove(tk.job.Resource)
		tk.existing = map[string]string{}
		for _, tag := range m.Tags {
			tk.existing[aws.ToString(tag.Key)] = aws.ToString(tag.Value)
		}
	}
	return nil
}

// escapeFilter makes a filter value match itself alone: EC2 takes * and ? as wildcards.
func escapeFilter(v string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`).Replace(v)
}
