package checkpoint

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/autotagd/autotagd/pkg/event"
)

// The outcomes of a save.
const (
	saveOK     = "ok"
	saveError  = "error"
	saveFenced = "fenced"
)

// Metrics are those of all Scopes of a process.
type Metrics struct {
	watermark, floor, backlog, lease *prometheus.GaugeVec
	deferred, since                  *prometheus.GaugeVec
	saves                            *prometheus.CounterVec
}

// NewMetrics registers the metrics. Call it once per registry; every Ledger of the process shares them.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	scope := []string{"account_id", "region"}
	with := promauto.With(reg)
	return &Metrics{
		watermark: with.NewGaugeVec(prometheus.GaugeOpts{
			Name: "autotagd_checkpoint_watermark_timestamp_seconds",
			Help: "Everything that head scans read up to this event time is settled. Zero until known.",
		}, scope),
		floor: with.NewGaugeVec(prometheus.GaugeOpts{
			Name: "autotagd_checkpoint_floor_timestamp_seconds",
			Help: "Every event before this event time is settled or in the backlog. Zero until known.",
		}, scope),
		backlog: with.NewGaugeVec(prometheus.GaugeOpts{
			Name: "autotagd_backlog_seconds",
			Help: "Time of the past that is still to be read, its spans added up.",
		}, scope),
		lease: with.NewGaugeVec(prometheus.GaugeOpts{
			Name: "autotagd_lease_held",
			Help: "Whether this process holds the Scope: 1 or 0, of every Scope of the configuration. A process without a table holds all that it could begin.",
		}, scope),
		deferred: with.NewGaugeVec(prometheus.GaugeOpts{
			Name: "autotagd_resources_deferred",
			Help: "Resources whose tagging was put off and is tried again later.",
		}, scope),
		since: with.NewGaugeVec(prometheus.GaugeOpts{
			Name: "autotagd_resources_deferred_since_timestamp_seconds",
			Help: "When the deferred resource that waits longest was first tried. Zero where none waits.",
		}, scope),
		saves: with.NewCounterVec(prometheus.CounterOpts{
			Name: "autotagd_checkpoint_saves_total",
			Help: "Saves of a Scope's state, by outcome: ok, error (tried again), fenced (another holder has it).",
		}, append(scope, "outcome")),
	}
}

// scopeMetrics are those of one Scope.
type scopeMetrics struct {
	watermark, floor, backlog, lease prometheus.Gauge
	deferred, since                  prometheus.Gauge
	saves                            map[string]prometheus.Counter
}

// End says that the process does not hold the Scope any more: what it says of how the Scope stands is another's to say.
func (m *Metrics) End(s event.Scope) {
	for _, g := range []*prometheus.GaugeVec{m.watermark, m.floor, m.backlog, m.deferred, m.since} {
		g.DeleteLabelValues(s.AccountID, s.Region)
	}
	m.lease.WithLabelValues(s.AccountID, s.Region).Set(0)
}

// Want says that there is such a Scope, also if this process never holds it: one that no process holds must show.
func (m *Metrics) Want(s event.Scope) { m.lease.WithLabelValues(s.AccountID, s.Region) }

// Forget says that there is no such Scope any more. The process does not hold it.
func (m *Metrics) Forget(s event.Scope) { m.lease.DeleteLabelValues(s.AccountID, s.Region) }

// of starts every series of a Scope at zero.
func (m *Metrics) of(s event.Scope) *scopeMetrics {
	sm := &scopeMetrics{
		watermark: m.watermark.WithLabelValues(s.AccountID, s.Region),
		floor:     m.floor.WithLabelValues(s.AccountID, s.Region),
		lease:     m.lease.WithLabelValues(s.AccountID, s.Region),
		backlog:   m.backlog.WithLabelValues(s.AccountID, s.Region),
		deferred:  m.deferred.WithLabelValues(s.AccountID, s.Region),
		since:     m.since.WithLabelValues(s.AccountID, s.Region),
		saves:     map[string]prometheus.Counter{},
	}
	for _, outcome := range []string{saveOK, saveError, saveFenced} {
		sm.saves[outcome] = m.saves.WithLabelValues(s.AccountID, s.Region, outcome)
	}
	return sm
}
