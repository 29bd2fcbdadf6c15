package tagger

import (
	"context"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/autotagd/autotagd/pkg/event"
	"github.com/autotagd/autotagd/pkg/resource"
)

// Whatever AWS does in between: each Job ends once, what has an owner keeps it, nothing but the Jobs' resources is written,
// and every resource that can be tagged is.
func TestRandomTrouble(t *testing.T) {
	seeds := 6
	if os.Getenv("AUTOTAGD_SLOW") != "" {
		seeds = 100
	}
	for seed := range uint64(seeds) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { randomTrouble(t, rand.New(rand.NewPCG(seed, 7))) })
		})
	}
}

func randomTrouble(t *testing.T, rng *rand.Rand) {
	f := newFake(t)
	calm := time.Now().Add(time.Hour)
	dice := make(chan float64) // one goroutine draws, so that the order of calls alone decides
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	dicer := rand.New(rand.NewPCG(rng.Uint64(), rng.Uint64()))
	go func() {
		for {
			select {
			case dice <- dicer.Float64():
			case <-ctx.Done():
				return
			}
		}
	}()
	f.before = func(c fakeCall) error {
		if time.Now().After(calm) {
			return nil
		}
		switch d := <-dice; {
		case d < 0.05:
			return apiError("RequestLimitExceeded", "slow down")
		case d < 0.10:
			return httpError(500, apiError("InternalError", "oops"))
		case d < 0.12:
			return apiError("UnauthorizedOperation", "no")
		case d < 0.14:
			time.Sleep(time.Minute)
			return context.DeadlineExceeded
		case d < 0.18:
			return io.ErrUnexpectedEOF
		}
		return nil
	}
	f.after = func(fakeCall) error {
		if time.Now().Before(calm) && <-dice < 0.05 {
			return io.ErrUnexpectedEOF
		}
		return nil
	}
	w := start(t, f, nil)
	type want struct {
		job  resource.Job
		end  string
		tags map[string]string
	}
	var wants []want
	scopes := []event.Scope{paris, ireland}
	for i := range 300 {
		var j resource.Job
		if i%3 == 0 {
			j = arnJob(fmt.Sprintf("arn:aws:sqs:eu-west-3:123456789012:q%03d", i), fmt.Sprint("p", rng.IntN(4)))
		} else {
			j = ec2Job(fmt.Sprintf("i-%03d", i), fmt.Sprint("p", rng.IntN(4)))
		}
		j.Resource.Scope, j.Event.Scope = scopes[i%2], scopes[i%2]
		name := target(j.Resource)
		x := want{job: j, end: "tagged", tags: map[string]string{"Owner": j.Owner, "PrincipalId": "AROA:" + j.Owner}}
		switch d := rng.Float64(); {
		case d < 0.1:
			f.make(name, "Owner", "mallory", "PrincipalId", "m")
			x.end, x.tags = "kept", map[string]string{"Owner": "mallory", "PrincipalId": "m"}
		case d < 0.2:
			f.make(name, "Owner", "mallory")
			x.end, x.tags["Owner"] = "kept", "mallory"
		case d < 0.3:
			x.end, x.tags = "gone", nil
			if i%3 == 0 {
				x.end = "gone or missed/unresolved"
			}
		case d < 0.4:
			f.make(name).visible = time.Now().Add(time.Duration(rng.IntN(15)) * time.Second)
		case d < 0.5:
			f.make(name).busy = time.Now().Add(time.Duration(rng.IntN(30)) * time.Minute)
		default:
			f.make(name)
		}
		wants = append(wants, x)
		w.submit(j)
		if rng.IntN(5) == 0 {
			time.Sleep(time.Duration(rng.IntN(5000)) * time.Millisecond)
		}
	}
	bystanders := map[string]bool{}
	for i := range 5 {
		f.make(fmt.Sprint("i-other", i))
		bystanders[fmt.Sprint("i-other", i)] = true
	}
	time.Sleep(6 * time.Hour)
	for _, x := range wants {
		if got := w.outcome(x.job); got != x.end && !(x.end == "gone or missed/unresolved" && (got == "gone" || got == "missed/unresolved")) {
			w.want(x.job, x.end)
		}
		if got := f.tagsOf(target(x.job.Resource)); !maps.Equal(got, x.tags) {
			t.Errorf("%s has %v, want %v", x.job.Resource.ID, got, x.tags)
		}
	}
	for _, name := range f.written() {
		if bystanders[name] {
			t.Errorf("%s was written", name)
		}
	}
	if n := w.tagger.InHand(); n != 0 {
		t.Errorf("%d in hand", n)
	}
	w.tagger.mu.Lock()
	for k, g := range w.tagger.groups {
		if g.stored != 0 || g.storedDenied != 0 || len(g.waiting) != 0 || len(g.members) != 0 || g.running != 0 {
			t.Errorf("group %v: %d stored, %d denied, %d waiting, %d members, %d running", k, g.stored, g.storedDenied, len(g.waiting), len(g.members), g.running)
		}
	}
	w.tagger.mu.Unlock()
}

// BenchmarkBurst is 1,000 instances created by 10 people within 13 s of reading (20 pages of 50 at 1.5 pages a second), with
// a volume each. It reports resources in a CreateTags call, and the virtual time from the first page to the last tag.
func BenchmarkBurst(b *testing.B) {
	for _, volumes := range []bool{false, true} {
		b.Run(fmt.Sprint("volumes=", volumes), func(b *testing.B) {
			var calls, resources int
			var took time.Duration
			for range b.N {
				// A bubble needs a *testing.T; RunTests gives one without output.
				ok := testing.RunTests(func(string, string) (bool, error) { return true, nil }, []testing.InternalTest{{Name: "burst", F: func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { calls, resources, took = burstOf1000(t, volumes) })
				}}})
				if !ok {
					b.Fatal("the burst failed")
				}
			}
			b.ReportMetric(float64(resources)/float64(calls), "resources/call")
			b.ReportMetric(float64(calls), "calls")
			b.ReportMetric(took.Seconds(), "virtual-s")
		})
	}
}

func TestBurst(t *testing.T) {
	for _, volumes := range []bool{false, true} {
		bubble(t, func(t *testing.T) {
			calls, resources, took := burstOf1000(t, volumes)
			if perCall := float64(resources) / float64(calls); perCall < 20 || took > time.Minute {
				t.Errorf("%.1f resources a CreateTags call, %v in all; want at least 20, at most a minute", perCall, took)
			}
		})
	}
}

func burstOf1000(t *testing.T, volumes bool) (calls, resources int, took time.Duration) {
	f := newFake(t)
	w := start(t, f, nil)
	begin := time.Now()
	rng := rand.New(rand.NewPCG(1, 1))
	made := begin.Add(-3 * time.Minute)
	for i := range 1000 {
		id := fmt.Sprintf("i-%04d", i)
		owner := fmt.Sprint("person", rng.IntN(10))
		f.make(id)
		jobs := []resource.Job{ec2Job(id, owner)}
		if volumes {
			v := "vol-" + id
			f.make(v)
			f.mu.Lock()
			f.instances[id] = ec2types.Instance{InstanceId: &id, State: &ec2types.InstanceState{Name: ec2types.InstanceStateNameRunning}}
			f.volumes = append(f.volumes, ec2types.Volume{VolumeId: &v, CreateTime: &made, Attachments: []ec2types.VolumeAttachment{{InstanceId: aws.String(id)}}})
			f.mu.Unlock()
			jobs = append(jobs, expandJob(resource.ExpandInstanceVolumes, owner, id))
		}
		w.submit(jobs...)
		if i%50 == 49 {
			time.Sleep(667 * time.Millisecond)
		}
	}
	w.tagger.Flush(paris)
	time.Sleep(5 * time.Minute)
	for _, c := range f.of(resource.EC2CreateTags) {
		calls++
		resources += len(c.names)
		took = c.at.Sub(begin)
	}
	if want := 1000 * (1 + map[bool]int{true: 1}[volumes]); resources != want {
		t.Errorf("%d resources tagged, want %d", resources, want)
	}
	return calls, resources, took
}
