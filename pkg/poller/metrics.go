package poller

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/autotagd/autotagd/pkg/event"
)

// Metrics are the poller's metrics of all Scopes: registered once, handed to each Poller.
type Metrics struct {
	read, duplicate, late *prometheus.CounterVec
	requests              *prometheus.CounterVec
	pages                 *prometheus.CounterVec
	saturated, period     *prometheus.GaugeVec
	delay                 *prometheus.HistogramVec
}

// NewMetrics registers the poller's metrics.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	f := promauto.With(reg)
	scope := []string{"account_id", "region"}
	return &Metrics{
		read: f.NewCounterVec(prometheus.CounterOpts{
			Name: "autotagd_events_read_total",
			Help: "Events on pages of LookupEvents, each time they were read.",
		}, scope),
		duplicate: f.NewCounterVec(prometheus.CounterOpts{
			Name: "autotagd_events_duplicate_total",
			Help: "Create events that were read again and not handed on.",
		}, scope),
		late: f.NewCounterVec(prometheus.CounterOpts{
			Name: "autotagd_sweep_late_events_total",
			Help: "Create events that head scans missed and a final pass found.",
		}, scope),
		requests: f.NewCounterVec(prometheus.CounterOpts{
			Name: "autotagd_lookup_requests_total",
			Help: "LookupEvents attempts, by outcome.",
		}, append([]string{"outcome"}, scope...)),
		pages: f.NewCounterVec(prometheus.CounterOpts{
			Name: "autotagd_lookup_pages_total",
			Help: "Pages of LookupEvents, by what they were read for, and whether by all writes or by an event name.",
		}, append([]string{"scan", "by"}, scope...)),
		saturated: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "autotagd_lookup_saturated",
			Help: "1 while a Scope has more events than can be read at its rate.",
		}, scope),
		period: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "autotagd_lookup_scan_period_seconds",
			Help: "Time between the beginnings of the last two head scans.",
		}, scope),
		delay: f.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "autotagd_event_visibility_delay_seconds",
			Help:    "Time from an event to when it was first seen, without the backlog.",
			Buckets: []float64{15, 30, 60, 90, 120, 180, 240, 300, 420, 600, 900, 1200, 1800, 3600},
		}, []string{"region"}),
	}
}

// End says that the Scope is not read here any more: how it stands is another process's to say.
func (m *Metrics) End(s event.Scope) {
	m.saturated.DeleteLabelValues(s.AccountID, s.Region)
	m.period.DeleteLabelValues(s.AccountID, s.Region)
}

// metrics are those of one Scope. Its counters are safe for use by several goroutines.
type metrics struct {
	read, duplicate, lateEvents prometheus.Counter
	requests                    [outcomes]prometheus.Counter
	pages                       [kinds][2]prometheus.Counter
	saturated, scanPeriod       prometheus.Gauge
	delay                       prometheus.Observer
}

// newMetrics makes every label value of the Scope, at zero.
func newMetrics(m *Metrics, s event.Scope) *metrics {
	out := &metrics{
		read:       m.read.WithLabelValues(s.AccountID, s.Region),
		duplicate:  m.duplicate.WithLabelValues(s.AccountID, s.Region),
		lateEvents: m.late.WithLabelValues(s.AccountID, s.Region),
		saturated:  m.saturated.WithLabelValues(s.AccountID, s.Region),
		scanPeriod: m.period.WithLabelValues(s.AccountID, s.Region),
		delay:      m.delay.WithLabelValues(s.Region),
	}
	for o := range outcomes {
		out.requests[o] = m.requests.WithLabelValues(o.String(), s.AccountID, s.Region)
	}
	for k := range kinds {
		for _, b := range []by{byWrites, byName} {
			out.pages[k][b] = m.pages.WithLabelValues(k.String(), b.String(), s.AccountID, s.Region)
		}
	}
	return out
}

func (m *metrics) page(k kind, b by)      { m.pages[k][b].Inc() }
func (m *metrics) late()                  { m.lateEvents.Inc() }
func (m *metrics) period(d time.Duration) { m.scanPeriod.Set(d.Seconds()) }

func (m *metrics) saturate(is bool) {
	m.saturated.Set(0)
	if is {
		m.saturated.Set(1)
	}
}
