package daemon

import (
	"context"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/autotagd/autotagd/pkg/event"
	"github.com/autotagd/autotagd/pkg/resource"
)

const (
	// outcomeLinesPerSecond of one kind are logged; beyond that one in outcomeLinesThereafter.
	outcomeLinesPerSecond  = 100
	outcomeLinesThereafter = 50
	// maxLogged bounds what a Record can put into one field of a log line, in bytes.
	maxLogged = 512
)

// outcomeLog writes one line per Outcome, so that one grep for an event id tells an event's life. When Outcomes come by
// the hundred a second it writes a sample, and says how many it left out.
type outcomeLog struct {
	log     *zap.Logger // sampled
	plain   *zap.Logger
	dropped atomic.Int64
}

func newOutcomeLog(log *zap.Logger) *outcomeLog {
	l := &outcomeLog{plain: log}
	l.log = log.WithOptions(zap.WrapCore(func(c zapcore.Core) zapcore.Core {
		return zapcore.NewSamplerWithOptions(c, time.Second, outcomeLinesPerSecond, outcomeLinesThereafter,
			zapcore.SamplerHook(func(_ zapcore.Entry, d zapcore.SamplingDecision) {
				if d&zapcore.LogDropped != 0 {
					l.dropped.Add(1)
				}
			}))
	}))
	return l
}

// Run says every ten seconds how many lines were left out, if any were.
func (l *outcomeLog) Run(ctx context.Context) {
	t := time.NewTicker(10 * time.Second)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			l.sayDropped()
			return
		case <-t.C:
			l.sayDropped()
		}
	}
}

func (l *outcomeLog) sayDropped() {
	if n := l.dropped.Swap(0); n > 0 {
		l.plain.Warn("outcome lines left out: too many a second", zap.Int64("lines", n))
	}
}

func (l *outcomeLog) write(o resource.Outcome) {
	level := zapcore.InfoLevel
	if o.Kind == resource.Missed {
		level = zapcore.WarnLevel
	}
	if entry := l.log.Check(level, string(o.Kind)); entry != nil {
		fields := jobFields(o.Job, o.Detail, o.Reason)
		if o.Kind == resource.WouldTag { // a dry run is to be looked at
			fields = append(fields, zap.Any("tags", tagsOf(o.Job)))
		}
		entry.Write(fields...)
	}
}

// tagsOf are the tags of a Job, as they may be printed.
func tagsOf(j resource.Job) map[string]string {
	tags := make(map[string]string, len(j.Tags))
	for _, t := range j.Tags {
		tags[event.Printable(t.Key, maxLogged)] = event.Printable(t.Value, maxLogged)
	}
	return tags
}

// deferred says that a Job will be tried again later, and why.
func (l *outcomeLog) deferred(j resource.Job) {
	if entry := l.log.Check(zapcore.WarnLevel, "deferred"); entry != nil {
		entry.Write(jobFields(j, j.LastError, j.LastReason)...)
	}
}

func jobFields(j resource.Job, detail string, reason resource.Reason) []zap.Field {
	fields := []zap.Field{
		zap.String("event_id", event.Printable(j.Event.ID, maxLogged)),
		zap.String("event_name", event.Printable(j.Event.Name, maxLogged)),
		zap.String("resource", event.Printable(name(j.Resource), maxLogged)),
		zap.String("owner", event.Printable(j.Owner, maxLogged)),
		zap.String("account_id", j.Event.Scope.AccountID),
		zap.String("region", j.Event.Scope.Region),
	}
	if reason != "" {
		fields = append(fields, zap.String("reason", string(reason)))
	}
	if detail != "" {
		fields = append(fields, zap.String("detail", event.Printable(detail, maxLogged)))
	}
	return fields
}

// name is what a person calls a resource: its ARN where it is known.
func name(r resource.Resource) string {
	if r.ARN != "" {
		return r.ARN
	}
	return r.ID
}
