package poller

import (
	"time"

	"go.uber.org/zap"

	"github.com/autotagd/autotagd/pkg/event"
)

// spell takes in a spelling that only a reading of all writes can show. Readings by name went past it since final passes
// last read all writes.
func (r *reader) spell(name string, now time.Time) {
	if !r.names.add(name) {
		return
	}
	from, to := r.spellings.WholeTo, r.floor
	if n := r.spellings.NamedFrom; !n.IsZero() && n.Before(from) {
		from = n
	}
	from = notBefore(from, now)
	if p := r.passes[final]; p != nil && p.by == byName {
		to = p.span.End
	}
	r.log.Info("new spelling of an event name", zap.String("event_name", name), zap.Time("read_again_from", from))
	if from.Before(to) {
		r.ledger.AddBacklog(event.Span{Start: from, End: to, Names: []string{name}})
	}
	r.keepSpellings()
}

func (r *reader) keepSpellings() {
	s := r.spellings
	s.Names = r.names.spellings()
	r.ledger.Spelled(s)
}
