package tagger

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/autotagd/autotagd/pkg/event"
	"github.com/autotagd/autotagd/pkg/resource"
)

func TestBatchesByTagSet(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		w := start(t, f, nil)
		var jobs []resource.Job
		for i := range 90 {
			id := fmt.Sprintf("i-%03d", i)
			f.make(id)
			jobs = append(jobs, ec2Job(id, []string{"ann", "bob", "eve"}[i%3]))
		}
		for i := range 50 {
			arn := fmt.Sprintf("arn:aws:s3:::bucket-%d", i)
			f.make(arn)
			jobs = append(jobs, arnJob(arn, "ann"))
		}
		w.submit(jobs...)
		time.Sleep(time.Minute)
		for _, j := range jobs {
			w.want(j, "tagged")
			if got := f.tagsOf(target(j.Resource)); got["Owner"] != j.Owner || got["PrincipalId"] != "AROA:"+j.Owner {
				t.Errorf("%s has tags %v", j.Resource.ID, got)
			}
		}
		if n := f.count(resource.EC2CreateTags); n != 3 {
			t.Errorf("%d CreateTags, want one a person", n)
		}
		if n := f.count(resource.TagResources); n != 3 {
			t.Errorf("%d TagResources, want 20 + 20 + 10", n)
		}
	})
}

func TestWhenABatchGoes(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(w *world)
		n    int
		want time.Duration
	}{
		{"batch_wait after its first Job", func(*world) {}, 1, 3 * time.Second},
		{"when the scan ends", func(w *world) { w.tagger.Flush(paris) }, 1, 0},
		{"not when another Scope's scan ends", func(w *world) { w.tagger.Flush(ireland) }, 1, 3 * time.Second},
		{"when it is full", func(*world) {}, 1000, 0},
		{"when no more come", func(w *world) { w.tagger.Close() }, 1, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				f := newFake(t)
				f.latency = 0
				w := start(t, f, nil)
				begin := time.Now()
				for i := range tt.n {
					f.make(fmt.Sprint("i-", i))
					w.submit(ec2Job(fmt.Sprint("i-", i), "ann"))
				}
				tt.do(w)
				time.Sleep(10 * time.Second)
				calls := f.of(resource.EC2CreateTags)
				if len(calls) != 1 || calls[0].at.Sub(begin) != tt.want {
					t.Fatalf("%d calls, the first after %v; want 1 after %v", len(calls), calls[0].at.Sub(begin), tt.want)
				}
			})
		})
	}
}

func TestExistingTags(t *testing.T) {
	overwrite := func(key string) bool { return key == "PrincipalId" }
	for _, tt := range []struct {
		name      string
		there     []string
		record    map[string]string
		overwrite func(string) bool
		upsert    bool
		dryRun    bool
		want      string
		tags      string // afterwards, of Owner and PrincipalId
		writes    int
	}{
		{name: "none", want: "tagged", tags: "ann AROA:ann", writes: 1},
		{name: "an owner is kept and the rest written", there: []string{"Owner", "bob"}, want: "kept", tags: "bob AROA:ann", writes: 1},
		{name: "all kept", there: []string{"Owner", "bob", "PrincipalId", "x"}, want: "kept", tags: "bob x"},
		{name: "right already", there: []string{"Owner", "ann", "PrincipalId", "AROA:ann"}, want: "tagged", tags: "ann AROA:ann"},
		{name: "half right", there: []string{"Owner", "ann"}, want: "tagged", tags: "ann AROA:ann", writes: 1},
		{name: "keys are compared exactly", there: []string{"owner", "bob"}, want: "tagged", tags: "ann AROA:ann", writes: 1},
		{name: "given at creation", record: map[string]string{"Owner": "bob"}, want: "kept", tags: " AROA:ann", writes: 1},
		{name: "overwritten by key", there: []string{"Owner", "bob", "PrincipalId", "x"}, overwrite: overwrite, want: "kept", tags: "bob AROA:ann", writes: 1},
		{name: "overwritten though given at creation", record: map[string]string{"PrincipalId": "x"}, overwrite: overwrite, want: "tagged", tags: "ann AROA:ann", writes: 1},
		{name: "overwritten with what is there", there: []string{"PrincipalId", "AROA:ann", "Owner", "ann"}, overwrite: overwrite, want: "tagged", tags: "ann AROA:ann"},
		{name: "upsert of a bare resource", upsert: true, want: "tagged", tags: "ann AROA:ann", writes: 1},
		{name: "upsert mixes no two people's tags", there: []string{"Owner", "bob"}, upsert: true, want: "kept", tags: "bob "},
		{name: "upsert keeps half of its own", there: []string{"Owner", "ann"}, upsert: true, want: "kept", tags: "ann "},
		{name: "upsert that is right", there: []string{"Owner", "ann", "PrincipalId", "AROA:ann"}, upsert: true, want: "tagged", tags: "ann AROA:ann"},
		{name: "upsert overwrites nothing", there: []string{"PrincipalId", "x"}, overwrite: func(string) bool { return true }, upsert: true, want: "kept", tags: " x"},
		{name: "upsert of what had a tag at creation", record: map[string]string{"Owner": "bob"}, upsert: true, want: "kept", tags: " "},
		{name: "dry run", dryRun: true, want: "would_tag", tags: " "},
		{name: "dry run keeps", there: []string{"Owner", "bob", "PrincipalId", "x"}, dryRun: true, want: "kept", tags: "bob x"},
	} {
		for _, kind := range []string{"ec2", "tagging"} {
			t.Run(tt.name+" by "+kind, func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					f := newFake(t)
					f.pageSize = 1
					w := start(t, f, func(o *Options) { o.Overwrite, o.DryRun = tt.overwrite, tt.dryRun })
					name, j := "i-1", ec2Job("i-1", "ann")
					if kind == "tagging" {
						name = "arn:aws:sqs:eu-west-3:123456789012:q"
						j = arnJob(name, "ann")
					}
					f.make(name, tt.there...)
					j.Resource.Tags, j.Upsert = tt.record, tt.upsert
					w.submit(j)
					time.Sleep(time.Minute)
					w.want(j, tt.want)
					tags := f.tagsOf(name)
					if got := tags["Owner"] + " " + tags["PrincipalId"]; got != tt.tags {
						t.Errorf("tags %q, want %q", got, tt.tags)
					}
					if got := f.writesOf(name); got != tt.writes {
						t.Errorf("%d writes, want %d", got, tt.writes)
					}
				})
			})
		}
	}
}

func TestDryRunSaysWhatItWouldWrite(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		w := start(t, f, func(o *Options) { o.DryRun = true })
		f.make("i-1", "Owner", "bob")
		j := ec2Job("i-1", "ann")
		w.submit(j)
		time.Sleep(time.Minute)
		w.want(j, "would_tag")
		if got := w.end(j).Outcome; len(got.Job.Tags) != 1 || got.Job.Tags[0].Key != "PrincipalId" || !strings.Contains(got.Detail, `Owner is "bob"`) {
			t.Errorf("tags %v, %q; want the principal alone, and that Owner stays", got.Job.Tags, got.Detail)
		}
	})
}

func TestOverwriteWritesWithoutReading(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		w := start(t, f, func(o *Options) { o.Overwrite = func(string) bool { return true } })
		f.make("i-1", "Owner", "bob")
		w.submit(ec2Job("i-1", "ann"))
		time.Sleep(time.Minute)
		if f.tagsOf("i-1")["Owner"] != "ann" || f.count(describeTags) != 0 {
			t.Errorf("tags %v after %d reads", f.tagsOf("i-1"), f.count(describeTags))
		}
	})
}

// Two people said CreateQueue for the same queue. Its tags can't be read back at once. Whoever was first owns it.
func TestUpsertsOfOneResource(t *testing.T) {
	for _, newestFirst := range []bool{true, false} {
		for _, apart := range []time.Duration{0, time.Second, 4 * time.Second, time.Minute} {
			t.Run(fmt.Sprint("newest first ", newestFirst, ", apart ", apart), func(t *testing.T) {
				if newestFirst && apart >= 4*time.Second {
					t.Skip("then the younger event was written before the older was known")
				}
				bubble(t, func(t *testing.T) {
					f := newFake(t)
					f.readLag = 30 * time.Second
					if apart == time.Minute {
						f.readLag = 90 * time.Second
					}
					w := start(t, f, nil)
					arn := "arn:aws:sqs:eu-west-3:123456789012:q"
					f.make(arn)
					first, second := arnJob(arn, "ann"), arnJob(arn, "bob")
					first.Upsert, second.Upsert = true, true
					second.Event.ID, second.Event.Time = "later", first.Event.Time.Add(time.Second)
					jobs := []resource.Job{first, second}
					if newestFirst {
						jobs = []resource.Job{second, first}
					}
					if apart == 0 {
						w.submit(jobs...)
					} else {
						w.submit(jobs[0])
						time.Sleep(apart)
						w.submit(jobs[1])
					}
					time.Sleep(2 * time.Minute)
					w.want(first, "tagged")
					w.want(second, "kept")
					if got := f.tagsOf(arn); got["Owner"] != "ann" || got["PrincipalId"] != "AROA:ann" {
						t.Errorf("tags %v", got)
					}
				})
			})
		}
	}
}

// GetResources never lists the resources of IAM and Auto Scaling. IAM's are read by itself.
func TestUnlistedKinds(t *testing.T) {
	const role, group, asg = "arn:aws:iam::123456789012:role/r", "arn:aws:iam::123456789012:group/g", "arn:aws:autoscaling:eu-west-3:123456789012:autoScalingGroup:x:autoScalingGroupName/g"
	create := func(*resource.Job) {}
	upsert := func(j *resource.Job) { j.Upsert = true }
	old := func(j *resource.Job) { j.Event.Time = time.Now().Add(-25 * time.Hour) }
	given := func(key string) func(*resource.Job) {
		return func(j *resource.Job) { j.Resource.Tags = map[string]string{key: "bob"} }
	}
	for _, tt := range []struct {
		name   string
		arn    string
		there  []string
		change func(*resource.Job)
		all    bool // overwrite
		none   bool // IAM can't be read
		err    string
		want   string
		owner  string
	}{
		{name: "a role without tags", arn: role, change: create, want: "tagged", owner: "ann"},
		{name: "a role with an owner", arn: role, there: []string{"Owner", "bob"}, change: create, want: "kept", owner: "bob"},
		{name: "IAM's keys don't differ by case", arn: role, there: []string{"owner", "bob"}, change: create, want: "kept"},
		{name: "an old role", arn: role, change: old, want: "tagged", owner: "ann"},
		{name: "an upsert", arn: role, change: upsert, want: "tagged", owner: "ann"},
		{name: "an upsert of what has an owner", arn: role, there: []string{"Owner", "bob"}, change: upsert, want: "kept", owner: "bob"},
		{name: "a role that is gone", arn: "", change: func(j *resource.Job) { j.Resource.ARN = role + "gone" }, want: "missed/unresolved"},
		{name: "a read that is denied", arn: role, change: create, err: "AccessDenied", want: "deferred"},
		{name: "a read that is throttled", arn: role, change: create, err: "Throttling", want: ""},

		{name: "a create that can't be read is tagged", arn: asg, change: create, want: "tagged", owner: "ann"},
		{name: "and one of IAM", arn: group, change: create, want: "tagged", owner: "ann"},
		{name: "and all where no client reads them", arn: role, change: create, none: true, want: "tagged", owner: "ann"},
		{name: "but for what the record gives", arn: asg, change: given("Owner"), want: "kept"},
		{name: "in whatever case", arn: group, change: given("owner"), want: "kept"},
		{name: "an upsert might change an owner", arn: asg, change: upsert, want: "kept"},
		{name: "an upsert is never blind", arn: asg, change: upsert, all: true, want: "kept"},
		{name: "an old create might too", arn: group, change: old, want: "kept"},
		{name: "if that is not allowed", arn: group, change: old, all: true, want: "tagged", owner: "ann"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				f := newFake(t)
				if tt.err != "" {
					f.ownError = apiError(tt.err, "no")
				}
				w := start(t, f, func(o *Options) {
					o.Overwrite = func(string) bool { return tt.all }
					if tt.none {
						o.API = func(s event.Scope) (API, error) {
							api, err := f.api(s)
							api.OwnTags = nil
							return api, err
						}
					}
				})
				f.make(tt.arn, tt.there...)
				arn := tt.arn
				if arn == "" {
					arn = role
				}
				j := arnJob(arn, "ann")
				tt.change(&j)
				other := arnJob("arn:aws:sqs:eu-west-3:123456789012:q", "ann") // in the same call
				f.make(other.Resource.ARN)
				w.submit(j, other)
				time.Sleep(time.Minute)
				w.want(j, tt.want)
				w.want(other, "tagged")
				if got := f.tagsOf(arn)["Owner"]; got != tt.owner {
					t.Errorf("Owner %q, want %q", got, tt.owner)
				}
				for _, c := range f.of(getResources) {
					if slices.Contains(c.names, arn) {
						t.Error("GetResources for a kind that it never lists")
					}
				}
			})
		})
	}
}

func TestJobsThatNoCallIsMadeFor(t *testing.T) {
	long := strings.Repeat("x", 2000)
	for _, tt := range []struct {
		name   string
		change func(*resource.Job)
		want   string
	}{
		{"no id", func(j *resource.Job) { j.Resource.ID = "" }, "missed/unresolved"},
		{"id with a space", func(j *resource.Job) { j.Resource.ID = "i-1 i-2" }, "missed/unresolved"},
		{"id with an escape sequence", func(j *resource.Job) { j.Resource.ID = "i-1\x1b[31m" }, "missed/unresolved"},
		{"endless id", func(j *resource.Job) { j.Resource.ID = long }, "missed/unresolved"},
		{"ARN with a control character", func(j *resource.Job) { j.Resource.TagAPI, j.Resource.ARN = resource.TagResources, "arn:aws:s3:::a\n" }, "missed/unresolved"},
		{"no Region", func(j *resource.Job) { j.Resource.Scope.Region = "" }, "missed/unresolved"},
		{"a Region that is a host", func(j *resource.Job) { j.Resource.Scope.Region = "x.example.com/" }, "missed/unresolved"},
		{"ids to describe that are none", func(j *resource.Job) {
			j.Expand, j.ExpandIDs = resource.ExpandInstanceVolumes, []string{"i-1", "*"}
		}, "missed/unresolved"},
		{"no ARN", func(j *resource.Job) { j.Resource.TagAPI, j.Resource.ARN = resource.TagResources, "" }, "missed/unresolved"},
		{"own API without its parameters", func(j *resource.Job) { j.Resource.TagAPI = "sqs:TagQueue" }, "missed/unresolved"},
		{"own API with a bad one", func(j *resource.Job) { j.Resource = ownJob("q\x00", "ann").Resource }, "missed/unresolved"},
		{"no API", func(j *resource.Job) { j.Resource.TagAPI = resource.NoTagAPI }, "missed/unsupported"},
		{"no tags", func(j *resource.Job) { j.Tags = nil }, "skipped"},
		{"a key of AWS's", func(j *resource.Job) { j.Tags = []resource.Tag{{Key: "AWS:x", Value: "y"}} }, "missed/invalid"},
		{"a long value", func(j *resource.Job) { j.Tags = []resource.Tag{{Key: "x", Value: long}} }, "missed/invalid"},
		{"a long key", func(j *resource.Job) { j.Tags = []resource.Tag{{Key: long, Value: "x"}} }, "missed/invalid"},
		{"51 tags", func(j *resource.Job) {
			j.Tags = nil
			for i := range 51 {
				j.Tags = append(j.Tags, resource.Tag{Key: fmt.Sprintf("k%02d", i), Value: "v"})
			}
		}, "missed/invalid"},
		{"nothing to describe", func(j *resource.Job) { j.Expand = resource.ExpandInstanceVolumes }, "missed/unresolved"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				f := newFake(t)
				w := start(t, f, nil)
				j := ec2Job("i-1", "ann")
				tt.change(&j)
				w.submit(j)
				synctest.Wait()
				w.want(j, tt.want)
				time.Sleep(time.Minute)
				if n := len(f.all()); n != 0 {
					t.Errorf("%d calls", n)
				}
			})
		})
	}
}

// The write follows the read by at most 30 s, however slow the rate, and a change before the read is seen.
func TestReadIsFreshAtTheWrite(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		f.latency = 3 * time.Second
		w := start(t, f, func(o *Options) { o.Rate, o.Workers = 0.1, 4 })
		var jobs []resource.Job
		for i := range 1500 {
			id := fmt.Sprintf("i-%04d", i)
			f.make(id)
			j := ec2Job(id, fmt.Sprint("p", i%3))
			if i%2 == 0 {
				f.make(id, "Owner", "bob") // another set of keys: a second write of the same batch
			}
			jobs = append(jobs, j)
		}
		w.submit(jobs...)
		time.Sleep(3 * time.Hour)
		read := map[string]time.Time{}
		for _, c := range f.all() {
			for _, id := range c.names {
				switch c.api {
				case describeTags:
					read[id] = c.at
				case resource.EC2CreateTags:
					if age := c.at.Sub(read[id]); age > 30*time.Second {
						t.Fatalf("%s was written %v after it was read", id, age)
					}
				}
			}
		}
		for i, j := range jobs {
			w.want(j, []string{"kept", "tagged"}[i%2])
		}
	})
}

func TestSubmitWaitsForItsScopeAlone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		f.before = func(c fakeCall) error {
			if c.scope == paris {
				time.Sleep(time.Hour)
			}
			return nil
		}
		w := start(t, f, nil)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var jobs []resource.Job
		for i := range maxInHand + 1 {
			jobs = append(jobs, ec2Job(fmt.Sprint("i-", i), "ann"))
		}
		if err := w.tagger.Submit(ctx, jobs); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Submit of more than fits: %v", err)
		}
		if n := w.tagger.InHand(); n != maxInHand {
			t.Errorf("%d in hand, want %d", n, maxInHand)
		}
		f.make("i-x")
		other := ec2Job("i-x", "ann")
		other.Event.Scope, other.Resource.Scope = ireland, ireland
		begin := time.Now()
		w.submit(other)
		if took := time.Since(begin); took > 0 {
			t.Errorf("another Scope's Submit waited %v", took)
		}
		time.Sleep(10 * time.Second)
		w.want(other, "tagged")
	})
}

// A backlog that fills its room leaves new events theirs, and they go first.
func TestNewEventsDontWaitForTheBacklog(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		w := start(t, f, nil)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			for i := 0; ; i++ { // each of another person: a call each
				j := ec2Job(fmt.Sprint("i-old-", i), fmt.Sprint("p", i))
				j.Event.Backlog = true
				f.make(j.Resource.ID)
				if w.tagger.Submit(ctx, []resource.Job{j}) != nil {
					return
				}
			}
		}()
		time.Sleep(time.Minute)
		for i := range 5 {
			j := ec2Job(fmt.Sprint("i-new-", i), "ann")
			f.make(j.Resource.ID)
			begin := time.Now()
			w.submit(j)
			time.Sleep(8 * time.Second)
			w.want(j, "tagged")
			if took := w.when(j).Sub(begin); took > 7*time.Second {
				t.Errorf("a new event waited %v", took)
			}
		}
		cancel()
		<-done
	})
}

func TestCloseDrains(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		w := start(t, f, nil)
		f.make("i-1").visible = time.Now().Add(15 * time.Second)
		j := ec2Job("i-1", "ann")
		w.submit(j)
		w.tagger.Close()
		<-w.done
		w.want(j, "tagged")
		if err := w.tagger.Submit(t.Context(), []resource.Job{j}); !errors.Is(err, ErrClosed) {
			t.Errorf("Submit after Close: %v", err)
		}
	})
}

// At the end of Run every Job in hand is handed back, in whatever state it is; none twice, none of those deferred before.
func TestHandBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		f.before = func(c fakeCall) error {
			if c.names[0] == "i-hangs" {
				time.Sleep(time.Hour)
			}
			return nil
		}
		w := start(t, f, nil)
		var jobs []resource.Job
		add := func(j resource.Job) { jobs = append(jobs, j) }
		f.make("i-denied").code = "UnauthorizedOperation"
		f.make("i-hangs")
		f.make("i-new")
		add(ec2Job("i-denied", "ann"))
		add(ec2Job("i-missing", "bob"))
		add(ec2Job("i-hangs", "eve"))
		again := ec2Job("i-hangs", "joe")
		again.Event.ID, again.Event.Time = "later", again.Event.Time.Add(time.Second)
		add(again) // waits behind the other
		w.submit(jobs...)
		time.Sleep(5 * time.Second)
		add(ec2Job("i-new", "ann")) // still collected
		w.submit(jobs[len(jobs)-1])
		blocked := make(chan error, 1)
		w.cancel()
		<-w.done
		for _, j := range jobs {
			w.want(j, "deferred")
		}
		go func() { blocked <- w.tagger.Submit(context.Background(), jobs[:1]) }()
		if err := <-blocked; !errors.Is(err, ErrClosed) {
			t.Errorf("Submit after the end: %v", err)
		}
		if got := w.deferral(jobs[0]).Job; got.Attempts == 0 || got.LastReason != resource.AccessDenied || got.FirstTried.IsZero() {
			t.Errorf("a deferred Job keeps %+v", got)
		}
	})
}

func TestMetrics(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		w := start(t, f, nil)
		if n := testutil.CollectAndCount(w.tagger.metrics.requests); n != 2*int(classCount) {
			t.Errorf("%d series of requests at the start", n)
		}
		f.make("i-1")
		f.make("i-2")
		old := ec2Job("i-2", "ann")
		old.Event.Backlog = true
		w.submit(ec2Job("i-1", "ann"), old)
		time.Sleep(time.Minute)
		problems, err := testutil.GatherAndLint(w.reg)
		if err != nil || len(problems) > 0 {
			t.Errorf("lint: %v %v", problems, err)
		}
		metrics, err := w.reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]uint64{}
		for _, m := range metrics {
			for _, s := range m.Metric {
				if h := s.GetHistogram(); h != nil {
					got[m.GetName()] += h.GetSampleCount()
				}
			}
		}
		for name, want := range map[string]uint64{"autotagd_tag_batch_resources": 1, "autotagd_tagging_latency_seconds": 1, "autotagd_event_to_tag_seconds": 1} {
			if got[name] != want {
				t.Errorf("%s has %d samples, want %d: the backlog is left out", name, got[name], want)
			}
		}
		for i := range 2 * maxRegions {
			w.tagger.metrics.region(fmt.Sprint("region-", i))
		}
		if got := w.tagger.metrics.region("mars-1"); got != "other" {
			t.Errorf("region label %q without bound", got)
		}
	})
}

// What records fill is forgotten when it is idle.
func TestNothingPilesUp(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		w := start(t, f, nil)
		for i := range 50 {
			id := fmt.Sprint("i-", i)
			f.make(id)
			j := ec2Job(id, fmt.Sprint("p", i))
			j.Event.Scope = event.Scope{AccountID: fmt.Sprint(i), Region: "r"}
			j.Resource.Scope = j.Event.Scope
			w.submit(j)
		}
		time.Sleep(2 * createdFor)
		tg := w.tagger
		tg.mu.Lock()
		defer tg.mu.Unlock()
		if n := len(tg.groups) + len(tg.lanes) + len(tg.limiters) + len(tg.chains) + len(tg.intakes) + len(tg.memory.written) + len(tg.delayed); n != 0 {
			t.Errorf("kept: %d groups, %d lanes, %d limiters, %d chains, %d intakes, %d writings, %d delayed",
				len(tg.groups), len(tg.lanes), len(tg.limiters), len(tg.chains), len(tg.intakes), len(tg.memory.written), len(tg.delayed))
		}
	})
}
