package poller

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/autotagd/autotagd/pkg/event"
)

// cloudTrail is LookupEvents over an account, behind the SDK's wire or without. It fails the test when it is asked faster than the
// rate, with more than one attribute, or with times that AWS would not take.
type cloudTrail struct {
	t      testing.TB
	a      *account
	offset time.Duration // AWS's clock is so far ahead of ours
	rate   float64
	fault  func(n int, r request) fault

	mu       sync.Mutex
	rng      *rand.Rand
	n        int
	last     time.Time
	requests []request
	under    int // answers under way
	most     int
}

// request is one attempt, as it came.
type request struct {
	at         time.Time // AWS's time
	name       string    // "" is ReadOnly=false
	start, end time.Time // zero: not given
	token      string
	fault      fault
}

// fault is what becomes of an attempt.
type fault struct {
	code  string // of an error answer
	reset bool   // no answer
	slow  time.Duration
}

// LookupEvents answers without the SDK's wire, which costs a test a millisecond a call; Do is for those that want it.
func (f *cloudTrail) LookupEvents(ctx context.Context, in *cloudtrail.LookupEventsInput, _ ...func(*cloudtrail.Options)) (*cloudtrail.LookupEventsOutput, error) {
	r := request{token: aws.ToString(in.NextToken), start: aws.ToTime(in.StartTime), end: aws.ToTime(in.EndTime)}
	if len(in.LookupAttributes) != 1 || aws.ToInt32(in.MaxResults) != pageSize {
		f.t.Errorf("attempt without exactly one attribute and 50 results: %+v", in)
	}
	f.attribute(&r, string(in.LookupAttributes[0].AttributeKey), aws.ToString(in.LookupAttributes[0].AttributeValue))
	events, next, code, err := f.serve(ctx, r)
	if err != nil {
		return nil, err
	}
	if code != "" {
		fault := smithy.FaultClient
		if code == "InternalFailure" {
			fault = smithy.FaultServer
		}
		return nil, &smithy.GenericAPIError{Code: code, Fault: fault}
	}
	out := &cloudtrail.LookupEventsOutput{}
	for _, e := range events {
		out.Events = append(out.Events, types.Event{EventId: &e.ID, EventName: &e.Name, EventSource: &e.Source, EventTime: &e.Time, CloudTrailEvent: &e.Raw})
	}
	if next != "" {
		out.NextToken = &next
	}
	_, out.ResultMetadata, err = (&awsmiddleware.RecordResponseTiming{}).HandleDeserialize(ctx, middleware.DeserializeInput{},
		middleware.DeserializeHandlerFunc(func(context.Context, middleware.DeserializeInput) (middleware.DeserializeOutput, middleware.Metadata, error) {
			return middleware.DeserializeOutput{RawResponse: &smithyhttp.Response{Response: &http.Response{Header: f.header()}}}, middleware.Metadata{}, nil
		}))
	return out, err
}

// Do answers the SDK.
func (f *cloudTrail) Do(req *http.Request) (*http.Response, error) {
	body, _ := io.ReadAll(req.Body)
	var in struct {
		StartTime, EndTime *float64
		LookupAttributes   []struct{ AttributeKey, AttributeValue string }
		NextToken          string
		MaxResults         int
	}
	if err := json.Unmarshal(body, &in); err != nil || len(in.LookupAttributes) != 1 || in.MaxResults != pageSize {
		f.t.Errorf("request: %v: %s", err, body)
	}
	r := request{token: in.NextToken}
	if in.StartTime != nil {
		r.start = time.Unix(int64(*in.StartTime), 0).UTC()
	}
	if in.EndTime != nil {
		r.end = time.Unix(int64(*in.EndTime), 0).UTC()
	}
	f.attribute(&r, in.LookupAttributes[0].AttributeKey, in.LookupAttributes[0].AttributeValue)
	events, next, code, err := f.serve(req.Context(), r)
	if err != nil {
		return nil, err
	}
	if code == "InternalFailure" {
		return f.answer(500, map[string]any{"__type": code}), nil
	}
	if code != "" {
		return f.answer(400, map[string]any{"__type": code, "message": "as told"}), nil
	}
	list := []any{}
	for _, e := range events {
		list = append(list, map[string]any{"EventId": e.ID, "EventName": e.Name, "EventSource": e.Source, "EventTime": e.Time.Unix(), "CloudTrailEvent": e.Raw})
	}
	out := map[string]any{"Events": list}
	if next != "" {
		out["NextToken"] = next
	}
	return f.answer(200, out), nil
}

func (f *cloudTrail) attribute(r *request, key, value string) {
	switch {
	case key == "EventName":
		r.name = value
	case key != "ReadOnly" || value != "false":
		f.t.Errorf("attribute %s=%s", key, value)
	}
}

// serve is one attempt: it comes, takes its time, and is answered.
func (f *cloudTrail) serve(ctx context.Context, r request) (events []sample, next, code string, err error) {
	f.mu.Lock()
	now := time.Now()
	if gap := now.Sub(f.last).Seconds(); !f.last.IsZero() && gap < 1/f.rate-1e-6 {
		f.t.Errorf("attempt %d came %v after the one before, at a rate of %g", f.n, now.Sub(f.last), f.rate)
	}
	f.last = now
	r.at = now.Add(f.offset)
	if f.fault != nil {
		r.fault = f.fault(f.n, r)
	}
	f.n++
	f.requests = append(f.requests, r)
	f.under++
	f.most = max(f.most, f.under)
	wait := time.Duration(50+f.rng.IntN(400))*time.Millisecond + r.fault.slow
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		f.under--
		f.mu.Unlock()
	}()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return nil, "", "", ctx.Err()
	case <-timer.C:
	}
	switch {
	case r.fault.reset:
		return nil, "", "", errors.New("connection reset by peer")
	case r.fault.code != "":
		return nil, "", r.fault.code, nil
	}
	start, end := r.start, r.end
	if start.IsZero() {
		start = f.a.from
	}
	if end.IsZero() {
		end = r.at
	}
	if start.After(end) || !r.start.IsZero() && r.at.Sub(start) > retention {
		f.t.Errorf("window %v to %v at %v", start, end, r.at)
		return nil, "", "InvalidTimeRangeException", nil
	}
	events, next, valid := f.a.lookup(r.at, r.name, start, end, r.token)
	if !valid {
		f.t.Errorf("token %q with other parameters", r.token)
		return nil, "", "InvalidNextTokenException", nil
	}
	return events, next, "", nil
}

func (f *cloudTrail) header() http.Header {
	return http.Header{"Content-Type": {"application/x-amz-json-1.1"}, "Date": {time.Now().Add(f.offset).UTC().Format(http.TimeFormat)}}
}

func (f *cloudTrail) answer(status int, v any) *http.Response {
	b, _ := json.Marshal(v)
	return &http.Response{StatusCode: status, Body: io.NopCloser(bytes.NewReader(b)), Header: f.header()}
}

// count is how many attempts came so far.
func (f *cloudTrail) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.n
}

// seen returns the attempts so far.
func (f *cloudTrail) seen() []request {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]request(nil), f.requests...)
}

// inbox is a Sink that keeps what it gets.
type inbox struct {
	mu     sync.Mutex
	events map[string]Event
	order  []Event
	twice  int
	block  chan struct{} // closed: go on
	err    error
}

func (s *inbox) Handle(ctx context.Context, events []Event) error {
	s.mu.Lock()
	block, err := s.block, s.err
	s.mu.Unlock()
	if block != nil {
		select {
		case <-block:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range events {
		if _, again := s.events[e.ID]; again {
			s.twice++
		}
		s.events[e.ID] = e
		s.order = append(s.order, e)
	}
	return nil
}

// rig is a Poller on a fake CloudTrail, to be used in a bubble.
type rig struct {
	t   testing.TB
	ct  *cloudTrail
	b   *book
	in  *inbox
	p   *Poller
	cfg Config

	wire            bool // by way of the SDK
	catalog, common []string
	observe         func(source, name, raw string)
	reg             *prometheus.Registry
	log             *zap.Logger
	stop            func()
}

// newRig makes an account that began before hours ago.
func newRig(t testing.TB, writes, creates float64, before, length time.Duration) *rig {
	a := newAccount(7, time.Now().UTC().Add(-before), writes, creates, before+length)
	r := &rig{t: t, b: newBook(t, a), in: &inbox{events: map[string]Event{}}, cfg: defaults()}
	r.catalog, r.common = catalogNames()
	r.ct = &cloudTrail{t: t, a: a, rate: 2, rng: rand.New(rand.NewPCG(1, 2))}
	return r
}

// start begins a Poller, as after a restart if there was one before.
func (r *rig) start() {
	r.build()
	ctx, cancel := context.WithCancel(r.t.Context())
	done := make(chan error, 1)
	go func() { done <- r.p.Run(ctx) }()
	r.stop = func() {
		cancel()
		if err := <-done; err != nil {
			r.t.Errorf("Run: %v", err)
		}
	}
}

func (r *rig) build() {
	var client LookupEventsAPI = r.ct
	if r.wire {
		client = cloudtrail.New(cloudtrail.Options{
			Region: "eu-west-1", HTTPClient: r.ct,
			Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
				return aws.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "secret"}, nil
			}),
		})
	}
	r.ct.rate = r.cfg.Rate
	r.ct.last = time.Time{} // a new process does not know when the one before asked
	r.reg = prometheus.NewPedanticRegistry()
	r.p = New(Options{
		Scope: event.Scope{AccountID: "123456789012", Region: "eu-west-1"}, Client: client, Ledger: r.b, Sink: r.in, Config: r.cfg,
		Names:   Names{Catalog: r.catalog, Common: r.common, Known: known, Observe: r.observe},
		Metrics: NewMetrics(r.reg), Log: r.log,
	})
}

// check compares what was handed on with the account, from the first Floor to the one reached.
func (r *rig) check(from time.Time) {
	r.t.Helper()
	r.in.mu.Lock()
	defer r.in.mu.Unlock()
	floor, missing, want := r.b.Marks().Floor, 0, 0
	for k := range r.ct.a.made {
		s := r.ct.a.create(k)
		if s.Time.Before(from) || s.Time.After(floor) || s.visible.Sub(s.Time) > r.b.lookback {
			continue
		}
		want++
		if _, handed := r.in.events[s.ID]; !handed {
			missing++
			if missing < 4 {
				r.t.Errorf("%s %s of %v, visible %v, was never handed on", s.ID, s.Name, s.Time, s.visible)
			}
		}
	}
	if want == 0 || missing > 0 {
		r.t.Errorf("%d of %d events before the Floor %v missing", missing, want, floor)
	}
}
