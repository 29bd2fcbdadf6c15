package tagger

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/autotagd/autotagd/pkg/event"
	"github.com/autotagd/autotagd/pkg/resource"
)

// Whatever AWS answers, in whatever order Jobs of shared resources come, and however often a full Scope is relieved: every Job
// ends, and nothing of it is left.
func TestEveryJobEndsOnce(t *testing.T) {
	seeds := uint64(2)
	if os.Getenv("AUTOTAGD_SLOW") != "" {
		seeds = 40
	}
	first := rand.Uint64() >> 1
	for seed := first; seed < first+seeds; seed++ {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			bubble(t, func(t *testing.T) { stress(t, seed) })
		})
	}
}

func stress(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 99))
	f := newFake(t)
	dice := make(chan float64)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	dr := rand.New(rand.NewPCG(seed, 5))
	go func() {
		for {
			select {
			case dice <- dr.Float64():
			case <-ctx.Done():
				return
			}
		}
	}()
	calm := time.Now().Add(3 * time.Hour)
	mode := seed % 4
	begin := time.Now()
	f.before = func(c fakeCall) error {
		if time.Now().After(calm) {
			return nil
		}
		phase := int(time.Since(begin)/(7*time.Minute)) % 3
		d := <-dice
		switch {
		case mode == 0 && phase != 2 && d < 0.9:
			return apiError("AccessDenied", "no")
		case mode == 1 && phase != 2 && d < 0.9:
			return apiError("ThrottlingException", "slow")
		case mode == 2 && phase != 2 && d < 0.9:
			return httpError(503, apiError("Unavailable", "x"))
		case d < 0.1:
			return apiError("AccessDenied", "no")
		case d < 0.15:
			return apiError("ThrottlingException", "slow")
		case d < 0.2:
			return httpError(503, apiError("Unavailable", "x"))
		}
		return nil
	}
	w := start(t, f, nil)
	var jobs []resource.Job
	for i := range 900 {
		var j resource.Job
		make := func(name string) *thing { return f.make(name) }
		switch rng.IntN(6) {
		case 0:
			j = arnJob(fmt.Sprintf("arn:aws:sqs:eu-west-3:123456789012:q%d", rng.IntN(12)), fmt.Sprint("p", rng.IntN(3)))
			j.Upsert = rng.IntN(2) == 0
		case 1:
			j = arnJob(fmt.Sprintf("arn:aws:sns:eu-west-3:123456789012:q%d", rng.IntN(300)), fmt.Sprint("p", rng.IntN(3)))
		case 2:
			j = arnJob(fmt.Sprintf("arn:aws:iam::123456789012:role/r%d", rng.IntN(100)), fmt.Sprint("p", rng.IntN(3)))
		case 3: // of kinds that TagResources refuses, each in its way
			kind := rng.IntN(5)
			j = arnJob(fmt.Sprintf("arn:aws:odd%d:eu-west-3:123456789012:o%d", kind, rng.IntN(60)), fmt.Sprint("p", rng.IntN(3)))
			j.Resource.Own = []resource.Call{own("odd:TagOther", j.Resource.ARN), own("odd:TagThing", j.Resource.ARN)}
			j.Upsert = rng.IntN(3) == 0
			switch kind {
			case 3:
				j.Resource.Own[1].Read = ""
			case 4:
				j.Resource.Own[1].Replaces = "own"
			}
			make = func(name string) *thing {
				th := f.make(name, "team", "red")
				th.only = []resource.TagAPI{"odd:TagThing"}
				th.refusal = []string{"", "InvalidParameterException", "ResourceNotFoundException", "UnsupportedResourceType", ""}[kind]
				return th
			}
		case 4:
			j = ownJob(fmt.Sprintf("thing%d", rng.IntN(60)), fmt.Sprint("p", rng.IntN(3)))
			j.Upsert = rng.IntN(3) == 0
		default:
			j = ec2Job(fmt.Sprintf("i-%d", rng.IntN(200)), fmt.Sprint("p", rng.IntN(3)))
		}
		name := target(j.Resource)
		if j.Resource.ARN == "" {
			name = j.Resource.ID
		}
		f.mu.Lock()
		known := f.things[name] != nil
		f.mu.Unlock()
		if !known && rng.IntN(10) > 0 {
			make(name)
		}
		if rng.IntN(4) == 0 {
			j.Event.Scope = ireland
		}
		j.Event.ID = fmt.Sprint("e", i)
		j.Event.Time = time.Now().Add(-time.Duration(rng.IntN(600)) * time.Second)
		jobs = append(jobs, j)
		w.submit(j)
		switch rng.IntN(12) {
		case 0:
			time.Sleep(time.Duration(rng.IntN(60000)) * time.Millisecond)
		case 1:
			w.tagger.mu.Lock()
			w.tagger.relieve(event.Scope{AccountID: paris.AccountID, Region: paris.Region}, false)
			w.tagger.relieve(ireland, false)
			w.tagger.mu.Unlock()
			w.tagger.poke()
		}
	}
	abandoned := seed%2 == 0 // whatever its Jobs are at: see Abandon
	if abandoned {
		w.tagger.Abandon(ireland)
	}
	time.Sleep(30 * time.Hour)
	c := map[string]int{}
	for _, j := range jobs {
		o := w.outcome(j)
		c[o]++
		if (o == "" || o == "deferred") && (!abandoned || j.Event.Scope != ireland) {
			t.Errorf("%s upsert=%v: %q", j.Key(), j.Upsert, o)
		}
	}
	w.tagger.mu.Lock()
	defer w.tagger.mu.Unlock()
	for k, g := range w.tagger.groups {
		if g.round != nil || g.stored != 0 || g.storedDenied != 0 || len(g.waiting)+len(g.members)+g.live+g.running != 0 {
			t.Errorf("group %v: %+v", k, g)
		}
	}
	if len(w.tagger.chains)+len(w.tagger.delayed)+w.tagger.inHand != 0 {
		t.Errorf("left: %d chains, %d delayed, %d in hand", len(w.tagger.chains), len(w.tagger.delayed), w.tagger.inHand)
	}
	for k, in := range w.tagger.intakes {
		if in.inHand != 0 {
			t.Errorf("intake %v: %d in hand", k, in.inHand)
		}
	}
	for k, l := range w.tagger.lanes {
		if len(l.queues) > 0 || l.running > 0 || l.reading > 0 {
			t.Errorf("lane %v has %d queues", k, len(l.queues))
		}
	}
	for name, th := range f.things {
		if strings.Contains(name, ":odd") && th.tags["team"] != "red" {
			t.Errorf("%s lost the tags that were there: %v", name, th.tags)
		}
	}
	if c["tagged"] == 0 {
		t.Errorf("outcomes %v: the test shows little", c)
	}
}
