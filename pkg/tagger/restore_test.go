package tagger

import (
	"fmt"
	"testing"
	"time"

	"github.com/autotagd/autotagd/pkg/resource"
)

// restored makes n Jobs of each of 50 actions that an earlier process deferred, of a thousand people, and the things for them.
func restored(f *fakeAWS, n int) []resource.Job {
	var jobs []resource.Job
	for i := range 50 * n {
		arn := fmt.Sprintf("arn:aws:svc%02d:eu-west-3:123456789012:r%05d", i%50, i)
		f.make(arn)
		j := arnJob(arn, fmt.Sprint("p", i%1000))
		j.Event.Time = time.Now().Add(time.Duration(i-50*n)*time.Second - time.Hour)
		j.LastReason, j.FirstTried = resource.AccessDenied, time.Now().Add(-time.Hour)
		jobs = append(jobs, j)
	}
	return jobs
}

// However much was deferred and may be tried again at once, new events don't wait for it.
func TestNewEventsDontWaitForTheDeferred(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		w := prepare(t, f, nil)
		jobs := restored(f, maxStored)
		w.tagger.Restore(jobs)
		w.run()
		begin := time.Now()
		for i := range 30 {
			time.Sleep(3 * time.Second)
			j := arnJob(fmt.Sprint(queueARN, i), fmt.Sprint("new", i))
			f.make(j.Resource.ARN)
			at := time.Now()
			w.submit(j)
			if took := time.Since(at); took > 0 {
				t.Fatalf("Submit waited %v", took)
			}
			time.Sleep(7 * time.Second)
			w.want(j, "tagged")
		}
		for time.Sleep(time.Hour - time.Since(begin)); w.kinds(Ended) < len(jobs)+30 && time.Since(begin) < 3*time.Hour; {
			time.Sleep(time.Minute)
		}
		for _, j := range jobs {
			w.want(j, "tagged")
		}
	})
}

// Those of an action are tried the oldest first; newer ones only where they travel with an older one of the same person.
func TestTheDeferredGoOldestFirst(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		w := prepare(t, f, nil)
		jobs := restored(f, 20)
		w.tagger.Restore(jobs)
		w.run()
		time.Sleep(10 * time.Minute)
		last := map[string]time.Time{}
		for _, j := range jobs {
			w.want(j, "tagged")
			if at := w.when(j); at.Before(last[j.Resource.Service].Add(-3 * time.Second)) { // eight are under way side by side
				t.Errorf("%s: %v before an older one of its action", j.Resource.ARN, last[j.Resource.Service].Sub(at))
			} else {
				last[j.Resource.Service] = at
			}
		}
	})
}

// New events that take all that a call can do leave the deferred a share of it.
func TestTheDeferredHaveTheirTurn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		w := prepare(t, f, nil)
		jobs := restored(f, 4)
		w.tagger.Restore(jobs)
		w.run()
		for i := range 300 * 6 { // six calls a second, where five can be made
			j := arnJob(fmt.Sprint(queueARN, i), fmt.Sprint("new", i))
			f.make(j.Resource.ARN)
			w.submit(j)
			time.Sleep(time.Second / 6)
		}
		for _, j := range jobs {
			w.want(j, "tagged")
		}
	})
}
