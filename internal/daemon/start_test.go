package daemon

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/autotagd/autotagd/internal/fakeaws"
	"github.com/autotagd/autotagd/pkg/catalog"
	"github.com/autotagd/autotagd/pkg/checkpoint"
	"github.com/autotagd/autotagd/pkg/event"
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

// What was denied is read again in every spelling that the Scope has shown.
func TestReplayReadsEverySpelling(t *testing.T) {
	cat, err := catalog.Load()
	if err != nil {
		t.Fatal(err)
	}
	id := event.Scope{AccountID: "111122223333", Region: "us-east-1"}
	l, err := checkpoint.Open(t.Context(), checkpoint.NewMemory(), id, checkpoint.Options{})
	if err != nil {
		t.Fatal(err)
	}
	d, s := &Daemon{planner: &Planner{Catalog: cat}}, &scope{id: id, ledger: l}
	for _, action := range []string{"cloudfront:TagResource", "lambda:TagResource"} {
		var spelled []string
		for _, name := range cat.NamesByAction(action) {
			if catalog.Undated(name) == name {
				spelled = append(spelled, name+"2030_01_01")
			}
		}
		if len(spelled) == 0 {
			t.Fatalf("%s has no names: the test shows nothing", action)
		}
		l.Spelled(event.Spellings{Names: spelled})
		got := d.namesOf(s, action)
		for _, name := range append(spelled, cat.NamesByAction(action)...) {
			if !slices.Contains(got, name) {
				t.Errorf("%s: %s is left out", action, name)
			}
		}
	}
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
