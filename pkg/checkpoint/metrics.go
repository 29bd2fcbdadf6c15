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
	watermark, floor, lease, deferred *prometheus.GaugeVec
	saves                             *prometheus.CounterVec
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
		lease: with.NewGaugeVec(prometheus.GaugeOpts{
			Name: "autotagd_lease_held",
			Help: "Whether this process holds the Scope: 1 or 0. Always 1 with the file store.",
		}, scope),
		deferred: with.NewGaugeVec(prometheus.GaugeOpts{
			Name: "autotagd_resources_deferred",
			Help: "Resources whose tagging was put off and is tried again later.",
		}, scope),
		saves: with.NewCounterVec(prometheus.CounterOpts{
			Name: "autotagd_checkpoint_saves_total",
			Help: "Saves of a Scope's state, by outcome: ok, error (tried again), fenced (another holder has it).",
		}, append(scope, "outcome")),
	}
}

// scopeMetrics are those of one Scope.
type scopeMetrics struct {
	watermark, floor, lease, deferred prometheus.Gauge
	saves                             map[string]prometheus.Counter
}

// End says that the process does not hold the Scope any more: what it says of how the Scope stands is another's to say.
func (m *Metrics) End(s event.Scope) {
	for _, g := range []*prometheus.GaugeVec{m.watermark, m.floor, m.deferred} {
		g.DeleteLabelValues(s.AccountID, s.Region)
	}
	m.lease.WithLabelValues(s.AccountID, s.Region).Set(0)
}

// of starts every series of a Scope at zero.
func (m *Metrics) of(s event.Scope) *scopeMetrics {
	sm := &scopeMetrics{
		watermark: m.watermark.WithLabelValues(s.AccountID, s.Region),
		floor:     m.floor.WithLabelValues(s.AccountID, s.Region),
		lease:     m.lease.WithLabelValues(s.AccountID, s.Region),
		deferred:  m.deferred.WithLabelValues(s.AccountID, s.Region),
		saves:     map[string]prometheus.Counter{},
	}
	for _, outcome := range []string{saveOK, saveError, saveFenced} {
		sm.saves[outcome] = m.saves.WithLabelValues(s.AccountID, s.Region, outcome)
	}
	return sm
}
