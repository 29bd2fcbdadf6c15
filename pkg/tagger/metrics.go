package tagger

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/autotagd/autotagd/pkg/resource"
)

// maxRegions is how many Regions get series of their own: a Region can come from a record.
const maxRegions = 500

type metrics struct {
	requests   *prometheus.CounterVec
	batch      *prometheus.HistogramVec
	latency    *prometheus.HistogramVec
	eventToTag *prometheus.HistogramVec

	mu      sync.Mutex
	regions map[string]bool
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		requests: promauto.With(reg).NewCounterVec(prometheus.CounterOpts{
			Name: "autotagd_tag_requests_total",
			Help: "Calls that tag, or that read what tagging needs, by API and what came of them.",
		}, []string{"api", "outcome"}),
		batch: promauto.With(reg).NewHistogramVec(prometheus.HistogramOpts{
			Name:    "autotagd_tag_batch_resources",
			Help:    "Resources in one call that tags.",
			Buckets: []float64{1, 2, 5, 10, 20, 50, 100, 200, 500, 1000},
		}, []string{"region"}),
		latency: promauto.With(reg).NewHistogramVec(prometheus.HistogramOpts{
			Name:    "autotagd_tagging_latency_seconds",
			Help:    "Time from an event's first sight to its resource being tagged, the backlog left out.",
			Buckets: []float64{0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600},
		}, []string{"region"}),
		eventToTag: promauto.With(reg).NewHistogramVec(prometheus.HistogramOpts{
			Name:    "autotagd_event_to_tag_seconds",
			Help:    "Time from an event to its resource being tagged, the backlog left out.",
			Buckets: []float64{10, 30, 60, 120, 180, 300, 600, 900, 1800, 3600, 7200, 21600},
		}, []string{"region"}),
		regions: map[string]bool{},
	}
	for _, api := range []resource.TagAPI{resource.EC2CreateTags, resource.TagResources} {
		for c := range classCount {
			m.requests.WithLabelValues(string(api), c.String())
		}
	}
	return m
}

// region bounds the label.
func (m *metrics) region(name string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.regions[name] {
		if len(m.regions) >= maxRegions {
			return "other"
		}
		m.regions[name] = true
	}
	return name
}

// tagged notes one resource tagged at awsNow. Event times and first sights are AWS's too.
func (m *metrics) tagged(j resource.Job, awsNow time.Time) {
	if j.Event.Backlog {
		return
	}
	region := m.region(j.Resource.Scope.Region)
	if !j.Event.Seen.IsZero() {
		m.latency.WithLabelValues(region).Observe(max(0, awsNow.Sub(j.Event.Seen).Seconds()))
	}
	if !j.Event.Time.IsZero() {
		m.eventToTag.WithLabelValues(region).Observe(max(0, awsNow.Sub(j.Event.Time).Seconds()))
	}
}
