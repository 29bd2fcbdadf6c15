package tagger

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/autotagd/autotagd/pkg/resource"
)

// launch adds an instance with volumes and interfaces, made at the event's time.
func (f *fakeAWS) launch(id string, made time.Time, volumes, interfaces []string) {
	instance := ec2types.Instance{
		InstanceId: &id, State: &ec2types.InstanceState{Name: ec2types.InstanceStateNameRunning}, RootDeviceType: ec2types.DeviceTypeEbs,
	}
	for _, v := range volumes {
		instance.BlockDeviceMappings = append(instance.BlockDeviceMappings, ec2types.InstanceBlockDeviceMapping{Ebs: &ec2types.EbsInstanceBlockDevice{VolumeId: &v, AttachTime: &made}})
		f.mu.Lock()
		f.volumes = append(f.volumes, ec2types.Volume{VolumeId: &v, CreateTime: &made, Attachments: []ec2types.VolumeAttachment{{InstanceId: &id}}})
		f.mu.Unlock()
		f.make(v)
	}
	for _, n := range interfaces {
		instance.NetworkInterfaces = append(instance.NetworkInterfaces, ec2types.InstanceNetworkInterface{NetworkInterfaceId: &n, Attachment: &ec2types.InstanceNetworkInterfaceAttachment{AttachTime: &made}})
		f.make(n)
	}
	f.mu.Lock()
	f.instances[id] = instance
	f.mu.Unlock()
	f.make(id)
}

func expandJob(kind resource.Expand, owner string, ids ...string) resource.Job {
	j := ec2Job(ids[0], owner)
	j.Expand, j.ExpandIDs = kind, ids
	return j
}

// made returns the Jobs that an expansion found.
func (w *world) made(j resource.Job) []resource.Job {
	return w.end(j).Expanded
}

func names(jobs []resource.Job) []string {
	var ids []string
	for _, j := range jobs {
		ids = append(ids, j.Resource.ID)
	}
	return ids
}

func TestExpandLaunch(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		f.pageSize = 1
		w := start(t, f, nil)
		made := time.Now().Add(-3*time.Minute + time.Second)
		f.launch("i-1", made, []string{"vol-1a", "vol-1b", "vol-1c"}, []string{"eni-1", "eni-passed-in", "eni-named"})
		f.launch("i-2", made, []string{"vol-2"}, []string{"eni-2"})
		later := made.Add(time.Hour)
		f.volumes = append(f.volumes, ec2types.Volume{VolumeId: aws.String("vol-later"), CreateTime: &later, Attachments: []ec2types.VolumeAttachment{{InstanceId: aws.String("i-1")}}})
		f.make("vol-later")
		f.volumes[0].Tags = []ec2types.Tag{{Key: aws.String("Owner"), Value: aws.String("bob")}}
		f.make("vol-1a", "Owner", "bob")
		e := expandJob(resource.ExpandInstanceVolumes, "ann", "i-1", "i-2")
		e.ExpandSkip = []string{"eni-passed-in"}
		sibling := ec2Job("eni-named", "ann")
		sibling.Event = e.Event
		w.submit(e, sibling)
		time.Sleep(30 * time.Second)
		w.want(e, "expanded")
		jobs := w.made(e)
		if got, want := names(jobs), []string{"eni-1", "eni-2", "vol-1a", "vol-1b", "vol-1c", "vol-2"}; !slices.Equal(got, want) {
			t.Errorf("found %v, want %v", got, want)
		}
		for _, j := range jobs {
			want := "tagged"
			if j.Resource.ID == "vol-1a" {
				want = "kept"
			}
			w.want(j, want)
			if j.Event != e.Event || j.Owner != "ann" || j.Resource.TagAPI != resource.EC2CreateTags || j.Resource.Service != "ec2" || j.Resource.IAMAction != "ec2:CreateTags" {
				t.Errorf("found Job %+v", j)
			}
		}
		if got, want := jobs[2].Resource.ARN, "arn:aws:ec2:eu-west-3:123456789012:volume/vol-1a"; got != want {
			t.Errorf("ARN %s, want %s", got, want)
		}
		if got := jobs[2].Resource.Tags["Owner"]; got != "bob" {
			t.Errorf("Owner %q in the description", got)
		}
		if len(f.tagsOf("vol-later"))+len(f.tagsOf("eni-passed-in")) != 0 {
			t.Error("tagged what the call did not make")
		}
	})
}

// Many launches are described by few calls.
func TestExpandInBulk(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		w := start(t, f, nil)
		made := time.Now().Add(-3 * time.Minute)
		var jobs []resource.Job
		for i := range 300 {
			id := fmt.Sprintf("i-%03d", i)
			f.launch(id, made, []string{"vol-" + id}, nil)
			jobs = append(jobs, expandJob(resource.ExpandInstanceVolumes, fmt.Sprint("p", i%10), id))
		}
		w.submit(jobs...)
		time.Sleep(3 * time.Minute)
		for i := range 300 {
			if got := f.tagsOf(fmt.Sprintf("vol-i-%03d", i))["Owner"]; got != fmt.Sprint("p", i%10) {
				t.Fatalf("volume %d has Owner %q", i, got)
			}
		}
		filters := map[string]bool{}
		for _, c := range f.of(describeVolumes) {
			filters[c.names[0]] = true
		}
		if len(filters) != 2 {
			t.Errorf("volumes described by %d filters, want 2", len(filters))
		}
		big := expandJob(resource.ExpandInstanceVolumes, "ann", "i-000")
		for i := range 450 { // of one launch
			big.ExpandIDs = append(big.ExpandIDs, fmt.Sprintf("i-%03d", i))
		}
		big.Event.ID = "big"
		w.submit(big)
		time.Sleep(5 * time.Minute)
		if got := len(w.made(big)); got != 300 {
			t.Errorf("%d found of one big launch, want 300", got)
		}
	})
}

func TestExpandWaits(t *testing.T) {
	state := func(name ec2types.InstanceStateName) func(f *fakeAWS, i *ec2types.Instance) {
		return func(_ *fakeAWS, i *ec2types.Instance) { i.State.Name = name }
	}
	for _, tt := range []struct {
		name          string
		change        func(f *fakeAWS, i *ec2types.Instance)
		settles       time.Duration // then it is running and complete
		age           time.Duration
		want          int
		after, before time.Duration
	}{
		{"nothing", func(*fakeAWS, *ec2types.Instance) {}, 0, time.Minute, 2, 3 * time.Second, 5 * time.Second},
		{"for a pending instance", state(ec2types.InstanceStateNamePending), 30 * time.Second, 10 * time.Second, 2, 30 * time.Second, 50 * time.Second},
		{"for one that stays pending, until it is old", state(ec2types.InstanceStateNamePending), 0, 10 * time.Second, 2, 100 * time.Second, 130 * time.Second},
		{"not for a terminated one", func(f *fakeAWS, i *ec2types.Instance) {
			i.State.Name, i.BlockDeviceMappings, i.NetworkInterfaces, f.volumes = ec2types.InstanceStateNameTerminated, nil, nil, nil
		}, 0, time.Minute, 0, 3 * time.Second, 5 * time.Second},
		{"for a running one without volumes", func(f *fakeAWS, i *ec2types.Instance) { i.BlockDeviceMappings, f.volumes = nil, nil }, 30 * time.Second, 10 * time.Second, 2, 30 * time.Second, 50 * time.Second},
		{"not when it never has any", func(f *fakeAWS, i *ec2types.Instance) {
			i.BlockDeviceMappings, f.volumes, i.RootDeviceType = nil, nil, ec2types.DeviceTypeInstanceStore
		}, 0, time.Minute, 1, 3 * time.Second, 5 * time.Second},
		{"for the mapping or the volume, whichever is there", func(f *fakeAWS, _ *ec2types.Instance) { f.volumes = nil }, 0, time.Minute, 2, 3 * time.Second, 5 * time.Second},
		{"without a state", func(_ *fakeAWS, i *ec2types.Instance) { i.State = nil }, 0, time.Minute, 2, 3 * time.Second, 5 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				f := newFake(t)
				begin := time.Now()
				e := expandJob(resource.ExpandInstanceVolumes, "ann", "i-1")
				e.Event.Time = begin.Add(-tt.age)
				f.launch("i-1", e.Event.Time, []string{"vol-1"}, []string{"eni-1"})
				whole, volumes := f.instances["i-1"], f.volumes
				part := whole
				part.State = &ec2types.InstanceState{Name: whole.State.Name}
				tt.change(f, &part)
				f.instances["i-1"] = part
				w := start(t, f, nil)
				w.submit(e)
				if tt.settles > 0 {
					time.Sleep(tt.settles)
					f.mu.Lock()
					f.instances["i-1"], f.volumes = whole, volumes
					f.mu.Unlock()
				}
				time.Sleep(5 * time.Minute)
				outcome := "expanded"
				if tt.want == 0 { // what a terminated one was made of is not nothing
					outcome = "gone"
				}
				w.want(e, outcome)
				if got := w.made(e); len(got) != tt.want {
					t.Errorf("found %v, want %d", names(got), tt.want)
				}
				if took := w.when(e).Sub(begin); took < tt.after || took > tt.before {
					t.Errorf("took %v, want %v to %v", took, tt.after, tt.before)
				}
			})
		})
	}
}

// An instance that is gone ends the expansion with what the others made.
func TestExpandPartly(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		w := start(t, f, nil)
		f.launch("i-1", time.Now().Add(-3*time.Minute), []string{"vol-1"}, nil)
		e := expandJob(resource.ExpandInstanceVolumes, "ann", "i-1", "i-gone")
		w.submit(e)
		time.Sleep(2 * time.Minute)
		w.want(e, "expanded")
		if got := names(w.made(e)); !slices.Equal(got, []string{"vol-1"}) {
			t.Errorf("found %v", got)
		}
	})
}

// A description that fails holds up nothing that the record names, and is deferred like any other Job.
func TestExpandFails(t *testing.T) {
	for _, api := range []resource.TagAPI{describeInstances, describeVolumes, describeImages} {
		for _, code := range []string{"UnauthorizedOperation", "RequestLimitExceeded", "InternalError", "InvalidParameterValue"} {
			t.Run(string(api)+" "+code, func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					f := newFake(t)
					mended := time.Now().Add(10 * time.Minute)
					f.before = func(c fakeCall) error {
						if c.api == api && time.Now().Before(mended) {
							return apiError(code, "no")
						}
						return nil
					}
					w := start(t, f, nil)
					f.launch("i-1", time.Now().Add(-3*time.Minute), []string{"vol-1"}, nil)
					f.image("ami-1", ec2types.ImageStateAvailable, "snap-1")
					e, found := expandJob(resource.ExpandInstanceVolumes, "ann", "i-1"), "vol-1"
					if api == describeImages {
						e, found = expandJob(resource.ExpandImageSnapshots, "ann", "ami-1"), "snap-1"
					}
					named := ec2Job("i-1", "ann")
					w.submit(e, named)
					time.Sleep(10 * time.Second)
					w.want(named, "tagged")
					time.Sleep(4 * time.Minute)
					if code == "InvalidParameterValue" {
						w.want(e, "missed/invalid")
						return
					}
					w.want(e, "deferred")
					if r := w.deferral(e); r.API != jobAPI(e) || r.Action != "ec2:CreateTags" {
						t.Errorf("deferred by %s for %s", r.API, r.Action)
					}
					time.Sleep(30 * time.Minute)
					w.want(e, "expanded")
					if got := f.tagsOf(found)["Owner"]; got != "ann" {
						t.Errorf("%s has Owner %q", found, got)
					}
				})
			})
		}
	}
}

func (f *fakeAWS) image(id string, state ec2types.ImageState, snapshots ...string) {
	image := ec2types.Image{ImageId: &id, State: state, BlockDeviceMappings: []ec2types.BlockDeviceMapping{{VirtualName: aws.String("ephemeral0")}}}
	for _, s := range snapshots {
		m := ec2types.BlockDeviceMapping{Ebs: &ec2types.EbsBlockDevice{}}
		if s != "" {
			m.Ebs.SnapshotId = &s
			f.make(s)
		}
		image.BlockDeviceMappings = append(image.BlockDeviceMappings, m)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.images[id] = image
}

func TestExpandImage(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		f.pageSize = 1
		w := start(t, f, nil)
		f.image("ami-done", ec2types.ImageStateAvailable, "snap-1", "snap-2", "snap-old")
		f.image("ami-empty", ec2types.ImageStateAvailable)
		f.image("ami-slow", ec2types.ImageStatePending)
		f.image("ami-half", ec2types.ImageStatePending, "snap-4", "")
		f.image("ami-known", ec2types.ImageStatePending, "snap-5")
		done := expandJob(resource.ExpandImageSnapshots, "ann", "ami-done")
		done.ExpandSkip = []string{"snap-old"}
		empty, slow, half := expandJob(resource.ExpandImageSnapshots, "ann", "ami-empty"), expandJob(resource.ExpandImageSnapshots, "bob", "ami-slow"), expandJob(resource.ExpandImageSnapshots, "bob", "ami-half")
		known, gone := expandJob(resource.ExpandImageSnapshots, "ann", "ami-known"), expandJob(resource.ExpandImageSnapshots, "ann", "ami-gone")
		w.submit(done, empty, slow, half, known, gone)
		time.Sleep(time.Minute)
		// Snapshots outlive their image, and only the image names them: that is a miss, not nothing.
		w.want(gone, "missed/unresolved")
		for i, j := range []resource.Job{empty, known, done} {
			want := []int{0, 1, 2}[i]
			if r := w.end(j); r.Kind != Expanded || len(r.Expanded) != want {
				t.Errorf("%q: %v %v, want %d snapshots", j.Resource.ID, r.Kind, names(r.Expanded), want)
			}
		}
		if got, want := w.made(done)[0].Resource.ARN, "arn:aws:ec2:eu-west-3::snapshot/snap-1"; got != want {
			t.Errorf("ARN %s, want %s", got, want)
		}
		w.want(slow, "")
		time.Sleep(5 * time.Minute)
		w.want(slow, "deferred") // still being made, which can take hours
		w.want(half, "deferred")
		f.image("ami-slow", ec2types.ImageStateAvailable, "snap-3")
		f.image("ami-half", ec2types.ImageStateAvailable, "snap-4", "snap-6")
		time.Sleep(time.Hour)
		w.want(slow, "expanded")
		for _, s := range []string{"snap-3", "snap-4", "snap-6"} {
			if got := f.tagsOf(s)["Owner"]; got != "bob" {
				t.Errorf("%s has Owner %q", s, got)
			}
		}
	})
}

// An image of a launch's tags in a dry run: described, not written.
func TestExpandInADryRun(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		w := start(t, f, func(o *Options) { o.DryRun = true })
		f.launch("i-1", time.Now().Add(-3*time.Minute), []string{"vol-1"}, nil)
		e := expandJob(resource.ExpandInstanceVolumes, "ann", "i-1")
		w.submit(e)
		time.Sleep(time.Minute)
		w.want(w.made(e)[0], "would_tag")
		if n := f.count(resource.EC2CreateTags); n != 0 {
			t.Errorf("%d writing calls in a dry run", n)
		}
	})
}

// EC2 may show a young instance with some of its volumes first: nothing is described before that has passed.
func TestExpandWaitsUntilALaunchHasSettled(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		w := start(t, f, nil)
		f.launch("i-1", time.Now(), []string{"vol-1"}, nil)
		j := expandJob(resource.ExpandInstanceVolumes, "ann", "i-1")
		j.Event.Time = time.Now()
		w.submit(j)
		time.Sleep(29 * time.Second)
		if n := f.count(describeVolumes); n != 0 {
			t.Errorf("%d DescribeVolumes before the launch was 30 s old", n)
		}
		time.Sleep(10 * time.Second)
		if got := names(w.made(j)); len(got) != 1 {
			t.Errorf("found %q, want vol-1", got)
		}
	})
}
