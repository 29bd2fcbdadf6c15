package tagger

import (
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/autotagd/autotagd/pkg/resource"
)

// Jobs of a Scope that another process has are no longer this one's: whatever state they are in, nothing is reported of them,
// no call is made for them any more, and the other Scopes' go on.
func TestAbandon(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		slow := make(chan struct{}) // holds up the first call for i-runs, which is refused then
		var held atomic.Bool
		f.before = func(c fakeCall) error {
			switch {
			case c.api == resource.TagResources:
				return apiError("AccessDeniedException", "no")
			case c.api == resource.EC2CreateTags && c.names[0] == "i-runs" && held.CompareAndSwap(false, true):
				<-slow
				return apiError("RequestLimitExceeded", "slow down")
			}
			return nil
		}
		w := start(t, f, func(o *Options) { o.BatchWait = 10 * time.Second })
		of := func(j resource.Job, scope int) resource.Job {
			if scope == 1 {
				j.Event.Scope = ireland
			}
			return j
		}
		deferred := arnJob("arn:aws:sqs:eu-west-3:123456789012:waits", "ann")
		f.make(deferred.Resource.ARN)
		w.submit(deferred)
		time.Sleep(time.Minute)
		w.want(deferred, "deferred")

		running := ec2Job("i-runs", "ann")
		w.submit(running)
		time.Sleep(11 * time.Second)
		queued, delayed, others := ec2Job("i-queued", "ann"), ec2Job("i-gone", "ann"), of(ec2Job("i-other", "ann"), 1)
		for _, id := range []string{"i-runs", "i-queued", "i-other"} {
			f.make(id)
		}
		w.submit(delayed)
		time.Sleep(11 * time.Second) // not found: tried again later
		w.submit(queued, others)
		synctest.Wait()

		w.tagger.Abandon(paris)
		if n := w.tagger.InHandOf(paris); n != 1 {
			t.Errorf("%d in hand of the abandoned Scope, want the one whose call is under way", n)
		}
		calls := len(f.all())
		close(slow)
		time.Sleep(2 * time.Hour)
		w.want(others, "tagged")
		for _, j := range []resource.Job{running, queued, delayed} {
			w.want(j, "")
		}
		w.want(deferred, "deferred") // as it was before
		if n := w.tagger.InHandOf(paris); n != 0 {
			t.Errorf("%d in hand of the abandoned Scope", n)
		}
		if n := len(f.all()) - calls; n != 2 { // read and written
			t.Errorf("%d calls after it, want those for the other Scope: %+v", n, f.all()[calls:])
		}

		// It may come back.
		w.tagger.Restore([]resource.Job{running})
		time.Sleep(time.Minute)
		w.want(running, "tagged")
	})
}

// Nor does one go on by another call that is refused when its Scope is gone.
func TestAbandonBeforeAFallBack(t *testing.T) {
	for _, stored := range []bool{false, true} {
		t.Run(fmt.Sprint("stored ", stored), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				f := newFake(t)
				w := prepare(t, f, nil)
				th, j := fallsBack(f, "a")
				th.refusal = "UnsupportedResourceType"
				f.latency = 20 * time.Second
				if stored {
					w.tagger.Restore([]resource.Job{j})
				}
				w.run()
				if !stored {
					w.submit(j)
				}
				time.Sleep(30 * time.Second) // read; TagResources is under way
				w.tagger.Abandon(paris)
				calls := len(f.all())
				time.Sleep(time.Hour)
				if n := len(f.all()) - calls; n != 0 {
					t.Errorf("%d calls after it: %+v", n, f.all()[calls:])
				}
				w.mu.Lock()
				defer w.mu.Unlock()
				for _, r := range w.results {
					t.Errorf("reported as %v", r.Kind)
				}
				w.tagger.mu.Lock()
				defer w.tagger.mu.Unlock()
				for k, g := range w.tagger.groups {
					if g.stored != 0 || g.storedDenied != 0 || len(g.members) != 0 {
						t.Errorf("%v: %d stored, %d members", k, g.stored, len(g.members))
					}
				}
			})
		})
	}
}
