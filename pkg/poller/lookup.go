package poller

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/aws/smithy-go/middleware"

	"github.com/autotagd/autotagd/pkg/event"
)

// answerWithin bounds one attempt, so that a connection that hangs holds no slice for good.
const answerWithin = time.Minute

// make makes a call and hands its page on.
func (p *Poller) make(ctx context.Context, c *call, now time.Time) result {
	records, token, err := p.lookup(ctx, c)
	a := answer{outcome: classify(err), token: token}
	if err != nil {
		return result{call: c, answer: a, err: err}
	}
	wanted, pg := p.take(c, records, p.clock.now())
	if len(wanted) > 0 {
		if err := p.Sink.Handle(ctx, wanted); err != nil {
			return result{call: c, err: fmt.Errorf("hand on %d events of %s: %w", len(wanted), p.Scope, err), fatal: true}
		}
	}
	a.page = pg
	return result{call: c, answer: a}
}

// lookup makes one LookupEvents attempt: the Scope's first, without times, when c has no slice. Its second has an empty one, and no
// start: the oldest that AWS takes, 90 days back, moves on while an attempt is under way.
func (p *Poller) lookup(ctx context.Context, c *call) ([]Event, string, error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	in := &cloudtrail.LookupEventsInput{MaxResults: aws.Int32(pageSize)}
	attribute := types.LookupAttribute{AttributeKey: types.LookupAttributeKeyReadOnly, AttributeValue: aws.String("false")}
	if c.slice != nil {
		in.EndTime = aws.Time(c.end)
		if !c.start.IsZero() {
			in.StartTime = aws.Time(c.start)
		}
		if c.slice.name != "" {
			attribute = types.LookupAttribute{AttributeKey: types.LookupAttributeKeyEventName, AttributeValue: aws.String(c.slice.name)}
		}
		if c.token != "" {
			in.NextToken = aws.String(c.token)
		}
	}
	in.LookupAttributes = []types.LookupAttribute{attribute}
	out, err := p.Client.LookupEvents(ctx, in, p.attempt)
	p.ended(c, err)
	p.metrics.requests[classify(err)].Inc()
	if err != nil {
		return nil, "", fmt.Errorf("look up events in %s: %w", p.Scope, err)
	}
	if date, found := awsmiddleware.GetServerTime(out.ResultMetadata); found {
		p.clock.heard(date)
	}
	p.answeredOnce.Do(func() { close(p.answered) })
	records := make([]Event, 0, len(out.Events))
	for _, e := range out.Events {
		r := Event{
			ID: aws.ToString(e.EventId), Source: aws.ToString(e.EventSource), Name: aws.ToString(e.EventName),
			Time: aws.ToTime(e.EventTime).UTC(), Raw: aws.ToString(e.CloudTrailEvent),
		}
		if r.ID == "" { // every event has one; without, its content tells it from others
			h := sha256.Sum256([]byte(r.Raw))
			r.ID = hex.EncodeToString(h[:16])
		}
		if e.EventTime == nil {
			r.Time = c.end
		}
		records = append(records, r)
	}
	return records, aws.ToString(out.NextToken), nil
}

// attempt turns the SDK's own retries off: an attempt that the limiter did not see would break the rate. And it has the
// request keep to the rate once more when there are credentials for it.
func (p *Poller) attempt(o *cloudtrail.Options) {
	o.Retryer = aws.NopRetryer{}
	o.APIOptions = append(o.APIOptions, func(stack *middleware.Stack) error {
		return stack.Finalize.Insert(middleware.FinalizeMiddlewareFunc("Rate",
			func(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (middleware.FinalizeOutput, middleware.Metadata, error) {
				if err := p.limiter.sends.Wait(ctx); err != nil {
					return middleware.FinalizeOutput{}, middleware.Metadata{}, fmt.Errorf("wait for the rate: %w", err)
				}
				return next.HandleFinalize(ctx, in)
			}), "Signing", middleware.Before)
	})
}

// take filters a page by name, before any JSON is decoded, and begins its create events. It returns those to hand on.
func (p *Poller) take(c *call, records []Event, now time.Time) ([]Event, page) {
	pg := summary(records)
	stream := event.Live
	if c.pass.kind == backlog {
		stream = event.Backlog
	}
	whole := c.pass.by == byWrites
	var wanted []Event
	for _, e := range records {
		known := p.Names.Known(e.Source, e.Name)
		if known || p.catalog.has(e.Name) {
			pg.creates++
		}
		if !known {
			if whole && p.Names.Observe != nil && (c.pass.kind != head || c.pass.survey) {
				p.Names.Observe(e.Source, e.Name, e.Raw)
			}
			continue
		}
		pg.seen[e.Name] = latest(pg.seen[e.Name], e.Time)
		if !p.catalog.has(e.Name) {
			pg.spelled = append(pg.spelled, e.Name)
		}
		if c.pass.survey {
			continue // a sample of what is read by name; it may lie before the Floor, where no EventID is kept
		}
		if p.Ledger.Begin(stream, e.ID, e.Time) != event.New {
			p.metrics.duplicate.Inc()
			continue
		}
		e.Seen, e.Backlog = now, stream == event.Backlog
		if !e.Backlog {
			pg.fresh = append(pg.fresh, e.Time)
			p.metrics.delay.Observe(max(0, now.Sub(e.Time).Seconds()))
		}
		wanted = append(wanted, e)
	}
	p.metrics.read.Add(float64(len(records)))
	return wanted, pg
}

// summary counts a page and finds its oldest event.
func summary(records []Event) page {
	pg := page{events: len(records), seen: map[string]time.Time{}}
	for _, e := range records {
		if pg.oldest.IsZero() || e.Time.Before(pg.oldest) {
			pg.oldest = e.Time
		}
	}
	return pg
}
