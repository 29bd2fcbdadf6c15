package daemon

import (
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/autotagd/autotagd/pkg/catalog"
	"github.com/autotagd/autotagd/pkg/event"
)

// maxNamesSaid bounds the names remembered as said today.
const maxNamesSaid = 500

// uncataloged watches for calls that look like creates and that this release does not know: newer than its catalog.
type uncataloged struct {
	catalog *catalog.Catalog
	metrics *metrics
	log     *zap.Logger

	mu   sync.Mutex           // guards said
	said map[string]time.Time // when a name was logged last
}

func newUncataloged(c *catalog.Catalog, m *metrics, log *zap.Logger) *uncataloged {
	return &uncataloged{catalog: c, metrics: m, log: log, said: make(map[string]time.Time)}
}

// observe is told of every event that is not a create event, where all writes are read.
func (u *uncataloged) observe(source, name, raw string) {
	if !u.catalog.Uncataloged(source, name) {
		return
	}
	r, err := event.Parse([]byte(raw))
	if err != nil || r.ErrorCode != "" || r.ErrorMessage != "" || r.ReadOnly {
		return // a failed call made nothing
	}
	pair := u.metrics.names.value(source + " " + name)
	if pair == "other" {
		u.metrics.uncataloged.WithLabelValues("other", "other").Inc()
		return
	}
	source, name = event.Printable(source, 128), event.Printable(name, 128)
	u.metrics.uncataloged.WithLabelValues(source, name).Inc()
	if u.sayNow(pair) {
		fields := []zap.Field{
			zap.String("event_source", source), zap.String("event_name", name), zap.String("event_id", event.Printable(r.EventID, 64)),
		}
		if row := u.catalog.Suggest(r); row != "" {
			fields = append(fields, zap.String("row", row))
		}
		u.log.Warn("a call that looks like a create is not in the catalog: what it made is not tagged; put a row like this below the heading of a file that catalog.files names, as docs/catalog.md shows", fields...)
	}
}

// sayNow reports whether pair was not said within a day.
func (u *uncataloged) sayNow(pair string) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	now := time.Now()
	if at, ok := u.said[pair]; ok && now.Sub(at) < 24*time.Hour || !ok && len(u.said) >= maxNamesSaid {
		return false
	}
	u.said[pair] = now
	return true
}
