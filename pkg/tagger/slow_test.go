package tagger

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/autotagd/autotagd/pkg/resource"
)

// bucket is AWS's own: so many calls of one API a second, shared with others, so less than our rate.
func bucket(api resource.TagAPI, perSecond float64) func(fakeCall) error {
	var mu sync.Mutex
	tokens, at := 1.0, time.Now()
	return func(c fakeCall) error {
		if c.api != api {
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		now := time.Now()
		tokens = min(2, tokens+now.Sub(at).Seconds()*perSecond)
		at = now
		if tokens < 1 {
			return apiError("ThrottlingException", "slow down")
		}
		tokens--
		return nil
	}
}

// An API that is slow and works misses nothing, however much there is to do: the backlog of `--since 30d`, say.
func TestSlowIsNotMissed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		f.before = bucket(resource.TagResources, 1)
		w := start(t, f, nil)
		done := make(chan struct{})
		go func() {
			defer close(done)
			for i := range 3000 {
				arn := fmt.Sprint(queueARN, i)
				f.make(arn)
				j := arnJob(arn, fmt.Sprint("p", i%300))
				j.Event.Backlog = true
				w.submit(j)
			}
		}()
		time.Sleep(4 * time.Hour)
		<-done
		if _, unstored, tagged := w.counts(); unstored != 0 || tagged != 3000 {
			t.Errorf("%d of 3000 tagged, %d missed without a try", tagged, unstored)
		}
	})
}

// A busy hour makes the tagger forget nothing that it wrote half a minute ago, and that AWS's reads don't show yet.
func TestUpsertAfterABusyHour(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		f.readLag = time.Minute
		w := start(t, f, nil)
		hourAgo := time.Now()
		time.Sleep(50 * time.Minute)
		w.tagger.mu.Lock()
		for i := range maxWritten {
			w.tagger.memory.written[resourceKey{paris, fmt.Sprint("i-", i)}] = writing{at: hourAgo}
		}
		w.tagger.mu.Unlock()
		var anns, bobs []resource.Job
		for i := range 200 {
			arn := fmt.Sprint(queueARN, i)
			f.make(arn)
			anns, bobs = append(anns, upsert(arn, "ann", i)), append(bobs, upsert(arn, "bob", 1000+i))
		}
		w.submit(anns...)
		time.Sleep(20 * time.Second)
		w.submit(bobs...)
		time.Sleep(30 * time.Second)
		for i := range anns {
			w.want(anns[i], "tagged")
			w.want(bobs[i], "kept")
		}
		if n := len(w.tagger.memory.written); n > maxWritten {
			t.Errorf("%d writings are remembered", n)
		}
	})
}

// A repeat by the same person, whose tags differ by event, ends no Job of his as gone.
func TestSamePersonTwice(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		w := start(t, f, nil)
		f.make(queueARN)
		a, b := arnJob(queueARN, "ann"), arnJob(queueARN, "ann")
		b.Event.ID, b.Event.Time = "later", a.Event.Time.Add(2*time.Second)
		a.Tags = append(a.Tags, resource.Tag{Key: "CreatedAt", Value: "10:00:00"})
		b.Tags = append(b.Tags, resource.Tag{Key: "CreatedAt", Value: "10:00:02"})
		w.submit(a, b)
		time.Sleep(time.Minute)
		w.want(a, "tagged")
		w.want(b, "kept")
	})
}

// An older create that is under way when a newer one comes is not tried again after a failure.
func TestCreatedAgainWhileUnderWay(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		var once sync.Once
		f.before = func(c fakeCall) (err error) {
			if c.api == resource.TagResources {
				once.Do(func() {
					time.Sleep(5 * time.Second)
					err = httpError(503, apiError("Unavailable", "once"))
				})
			}
			return err
		}
		w := start(t, f, nil)
		f.make(queueARN)
		ann, bob := arnJob(queueARN, "ann"), arnJob(queueARN, "bob")
		bob.Event.ID, bob.Event.Time = "later", ann.Event.Time.Add(time.Minute)
		w.submit(ann)
		time.Sleep(4 * time.Second)
		w.submit(bob)
		time.Sleep(2 * time.Minute)
		w.want(ann, "gone")
		w.want(bob, "tagged")
	})
}

// Launches that are visible at once are described in bulk.
func TestSettledLaunchesTravelTogether(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		w := start(t, f, nil)
		for i := range 120 {
			id := fmt.Sprint("i-", i)
			j := expandJob(resource.ExpandInstanceVolumes, "ann", id)
			j.Event.ID, j.Event.Time = fmt.Sprint("e", i), time.Now()
			f.launch(id, j.Event.Time, []string{fmt.Sprint("vol-", i)}, nil)
			w.submit(j)
			time.Sleep(500 * time.Millisecond)
		}
		time.Sleep(2 * time.Minute)
		if n := f.count(describeInstances); n > 30 {
			t.Errorf("%d DescribeInstances for 120 launches in a minute", n)
		}
	})
}
