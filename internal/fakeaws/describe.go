package fakeaws

import (
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/autotagd/autotagd/pkg/event"
)

// maxFilterValues is EC2's limit on the values of all filters of a call.
const maxFilterValues = 200

// description is one of EC2's Describe calls for one type of resource.
type description struct {
	op, typ, idParam, set string
	least, most           int // MaxResults
	// filter returns what a filter compares with; ok is false for a filter that the fake does not know.
	filter func(r *Resource, name string) (values []string, ok bool)
	show   func(r *Resource, now time.Time) []node
}

func (a *AWS) describe(c *call, d description) answer {
	filters := c.filters()
	ids := c.params(d.idParam)
	values := 0
	for _, v := range filters {
		values += len(v)
	}
	switch {
	case values > maxFilterValues:
		return ec2Error(400, "FilterLimitExceeded", "The maximum number of filter values specified on a single call is 200")
	case len(ids) > 0 && c.form.Has("MaxResults"):
		return ec2Error(400, "InvalidParameterCombination", "The parameter "+strings.ToLower(d.idParam[:1])+d.idParam[1:]+"s cannot be used with the parameter maxResults")
	}
	var rows []*Resource
	var missing []string
	if len(ids) > 0 {
		for _, id := range ids {
			if r := a.find(c.scope, id, c.now); r != nil && r.Type == d.typ {
				rows = append(rows, r)
			} else {
				missing = append(missing, id)
			}
		}
		if len(missing) > 0 {
			prefix, _, _ := strings.Cut(missing[0], "-")
			if _, known := notFoundCodes(prefix); !known {
				return ec2Error(400, "InvalidParameterValue", "Invalid id: \""+missing[0]+"\"")
			}
			return a.notFound(prefix, missing)
		}
	} else {
		for r := range a.candidates(c.scope, filters) {
			if r.Type == d.typ && a.find(c.scope, r.ID, c.now) == r {
				rows = append(rows, r)
			}
		}
	}
	unknown := ""
	rows = slices.DeleteFunc(rows, func(r *Resource) bool {
		for name, want := range filters {
			have, ok := matchable(d, r, name)
			if !ok {
				unknown = name
			}
			if !slices.ContainsFunc(have, func(v string) bool { return slices.Contains(want, v) }) {
				return true
			}
		}
		return false
	})
	if unknown != "" {
		return ec2Error(400, "InvalidParameterValue", "The filter '"+unknown+"' is invalid")
	}
	slices.SortFunc(rows, func(x, y *Resource) int { return strings.Compare(x.ID, y.ID) })
	rows, next, bad := page(c, slices.Compact(rows), d.least, d.most, func(r *Resource) string { return r.ID })
	if bad != nil {
		return *bad
	}
	return ec2OK(d.op, append(next, list(d.set, rows, func(r *Resource) []node { return d.show(r, c.now) }))...)
}

// candidates are a Scope's resources, or only those of the instances that a filter names: a busy account has a hundred thousand.
func (a *AWS) candidates(s event.Scope, filters map[string][]string) iter.Seq[*Resource] {
	parents, ok := filters["attachment.instance-id"]
	if !ok {
		return maps.Values(a.byID[s])
	}
	return func(yield func(*Resource) bool) {
		for _, p := range parents {
			for _, r := range a.byParent[p] {
				if !yield(r) {
					return
				}
			}
		}
	}
}

// matchable returns what a filter of any description, or of d alone, compares with.
func matchable(d description, r *Resource, name string) ([]string, bool) {
	if key, ok := strings.CutPrefix(name, "tag:"); ok {
		if v, has := r.Tags[key]; has {
			return []string{v}, true
		}
		return nil, true
	}
	if name == "tag-key" {
		return slices.Collect(maps.Keys(r.Tags)), true
	}
	return d.filter(r, name)
}

func tagSet(r *Resource) node {
	return list("tagSet", slices.Sorted(maps.Keys(r.Tags)), func(k string) []node {
		return []node{el("key", k), el("value", r.Tags[k])}
	})
}

// children returns what belongs to a resource, in the order of ids.
func (a *AWS) children(r *Resource, typ string) []*Resource {
	var out []*Resource
	for _, o := range a.byParent[r.ID] {
		if o.Type == typ && o.exists() {
			out = append(out, o)
		}
	}
	slices.SortFunc(out, func(x, y *Resource) int { return strings.Compare(x.attrs["device"]+x.ID, y.attrs["device"]+y.ID) })
	return out
}

func (a *AWS) describeInstances(c *call) answer {
	return a.describe(c, description{
		op: "DescribeInstances", typ: "instance", idParam: "InstanceId", set: "reservationSet", least: 5, most: 1000,
		filter: func(r *Resource, name string) ([]string, bool) {
			switch name {
			case "instance-id":
				return []string{r.ID}, true
			case "instance-state-name":
				return []string{"running"}, true
			case "image-id":
				return []string{r.attrs["image"]}, true
			case "network-interface.network-interface-id":
				return []string{r.attrs["interface"]}, true
			default:
				return nil, false
			}
		},
		show: func(r *Resource, now time.Time) []node {
			volumes := a.children(r, "volume")
			all := len(volumes)
			volumes = slices.DeleteFunc(volumes, func(v *Resource) bool { return v.consistentAt.After(now) })
			state := []node{el("code", "16"), el("name", "running")}
			if len(volumes) < all { // it runs once they are attached
				state = []node{el("code", "0"), el("name", "pending")}
			}
			instance := []node{
				el("instanceId", r.ID), el("imageId", r.attrs["image"]),
				{name: "instanceState", children: state},
				el("instanceType", "t3.micro"), el("launchTime", r.CreatedAt), el("rootDeviceName", "/dev/sda"), el("rootDeviceType", "ebs"),
				list("blockDeviceMapping", volumes, func(v *Resource) []node {
					return []node{el("deviceName", v.attrs["device"]), el("ebs", el("volumeId", v.ID), el("status", "attached"),
						el("attachTime", v.CreatedAt), el("deleteOnTermination", "true"))}
				}),
				list("networkInterfaceSet", []string{r.attrs["interface"]}, func(id string) []node {
					return []node{el("networkInterfaceId", id), el("ownerId", r.Scope.AccountID), el("status", "in-use"), el("attachment",
						el("attachmentId", "eni-attach-0"+digest(id, "attach")[:16]), el("deviceIndex", "0"), el("status", "attached"), el("deleteOnTermination", "true"))}
				}),
				tagSet(r),
			}
			return []node{
				el("reservationId", "r-0"+digest(r.EventID)[:16]), el("ownerId", r.Scope.AccountID),
				{name: "instancesSet", children: []node{{name: "item", children: instance}}},
			}
		},
	})
}

func (a *AWS) describeVolumes(c *call) answer {
	return a.describe(c, description{
		op: "DescribeVolumes", typ: "volume", idParam: "VolumeId", set: "volumeSet", least: 5, most: 1000,
		filter: func(r *Resource, name string) ([]string, bool) {
			switch name {
			case "volume-id":
				return []string{r.ID}, true
			case "attachment.instance-id":
				return one(r.Parent), true
			case "attachment.status":
				if r.Parent == "" {
					return nil, true
				}
				return []string{"attached"}, true
			case "status":
				return []string{volumeStatus(r)}, true
			default:
				return nil, false
			}
		},
		show: func(r *Resource, _ time.Time) []node {
			return []node{
				el("volumeId", r.ID), el("size", r.attrs["size"]), el("status", volumeStatus(r)), el("createTime", r.CreatedAt),
				el("availabilityZone", r.Scope.Region+"a"), el("volumeType", "gp3"), el("encrypted", "true"),
				list("attachmentSet", one(r.Parent), func(instance string) []node {
					return []node{
						el("volumeId", r.ID), el("instanceId", instance), el("device", r.attrs["device"]), el("status", "attached"),
						el("attachTime", r.CreatedAt), el("deleteOnTermination", "true"),
					}
				}),
				tagSet(r),
			}
		},
	})
}

func volumeStatus(r *Resource) string {
	if r.Parent == "" {
		return "available"
	}
	return "in-use"
}

// one is a list of s, or none for "".
func one(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}

func imageState(r *Resource, now time.Time) string {
	if r.readyAt.After(now) {
		return "pending"
	}
	return "available"
}

func (a *AWS) describeImages(c *call) answer {
	return a.describe(c, description{
		op: "DescribeImages", typ: "image", idParam: "ImageId", set: "imagesSet", least: 1, most: 1000,
		filter: func(r *Resource, name string) ([]string, bool) {
			switch name {
			case "image-id":
				return []string{r.ID}, true
			case "state":
				return []string{imageState(r, c.now)}, true
			case "name":
				return []string{r.attrs["name"]}, true
			default:
				return nil, false
			}
		},
		show: func(r *Resource, now time.Time) []node {
			var snapshots []*Resource
			if !r.readyAt.After(now) { // a pending image has no mapping
				snapshots = a.children(r, "snapshot")
			}
			return []node{
				el("imageId", r.ID), el("imageState", imageState(r, now)), el("imageOwnerId", r.Scope.AccountID), el("name", r.attrs["name"]),
				el("creationDate", r.CreatedAt), el("isPublic", "false"), el("rootDeviceType", "ebs"), el("rootDeviceName", "/dev/xvda"),
				el("sourceInstanceId", r.attrs["instance"]),
				list("blockDeviceMapping", snapshots, func(s *Resource) []node {
					return []node{el("deviceName", "/dev/xvda"), el("ebs", el("snapshotId", s.ID), el("volumeSize", "8"), el("deleteOnTermination", "true"), el("volumeType", "gp3"))}
				}),
				tagSet(r),
			}
		},
	})
}

func (a *AWS) describeSnapshots(c *call) answer {
	return a.describe(c, description{
		op: "DescribeSnapshots", typ: "snapshot", idParam: "SnapshotId", set: "snapshotSet", least: 5, most: 1000,
		filter: func(r *Resource, name string) ([]string, bool) {
			switch name {
			case "snapshot-id":
				return []string{r.ID}, true
			case "volume-id":
				return []string{r.attrs["volume"]}, true
			case "status":
				return []string{"completed"}, true
			case "owner-id":
				return []string{r.Scope.AccountID}, true
			default:
				return nil, false
			}
		},
		show: func(r *Resource, _ time.Time) []node {
			return []node{
				el("snapshotId", r.ID), el("volumeId", r.attrs["volume"]), el("status", "completed"), el("startTime", r.CreatedAt), el("progress", "100%"),
				el("ownerId", r.Scope.AccountID), el("volumeSize", "8"), el("encrypted", "true"), tagSet(r),
			}
		},
	})
}

func (a *AWS) describeNetworkInterfaces(c *call) answer {
	return a.describe(c, description{
		op: "DescribeNetworkInterfaces", typ: "network-interface", idParam: "NetworkInterfaceId", set: "networkInterfaceSet", least: 5, most: 1000,
		filter: func(r *Resource, name string) ([]string, bool) {
			switch name {
			case "network-interface-id":
				return []string{r.ID}, true
			case "attachment.instance-id":
				return one(r.Parent), true
			case "status":
				if r.Parent == "" {
					return []string{"available"}, true
				}
				return []string{"in-use"}, true
			default:
				return nil, false
			}
		},
		show: func(r *Resource, _ time.Time) []node {
			out := []node{
				el("networkInterfaceId", r.ID), el("ownerId", r.Scope.AccountID), el("status", "available"), el("interfaceType", "interface"),
				el("requesterManaged", "false"), el("availabilityZone", r.Scope.Region+"a"), tagSet(r),
			}
			if r.Parent != "" {
				out[2] = el("status", "in-use")
				out = append(out, el("attachment", el("attachmentId", "eni-attach-0"+digest(r.ID, "attach")[:16]), el("instanceId", r.Parent),
					el("deviceIndex", "0"), el("status", "attached"), el("deleteOnTermination", "true")))
			}
			return out
		},
	})
}
