package daemon

import (
	"bytes"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/autotagd/autotagd/internal/fakeaws"
	"github.com/autotagd/autotagd/pkg/checkpoint"
)

// The way to DynamoDB becomes a black hole in the midst of many claims, each of which then waits for its answer: the lease ends all the same
// when it does.
func TestALeaseThatEndsAmongClaims(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := organization(t, 1, 30)
		a, plugA := w.replica("a")
		plugA.hole.Store(true)
		var claims atomic.Int32
		cut := make(chan time.Time, 1)
		sees := func(sent []byte) {
			if bytes.Contains(sent, []byte("SET #owner")) && claims.Add(1) == 28 {
				plugA.apart.Store(true)
				cut <- time.Now()
			}
		}
		plugA.sees.Store(&sees)
		b, _ := w.replica("b")
		began := <-cut
		time.Sleep(time.Until(began.Add(testLease + 2*time.Second)))
		end := time.Now()
		time.Sleep(3 * time.Minute)
		for _, c := range w.cloud.Calls("LookupEvents") {
			if c.Time.After(end) && b.daemon.fleet.get(c.Scope) == nil {
				t.Errorf("LookupEvents in %s at %s, by nobody who holds it: the lease ended at %s", c.Scope, c.Time, end)
			}
		}
		if held := a.daemon.fleet.all(); len(held) > 0 {
			t.Errorf("%d Scopes are held three minutes after the lease ended", len(held))
		}
		w.pace(1.5)
		a.cancel()
		b.cancel()
		<-a.done
		<-b.done
	})
}

// What --since asks for is still asked for when the lease was lost before a save said so.
func TestSinceOutlastsALostLease(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := organization(t, 1, 1)
		made := w.cloud.Create(w.cloud.Scope(), "CreateVolume", fakeaws.IAMUser("bob"), fakeaws.Spec{Delay: -1})
		since := time.Now().Add(-time.Minute)
		time.Sleep(10 * time.Hour)
		a, plugA := w.replica("a", func(o *Options) { o.Since = since })
		placed := func() int {
			n := 0
			for _, s := range a.daemon.fleet.all() {
				if s.poller.Progress().Placed {
					n++
				}
			}
			return n
		}
		for placed() < 2 {
			time.Sleep(10 * time.Millisecond)
		}
		plugA.pulled.Store(true)
		time.Sleep(testLease + 15*time.Second)
		if n := len(a.daemon.fleet.all()); n != 0 {
			t.Fatalf("%d Scopes are held without a lease", n)
		}
		plugA.pulled.Store(false)
		time.Sleep(3 * time.Hour)
		w.shares(a)
		a.stop()
		if got, _ := w.cloud.Resource(made.Resources[0].ARN); got.Tags["Owner"] != "bob" {
			t.Errorf("a resource after --since has tags %v, want Owner bob", got.Tags)
		}
	})
}

func TestOnceEndsWithItsLease(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := organization(t, 1, 2)
		w.cfg.Poll.Rate = 0.005 // it has much to read, so to say
		a, plugA := w.replica("a", func(o *Options) { o.Once = true })
		time.Sleep(20 * time.Second)
		if n := len(a.daemon.fleet.all()); n != 4 {
			t.Fatalf("%d Scopes are held, want all 4", n)
		}
		plugA.apart.Store(true)
		cut := time.Now()
		if err := <-a.done; !errors.Is(err, errLapsed) {
			t.Errorf("it ended with %v, want %v", err, errLapsed)
		}
		if took := time.Since(cut); took > 2*testLease {
			t.Errorf("it went on for %s, with a lease of %s", took, testLease)
		}
	})
}

// Who ends because a Scope can't be opened reads no other any more.
func TestOnceThatFailsStopsReading(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, `{global_region: off, regions: [eu-central-1, us-east-1]}`, fakeaws.Config{Regions: []string{"eu-central-1", "us-east-1"}})
		damaged := checkpoint.Part{Name: "seen#20260101T0000Z", Data: []byte("damaged")}
		if err := checkpoint.NewFileStore(w.disk, stateDir).Put(t.Context(), w.cloud.Scopes()[1], []checkpoint.Part{damaged}); err != nil {
			t.Fatal(err)
		}
		r := w.start(func(o *Options) { o.Once = true })
		if err := <-r.done; err == nil || !strings.Contains(err.Error(), "seen#20260101T0000Z") {
			t.Errorf("it ended with %v, want that the part is damaged", err)
		}
		calls := len(w.cloud.Calls("LookupEvents"))
		time.Sleep(time.Minute)
		if n := len(w.cloud.Calls("LookupEvents")) - calls; n > 0 {
			t.Errorf("%d LookupEvents after its end", n)
		}
	})
}

// A shutdown takes no longer because the first save of a Scope is not answered.
func TestShutdownDuringTheFirstSave(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := organization(t, 1, 1)
		a, plugA := w.replica("a")
		plugA.hole.Store(true)
		saves := make(chan struct{}, 10)
		sees := func(sent []byte) {
			if savesState(sent) {
				plugA.apart.Store(true)
				saves <- struct{}{}
			}
		}
		plugA.sees.Store(&sees)
		<-saves
		began := time.Now()
		a.cancel()
		<-a.done
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("the shutdown took %s, want at most 20 s", took)
		}
	})
}

// The host's monotonic clock stands still while it is suspended, and the other one can be set back.
func TestElapsed(t *testing.T) {
	t.Parallel()
	from := time.Now()
	for name, c := range map[string]struct {
		to   time.Time
		want time.Duration
	}{
		"both clocks":                      {from.Add(time.Minute), time.Minute},
		"the wall clock alone, by an hour": {from.Round(0).Add(time.Hour), time.Hour},
	} {
		if got := elapsed(from, c.to); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}
