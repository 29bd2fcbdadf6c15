package tagger

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/autotagd/autotagd/pkg/event"
	"github.com/autotagd/autotagd/pkg/resource"
)

// madeWithin is how far from the event a volume was created, or an interface attached, that the launch made. What was
// attached later has an event of its own.
const madeWithin = 5 * time.Minute

// describeAge is how old an event is before what its call made is described.
const describeAge = 30 * time.Second

// volume is what the two descriptions say of one: when it was created, as far as known.
type volume struct {
	id   string
	made *time.Time
	tags []ec2types.Tag
}

// expandVolumes finds the volumes and interfaces of launched instances. Filters, not lists of ids: one id that is gone
// would fail the call for all.
func (r *run) expandVolumes(ctx context.Context, tasks []*task) {
	defer r.poke()
	ids := pendingIDs(tasks)
	volumes := map[string][]volume{} // by instance
	instances := map[string]ec2types.Instance{}
	for chunk := range slices.Chunk(ids, maxFilterValues) {
		// Instances first: a volume that a complete mapping names is then there to be described.
		in := &ec2.DescribeInstancesInput{Filters: filter("instance-id", chunk), MaxResults: aws.Int32(1000)}
		for range maxPages {
			out, err := call(ctx, r, describeInstances, false, r.api.DescribeInstances, in)
			if err != nil {
				r.failed(tasks, err)
				return
			}
			for _, reservation := range out.Reservations {
				for _, instance := range reservation.Instances {
					instances[aws.ToString(instance.InstanceId)] = instance
				}
			}
			if aws.ToString(out.NextToken) == "" {
				break
			}
			in.NextToken = out.NextToken
		}
		vin := &ec2.DescribeVolumesInput{Filters: filter("attachment.instance-id", chunk), MaxResults: aws.Int32(500)}
		for range maxPages {
			out, err := call(ctx, r, describeVolumes, false, r.api.DescribeVolumes, vin)
			if err != nil {
				r.failed(tasks, err)
				return
			}
			for _, v := range out.Volumes {
				for _, a := range v.Attachments {
					id := aws.ToString(a.InstanceId)
					volumes[id] = append(volumes[id], volume{id: aws.ToString(v.VolumeId), made: v.CreateTime, tags: v.Tags})
				}
			}
			if aws.ToString(out.NextToken) == "" {
				break
			}
			vin.NextToken = out.NextToken
		}
	}
	for _, tk := range tasks {
		tk.pending = slices.DeleteFunc(slices.Clone(pendingIDs([]*task{tk})), func(id string) bool {
			instance, found := instances[id]
			n := tk.addVolumes(volumes[id], instance)
			tk.terminated = tk.terminated || found && terminated(instance)
			tk.addInterfaces(instance)
			return found && complete(instance, n)
		})
		r.expanded(tk, len(tk.pending) == 0, "its instances are not complete yet, or gone")
	}
}

// complete reports whether the description of an instance shows all that its launch made, n volumes among it.
func complete(instance ec2types.Instance, n int) bool {
	if instance.State == nil {
		return n > 0
	}
	if instance.State.Name == ec2types.InstanceStateNamePending {
		return false
	}
	if terminated(instance) {
		return true
	}
	return n > 0 || instance.RootDeviceType == ec2types.DeviceTypeInstanceStore
}

func terminated(instance ec2types.Instance) bool {
	return instance.State != nil &&
		(instance.State.Name == ec2types.InstanceStateNameTerminated || instance.State.Name == ec2types.InstanceStateNameShuttingDown)
}

// addVolumes notes the volumes that the launch made and returns how many the instance has, made by it or not.
func (tk *task) addVolumes(described []volume, instance ec2types.Instance) int {
	all := slices.Clone(described)
	for _, m := range instance.BlockDeviceMappings {
		if m.Ebs == nil || slices.ContainsFunc(all, func(v volume) bool { return v.id == aws.ToString(m.Ebs.VolumeId) }) {
			continue
		}
		all = append(all, volume{id: aws.ToString(m.Ebs.VolumeId), made: m.Ebs.AttachTime})
	}
	for _, v := range all {
		if tk.madeByCall(v.made) {
			tk.add("volume", v.id, "AWS::EC2::Volume", v.tags)
		}
	}
	return len(all)
}

func (tk *task) addInterfaces(instance ec2types.Instance) {
	for _, ni := range instance.NetworkInterfaces {
		var attached *time.Time
		if ni.Attachment != nil {
			attached = ni.Attachment.AttachTime
		}
		if tk.madeByCall(attached) {
			tk.add("network-interface", aws.ToString(ni.NetworkInterfaceId), "AWS::EC2::NetworkInterface", nil)
		}
	}
}

// madeByCall reports whether what was made at a time can be the call's; nothing is known of nil.
func (tk *task) madeByCall(at *time.Time) bool {
	when := tk.job.Event.Time
	return at == nil || when.IsZero() || at.Sub(when).Abs() <= madeWithin
}

// expandImages finds the snapshots of new images.
func (r *run) expandImages(ctx context.Context, tasks []*task) {
	defer r.poke()
	images := map[string]ec2types.Image{}
	for chunk := range slices.Chunk(pendingIDs(tasks), maxFilterValues) {
		in := &ec2.DescribeImagesInput{Filters: filter("image-id", chunk), MaxResults: aws.Int32(1000)}
		for range maxPages {
			out, err := call(ctx, r, describeImages, false, r.api.DescribeImages, in)
			if err != nil {
				r.failed(tasks, err)
				return
			}
			for _, image := range out.Images {
				images[aws.ToString(image.ImageId)] = image
			}
			if aws.ToString(out.NextToken) == "" {
				break
			}
			in.NextToken = out.NextToken
		}
	}
	for _, tk := range tasks {
		making := false
		tk.pending = slices.DeleteFunc(slices.Clone(pendingIDs([]*task{tk})), func(id string) bool {
			image, found := images[id]
			if !found {
				return false
			}
			n, whole := 0, true
			for _, m := range image.BlockDeviceMappings {
				switch {
				case m.Ebs == nil:
				case aws.ToString(m.Ebs.SnapshotId) == "":
					whole = false
				default:
					n++
					tk.add("snapshot", aws.ToString(m.Ebs.SnapshotId), "ec2:snapshot", nil)
				}
			}
			if image.State == ec2types.ImageStatePending && (n == 0 || !whole) {
				making = true // without a mapping it is still being made, not empty
				return false
			}
			return true
		})
		if making {
			r.mu.Lock()
			r.worked(tk, time.Now())
			r.mu.Unlock()
			r.one(tk, classBusy, "the image is still being made")
			continue
		}
		r.expanded(tk, len(tk.pending) == 0, "the image is not visible yet, or gone")
	}
}

// expanded ends an expansion that is complete, or whose missing rest is to be taken for gone, and tries the others again.
func (r *run) expanded(tk *task, complete bool, why string) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fails = 0
	if !complete && !r.ripe(tk, now) {
		r.fail(tk, resource.Exhausted, why, now.Add(notFoundDelay), now)
		return
	}
	r.worked(tk, now)
	if len(tk.found) == 0 && (!complete || tk.terminated) {
		// Nobody else knows what the call made besides: that must not pass for 'nothing'.
		kind, reason := resource.Gone, resource.Reason("")
		if tk.job.Expand == resource.ExpandImageSnapshots {
			kind, reason = resource.Missed, resource.Unresolved // deregistering an image leaves its snapshots
		}
		if tk.terminated {
			why = "its instances are terminated"
		}
		r.decide(tk, r.outcome(tk, kind, reason, why+": what it was made of cannot be found"))
		return
	}
	res := r.result(tk, Expanded)
	for _, id := range sortedKeys(tk.found) {
		res.Expanded = append(res.Expanded, resource.Job{
			Event: tk.job.Event, Resource: tk.found[id], Tags: tk.job.Tags, Owner: tk.job.Owner,
		})
	}
	r.decide(tk, res)
}

// add notes a resource that the call made.
func (tk *task) add(kind, id, typ string, tags []ec2types.Tag) {
	if id == "" || slices.Contains(tk.job.ExpandSkip, id) {
		return
	}
	scope := tk.job.Resource.Scope
	account := scope.AccountID
	if kind == "snapshot" {
		account = "" // EC2's ARNs of images and snapshots name none
	}
	res := resource.Resource{
		ARN: event.ARN{Partition: event.Partition(scope.Region), Service: "ec2", Region: scope.Region, AccountID: account, Resource: kind + "/" + id}.String(),
		ID:  id, Type: typ, Service: "ec2", Scope: scope,
		TagAPI: resource.EC2CreateTags, IAMAction: string(resource.EC2CreateTags), Confidence: resource.Verified,
	}
	for _, tag := range tags {
		if res.Tags == nil {
			res.Tags = map[string]string{}
		}
		res.Tags[aws.ToString(tag.Key)] = aws.ToString(tag.Value)
	}
	if tk.found == nil {
		tk.found = map[string]resource.Resource{}
	}
	tk.found[id] = res
}

// pendingIDs returns the ids that the tasks still have to describe, each once.
func pendingIDs(tasks []*task) []string {
	var ids []string
	for _, tk := range tasks {
		if tk.pending == nil {
			tk.pending = tk.job.ExpandIDs
		}
		ids = append(ids, tk.pending...)
	}
	slices.SortFunc(ids, strings.Compare)
	return slices.Compact(ids)
}

func filter(name string, values []string) []ec2types.Filter {
	f := ec2types.Filter{Name: aws.String(name)}
	for _, v := range values {
		f.Values = append(f.Values, escapeFilter(v))
	}
	return []ec2types.Filter{f}
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
