package daemon

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/autotagd/autotagd/pkg/event"
	"github.com/autotagd/autotagd/pkg/resource"
)

// maxLabelValues bounds the values of any label that a Record fills. Further ones count as "other".
const maxLabelValues = 500

// metrics are what the daemon itself counts: events that created something, and how their resources ended.
type metrics struct {
	created     *prometheus.CounterVec
	outcomes    *prometheus.CounterVec
	missed      *prometheus.CounterVec
	byService   *prometheus.CounterVec
	unmapped    *prometheus.CounterVec
	uncataloged *prometheus.CounterVec
	accounts    prometheus.Gauge
	directory   prometheus.Gauge
	services    *labelBound
	names       *labelBound
}

func newMetrics(reg prometheus.Registerer, version, commit, goVersion string) *metrics {
	f := promauto.With(reg)
	m := &metrics{
		created: f.NewCounterVec(prometheus.CounterOpts{
			Name: "autotagd_events_created_total",
			Help: "Events read that created a taggable resource.",
		}, []string{"account_id", "region"}),
		outcomes: f.NewCounterVec(prometheus.CounterOpts{
			Name: "autotagd_resources_total",
			Help: "Resources whose fate is settled, by outcome.",
		}, []string{"account_id", "region", "outcome"}),
		missed: f.NewCounterVec(prometheus.CounterOpts{
			Name: "autotagd_resources_missed_total",
			Help: "Resources that could not be tagged, by reason.",
		}, []string{"account_id", "region", "reason"}),
		byService: f.NewCounterVec(prometheus.CounterOpts{
			Name: "autotagd_resources_by_service_total",
			Help: "Resources whose fate is settled, by AWS service and outcome.",
		}, []string{"service", "outcome"}),
		unmapped: f.NewCounterVec(prometheus.CounterOpts{
			Name: "autotagd_owners_unmapped_total",
			Help: "Events whose resources are tagged for an owner that no row of the directory matches.",
		}, []string{"account_id", "region"}),
		uncataloged: f.NewCounterVec(prometheus.CounterOpts{
			Name: "autotagd_events_uncataloged_total",
			Help: "Successful create-like calls that AWS's models of this release did not have.",
		}, []string{"event_source", "event_name"}),
		accounts: f.NewGauge(prometheus.GaugeOpts{
			Name: "autotagd_accounts_last_read_successful",
			Help: "Whether all accounts and Regions could be read at the last attempt: 1 or 0. What could not is as it was before.",
		}),
		directory: f.NewGauge(prometheus.GaugeOpts{
			Name: "autotagd_directory_last_read_successful",
			Help: "Whether the directory, as its file is now, is in force: 1, also where there is none, or 0.",
		}),
		services: newLabelBound(maxLabelValues),
		names:    newLabelBound(maxLabelValues),
	}
	f.NewGaugeVec(prometheus.GaugeOpts{
		Name: "autotagd_build_info",
		Help: "Always 1; the labels say what is running.",
	}, []string{"version", "commit", "goversion"}).WithLabelValues(version, commit, goVersion).Set(1)
	m.directory.Set(1) // a start with a broken one fails
	return m
}

// start makes every series of a Scope exist, at zero.
func (m *metrics) start(s event.Scope) {
	m.created.WithLabelValues(s.AccountID, s.Region)
	m.unmapped.WithLabelValues(s.AccountID, s.Region)
	for _, k := range resource.OutcomeKinds() {
		m.outcomes.WithLabelValues(s.AccountID, s.Region, string(k))
	}
	for _, r := range resource.Reasons() {
		m.missed.WithLabelValues(s.AccountID, s.Region, string(r))
	}
}

func (m *metrics) observe(o resource.Outcome) {
	s := o.Job.Event.Scope
	m.outcomes.WithLabelValues(s.AccountID, s.Region, string(o.Kind)).Inc()
	if o.Kind == resource.Missed {
		m.missed.WithLabelValues(s.AccountID, s.Region, string(o.Reason)).Inc()
	}
	m.byService.WithLabelValues(m.services.value(o.Job.Resource.Service), string(o.Kind)).Inc()
}

// set makes a gauge 1 where err is nil, else 0.
func set(g prometheus.Gauge, err error) {
	g.Set(0)
	if err == nil {
		g.Set(1)
	}
}

// labelBound lets the first n values of a label through and calls the rest "other", so that records cannot
// grow the set of series without bound.
type labelBound struct {
	mu   sync.Mutex // guards seen
	seen map[string]struct{}
	n    int
}

func newLabelBound(n int) *labelBound { return &labelBound{seen: make(map[string]struct{}), n: n} }

func (b *labelBound) value(v string) string {
	v = event.Printable(v, 128)
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.seen[v]; ok {
		return v
	}
	if len(b.seen) >= b.n {
		return "other"
	}
	b.seen[v] = struct{}{}
	return v
}
