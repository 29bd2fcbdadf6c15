package daemon

import (
	"context"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/autotagd/autotagd/pkg/resource"
)

// Run works until ctx ends, then shuts down in order. Being asked to end is no error. It may be called once.
func (d *Daemon) Run(ctx context.Context) error {
	port := d.options.Port
	if port == nil {
		var err error
		if port, err = OpenPort(d.options.Config); err != nil {
			return err
		}
		defer port.Close()
	}
	w := newWeb(webOptions{
		Listener: port.lend(), ConfigFile: d.options.Config.Web.ConfigFile,
		Registry: d.registry, Ready: d.Ready, Healthy: d.Healthy, Page: newStatusPage(d.status, d.log), Log: d.log,
	})
	d.log.Info("listening", zap.String("addr", w.Addr()))
	if d.options.OnListen != nil {
		d.options.OnListen(w.Addr())
	}
	// The web port outlives all else, so that a shutdown can be watched. When it fails, everything ends.
	serving, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	open, closePort := context.WithCancel(context.WithoutCancel(ctx))
	defer closePort()
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		cancel(w.Run(open))
	}()

	err := d.work(serving)
	if cause := context.Cause(serving); err == nil && ctx.Err() == nil && cause != nil {
		err = cause
	}
	closePort()
	<-closed
	return err
}

// inherit takes over what must outlast a reload: a Scope's rate, which AWS counts whoever calls, and which Scopes had Since put into their
// backlog.
func (d *Daemon) inherit() {
	before := d.options.After
	if before == nil {
		return
	}
	d.options.After = nil // it needs no memory any more
	d.limiters, d.before = before.limiters, before.before
	for _, l := range d.limiters {
		l.SetRate(d.options.Config.Poll.Rate)
	}
}

// Ready is nil once configuration, store and credentials work, and one LookupEvents was answered or every Scope has tried; else it says what is
// waited for. It is safe for use by several goroutines, as Healthy, Proven and Summary are.
func (d *Daemon) Ready() error { return d.health.ready() }

// Healthy is nil while the daemon makes progress, else it says what doesn't.
func (d *Daemon) Healthy() error { return d.health.healthy() }

// Proven reports whether the start went well: Ready, and not about to end because everything is denied.
func (d *Daemon) Proven() bool {
	if d.Ready() != nil {
		return false
	}
	_, err := d.denied()
	return err == nil
}

// Summary says in a line how it stands.
func (d *Daemon) Summary() string {
	s := d.status()
	return fmt.Sprintf("%d of %d Scopes held, %d behind, %d cannot begin; tagged %d, missed %d, waiting %d",
		s.Held, s.Wanted, s.Behind, s.Stuck, s.Counts[resource.Tagged], s.Counts[resource.Missed], s.Waits)
}

// Reloads says in the metrics whether the configuration was read again, as Prometheus says it of its own. It is safe for use by several
// goroutines.
type Reloads struct{ successful, at prometheus.Gauge }

// NewReloads returns Reloads of a process that has read its configuration now.
func NewReloads() *Reloads {
	r := &Reloads{
		successful: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "autotagd_config_last_reload_successful",
			Help: "Whether the last attempt to read the configuration succeeded: then it is in force.",
		}),
		at: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "autotagd_config_last_reload_success_timestamp_seconds",
			Help: "When the configuration in force was read.",
		}),
	}
	r.Succeeded()
	return r
}

// Succeeded notes that the configuration was read and is in force, now.
func (r *Reloads) Succeeded() { r.successful.Set(1); r.at.SetToCurrentTime() }

// Failed notes that it was refused.
func (r *Reloads) Failed() { r.successful.Set(0) }

// Describe implements prometheus.Collector.
func (r *Reloads) Describe(c chan<- *prometheus.Desc) { r.successful.Describe(c); r.at.Describe(c) }

// Collect implements prometheus.Collector.
func (r *Reloads) Collect(c chan<- prometheus.Metric) { r.successful.Collect(c); r.at.Collect(c) }
