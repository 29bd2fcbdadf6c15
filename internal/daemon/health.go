package daemon

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/autotagd/autotagd/pkg/poller"
	"github.com/autotagd/autotagd/pkg/tagger"
)

// minHealthy is the shortest silence of a loop that counts as unhealthy.
const minHealthy = 2 * time.Minute

// health answers the two questions of supervisors. AWS's errors are metrics and alerts; they make nothing unhealthy.
type health struct {
	tagger   *tagger.Tagger        // set before fleet
	fleet    atomic.Pointer[fleet] // nil until the parts are built
	interval atomic.Int64          // of polling, in nanoseconds
}

func (h *health) start(f *fleet, t *tagger.Tagger, interval time.Duration) {
	h.tagger = t
	h.interval.Store(int64(interval))
	h.fleet.Store(f)
}

// ready: configuration, store and credentials work, and one LookupEvents was answered or every Scope has tried.
func (h *health) ready() error {
	held := h.fleet.Load()
	if held == nil {
		return errors.New("starting: the AWS account is not known yet")
	}
	tried, scopes := 0, held.all()
	for _, s := range scopes {
		select {
		case <-s.poller.FirstAnswered():
			return nil
		default:
		}
		if s.poller.Progress().Tried {
			tried++
		}
	}
	if tried < len(scopes) {
		return fmt.Errorf("starting: LookupEvents was tried in %d of %d Scopes", tried, len(scopes))
	}
	return nil
}

// healthy: each loop of each Scope has lately finished an attempt, whatever its result, and the tagger's has come round.
func (h *health) healthy() error {
	held := h.fleet.Load()
	if held == nil {
		return nil // still starting, and trying
	}
	limit := max(minHealthy, 3*time.Duration(h.interval.Load()))
	for _, s := range held.all() {
		if loop, silent := longestSilence(s.poller.Progress(), time.Now()); silent > limit {
			return fmt.Errorf("%s: the %s loop made no attempt for %s", s.id, loop, silent.Round(time.Second))
		}
	}
	if silent := h.tagger.Silent(); silent > limit {
		return fmt.Errorf("the tagger's loop stands still for %s", silent.Round(time.Second))
	}
	return nil
}

func longestSilence(p poller.Progress, now time.Time) (loop string, silent time.Duration) {
	for _, l := range []struct {
		name string
		at   time.Time
	}{{"final", p.Final}, {"head", p.Head}, {"backlog", p.Backlog}} {
		if l.at.IsZero() {
			continue // not begun
		}
		if d := now.Sub(l.at); d > silent {
			loop, silent = l.name, d
		}
	}
	return loop, silent
}
