package daemon

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/autotagd/autotagd/internal/fakeaws"
)

// What happened before poll.start is nobody's business, also when head scans look further back than that.
func TestNothingBeforeTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, "{poll: {start: 1m}, global_region: off}", fakeaws.Config{})
		made := w.cloud.Create(w.cloud.Scope(), "CreateVolume", fakeaws.IAMUser("alice"), fakeaws.Spec{Delay: -1})
		time.Sleep(5 * time.Minute)
		r := w.start()
		time.Sleep(10 * time.Minute)
		r.stop()
		if got := w.outcomes(made.EventID); len(got) > 0 {
			t.Errorf("%d outcomes of an event five minutes before a start with poll.start 1m: %q", len(got), got)
		}
	})
}

// With `services` nothing else is handed on, and no other create event is taken for a new spelling.
func TestServicesNarrowWhatIsRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, "{services: [s3], global_region: off}", fakeaws.Config{})
		r := w.start()
		time.Sleep(time.Minute)
		volume := w.cloud.Create(w.cloud.Scope(), "CreateVolume", fakeaws.IAMUser("alice"), fakeaws.Spec{})
		bucket := w.cloud.Create(w.cloud.Scope(), "CreateBucket", fakeaws.IAMUser("alice"), fakeaws.Spec{})
		time.Sleep(20 * time.Minute)
		spelled := r.daemon.fleet.all()[0].ledger.Spellings()
		r.stop()
		if got := w.outcomes(volume.EventID); len(got) > 0 {
			t.Errorf("a volume with services: [s3]: %q", got)
		}
		if got := w.outcomes(bucket.EventID); len(got) != 1 {
			t.Errorf("a bucket with services: [s3]: %q", got)
		}
		if len(spelled) > 0 {
			t.Errorf("taken for spellings: %v", spelled)
		}
	})
}

// A --once that was ended early is no success: whoever runs it by the hour must see that not everything was read.
func TestOnceEndedEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, "{global_region: off}", fakeaws.Config{})
		w.cloud.SetFaults("LookupEvents", fakeaws.Faults{ServerError: 1})
		r := w.start(func(o *Options) { o.Once = true })
		time.Sleep(time.Minute)
		r.cancel()
		if err := <-r.done; !errors.Is(err, errOnceEnded) {
			t.Errorf("error = %v, want that it was ended before everything was read", err)
		}
	})
}
