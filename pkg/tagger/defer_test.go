package tagger

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/autotagd/autotagd/pkg/resource"
)

// denyUntil makes an AWS that refuses CreateTags until a time.
func denyUntil(f *fakeAWS, over time.Time) {
	f.before = func(c fakeCall) error {
		if c.api == resource.EC2CreateTags && time.Now().Before(over) {
			return apiError("UnauthorizedOperation", "You are not authorized")
		}
		return nil
	}
}

func (w *world) counts() (deferred, unstored, tagged int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.final {
		switch {
		case r.Kind == Unstored:
			unstored++
		case r.Outcome.Kind == resource.Tagged:
			tagged++
		}
	}
	return len(w.deferred), unstored, tagged
}

// At most 200 are stored; further ones are missed and not stored. When it is mended all stored ones are tagged within
// minutes, and the rest may be read again.
func TestDenial(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		mended := time.Now().Add(2 * time.Hour)
		denyUntil(f, mended)
		w := start(t, f, nil)
		var jobs []resource.Job
		for i := range 1000 {
			id := fmt.Sprintf("i-%04d", i)
			f.make(id)
			jobs = append(jobs, ec2Job(id, fmt.Sprint("p", i%10)))
			w.submit(jobs[i])
			time.Sleep(time.Second)
		}
		time.Sleep(time.Minute)
		if stored, unstored, _ := w.counts(); stored != maxStored || unstored != 1000-maxStored {
			t.Errorf("%d stored and %d not, want %d and the rest", stored, unstored, maxStored)
		}
		w.mu.Lock()
		for _, r := range w.results {
			if r.Kind == Unstored && (r.Outcome.Kind != resource.Missed || r.Outcome.Reason != resource.AccessDenied || r.API != resource.EC2CreateTags ||
				r.Action != "ec2:CreateTags" || r.Scope != paris || r.Outcome.Detail == "") {
				t.Errorf("unstored: %+v", r)
				break
			}
		}
		w.mu.Unlock()
		time.Sleep(time.Until(mended.Add(-time.Hour)))
		before := f.count(resource.EC2CreateTags)
		time.Sleep(time.Until(mended))
		if n := f.count(resource.EC2CreateTags) - before; n < 55 || n > 125 {
			t.Errorf("%d calls in an hour of denial, want a probe or two a minute", n)
		}
		if n := w.kinds(Replay); n != 0 {
			t.Errorf("%d replays while it is denied", n)
		}
		time.Sleep(5 * time.Minute)
		if _, _, tagged := w.counts(); tagged != maxStored {
			t.Errorf("%d of the stored tagged", tagged)
		}
		if n := w.kinds(Replay); n != 1 {
			t.Errorf("%d replays, want 1", n)
		}
		// What is read again is tagged.
		for _, j := range jobs {
			if w.outcome(j) == "unstored/access_denied" {
				w.mu.Lock()
				delete(w.final, j.Key())
				w.mu.Unlock()
				w.submit(j)
			}
		}
		time.Sleep(10 * time.Minute)
		for _, j := range jobs {
			w.want(j, "tagged")
		}
		if n := w.kinds(Replay); n != 1 {
			t.Errorf("%d replays in the end", n)
		}
	})
}

// Most of what waits for a permission may be gone when it is granted: that a probe's resource is gone says nothing of the others, and
// the next one is not a minute later.
func TestDenialThatMostDoNotOutlast(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		mended := time.Now().Add(time.Hour)
		denyUntil(f, mended)
		w := start(t, f, nil)
		var jobs []resource.Job
		for i := range 150 {
			id := fmt.Sprintf("i-%04d", i)
			f.make(id)
			jobs = append(jobs, ec2Job(id, "p"))
			w.submit(jobs[i])
			time.Sleep(time.Second)
		}
		f.mu.Lock()
		for i := range 140 {
			delete(f.things, fmt.Sprintf("i-%04d", i))
		}
		f.mu.Unlock()
		time.Sleep(time.Until(mended.Add(10 * time.Minute)))
		for i, j := range jobs {
			if want := map[bool]string{true: "gone", false: "tagged"}[i < 140]; w.outcome(j) != want {
				t.Errorf("%s: %q, want %q", j.Resource.ID, w.outcome(j), want)
			}
		}
	})
}

// Where a policy refuses some resources only, those wait and all others are tagged, before and after 200 wait.
func TestPartialDenial(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		w := start(t, f, nil)
		var jobs []resource.Job
		for i := range 1200 {
			id := fmt.Sprintf("i-%04d", i)
			th := f.make(id)
			if i%3 == 0 {
				th.code = "UnauthorizedOperation"
			}
			jobs = append(jobs, ec2Job(id, fmt.Sprint("p", i%4)))
			w.submit(jobs[i])
			time.Sleep(5 * time.Second)
		}
		time.Sleep(10 * time.Minute)
		for i, j := range jobs {
			got := w.outcome(j)
			if i%3 == 0 && got != "deferred" && got != "unstored/access_denied" || i%3 != 0 && got != "tagged" {
				t.Errorf("%s: %q", j.Resource.ID, got)
			}
		}
		if stored, unstored, _ := w.counts(); stored != maxStored || unstored != 400-maxStored {
			t.Errorf("%d stored, %d not", stored, unstored)
		}
		// They are no longer refused, but for the oldest: that one must not hold up the others.
		f.mu.Lock()
		for _, th := range f.things {
			th.code = ""
		}
		f.things["i-0000"].code = "UnauthorizedOperation"
		f.mu.Unlock()
		time.Sleep(5 * time.Minute)
		if _, _, tagged := w.counts(); tagged != 800+maxStored-1 {
			t.Errorf("%d tagged after it was mended", tagged)
		}
	})
}

// An action that looks denied as such is found out not to be by one resource of each batch, not by the oldest ones alone.
func TestSampleOfADeniedBatch(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		w := start(t, f, nil)
		for i := range 20 {
			id := fmt.Sprintf("i-denied-%02d", i)
			f.make(id).code = "UnauthorizedOperation"
			w.submit(ec2Job(id, fmt.Sprint("p", i)))
		}
		time.Sleep(30 * time.Second)
		var jobs []resource.Job
		for i := range 900 {
			id := fmt.Sprintf("i-%03d", i)
			if th := f.make(id); i < 3 {
				th.code = "UnauthorizedOperation"
			}
			jobs = append(jobs, ec2Job(id, fmt.Sprint("owner", i%3)))
		}
		w.submit(jobs...)
		time.Sleep(90 * time.Second)
		for _, j := range jobs[3:] {
			w.want(j, "tagged")
		}
	})
}

// A denial costs neither memory nor calls without bound, however many resources it hits.
func TestDeniedWithoutBound(t *testing.T) {
	bubble(t, func(t *testing.T) { denied(t, 50_000) })
}

func TestMillionDenied(t *testing.T) {
	if os.Getenv("AUTOTAGD_SLOW") == "" {
		t.Skip("takes half a minute; set AUTOTAGD_SLOW=1")
	}
	bubble(t, func(t *testing.T) { denied(t, 1_000_000) })
}

func denied(t *testing.T, n int) {
	f := newFake(t)
	denyUntil(f, time.Now().Add(1000*time.Hour))
	var tagger *Tagger
	var deferred, unstored, most int
	tagger = New(Options{API: f.api, Report: func(r Result) {
		switch r.Kind {
		case Deferred:
			deferred++
		case Unstored:
			unstored++
		default:
			t.Errorf("%v %v", r.Kind, r.Outcome)
		}
	}})
	done := make(chan struct{})
	go func() { defer close(done); _ = tagger.Run(t.Context()) }()
	begin := time.Now()
	j := ec2Job("i-0", "ann")
	for i := range n {
		j.Resource.ID = fmt.Sprint("i-", i)
		j.Event.ID = j.Resource.ID
		if err := tagger.Submit(t.Context(), []resource.Job{j}); err != nil {
			t.Fatal(err)
		}
		if i%1000 == 0 {
			time.Sleep(time.Second)
			most = max(most, tagger.held())
		}
	}
	time.Sleep(time.Hour)
	if deferred != maxStored || deferred+unstored != n {
		t.Errorf("%d deferred, %d unstored of %d", deferred, unstored, n)
	}
	if most > 3*maxInHand {
		t.Errorf("%d things kept", most)
	}
	t.Logf("at most %d things kept", most)
	if calls, minutes := f.count(resource.EC2CreateTags), time.Since(begin).Minutes(); float64(calls) > 100+4*minutes {
		t.Errorf("%d calls in %v minutes", calls, minutes)
	}
	tagger.Close()
	<-done
}

// held counts all that a Tagger keeps.
func (t *Tagger) held() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.inHand + len(t.delayed) + len(t.decisions) + len(t.chains) + len(t.memory.written)
	for _, g := range t.groups {
		n += g.stored
	}
	return n
}

// For any other cause than a denial the bound holds only once nothing succeeded for ten minutes.
func TestStuck(t *testing.T) {
	for _, some := range []bool{false, true} {
		t.Run(fmt.Sprint("some succeed ", some), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				f := newFake(t)
				w := start(t, f, nil)
				at := time.Now()
				var jobs []resource.Job
				for i := range 1000 {
					arn := fmt.Sprintf("arn:aws:rds:eu-west-3:123456789012:db:%04d", i)
					th := f.make(arn)
					if !some || i%10 != 0 {
						th.busy = at.Add(90 * time.Minute)
					}
					jobs = append(jobs, arnJob(arn, "ann"))
					w.submit(jobs[i])
					time.Sleep(time.Second)
				}
				time.Sleep(5 * time.Minute)
				stored, unstored, tagged := w.counts()
				if some && (unstored != 0 || tagged != 100) || !some && (unstored < 300 || stored < maxStored || stored > 520) {
					t.Errorf("%d stored, %d not, %d tagged", stored, unstored, tagged)
				}
				time.Sleep(150 * time.Minute)
				for _, j := range jobs {
					if got := w.outcome(j); got != "tagged" && got != "unstored/exhausted" {
						t.Fatalf("%s: %q", j.Resource.ID, got)
					}
				}
				if replays := w.kinds(Replay); !some && replays == 0 {
					t.Error("no replay after it worked again")
				}
			})
		})
	}
}

// Where one succeeds now and then, memory is bounded all the same.
func TestHardBound(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		w := start(t, f, nil)
		for i := range 3000 {
			arn := fmt.Sprintf("arn:aws:rds:eu-west-3:123456789012:db:%04d", i)
			if th := f.make(arn); i%10 != 0 {
				th.busy = time.Now().Add(300 * time.Hour)
			}
			w.submit(arnJob(arn, "ann"))
			time.Sleep(500 * time.Millisecond)
		}
		time.Sleep(5 * time.Minute)
		if stored, unstored, tagged := w.counts(); stored != hardStored || unstored != 2700-hardStored || tagged != 300 {
			t.Errorf("%d stored, %d not, %d tagged", stored, unstored, tagged)
		}
	})
}

func TestGiveUp(t *testing.T) {
	for _, tt := range []struct{ code, want string }{
		{"UnauthorizedOperation", "missed/access_denied"},
		{"IncorrectState", "missed/exhausted"},
		{"SomethingNew", "missed/invalid"},
		{"LimitExceededException", "missed/tag_limit"},
	} {
		t.Run(tt.code, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				f := newFake(t)
				w := start(t, f, nil)
				f.make("i-1").code = tt.code
				j := ec2Job("i-1", "ann")
				w.submit(j)
				time.Sleep(23 * time.Hour)
				w.want(j, "deferred")
				time.Sleep(2 * time.Hour)
				w.want(j, tt.want)
				if got := w.end(j).Outcome; got.Detail == "" || got.Job.Attempts < 10 {
					t.Errorf("after %d attempts: %q", got.Job.Attempts, got.Detail)
				}
				if n := f.count(resource.EC2CreateTags); n > 3000 {
					t.Errorf("%d calls", n)
				}
			})
		})
	}
}

func TestGiveUpBeforeDeferral(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		w := start(t, f, func(o *Options) { o.GiveUpAfter = 30 * time.Second })
		f.make("i-1").code = "IncorrectState"
		j := ec2Job("i-1", "ann")
		w.submit(j)
		time.Sleep(2 * time.Minute)
		w.want(j, "missed/exhausted")
		if n := w.kinds(Deferred); n != 0 {
			t.Errorf("%d deferred", n)
		}
	})
}

// Deferred Jobs of an earlier process are tried again, and end as what they are by then.
func TestRestore(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		w := prepare(t, f, nil)
		ok, denied, busy, old, late := ec2Job("i-ok", "ann"), ec2Job("i-denied", "ann"), ec2Job("i-busy", "ann"), ec2Job("i-old", "ann"), ec2Job("i-late", "ann")
		f.make("i-ok")
		f.make("i-denied").code = "UnauthorizedOperation"
		f.make("i-busy").busy = time.Now().Add(20 * time.Minute)
		f.make("i-old").code = "UnauthorizedOperation"
		ok.LastReason, ok.FirstTried = resource.AccessDenied, time.Now().Add(-time.Hour)
		denied.LastReason, denied.FirstTried = resource.AccessDenied, time.Now().Add(-time.Hour)
		busy.LastReason = resource.Exhausted
		old.LastReason, old.FirstTried, old.LastError = resource.AccessDenied, time.Now().Add(-25*time.Hour), "was denied"
		f.make("i-late").busy = time.Now().Add(30 * time.Minute)
		late.LastReason, late.FirstTried, late.LastError = resource.AccessDenied, time.Now().Add(-40*time.Hour), "was denied"
		w.tagger.Restore([]resource.Job{ok, denied, busy, old, late})
		w.run()
		time.Sleep(5 * time.Minute)
		w.want(ok, "tagged")
		w.want(old, "") // nobody tried it for a day: what fails now may fail in passing
		w.want(late, "")
		w.want(denied, "") // still deferred, and not reported as such again
		w.want(busy, "")
		time.Sleep(time.Hour)
		w.want(old, "missed/access_denied")
		w.want(late, "tagged")
		time.Sleep(25 * time.Hour)
		w.want(busy, "tagged")
		w.want(denied, "missed/access_denied")
		if n := w.kinds(Deferred); n != 0 {
			t.Errorf("%d deferred again", n)
		}
	})
}

// With OneShot each Job is tried for so long, and no more; restored ones once.
func TestOneShot(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		w := prepare(t, f, func(o *Options) { o.OneShot = 33 * time.Second })
		begin := time.Now()
		ok, denied, busy := ec2Job("i-ok", "ann"), ec2Job("i-denied", "ann"), ec2Job("i-busy", "ann")
		f.make("i-ok")
		f.make("i-denied").code = "UnauthorizedOperation"
		f.make("i-busy").busy = begin.Add(time.Hour)
		stored1, stored2, stored3 := ec2Job("i-s1", "ann"), ec2Job("i-s2", "ann"), ec2Job("i-s3", "ann")
		f.make("i-s1")
		f.make("i-s2")
		f.make("i-s3").busy = begin.Add(time.Hour)
		stored1.LastReason, stored2.LastReason, stored3.LastReason = resource.AccessDenied, resource.AccessDenied, resource.Exhausted
		w.tagger.Restore([]resource.Job{stored1, stored2, stored3})
		w.run()
		w.submit(ok, denied, busy)
		w.tagger.Close()
		<-w.done
		w.want(ok, "tagged")
		w.want(denied, "deferred")
		w.want(busy, "deferred")
		w.want(stored1, "tagged")
		w.want(stored2, "tagged")
		w.want(stored3, "")
		if took := time.Since(begin); took > 40*time.Second {
			t.Errorf("took %v", took)
		}
	})
}

// However long the rest of the run takes, what was deferred in it is not tried again.
func TestOneShotTriesOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		w := prepare(t, f, func(o *Options) { o.OneShot = 33 * time.Second })
		f.make("i-busy").busy = time.Now().Add(10 * time.Hour)
		f.make("i-stored").code = "UnauthorizedOperation"
		stored := ec2Job("i-stored", "bob")
		stored.LastReason = resource.AccessDenied
		w.tagger.Restore([]resource.Job{stored})
		w.run()
		w.submit(ec2Job("i-busy", "ann"))
		time.Sleep(time.Minute)
		calls := len(f.all())
		time.Sleep(time.Hour)
		if n := len(f.all()) - calls; n != 0 {
			t.Errorf("%d calls after the deferral", n)
		}
	})
}

// At its first success an action reports Replay, since an earlier process may have left a denial record.
func TestReplayAtFirstSuccess(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		w := start(t, f, nil)
		for i := range 5 {
			id := fmt.Sprint("i-", i)
			f.make(id)
			w.submit(ec2Job(id, "ann"))
			time.Sleep(10 * time.Second)
		}
		if n := w.kinds(Replay); n != 1 {
			t.Errorf("%d replays, want 1", n)
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		i := slices.IndexFunc(w.results, func(r Result) bool { return r.Kind == Replay })
		if r := w.results[i]; r.Scope != paris || r.API != resource.EC2CreateTags || r.Action != "ec2:CreateTags" {
			t.Errorf("replay %+v", r)
		}
	})
}

// Half of the stored have to be tagged before the others are read again.
func TestNoReplayWhenFewWork(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		mended := time.Now().Add(time.Hour)
		denyUntil(f, mended)
		w := start(t, f, nil)
		for i := range 100 {
			id := fmt.Sprintf("i-%03d", i)
			th := f.make(id)
			if i%5 != 0 {
				th.code = "UnauthorizedOperation"
			}
			w.submit(ec2Job(id, "ann"))
		}
		time.Sleep(4 * time.Hour)
		if _, _, tagged := w.counts(); tagged != 20 {
			t.Errorf("%d tagged, want 20", tagged)
		}
		if n := w.kinds(Replay); n != 0 {
			t.Errorf("%d replays", n)
		}
	})
}

func TestNowIsAWS(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		skew := -10 * time.Hour // our host is ten hours behind
		w := start(t, f, func(o *Options) { o.Now = func() time.Time { return time.Now().Add(-skew) } })
		j := ec2Job("i-1", "ann")
		j.Event.Time = time.Now().Add(-skew) // just now
		w.submit(j)
		time.Sleep(time.Minute)
		w.want(j, "")
		time.Sleep(90 * time.Second)
		w.want(j, "gone")
		if at := w.end(j).Outcome.At; at.Before(time.Now().Add(9 * time.Hour)) {
			t.Errorf("Outcome at %v", at)
		}
	})
}

// A full Scope defers what fails early rather than hold up the rest of it.
func TestRelief(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		f.before = func(c fakeCall) error {
			if c.api == resource.TagResources {
				return httpError(503, errors.New("down"))
			}
			return nil
		}
		w := start(t, f, nil)
		for i := range maxInHand {
			arn := fmt.Sprint("arn:aws:sqs:eu-west-3:123456789012:q", i)
			f.make(arn)
			w.submit(arnJob(arn, fmt.Sprint("p", i)))
		}
		time.Sleep(20 * time.Second)
		f.make("i-1")
		j := ec2Job("i-1", "ann")
		begin := time.Now()
		w.submit(j)
		if took := time.Since(begin); took > time.Second {
			t.Errorf("Submit waited %v for an action that fails", took)
		}
		time.Sleep(5 * time.Second)
		w.want(j, "tagged")
	})
}
