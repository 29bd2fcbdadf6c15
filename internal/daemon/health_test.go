package daemon

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/autotagd/autotagd/internal/fakeaws"
	"github.com/autotagd/autotagd/pkg/resource"
)

// A tagger that stands still is unhealthy, though the Scopes are read; one that has nothing to do isn't.
func TestUnhealthyWhenTheTaggerStandsStill(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, `{global_region: off}`, fakeaws.Config{})
		stuck := make(chan struct{})
		r := w.start(func(o *Options) { o.OnOutcome = func(resource.Outcome) { <-stuck } })
		for range 60 {
			time.Sleep(time.Minute)
			if err := r.daemon.Healthy(); err != nil {
				t.Fatalf("with nothing to do: %v", err)
			}
		}
		w.cloud.Create(w.cloud.Scope(), "CreateVolume", fakeaws.IAMUser("bob"), fakeaws.Spec{Delay: -1})
		time.Sleep(10 * time.Minute)
		if err := r.daemon.Healthy(); err == nil || !strings.Contains(err.Error(), "tagger") {
			t.Errorf("Healthy says %v, want that the tagger stands still", err)
		}
		close(stuck)
		time.Sleep(time.Minute)
		if err := r.daemon.Healthy(); err != nil {
			t.Errorf("afterwards: %v", err)
		}
		r.stop()
	})
}
