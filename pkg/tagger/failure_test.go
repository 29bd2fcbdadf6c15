package tagger

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/smithy-go"

	"github.com/autotagd/autotagd/pkg/event"
	"github.com/autotagd/autotagd/pkg/resource"
)

func TestClassify(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want class
	}{
		{nil, classOK},
		{apiError("RequestLimitExceeded", ""), classThrottled},
		{apiError("ThrottledException", ""), classThrottled},
		{httpError(429, apiError("Whatever", "")), classThrottled},
		{apiError("InternalServiceException", ""), classUnavailable},
		{httpError(503, errors.New("no body")), classUnavailable},
		{httpError(500, apiError("Whatever", "")), classUnavailable},
		{&smithy.GenericAPIError{Code: "Whatever", Fault: smithy.FaultServer}, classUnavailable},
		{io.ErrUnexpectedEOF, classUnavailable},
		{context.DeadlineExceeded, classUnavailable},
		{fmt.Errorf("wrapped: %w", context.Canceled), classCanceled},
		{apiError("IncorrectInstanceState", ""), classBusy},
		{apiError("InvalidDBInstanceStateFault", ""), classBusy},
		{apiError("ConcurrentModificationException", ""), classBusy},
		{httpError(409, apiError("Whatever", "")), classBusy},
		{apiError("InvalidInstanceID.NotFound", ""), classNotFound},
		{apiError("SnapshotNotFoundFault", ""), classNotFound},
		{apiError("ResourceNotFoundException", ""), classNotFound},
		{httpError(404, apiError("NoSuchEntity", "")), classNotFound},
		{httpError(404, apiError("UnknownError", "")), classUnavailable},
		{apiError("AuthFailure", ""), classDenied},
		{apiError("TagsLimitExceededException", ""), classTagLimit},
		{apiError("UnauthorizedOperation", ""), classDenied},
		{httpError(403, apiError("Whatever", "")), classDenied},
		{apiError("ExpiredToken", ""), classCredentials},
		{httpError(401, apiError("Whatever", "")), classCredentials},
		{apiError("TagLimitExceeded", ""), classTagLimit},
		{apiError("LimitExceededException", ""), classQuota},
		{apiError("InvalidID", ""), classInvalid},
		{apiError("InvalidVolumeID.Malformed", ""), classInvalid},
		{&smithy.InvalidParamsError{}, classInvalid},
		{&smithy.OperationError{Err: &smithy.SerializationError{Err: errors.New("no value for parameter RoleName")}}, classInvalid},
		{httpError(400, apiError("Whatever", "")), classRefused},
	} {
		if got := classify(tt.err); got != tt.want {
			t.Errorf("classify(%v) = %v, want %v", tt.err, got, tt.want)
		}
	}
	// Codes of the services' own calls that the table lacks, as AWS's models spell them.
	for want, codes := range map[class][]string{
		classThrottled:   {"RateLimitExceededException", "ClientLimitExceededException"},
		classUnavailable: {"WAFInternalErrorException", "KMSInternalException"},
		classBusy:        {"ConcurrentAccess", "TooManyUpdates", "OperationInProgressFailure", "ContainerInUseException"},
		classNotFound: {
			"NoSuchResource", "NoSuchHostedZone", "NoSuchHealthCheck", "NoSuchTagSet", "RepositoryDoesNotExistException",
			"EntityDoesNotExistException", "WAFNonexistentItemException", "UnknownResourceFault", "InvalidResourceId",
		},
		classDenied:   {"AuthorizationException", "CloudHsmAccessDeniedException"},
		classTagLimit: {"TooManyTagsError", "TooManyTagsFault", "TagsPerResourceExceededLimitException"},
		classQuota:    {"LimitExceededFault", "ResourceLimitExceededException", "WAFLimitsExceededException"},
		classInvalid: {
			"InvalidParameterValueException", "InvalidTagging", "InvalidARNFault", "InvalidResourceArnException", "ArnNotSupportedException",
			"ResourceTypeNotSupportedException", "WAFInvalidParameterException", "TagPolicyViolationException", "BadRequest",
		},
		classRefused: {"AWSOrganizationsNotInUseException", "UnsupportedOperation"},
	} {
		status := 400
		if want == classNotFound {
			status = 404
		}
		for _, code := range codes {
			if got := classify(httpError(status, apiError(code, ""))); got != want {
				t.Errorf("%s with status %d is %v, want %v", code, status, got, want)
			}
		}
	}
	if got := classify(httpError(501, apiError("NotImplemented", ""))); got != classInvalid {
		t.Errorf("NotImplemented is %v", got)
	}
	if got := classifyCode("InternalServiceException", 500); got != classUnanswered {
		t.Errorf("InternalServiceException of one ARN is %v", got)
	}
	for c := range classCount {
		if c.String() == "" || reasonOf(c) == "" {
			t.Errorf("class %d has no name or reason", c)
		}
	}
	for _, k := range []ResultKind{Ended, Deferred, Unstored, Expanded, Replay} {
		if k.String() == "" {
			t.Errorf("ResultKind %d has no name", k)
		}
	}
}

// One resource, or a few, spoil a batch. All others are tagged at once and the few end as they should.
func TestPoison(t *testing.T) {
	for _, tt := range []struct {
		code   string
		status int32
		want   string // of EC2
		arn    string // of TagResources
	}{
		{"NotFound", 404, "gone", "gone"},
		{"InvalidID", 400, "missed/invalid", "missed/invalid"},
		{"InvalidParameterValue", 400, "missed/invalid", "missed/invalid"},
		{"TagLimitExceeded", 400, "missed/tag_limit", "missed/tag_limit"},
		{"UnauthorizedOperation", 403, "deferred", "deferred"},
		{"IncorrectState", 400, "deferred", "deferred"},
		{"SomethingNew", 400, "deferred", "deferred"},
		{"LimitExceeded", 400, "deferred", "deferred"},
		{"malformed", 400, "deferred", "missed/invalid"},
		{"ThrottlingException", 400, "", "deferred"},
		{"ServiceUnavailable", 503, "", "deferred"},
	} {
		for _, mute := range []bool{false, true} {
			for _, n := range []int{1, 3} {
				for _, kind := range []string{"ec2", "tagging"} {
					want, total := tt.want, 120
					if kind == "tagging" {
						want, total = tt.arn, 40
					}
					if want == "" {
						continue
					}
					t.Run(fmt.Sprintf("%s of %d %s, mute %v", tt.code, n, kind, mute), func(t *testing.T) {
						bubble(t, func(t *testing.T) {
							f := newFake(t)
							f.mute = mute
							w := start(t, f, nil)
							rng := rand.New(rand.NewPCG(1, uint64(n)))
							bad := map[int]bool{}
							for len(bad) < n {
								bad[rng.IntN(total)] = true
							}
							var jobs []resource.Job
							for i := range total {
								j := ec2Job(fmt.Sprintf("i-%04d", i), "ann")
								if kind == "tagging" {
									j = arnJob(fmt.Sprintf("arn:aws:sqs:eu-west-3:123456789012:q%04d", i), "ann")
								}
								th := f.make(target(j.Resource))
								if bad[i] {
									th.code, th.status = tt.code, tt.status
									if tt.code == "NotFound" {
										delete(f.things, target(j.Resource))
									}
								}
								jobs = append(jobs, j)
							}
							w.submit(jobs...)
							time.Sleep(20 * time.Second)
							for i, j := range jobs {
								if !bad[i] {
									w.want(j, "tagged")
								}
							}
							time.Sleep(5 * time.Minute)
							for i := range bad {
								w.want(jobs[i], want)
							}
							if n := f.count(resource.EC2CreateTags) + f.count(resource.TagResources); n > 250 {
								t.Errorf("%d calls", n)
							}
						})
					})
				}
			}
		}
	}
}

// A batch that fails again and again with a server's error is taken apart as well.
func TestPoisonThatFailsTheServer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		f.before = func(c fakeCall) error {
			if c.api == resource.EC2CreateTags && slices.Contains(c.names, "i-077") {
				return httpError(500, apiError("InternalError", "oops"))
			}
			return nil
		}
		w := start(t, f, nil)
		var jobs []resource.Job
		for i := range 100 {
			jobs = append(jobs, ec2Job(fmt.Sprintf("i-%03d", i), "ann"))
			f.make(fmt.Sprintf("i-%03d", i))
		}
		w.submit(jobs...)
		time.Sleep(4 * time.Minute)
		for i, j := range jobs {
			if i != 77 {
				w.want(j, "tagged")
			}
		}
		w.want(jobs[77], "deferred")
	})
}

// The whole of AWS fails in each way for a minute; everything is tagged after it, and only once per answer that was lost.
func TestTransientFailures(t *testing.T) {
	lost := func(c fakeCall) error { return io.ErrUnexpectedEOF }
	for _, tt := range []struct {
		name          string
		before, after func(c fakeCall) error
	}{
		{"throttled", func(fakeCall) error { return apiError("RequestLimitExceeded", "") }, nil},
		{"5xx", func(fakeCall) error { return httpError(503, apiError("ServiceUnavailable", "")) }, nil},
		{"reset", func(fakeCall) error { return io.ErrUnexpectedEOF }, nil},
		{"hangs", func(fakeCall) error { time.Sleep(40 * time.Second); return context.DeadlineExceeded }, nil},
		{"credentials expired", func(fakeCall) error { return apiError("ExpiredToken", "") }, nil},
		{"answers of writes lost", nil, lost},
		{"canceled, but not by us", func(fakeCall) error { return context.Canceled }, nil},
		{"one API answers nothing", func(c fakeCall) error {
			if c.api == describeTags || c.api == getResources {
				return httpError(500, apiError("InternalServiceException", ""))
			}
			return nil
		}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				f := newFake(t)
				over := time.Now().Add(time.Minute)
				until := func(g func(fakeCall) error) func(fakeCall) error {
					return func(c fakeCall) error {
						if g == nil || time.Now().After(over) {
							return nil
						}
						return g(c)
					}
				}
				f.before, f.after = until(tt.before), until(tt.after)
				w := start(t, f, nil)
				var jobs []resource.Job
				for i := range 40 {
					e, a := ec2Job(fmt.Sprint("i-", i), "ann"), arnJob(fmt.Sprint("arn:aws:s3:::b", i), "ann")
					f.make(e.Resource.ID)
					f.make(a.Resource.ARN)
					jobs = append(jobs, e, a)
				}
				w.submit(jobs...)
				time.Sleep(3 * time.Minute)
				for _, j := range jobs {
					w.want(j, "tagged")
				}
				if n := len(f.all()); n > 120 {
					t.Errorf("%d calls against a service that fails", n)
				}
			})
		})
	}
}

func TestNoClients(t *testing.T) {
	for _, err := range []error{errors.New("can't assume role"), context.Canceled, apiError("AccessDenied", "no"), httpError(503, errors.New("down"))} {
		t.Run(err.Error(), func(t *testing.T) { bubble(t, func(t *testing.T) { noClients(t, err) }) })
	}
}

func noClients(t *testing.T, noClient error) {
	f := newFake(t)
	mended := time.Now().Add(time.Minute)
	w := start(t, f, func(o *Options) {
		o.API = func(s event.Scope) (API, error) {
			if time.Now().Before(mended) {
				return API{}, noClient
			}
			return f.api(s)
		}
	})
	f.make("i-1")
	j := ec2Job("i-1", "ann")
	w.submit(j)
	time.Sleep(3 * time.Minute)
	w.want(j, "tagged")
}

func TestNoAnswerIsAFailure(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		w := start(t, f, func(o *Options) {
			o.API = func(s event.Scope) (API, error) {
				api, _ := f.api(s)
				api.CreateTags = func(context.Context, *ec2.CreateTagsInput, ...func(*ec2.Options)) (*ec2.CreateTagsOutput, error) {
					return nil, nil
				}
				return api, nil
			}
		})
		j := ec2Job("i-1", "ann")
		w.submit(j)
		time.Sleep(4 * time.Minute)
		w.want(j, "deferred")
	})
}

// What failed before travels apart from what is new.
func TestRetriesSpoilNoFreshBatch(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		w := start(t, f, nil)
		w.submit(ec2Job("i-missing", "ann"))
		for i := range 20 {
			time.Sleep(1700 * time.Millisecond)
			f.make(fmt.Sprint("i-", i))
			j := ec2Job(fmt.Sprint("i-", i), "ann")
			w.submit(j)
		}
		time.Sleep(time.Minute)
		spoiled := 0
		for _, c := range f.of(resource.EC2CreateTags) {
			if len(c.names) > 1 && slices.Contains(c.names, "i-missing") {
				spoiled++
			}
		}
		if spoiled > 1 {
			t.Errorf("%d batches spoiled by one resource", spoiled)
		}
	})
}

func TestNotFound(t *testing.T) {
	for _, tt := range []struct {
		name    string
		age     time.Duration // of the event
		visible time.Duration // after the Job came; 0 = never
		arn     bool
		proven  bool
		guess   bool
		want    string
		after   time.Duration // no earlier
		before  time.Duration // and no later
	}{
		{name: "an old one needs three attempts over 20 s", age: time.Hour, want: "gone", after: 20 * time.Second, before: 30 * time.Second},
		{name: "a fresh one the wait for consistency", age: 10 * time.Second, want: "gone", after: 110 * time.Second, before: 130 * time.Second},
		{name: "it was only late", age: 10 * time.Second, visible: 100 * time.Second, want: "tagged", after: 100 * time.Second, before: 120 * time.Second},
		{name: "an ARN that may be wrong", arn: true, age: time.Hour, want: "missed/unresolved", after: 20 * time.Second, before: 30 * time.Second},
		{name: "an ARN of a form that worked", arn: true, proven: true, age: time.Hour, want: "gone", after: 20 * time.Second, before: 30 * time.Second},
		{name: "a guess", arn: true, proven: true, guess: true, age: time.Hour, want: "missed/unresolved", after: 20 * time.Second, before: 30 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				f := newFake(t)
				w := start(t, f, nil)
				j := ec2Job("i-1", "ann")
				if tt.arn {
					j = arnJob("arn:aws:sqs:eu-west-3:123456789012:q", "ann")
				}
				if tt.proven {
					other := arnJob("arn:aws:sqs:eu-west-3:123456789012:other", "ann")
					f.make(other.Resource.ARN)
					w.submit(other)
					time.Sleep(10 * time.Second)
				}
				if tt.guess {
					j.Resource.Confidence = resource.Guess
				}
				j.Event.Time = time.Now().Add(-tt.age)
				begin := time.Now()
				if tt.visible > 0 {
					f.make(target(j.Resource)).visible = begin.Add(tt.visible)
				}
				w.submit(j)
				time.Sleep(10 * time.Minute)
				w.want(j, tt.want)
				if took := w.when(j).Sub(begin); took < tt.after || took > tt.before {
					t.Errorf("decided after %v, want %v to %v", took, tt.after, tt.before)
				}
			})
		})
	}
}

// InternalServiceException for an ARN is either no answer or a kind that TagResources can't tag.
func TestUnanswered(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		w := start(t, f, nil)
		bad := func(arn string) resource.Job {
			th := f.make(arn)
			th.code, th.status = "InternalServiceException", 500
			return arnJob(arn, "ann")
		}
		never := bad("arn:aws:odd:eu-west-3:123456789012:a")
		works := arnJob("arn:aws:sqs:eu-west-3:123456789012:good", "ann")
		f.make(works.Resource.ARN)
		flaky := bad("arn:aws:sqs:eu-west-3:123456789012:flaky")
		w.submit(never, works, flaky)
		time.Sleep(9 * time.Minute)
		w.want(works, "tagged")
		w.want(never, "deferred") // may be an outage
		time.Sleep(10 * time.Minute)
		w.want(never, "missed/unsupported")
		w.want(flaky, "deferred") // its kind works: there was no answer
		calls := f.count(resource.TagResources)
		next := bad("arn:aws:odd:eu-west-3:123456789012:b")
		w.submit(next)
		time.Sleep(10 * time.Second)
		w.want(next, "missed/unsupported") // remembered: tried once
		if n := f.count(resource.TagResources) - calls; n > 2 {
			t.Errorf("%d calls for a kind that is known to be refused", n)
		}
		works2 := arnJob("arn:aws:odd:eu-west-3:123456789012:c", "ann")
		f.make(works2.Resource.ARN)
		w.submit(works2)
		time.Sleep(10 * time.Second)
		w.want(works2, "tagged") // and yet not condemned
	})
}

func TestBadRequestOfADoubtfulARN(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		w := start(t, f, nil)
		j := arnJob("arn:aws:odd:eu-west-3:123456789012:a", "ann")
		f.make(j.Resource.ARN).code = "ValidationException"
		w.submit(j)
		time.Sleep(10 * time.Second)
		w.want(j, "") // some services say so of what they don't see yet
		time.Sleep(2 * time.Minute)
		w.want(j, "missed/unresolved")
	})
}

// A GetResources that refuses one ARN of a batch costs the others nothing.
func TestReadIsSplitToo(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		poison := "arn:aws:sqs:eu-west-3:123456789012:q07"
		f.before = func(c fakeCall) error {
			if c.api == getResources && slices.Contains(c.names, poison) {
				return apiError("InvalidParameterException", "no")
			}
			return nil
		}
		w := start(t, f, nil)
		var jobs []resource.Job
		for i := range 20 {
			j := arnJob(fmt.Sprintf("arn:aws:sqs:eu-west-3:123456789012:q%02d", i), "ann")
			f.make(j.Resource.ARN)
			jobs = append(jobs, j)
		}
		w.submit(jobs...)
		time.Sleep(30 * time.Second)
		for _, j := range jobs {
			if j.Resource.ARN == poison {
				w.want(j, "missed/invalid")
			} else {
				w.want(j, "tagged")
			}
		}
	})
}

// When everything of a batch is refused it is not taken apart to the last resource at once.
func TestSplittingIsBounded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		f.before = func(c fakeCall) error {
			if c.api == resource.EC2CreateTags {
				return apiError("SomethingNew", "no")
			}
			return nil
		}
		w := start(t, f, func(o *Options) { o.GiveUpAfter = 2 * time.Hour })
		var jobs []resource.Job
		for i := range 1000 {
			jobs = append(jobs, ec2Job(fmt.Sprint("i-", i), "ann"))
		}
		w.submit(jobs...)
		time.Sleep(time.Minute)
		if n := f.count(resource.EC2CreateTags); n > 150 {
			t.Errorf("%d calls in a minute", n)
		}
		time.Sleep(2*time.Hour + 40*time.Minute)
		for _, j := range jobs {
			if got := w.outcome(j); got != "missed/invalid" && got != "unstored/invalid" {
				t.Fatalf("%s: %q", j.Resource.ID, got)
			}
		}
	})
}

func TestRateOfOneAPI(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		w := start(t, f, func(o *Options) { o.Overwrite = func(string) bool { return true } })
		for i := range 1000 { // each of another person: a call each
			id := fmt.Sprint("i-", i)
			f.make(id)
			w.submit(ec2Job(id, fmt.Sprint("p", i)))
		}
		time.Sleep(4 * time.Minute)
		calls := f.of(resource.EC2CreateTags)
		if len(calls) != 1000 {
			t.Fatalf("%d calls", len(calls))
		}
		for i := range calls {
			for _, span := range []time.Duration{time.Second, 10 * time.Second, 100 * time.Second} {
				n := 0
				for _, c := range calls[i:] {
					if c.at.Sub(calls[i].at) < span {
						n++
					}
				}
				if most := 20 + int(5*span.Seconds()) + 1; n > most {
					t.Fatalf("%d calls within %v, want at most %d", n, span, most)
				}
			}
		}
		if took := calls[999].at.Sub(calls[0].at); took > 200*time.Second {
			t.Errorf("1000 calls took %v at 5 a second", took)
		}
	})
}

// A throttle halves the rate of that account, Region and API, and it recovers.
func TestRateAdapts(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := newLimiter(5)
		step := func(c class, after time.Duration, want float64) {
			t.Helper()
			time.Sleep(after)
			l.answered(c, time.Now())
			if l.current != want || float64(l.tokens.Limit()) != want || l.tokens.Burst() != burst(want) {
				t.Errorf("rate %v, limit %v, burst %d; want %v", l.current, l.tokens.Limit(), l.tokens.Burst(), want)
			}
		}
		step(classOK, 0, 5)
		step(classThrottled, time.Second, 2.5)
		step(classThrottled, time.Millisecond, 2.5) // of a call that was under way
		step(classThrottled, time.Second, 1.25)
		step(classOK, time.Second, 1.25)
		step(classOK, 5*time.Second, 1.75)
		step(classUnavailable, 5*time.Second, 1.75)
		for range 10 {
			time.Sleep(5 * time.Second)
			l.answered(classOK, time.Now())
		}
		step(classOK, 5*time.Second, 5)
		for range 20 {
			time.Sleep(time.Second)
			l.answered(classThrottled, time.Now())
		}
		step(classThrottled, time.Second, 5.0/slowestFraction)
	})
}

func TestBackoff(t *testing.T) {
	for n := -1; n < 100; n++ {
		if d := backoff(n); d < minBackoff/2 || d > maxBackoff {
			t.Errorf("backoff(%d) = %v", n, d)
		}
	}
}

func TestEscapeFilter(t *testing.T) {
	if got := escapeFilter(`a*b?c\d`); got != `a\*b\?c\\d` {
		t.Errorf("escaped %q", got)
	}
}

// One Scope's, service's or API's failure delays no other.
func TestFairness(t *testing.T) {
	hang := func(bad func(c fakeCall) bool) func(c fakeCall) error {
		return func(c fakeCall) error {
			if bad(c) {
				time.Sleep(callTimeout)
				return context.DeadlineExceeded
			}
			return nil
		}
	}
	for _, tt := range []struct {
		name   string
		before func(c fakeCall) error
		good   func() resource.Job
		most   time.Duration
	}{
		{"another Region hangs", hang(func(c fakeCall) bool { return c.scope == ireland }), func() resource.Job { return ec2Job("i-good", "ann") }, 5 * time.Second},
		{"another API hangs", hang(func(c fakeCall) bool { return c.api == resource.TagResources }), func() resource.Job { return ec2Job("i-good", "ann") }, 5 * time.Second},
		{"another service of the API hangs", hang(func(c fakeCall) bool {
			return c.api == resource.TagResources && slices.ContainsFunc(c.names, func(n string) bool { return n[:11] == "arn:aws:sqs" })
		}), func() resource.Job { return arnJob("arn:aws:s3:::good", "zoe") }, 10 * time.Second},
		{"another service of the API is denied", func(c fakeCall) error {
			if c.api == resource.TagResources && slices.ContainsFunc(c.names, func(n string) bool { return n[:11] == "arn:aws:sqs" }) {
				return apiError("AccessDeniedException", "no")
			}
			return nil
		}, func() resource.Job { return arnJob("arn:aws:s3:::good", "zoe") }, 10 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				f := newFake(t)
				f.before = tt.before
				w := start(t, f, nil)
				// A flood of the bad ones, from the same Scope as far as they can be.
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				flooded := make(chan struct{})
				go func() {
					defer close(flooded)
					for i := 0; ; i++ {
						var bad resource.Job
						if tt.name == "another Region hangs" {
							bad = ec2Job(fmt.Sprint("i-", i), fmt.Sprint("p", i%50))
							bad.Event.Scope, bad.Resource.Scope = ireland, ireland
						} else {
							bad = arnJob(fmt.Sprint("arn:aws:sqs:eu-west-3:123456789012:q", i), fmt.Sprint("p", i%50))
						}
						f.make(target(bad.Resource))
						if w.tagger.Submit(ctx, []resource.Job{bad}) != nil {
							return
						}
						time.Sleep(50 * time.Millisecond)
					}
				}()
				// At once, where nothing is shared; of one API, some calls have to fail first.
				if strings.HasPrefix(tt.name, "another service") {
					time.Sleep(5 * time.Minute)
				} else {
					time.Sleep(10 * time.Second)
				}
				worst := time.Duration(0)
				for i := range 20 {
					good := tt.good()
					good.Event.ID = fmt.Sprint("good", i)
					f.make(target(good.Resource))
					begin := time.Now()
					w.submit(good)
					for w.outcome(good) == "" && time.Since(begin) < 10*time.Minute {
						time.Sleep(100 * time.Millisecond)
					}
					w.want(good, "tagged")
					worst = max(worst, time.Since(begin))
				}
				if worst > tt.most {
					t.Errorf("a good Job took %v beside them, want at most %v", worst, tt.most)
				}
				cancel()
				<-flooded
				synctest.Wait()
			})
		})
	}
}
