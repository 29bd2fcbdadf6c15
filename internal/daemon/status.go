package daemon

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/autotagd/autotagd/internal/awsclient"
	"github.com/autotagd/autotagd/pkg/checkpoint"
	"github.com/autotagd/autotagd/pkg/config"
	"github.com/autotagd/autotagd/pkg/event"
	"github.com/autotagd/autotagd/pkg/resource"
)

const (
	// maxStatusScopes are shown, those with trouble first.
	maxStatusScopes = 100
	// A Scope is behind when its marks are further back than these, on top of what the configuration makes usual: a head scan of
	// a busy Scope takes minutes, and a final pass by name strides an hour at a time.
	watermarkPatience = 10 * time.Minute
	floorPatience     = 3 * time.Hour
)

// status is what the status page shows.
type status struct {
	Version, Commit string
	Replica         string // "" where there are no leases
	DryRun          bool
	Now, Began      time.Time // Now is AWS's time, Began the host's
	Up              time.Duration
	Healthy, Ready  error // nil: yes

	Counts    map[resource.OutcomeKind]int64
	Deferrals int64

	Scopes []standing // at most maxStatusScopes
	Hidden int        // how many more there are
	Held   int        // by this process
	Wanted int        // of the configuration
	Behind int
	Stuck  int // cannot be begun
	Waits  int // Jobs that wait to be tried again

	Tagged, Missed, Waiting []fate // the last first
}

// scopeState is how a Scope is, worst first.
type scopeState int

const (
	stuck    scopeState = iota // cannot be begun
	behind                     // a mark is further back than usual
	failing                    // the last attempt failed
	starting                   // has no marks yet
	good
)

// String is for people.
func (c scopeState) String() string {
	switch c {
	case stuck:
		return "cannot begin"
	case behind:
		return "behind"
	case failing:
		return "failing"
	case starting:
		return "starting"
	case good:
		return "ok"
	}
	return "unknown"
}

// standing is how one Scope stands.
type standing struct {
	ID                       event.Scope
	Condition                scopeState
	Problem                  string // "" where there is none
	Watermark, Floor         time.Time
	WatermarkLag             time.Duration
	FloorLag                 time.Duration
	Spans                    int
	Backlog                  time.Duration
	Deferred                 int
	LateWatermark, LateFloor bool // which mark is behind: the Watermark, the Floor
}

// status gathers what the status page shows.
func (d *Daemon) status() status {
	now := time.Now()
	p := status{
		Version: d.options.Version, Commit: d.options.Commit, Replica: event.Printable(d.options.Replica, maxLogged),
		DryRun: d.options.Config.DryRun, Now: d.now(), Healthy: d.health.healthy(), Ready: d.health.ready(),
	}
	d.recent.show(&p)
	p.Up = now.Sub(p.Began)
	var all []standing
	for _, s := range d.fleet.all() {
		progress := s.poller.Progress()
		all = append(all, stand(d.options.Config, s.id, s.ledger.Summary(), awsclient.Explain(progress.Err), p.Now))
	}
	p.Held = len(all)
	failed, wanted := d.fleet.failing()
	for id, why := range failed {
		all = append(all, standing{ID: id, Condition: stuck, Problem: why})
	}
	p.Wanted = wanted
	p.take(all)
	return p
}

// take sums up the Scopes and keeps those to be shown.
func (p *status) take(all []standing) {
	for _, s := range all {
		p.Waits += s.Deferred
		switch s.Condition {
		case behind:
			p.Behind++
		case stuck:
			p.Stuck++
		}
	}
	slices.SortFunc(all, worstFirst)
	p.Scopes = all[:min(len(all), maxStatusScopes)]
	p.Hidden = len(all) - len(p.Scopes)
}

func worstFirst(a, b standing) int {
	return cmp.Or(
		cmp.Compare(a.Condition, b.Condition),
		cmp.Compare(b.Deferred, a.Deferred),
		cmp.Compare(b.WatermarkLag.Truncate(time.Minute), a.WatermarkLag.Truncate(time.Minute)),
		strings.Compare(a.ID.String(), b.ID.String()),
	)
}

// stand judges one Scope. err is that of its last attempt; now is AWS's time.
func stand(cfg *config.Config, id event.Scope, sum checkpoint.Summary, err error, now time.Time) standing {
	s := standing{
		ID: id, Condition: good, Watermark: sum.Watermark, Floor: sum.Floor,
		Spans: sum.Spans, Backlog: sum.Backlog, Deferred: sum.Deferred,
	}
	if !s.Watermark.IsZero() {
		s.WatermarkLag = max(0, now.Sub(s.Watermark))
		s.LateWatermark = s.WatermarkLag > watermarkPatience+3*cfg.Poll.Interval+cfg.Tagging.DeferAfter
	}
	if !s.Floor.IsZero() {
		s.FloorLag = max(0, now.Sub(s.Floor))
		s.LateFloor = s.FloorLag > floorPatience+cfg.Poll.Lookback+2*cfg.Poll.SweepInterval
	}
	if err != nil {
		s.Problem = event.Printable(err.Error(), maxLogged)
	}
	switch {
	case s.LateWatermark || s.LateFloor:
		s.Condition = behind
	case err != nil:
		s.Condition = failing
	case s.Watermark.IsZero() && s.Floor.IsZero():
		s.Condition = starting
	}
	return s
}

// mark is one mark of a Scope as it is shown.
type mark struct {
	Time time.Time
	Lag  time.Duration
	Late bool
}

// Mark puts together what is shown of a mark.
func (s standing) Mark(t time.Time, lag time.Duration, late bool) mark { return mark{t, lag, late} }
