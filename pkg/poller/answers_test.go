package poller

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/aws/smithy-go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/autotagd/autotagd/pkg/event"
)

func TestClassify(t *testing.T) {
	code := func(code string, fault smithy.ErrorFault) error {
		return fmt.Errorf("operation error CloudTrail: LookupEvents: %w", &smithy.GenericAPIError{Code: code, Fault: fault})
	}
	for _, tt := range []struct {
		err  error
		want outcome
	}{
		{nil, ok},
		{errors.New("connection reset by peer"), failed},
		{context.DeadlineExceeded, failed},
		{code("ThrottlingException", smithy.FaultClient), throttled}, // declared by no model
		{code("RequestLimitExceeded", smithy.FaultUnknown), throttled},
		{code("AccessDeniedException", smithy.FaultClient), denied},
		{code("ExpiredTokenException", smithy.FaultClient), denied},
		{code("InvalidSignatureException", smithy.FaultClient), denied},
		{code("InvalidNextTokenException", smithy.FaultClient), badToken},
		{code("InvalidTimeRangeException", smithy.FaultClient), badRange},
		{code("InvalidLookupAttributesException", smithy.FaultClient), refused},
		{code("InternalFailure", smithy.FaultServer), failed},
		{code("Whatever", smithy.FaultUnknown), failed},
	} {
		if got := classify(tt.err); got != tt.want {
			t.Errorf("classify(%v) = %v, want %v", tt.err, got, tt.want)
		}
	}
}

// A request that AWS refuses for its times: the rest of the window is asked for if it has grown too old meanwhile, else the
// window is planned anew. Neither counts as read.
func TestRefusedTimes(t *testing.T) {
	for _, tooOld := range []bool{false, true} {
		a := newAccount(1, epoch, 1, 0.1, 3*time.Hour)
		s := newSimulation(t, a, defaults())
		s.start()
		r, now := s.p.reader, s.now
		start := now.Add(-time.Hour)
		if tooOld {
			start = now.Add(-retention)
		}
		r.begin(plan{kind: backlog, by: byWrites, span: event.Span{Start: start, End: start.Add(time.Minute)}}, now)
		p := r.passes[backlog]
		task, sl := p.candidate(now, nil)
		c := &call{pass: p, task: task, slice: sl}
		c.start, c.end = sl.start, sl.end // as it was asked for, a while ago
		sl.inFlight = true
		r.inFlight[backlog]++
		r.answered(c, answer{outcome: badRange, pause: time.Second}, now)
		switch {
		case tooOld && (r.passes[backlog] != p || sl.start.Before(now.Add(-retention)) || sl.end.Before(sl.start) || sl.inFlight):
			t.Errorf("too old: the slice goes on at %v to %v, at %v", sl.start, sl.end, now)
		case !tooOld && r.passes[backlog] != nil:
			t.Error("not too old: the pass is not planned anew")
		}
	}
}

// dateless is a LookupEvents whose answers have no Date header.
type dateless struct{ calls int }

func (d *dateless) LookupEvents(context.Context, *cloudtrail.LookupEventsInput, ...func(*cloudtrail.Options)) (*cloudtrail.LookupEventsOutput, error) {
	d.calls++
	return &cloudtrail.LookupEventsOutput{}, nil
}

// Without AWS's time nothing is decided; it is asked for again, not in a hurry, and the loop shows that it goes round.
func TestNoDateNoDecision(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &dateless{}
		b := newBook(t, newAccount(1, epoch, 1, 0.1, time.Hour))
		p := New(Options{
			Scope: event.Scope{AccountID: "123456789012", Region: "eu-west-1"}, Client: d, Ledger: b, Sink: nowhere{}, Config: defaults(),
			Names: Names{Known: known}, Metrics: NewMetrics(prometheus.NewRegistry()),
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- p.Run(ctx) }()
		time.Sleep(10 * time.Minute)
		if _, known := p.Now(); known {
			t.Error("AWS's time is known without an answer that tells it")
		}
		if silent := time.Since(p.Progress().Head); silent > time.Minute {
			t.Errorf("the loop made no turn for %v", silent)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if d.calls < 3 || d.calls > 150 {
			t.Errorf("%d calls in ten minutes", d.calls)
		}
		if b.marks.Floor != (time.Time{}) {
			t.Errorf("marks %+v were placed", b.marks)
		}
	})
}

// bare is a LookupEvents whose events lack what every event has.
type bare struct{ events []types.Event }

func (b bare) LookupEvents(context.Context, *cloudtrail.LookupEventsInput, ...func(*cloudtrail.Options)) (*cloudtrail.LookupEventsOutput, error) {
	return &cloudtrail.LookupEventsOutput{Events: b.events}, nil
}

// Events without an id are told apart by their content, and one without a time lies at the window's end: none is dropped.
func TestEventsThatLackAnIDOrATime(t *testing.T) {
	raw := func(s string) types.Event {
		return types.Event{EventName: aws.String("CreateA"), EventSource: aws.String("ec2.amazonaws.com"), CloudTrailEvent: aws.String(s)}
	}
	p := New(Options{
		Scope: event.Scope{AccountID: "123456789012", Region: "eu-west-1"}, Config: defaults(), Metrics: NewMetrics(prometheus.NewRegistry()),
		Client: bare{[]types.Event{raw("{1}"), raw("{2}"), raw("{1}")}},
	})
	end := epoch.Add(time.Minute)
	events, _, err := p.lookup(t.Context(), &call{slice: &slice{}, start: epoch, end: end})
	if err != nil || len(events) != 3 {
		t.Fatalf("%d events, %v", len(events), err)
	}
	if events[0].ID == "" || events[0].ID == events[1].ID || events[0].ID != events[2].ID {
		t.Errorf("ids %q, %q and %q", events[0].ID, events[1].ID, events[2].ID)
	}
	if !events[0].Time.Equal(end) {
		t.Errorf("time %v, want the window's end", events[0].Time)
	}
}
