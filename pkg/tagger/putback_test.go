package tagger

import (
	"fmt"
	"testing"
	"time"

	"github.com/autotagd/autotagd/pkg/resource"
)

// flood makes the nth Job of a kind whose calls do five resources a second.
var floods = map[string]func(f *fakeAWS, n int) resource.Job{
	"a service's own call": func(f *fakeAWS, n int) resource.Job {
		name := fmt.Sprint("thing", n)
		f.make(name).only = []resource.TagAPI{"odd:TagThing"}
		return ownJob(name, fmt.Sprint("p", n%7))
	},
	"reads one by one": func(f *fakeAWS, n int) resource.Job {
		arn := fmt.Sprint("arn:aws:iam::123456789012:role/r", n)
		f.make(arn)
		return arnJob(arn, fmt.Sprint("p", n%7))
	},
	"tags of its own for each": func(f *fakeAWS, n int) resource.Job {
		arn := fmt.Sprint("arn:aws:sns:eu-west-3:123456789012:t", n)
		f.make(arn)
		return arnJob(arn, fmt.Sprint("p", n))
	},
}

// A call that works, and gets more than it can do, holds up no other service of its Scope. What it can't do in time is put back,
// the newest first; nothing is missed or deferred for it.
func TestFloodHoldsUpNoOther(t *testing.T) {
	const n = 5000
	for name, flood := range floods {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				f := newFake(t)
				w := start(t, f, nil)
				first := time.Now().Add(-time.Hour)
				var jobs []resource.Job
				begin := time.Now()
				for i := range n {
					j := flood(f, i)
					j.Event.Time = first.Add(time.Duration(i) * time.Second / 5)
					jobs = append(jobs, j)
					w.submit(j)
					if in := w.tagger.InHand(); in > maxInHand {
						t.Fatalf("%d in hand", in)
					}
				}
				instance, queue := ec2Job("i-1", "ann"), arnJob(queueARN, "ann")
				f.make("i-1")
				f.make(queueARN)
				w.submit(instance, queue)
				if took := time.Since(begin); took > 10*time.Second {
					t.Errorf("Submit waited %v for %d Jobs of another kind", took, n)
				}
				time.Sleep(7 * time.Second)
				w.want(instance, "tagged")
				time.Sleep(53 * time.Second)
				w.want(queue, "tagged")
				time.Sleep(10 * time.Minute)
				tagged, back, after := 0, 0, 0
				for _, j := range jobs {
					switch w.outcome(j) {
					case "tagged":
						tagged++
						if back > 0 {
							after++
						}
					case "put back":
						back++
					default:
						t.Errorf("%s: %q", j.Resource.ID, w.outcome(j))
					}
				}
				if most := 8 * maxBatch(resource.TagResources); after > most { // those that were on their way already
					t.Errorf("%d tagged that are newer than the first one put back, want at most %d", after, most)
				}
				if tagged < 200 {
					t.Errorf("%d tagged, want what is done in time", tagged)
				}
				t.Logf("%d tagged, %d put back", tagged, back)

				// The flood is over: what comes now is tagged, the newest of it too.
				for i := range 100 {
					j := flood(f, n+i)
					w.submit(j)
					jobs = append(jobs, j)
				}
				time.Sleep(time.Minute)
				for _, j := range jobs[n:] {
					w.want(j, "tagged")
				}
			})
		})
	}
}

// However many come at once, and of however many people, none is put back that bulk calls do in time; nor is any as long
// as a Scope has room, and even then a service that is read one by one leaves others their turn.
func TestBurstIsNotPutBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		w := start(t, f, nil)
		var jobs []resource.Job
		for i := range 3 * maxInHand {
			id := fmt.Sprint("i-", i)
			f.make(id)
			jobs = append(jobs, ec2Job(id, fmt.Sprint("p", i%200)))
		}
		w.submit(jobs...)
		time.Sleep(5 * time.Minute)
		for i := range maxInHand - 10 {
			jobs = append(jobs, floods["reads one by one"](f, i))
		}
		w.submit(jobs[3*maxInHand:]...)
		time.Sleep(time.Minute)
		queue := arnJob(queueARN, "ann")
		f.make(queueARN)
		w.submit(queue)
		time.Sleep(8 * time.Second)
		w.want(queue, "tagged")
		time.Sleep(10 * time.Minute)
		for _, j := range jobs {
			if got := w.outcome(j); got != "tagged" {
				t.Fatalf("%s: %q", j.Resource.ID, got)
			}
		}
	})
}

// The backlog waits instead: that is where what is put back comes from in the end.
func TestBacklogIsNotPutBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		w := start(t, f, nil)
		done := make(chan struct{})
		var jobs []resource.Job
		for i := range 2000 {
			j := floods["a service's own call"](f, i)
			j.Event.Backlog = true
			jobs = append(jobs, j)
		}
		go func() { defer close(done); w.submit(jobs...) }()
		for range 5 {
			time.Sleep(20 * time.Second)
			fresh := floods["a service's own call"](f, 10000+int(time.Now().Unix()%10000))
			w.submit(fresh)
			time.Sleep(6 * time.Second)
			w.want(fresh, "tagged")
		}
		time.Sleep(10 * time.Minute)
		<-done
		for _, j := range jobs {
			if got := w.outcome(j); got != "tagged" {
				t.Fatalf("%s: %q", j.Resource.ID, got)
			}
		}
	})
}

// What comes back of the deferred takes neither room nor turns of new events, and so is no reason to put them back.
func TestTheDeferredAreNoFlood(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		w := prepare(t, f, nil)
		w.tagger.Restore(restored(f, maxStored))
		w.run()
		time.Sleep(10 * time.Second) // until they are tried
		var topics []resource.Job
		for i := range 50 {
			arn := fmt.Sprint("arn:aws:svc00:eu-west-3:123456789012:new", i)
			f.make(arn)
			topics = append(topics, arnJob(arn, fmt.Sprint("new", i)))
		}
		w.submit(topics...)
		for i := range maxInHand + 100 {
			w.submit(floods["a service's own call"](f, i))
		}
		time.Sleep(time.Minute)
		for _, j := range topics {
			w.want(j, "tagged")
		}
		if n := w.kinds(PutBack); n < 1000 {
			t.Errorf("%d put back, want those of the flood", n)
		}
	})
}

func TestFairShare(t *testing.T) {
	for _, tt := range []struct {
		sizes   []int
		n, want int
	}{
		{[]int{2000}, 300, 300},
		{[]int{1000, 1000}, 300, 150},
		{[]int{10, 1990}, 300, 290},
		{[]int{1, 2, 500, 600}, 303, 150},
		{[]int{5, 6}, 300, maxInHand},
		{[]int{7, 7, 7}, 2, 0},
	} {
		var groups []queued
		for _, size := range tt.sizes {
			groups = append(groups, queued{all: size})
		}
		if got := fairShare(groups, tt.n); got != tt.want {
			t.Errorf("fairShare(%v, %d) = %d, want %d", tt.sizes, tt.n, got, tt.want)
		}
	}
}
