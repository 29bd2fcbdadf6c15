package tagger

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/autotagd/autotagd/pkg/event"
	"github.com/autotagd/autotagd/pkg/resource"
)

// own is a service's own call for a thing of the fake.
func own(api, name string) resource.Call {
	service, _, _ := strings.Cut(api, ":")
	return resource.Call{API: resource.TagAPI(api), Params: map[string]string{"name": name}, Read: resource.TagAPI(service + ":ListTags")}
}

// ownJob makes a Job for a thing that only its service's own call tags, by name.
func ownJob(name, owner string) resource.Job {
	return job(name, owner, func(j *resource.Job) {
		j.Resource = resource.Resource{
			ID: name, Type: "odd:thing", Service: "odd", Scope: paris, TagAPI: "odd:TagThing", IAMAction: "odd:TagThing",
			Confidence: resource.Verified, Own: []resource.Call{own("odd:TagThing", name)},
		}
	})
}

func (th *thing) knows(api resource.TagAPI) bool {
	return len(th.only) == 0 || slices.Contains(th.only, api)
}

func (f *fakeAWS) ownTag(ctx context.Context, scope event.Scope, call resource.Call, tags []resource.Tag) error {
	name := call.Params["name"]
	c := fakeCall{api: call.API, scope: scope, names: []string{name}, tags: map[string]string{}}
	for _, tag := range tags {
		c.tags[tag.Key] = tag.Value
	}
	if err := f.enter(ctx, c); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	th := f.things[name]
	switch {
	case th == nil:
		return apiError("ResourceNotFoundException", "no such thing")
	case !th.knows(call.API):
		return httpError(405, apiError("MethodNotAllowed", "not for such a thing"))
	}
	if code, status := f.trouble(name); code != "" {
		return httpError(int(status), apiError(code, "no"))
	}
	if call.Replaces != "" {
		for key := range c.tags {
			if call.Replaces == "own" && strings.HasPrefix(key, "aws:") {
				return apiError("InvalidTag", "a tag of AWS's")
			}
		}
		for key, value := range th.tags {
			if strings.HasPrefix(key, "aws:") && call.Replaces == "all" && c.tags[key] != value {
				return apiError("InvalidTag", "a tag of AWS's would go")
			}
		}
		maps.DeleteFunc(th.tags, func(key, _ string) bool { return !strings.HasPrefix(key, "aws:") })
	}
	f.apply(c)
	return f.leave(c)
}

func (f *fakeAWS) ownTags(ctx context.Context, scope event.Scope, call resource.Call) (map[string]string, error) {
	name := call.Params["name"]
	if err := f.enter(ctx, fakeCall{api: call.Read, scope: scope, names: []string{name}}); err != nil {
		return nil, err
	}
	tags := f.tagsOf(name)
	switch {
	case f.ownError != nil:
		return nil, f.ownError
	case tags == nil:
		return nil, apiError("NoSuchEntity", "no such thing")
	}
	return tags, nil
}

// A service's own call tags one resource, which is read before.
func TestOwnCalls(t *testing.T) {
	create := func(*resource.Job) {}
	for _, tt := range []struct {
		name   string
		there  []string
		change func(*resource.Job)
		over   bool
		want   string
		tags   map[string]string
		reads  int
	}{
		{"without tags", nil, create, false, "tagged", map[string]string{"Owner": "ann", "PrincipalId": "AROA:ann"}, 1},
		{"with others", []string{"a", "b"}, create, false, "tagged", map[string]string{"a": "b", "Owner": "ann", "PrincipalId": "AROA:ann"}, 1},
		{"with an owner", []string{"Owner", "bob"}, create, false, "kept", map[string]string{"Owner": "bob", "PrincipalId": "AROA:ann"}, 1},
		{"with ours", []string{"Owner", "ann", "PrincipalId", "AROA:ann"}, create, false, "tagged", map[string]string{"Owner": "ann", "PrincipalId": "AROA:ann"}, 1},
		{"overwritten without a read", []string{"Owner", "bob"}, create, true, "tagged", map[string]string{"Owner": "ann", "PrincipalId": "AROA:ann"}, 0},
		{"an upsert of what has an owner", []string{"Owner", "bob"}, func(j *resource.Job) { j.Upsert = true }, true, "kept", map[string]string{"Owner": "bob"}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				f := newFake(t)
				w := start(t, f, func(o *Options) { o.Overwrite = func(string) bool { return tt.over } })
				f.make("thing", tt.there...)
				j := ownJob("thing", "ann")
				tt.change(&j)
				w.submit(j)
				time.Sleep(time.Minute)
				w.want(j, tt.want)
				if got := f.tagsOf("thing"); !maps.Equal(got, tt.tags) {
					t.Errorf("tags %v, want %v", got, tt.tags)
				}
				if n := f.count("odd:ListTags"); n != tt.reads {
					t.Errorf("%d reads, want %d", n, tt.reads)
				}
			})
		})
	}
}

// A service whose reads hang holds up nothing but its own.
func TestOwnReadsThatHang(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		w := start(t, f, func(o *Options) {
			api := o.API
			o.API = func(s event.Scope) (API, error) {
				calls, err := api(s)
				calls.OwnTags = func(ctx context.Context, _ string, _ resource.Call) (map[string]string, error) {
					<-ctx.Done()
					return nil, ctx.Err()
				}
				return calls, err
			}
		})
		queue := arnJob("arn:aws:sqs:eu-west-3:123456789012:q", "ann")
		f.make(queue.Resource.ARN)
		w.submit(append(roles(f, 15), queue)...)
		time.Sleep(10 * time.Second)
		w.want(queue, "tagged")
	})
}

// Reads that are throttled are not made one by one for all that travel together.
func TestOwnReadsThatAreThrottled(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		f.before = func(c fakeCall) error {
			if c.api == "iam:ListTags" {
				return apiError("Throttling", "slow down")
			}
			return nil
		}
		w := start(t, f, nil)
		w.submit(roles(f, 15)...)
		time.Sleep(3*time.Second + minBackoff/2) // they travel together, and none is tried again
		if n := f.count("iam:ListTags"); n != outageInRow {
			t.Errorf("%d reads, want %d", n, outageInRow)
		}
	})
}

// roles makes roles of one owner, and the Jobs for them.
func roles(f *fakeAWS, n int) []resource.Job {
	var jobs []resource.Job
	for i := range n {
		arn := fmt.Sprint("arn:aws:iam::123456789012:role/r", i)
		f.make(arn)
		jobs = append(jobs, arnJob(arn, "ann"))
	}
	return jobs
}

// One resource whose tags can't be read spoils nothing for those that it travels with.
func TestOwnReadThatFails(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		f.before = func(c fakeCall) error {
			if c.api == "iam:ListTags" && strings.HasSuffix(c.names[0], "/r0") {
				return httpError(500, apiError("ServiceFailure", "no"))
			}
			return nil
		}
		w := start(t, f, nil)
		jobs := roles(f, 15)
		w.submit(jobs...)
		time.Sleep(time.Minute)
		for _, j := range jobs[1:] {
			w.want(j, "tagged")
		}
		w.want(jobs[0], "")
	})
}

// A call that replaces the set is given all that is there.
func TestOwnCallThatReplaces(t *testing.T) {
	for _, replaces := range []string{"all", "own"} {
		t.Run(replaces, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				f := newFake(t)
				w := start(t, f, func(o *Options) { o.Overwrite = func(string) bool { return true } })
				th := f.make("bucket", "team", "red", "aws:cloudformation:stack-name", "s")
				j := ownJob("bucket", "ann")
				j.Resource.Own[0].Replaces = replaces
				stolen := false
				f.after = func(c fakeCall) error {
					if c.api == "odd:TagThing" && !stolen { // somebody who read before us writes after us
						stolen = true
						th.tags = map[string]string{"team": "blue", "aws:cloudformation:stack-name": "s"}
					}
					return nil
				}
				w.submit(j)
				time.Sleep(2 * time.Minute)
				w.want(j, "tagged")
				want := map[string]string{"team": "blue", "aws:cloudformation:stack-name": "s", "Owner": "ann", "PrincipalId": "AROA:ann"}
				if got := f.tagsOf("bucket"); !maps.Equal(got, want) {
					t.Errorf("tags %v, want %v", got, want)
				}
			})
		})
	}
}

// What can't be read is not written by a call that replaces.
func TestOwnCallThatReplacesIsNeverBlind(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		w := start(t, f, func(o *Options) { o.Overwrite = func(string) bool { return true } })
		f.make("bucket", "team", "red")
		j := ownJob("bucket", "ann")
		j.Resource.Own[0].Replaces, j.Resource.Own[0].Read = "own", ""
		w.submit(j)
		time.Sleep(time.Minute)
		w.want(j, "missed/unsupported")
		if n := f.count("odd:TagThing"); n != 0 {
			t.Errorf("%d writes", n)
		}
	})
}

// A kind that TagResources refuses falls back to the service's own call, and is remembered.
func TestFallBackToTheOwnCall(t *testing.T) {
	for _, refusal := range []string{"InternalServiceException", "InvalidParameterException", "ResourceNotFoundException", "UnsupportedResourceType"} {
		t.Run(refusal, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				f := newFake(t)
				w := start(t, f, nil)
				f.before = func(c fakeCall) error { return nil }
				odd := func(name string) resource.Job {
					arn := "arn:aws:odd:eu-west-3:123456789012:" + name
					th := f.make(arn)
					th.only = []resource.TagAPI{"odd:TagThing"}
					th.refusal = refusal
					j := arnJob(arn, "ann")
					j.Resource.Own = []resource.Call{own("odd:TagThing", arn)}
					return j
				}
				first := odd("a")
				w.submit(first)
				time.Sleep(3 * time.Minute)
				w.want(first, "tagged")
				if got := w.end(first).API; got != "odd:TagThing" {
					t.Errorf("ended by %s", got)
				}
				before := f.count(resource.TagResources)
				second := odd("b")
				w.submit(second)
				time.Sleep(10 * time.Second)
				w.want(second, "tagged")
				if n := f.count(resource.TagResources) - before; n != 0 {
					t.Errorf("%d calls of TagResources for a kind that it refuses", n)
				}
				time.Sleep(insteadFor + time.Minute)
				third := odd("c")
				f.things["arn:aws:odd:eu-west-3:123456789012:c"].only = nil
				w.submit(third)
				time.Sleep(10 * time.Second)
				w.want(third, "tagged")
				if got := w.end(third).API; got != resource.TagResources {
					t.Errorf("after an hour it was tagged by %s, though TagResources would have", got)
				}
			})
		})
	}
}

// An outage of TagResources looks as if it were none for the kind. Where the own call does no better, that is not the last word.
func TestBackFromAFallBackThatDoesNoBetter(t *testing.T) {
	for _, answer := range []string{"UnknownOperationException", "ValidationException", "SomethingNewException", "AccessDeniedException"} {
		t.Run(answer, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				f := newFake(t)
				var outage atomic.Bool
				outage.Store(true)
				f.before = func(c fakeCall) error {
					switch {
					case c.api == "odd:TagThing":
						return apiError(answer, "no")
					case c.api == resource.TagResources && outage.Load():
						return apiError("UnknownOperationException", "no")
					}
					return nil
				}
				w := start(t, f, nil)
				arn := "arn:aws:odd:eu-west-3:123456789012:a"
				f.make(arn)
				j := arnJob(arn, "ann")
				j.Resource.Own = []resource.Call{own("odd:TagThing", arn)}
				w.submit(j)
				time.Sleep(20 * time.Minute)
				outage.Store(false)
				time.Sleep(40 * time.Minute)
				w.want(j, "tagged")
				if got := w.end(j).API; got != resource.TagResources {
					t.Errorf("ended by %s", got)
				}
			})
		})
	}
}

// A kind with several own calls is tried by each.
func TestFallBackFromOneOwnCallToTheNext(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		w := start(t, f, nil)
		bucket := func(name string, only resource.TagAPI) resource.Job {
			arn := "arn:aws:s3:::" + name
			f.make(arn).only = []resource.TagAPI{only}
			j := arnJob(arn, "ann")
			j.Resource.Own = []resource.Call{own("s3:PutBucketTagging", arn), own("s3:TagResource", arn)}
			return j
		}
		a, b := bucket("abac", "s3:TagResource"), bucket("old", "s3:PutBucketTagging")
		w.submit(a)
		time.Sleep(time.Minute)
		w.want(a, "tagged")
		w.submit(b)
		time.Sleep(time.Minute)
		w.want(b, "tagged")
		c := bucket("none", "s3:Other")
		w.submit(c)
		time.Sleep(25 * time.Hour)
		w.want(c, "missed/invalid")
	})
}

// What is deferred keeps its place when it falls back: counted once, ended once, in the group of the call that it waits for.
func TestFallBackOfWhatIsDeferred(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		var outage, denied atomic.Bool
		outage.Store(true)
		denied.Store(true)
		f.before = func(c fakeCall) error {
			switch {
			case c.api == resource.TagResources && outage.Load():
				return errors.New("connection reset")
			case c.api == "odd:TagThing" && denied.Load():
				return apiError("AccessDeniedException", "no")
			}
			return nil
		}
		w := start(t, f, nil)
		var jobs []resource.Job
		for _, name := range []string{"a", "b", "c"} {
			arn := "arn:aws:odd:eu-west-3:123456789012:" + name
			f.make(arn).only = []resource.TagAPI{"odd:TagThing"}
			j := arnJob(arn, "ann")
			j.Resource.Own = []resource.Call{own("odd:TagThing", arn)}
			jobs = append(jobs, j)
		}
		w.submit(jobs...)
		time.Sleep(10 * time.Minute)
		for _, j := range jobs {
			w.want(j, "deferred")
		}
		outage.Store(false)
		time.Sleep(2 * time.Hour) // refused by one, denied by the other
		for _, j := range jobs {
			w.want(j, "deferred")
		}
		denied.Store(false)
		time.Sleep(time.Hour)
		for _, j := range jobs {
			w.want(j, "tagged")
		}
		if n := w.tagger.InHand(); n != 0 {
			t.Errorf("%d in hand", n)
		}
		w.tagger.mu.Lock()
		defer w.tagger.mu.Unlock()
		for k, g := range w.tagger.groups {
			if g.stored != 0 || g.storedDenied != 0 || len(g.members) != 0 || g.round != nil {
				t.Errorf("%v: %d stored, %d denied, %d members", k, g.stored, g.storedDenied, len(g.members))
			}
		}
	})
}

// fallsBack makes a Job for a thing whose ARN TagResources refuses, and that its service's own call tags.
func fallsBack(f *fakeAWS, name string, tags ...string) (*thing, resource.Job) {
	arn := "arn:aws:odd:eu-west-3:123456789012:" + name
	th := f.make(arn, tags...)
	th.only = []resource.TagAPI{"odd:TagThing"}
	j := arnJob(arn, "ann")
	j.Resource.Own = []resource.Call{own("odd:TagThing", arn)}
	return th, j
}

// A call without a read of its own is no reason to write what GetResources has seen.
func TestFallBackToACallWithoutARead(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		w := start(t, f, nil)
		for _, name := range []string{"first", "of a kind that is known"} {
			_, j := fallsBack(f, name, "Owner", "bob")
			j.Resource.Own[0].Read = ""
			w.submit(j)
			time.Sleep(time.Minute)
			w.want(j, "kept")
			if got, want := f.tagsOf(j.Resource.ARN), map[string]string{"Owner": "bob", "PrincipalId": "AROA:ann"}; !maps.Equal(got, want) {
				t.Errorf("%s: tags %v, want %v", name, got, want)
			}
		}
	})
}

// An outage of TagResources sends a Job to a call that nobody may make: once TagResources answers, it is tagged by that.
func TestFallBackToACallThatIsDenied(t *testing.T) {
	for _, denied := range []resource.TagAPI{"odd:TagThing", "odd:ListTags"} {
		t.Run(string(denied), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				f := newFake(t)
				f.before = func(c fakeCall) error {
					if c.api == denied {
						return apiError("AccessDeniedException", "no")
					}
					return nil
				}
				w := start(t, f, nil)
				th, j := fallsBack(f, "a")
				w.submit(j)
				time.Sleep(time.Minute)
				w.want(j, "deferred")
				f.mu.Lock()
				th.only = nil
				f.mu.Unlock()
				time.Sleep(5 * time.Minute)
				w.want(j, "tagged")
			})
		})
	}
}

// What waited for TagResources, or was not even stored, goes by the own call once that has tagged one of the kind.
func TestFallBackOfThoseThatWait(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		granted := time.Now().Add(10 * time.Minute)
		f.before = func(c fakeCall) error {
			if c.api == resource.TagResources && time.Now().Before(granted) {
				return apiError("AccessDeniedException", "no")
			}
			return nil
		}
		w := start(t, f, nil)
		for i := range maxStored + 20 {
			_, j := fallsBack(f, fmt.Sprint("thing", i))
			w.submit(j)
		}
		time.Sleep(time.Until(granted))
		if n := w.kinds(Unstored); n != 20 {
			t.Fatalf("%d not stored, want 20", n)
		}
		time.Sleep(20 * time.Minute)
		if n := w.kinds(Ended); n != maxStored {
			t.Errorf("%d ended, want all %d that were stored", n, maxStored)
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if !slices.ContainsFunc(w.results, func(r Result) bool {
			return r.Kind == Replay && r.API == resource.TagResources && r.Action == "odd:TagResource"
		}) {
			t.Error("what was not stored for TagResources' sake is never read again")
		}
	})
}
