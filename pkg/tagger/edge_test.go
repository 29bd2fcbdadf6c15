package tagger

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/autotagd/autotagd/pkg/event"
	"github.com/autotagd/autotagd/pkg/resource"
)

const queueARN = "arn:aws:sqs:eu-west-3:123456789012:q"

// upsert is a Job of an event that need not have made the resource, the nth in a row.
func upsert(arn, owner string, n int) resource.Job {
	j := arnJob(arn, owner)
	j.Upsert = true
	j.Event.ID = fmt.Sprint("upsert-", n)
	j.Event.Time = j.Event.Time.Add(time.Duration(n) * time.Millisecond)
	return j
}

// An application that says CreateTopic every second, of a topic that is there, fills no Scope.
func TestUpsertsOfOneResourceEndTogether(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		w := start(t, f, nil)
		f.make(queueARN)
		var jobs []resource.Job
		for i := range 300 {
			jobs = append(jobs, upsert(queueARN, "app", i))
		}
		other := upsert(queueARN, "bob", 300)
		w.submit(append(jobs, other)...)
		time.Sleep(30 * time.Second)
		for _, j := range jobs {
			w.want(j, "tagged")
		}
		w.want(other, "kept")
		if n := f.count(resource.TagResources); n != 1 {
			t.Errorf("%d writes, want 1", n)
		}
		if n := f.count(getResources); n > 3 {
			t.Errorf("%d reads", n)
		}
	})
}

// An API that AWS lets through by the drop holds up no other of the Scope, be it the write or the read before it.
func TestThrottledHoldsUpNoOther(t *testing.T) {
	for _, api := range []resource.TagAPI{resource.TagResources, getResources} {
		t.Run(string(api), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				f := newFake(t)
				f.before = func(c fakeCall) error {
					if c.api == api {
						return apiError("ThrottledException", "slow down")
					}
					return nil
				}
				w := start(t, f, nil)
				for i := range maxInHand {
					arn := fmt.Sprint(queueARN, i)
					f.make(arn)
					w.submit(arnJob(arn, fmt.Sprint("p", i)))
				}
				time.Sleep(20 * time.Second)
				f.make("i-1")
				j := ec2Job("i-1", "ann")
				begin := time.Now()
				w.submit(j)
				if took := time.Since(begin); took > 10*time.Second {
					t.Errorf("Submit of an instance waited %v", took)
				}
				time.Sleep(5 * time.Second)
				w.want(j, "tagged")
			})
		})
	}
}

// One failure while a Scope is full is no reason to defer all that is in hand.
func TestOneFailureIsNoStorm(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		var calls atomic.Int64
		f.before = func(c fakeCall) error {
			if c.api == resource.EC2CreateTags && calls.Add(1) == 5 {
				return httpError(503, apiError("Unavailable", "once"))
			}
			return nil
		}
		w := start(t, f, nil)
		for i := range maxInHand + 500 {
			id := fmt.Sprint("i-", i)
			f.make(id)
			w.submit(ec2Job(id, fmt.Sprint("p", i)))
		}
		if n := w.kinds(Deferred); n > 0 {
			t.Errorf("%d deferred", n)
		}
	})
}

// Of two upserts the older goes first, also when it comes while the newer waits for its second try.
func TestOlderUpsertOvertakesARetry(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		var reads atomic.Int64
		f.before = func(c fakeCall) error {
			if c.api == getResources && reads.Add(1) == 1 {
				return apiError("ThrottledException", "slow down")
			}
			return nil
		}
		w := start(t, f, func(o *Options) { o.BatchWait = 100 * time.Millisecond })
		f.make(queueARN)
		ann, bob := upsert(queueARN, "ann", 1), upsert(queueARN, "bob", 2)
		w.submit(bob)
		time.Sleep(400 * time.Millisecond)
		w.submit(ann)
		time.Sleep(2 * time.Minute)
		w.want(ann, "tagged")
		w.want(bob, "kept")
	})
}

// What was deleted and created again by somebody else is his, whichever event comes first and whatever is overwritten; never
// does it get the tags of both.
func TestCreatedAgain(t *testing.T) {
	for _, overwrite := range []string{"", "PrincipalId"} {
		for _, olderLast := range []bool{false, true} {
			t.Run(fmt.Sprintf("overwrite %q, older last %v", overwrite, olderLast), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					f := newFake(t)
					w := start(t, f, func(o *Options) { o.Overwrite = func(k string) bool { return k == overwrite } })
					f.make(queueARN)
					ann, bob := arnJob(queueARN, "ann"), arnJob(queueARN, "bob")
					bob.Event.ID, bob.Event.Time = "later", ann.Event.Time.Add(time.Minute)
					if olderLast {
						w.submit(bob)
						time.Sleep(20 * time.Minute) // late as an event can be
						w.submit(ann)
					} else {
						w.submit(ann, bob)
					}
					time.Sleep(2 * time.Minute)
					w.want(ann, "gone")
					w.want(bob, "tagged")
					if got := f.tagsOf(queueARN); got["Owner"] != "bob" || got["PrincipalId"] != "AROA:bob" {
						t.Errorf("tags %v, want bob's", got)
					}
				})
			})
		}
	}
}

// The same event delivered twice, by another id, is no second creation.
func TestDeliveredTwiceIsNotCreatedAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		w := start(t, f, nil)
		f.make(queueARN)
		first, second := arnJob(queueARN, "ann"), arnJob(queueARN, "ann")
		second.Event.ID = "again"
		w.submit(first, second)
		time.Sleep(time.Minute)
		w.want(first, "tagged")
		w.want(second, "tagged")
	})
}

// A Job that is handed back or put off untried has its time too: processes that live for less never keep it from ending.
func TestEndsAcrossShortLives(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		f.make("i-1").code = "UnauthorizedOperation"
		w := start(t, f, nil)
		j := ec2Job("i-1", "ann")
		w.submit(j)
		w.stop() // before its batch went
		w.want(j, "deferred")
		stored := w.deferral(j).Job
		for range 3 {
			w = prepare(t, f, nil)
			w.tagger.Restore([]resource.Job{stored})
			w.run()
			time.Sleep(20 * time.Hour)
			w.stop()
			if w.outcome(j) == "missed/access_denied" {
				return
			}
		}
		t.Errorf("no Outcome after 60 h; first tried %v", stored.FirstTried)
	})
}

// What waited for longer than give_up_after while no process ran is tried once more, since what it waited for may be mended.
func TestGivenUpOnlyAfterATry(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		var jobs []resource.Job
		for i := range 50 {
			id := fmt.Sprint("i-", i)
			f.make(id)
			j := ec2Job(id, "ann")
			j.FirstTried, j.LastReason, j.Attempts = time.Now(), resource.AccessDenied, 1
			jobs = append(jobs, j)
		}
		time.Sleep(25 * time.Hour)
		w := prepare(t, f, nil)
		w.tagger.Restore(jobs)
		w.run()
		time.Sleep(time.Minute)
		for _, j := range jobs {
			w.want(j, "tagged")
		}
	})
}

// A clock that is days behind, as the host's may be until AWS has answered, delays a description by no more than its due.
func TestExpandWithAClockBehind(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		begin := time.Now()
		j := expandJob(resource.ExpandInstanceVolumes, "ann", "i-1")
		f.launch("i-1", j.Event.Time, []string{"vol-1"}, nil)
		w := prepare(t, f, func(o *Options) {
			o.Now = func() time.Time {
				if time.Since(begin) < time.Second {
					return time.Now().Add(-50 * time.Hour)
				}
				return time.Now()
			}
		})
		w.tagger.Restore([]resource.Job{j})
		w.run()
		time.Sleep(2 * time.Minute)
		w.want(j, "expanded")
	})
}

// One account or Region that fails, read in the same Scope, delays no resource of another.
func TestPlacesFailApart(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		w := start(t, f, func(o *Options) {
			o.API = func(s event.Scope) (API, error) {
				if s == ireland {
					return API{}, errors.New("the role can't be assumed")
				}
				return f.api(s)
			}
		})
		for i := range 300 {
			bad := ec2Job(fmt.Sprint("i-bad", i), fmt.Sprint("p", i%50))
			bad.Resource.Scope = ireland
			w.submit(bad)
			time.Sleep(time.Second)
		}
		for i := range 20 {
			id := fmt.Sprint("i-good", i)
			f.make(id)
			good := ec2Job(id, "zoe")
			w.submit(good)
			time.Sleep(10 * time.Second)
			w.want(good, "tagged")
		}
	})
}

// An account that this process has no credentials for is missed at once, and nothing waits for it.
func TestForeignAccount(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		w := start(t, f, func(o *Options) {
			o.API = func(event.Scope) (API, error) { return API{}, fmt.Errorf("account 999999999999: %w", ErrForeign) }
		})
		j := ec2Job("i-1", "ann")
		w.submit(j)
		time.Sleep(10 * time.Second)
		w.want(j, "missed/access_denied")
	})
}

// One resource that belongs to another account holds up none of its batch.
func TestAuthFailureOfOneResource(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		w := start(t, f, nil)
		var jobs []resource.Job
		for i := range 200 {
			id := fmt.Sprint("i-", i)
			th := f.make(id)
			if i == 77 {
				th.code, th.status = "AuthFailure", 403
			}
			jobs = append(jobs, ec2Job(id, "ann"))
		}
		w.submit(jobs...)
		time.Sleep(30 * time.Second)
		for i, j := range jobs {
			if i == 77 {
				w.want(j, "deferred")
			} else {
				w.want(j, "tagged")
			}
		}
	})
}

// --once tries every deferred Job once, whatever becomes of the oldest.
func TestOneShotTriesAllThatWait(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		w := prepare(t, f, func(o *Options) { o.OneShot = 33 * time.Second })
		var stored []resource.Job
		for i := range 20 {
			id := fmt.Sprint("i-", i)
			if i > 0 { // the oldest is there no more
				f.make(id)
			}
			j := ec2Job(id, "ann")
			j.Event.Time = time.Now().Add(time.Duration(i)*time.Second - time.Hour)
			j.LastReason, j.FirstTried, j.Attempts = resource.AccessDenied, time.Now(), 1
			stored = append(stored, j)
		}
		w.tagger.Restore(stored)
		w.run()
		time.Sleep(10 * time.Second)
		w.tagger.Close()
		<-w.done
		for _, j := range stored[1:] {
			w.want(j, "tagged")
		}
	})
}

// While one round of tries is under way another, of the few that wait at that moment, would measure their share alone.
func TestReplayAfterMostWork(t *testing.T) {
	for _, tt := range []struct{ works, want int }{{30, 0}, {70, 1}} {
		t.Run(fmt.Sprint(tt.works, " of 100"), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				f := newFake(t)
				mended := time.Now().Add(time.Hour)
				denyUntil(f, mended)
				w := start(t, f, nil)
				for i := range 100 {
					id := fmt.Sprintf("i-%03d", i)
					if th := f.make(id); i%10 >= tt.works/10 {
						th.code = "UnauthorizedOperation"
					}
					w.submit(ec2Job(id, "ann"))
				}
				time.Sleep(4 * time.Hour)
				if _, _, tagged := w.counts(); tagged != tt.works {
					t.Errorf("%d tagged, want %d", tagged, tt.works)
				}
				if n := w.kinds(Replay); n != tt.want {
					t.Errorf("%d replays, want %d", n, tt.want)
				}
			})
		})
	}
}

// Submit gives up with its context while its Scope is full, and takes none of what it could not.
func TestSubmitObeysItsContext(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := prepare(t, newFake(t), nil) // not running
		for i := range maxInHand {
			w.submit(ec2Job(fmt.Sprint("i-", i), "ann"))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := w.tagger.Submit(ctx, []resource.Job{ec2Job("i-more", "ann")}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Submit: %v", err)
		}
	})
}
