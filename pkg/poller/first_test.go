package poller

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// A busy Scope is known for one from the start: its newest page shows only what became visible at once, as calm as an idle account's.
func TestAFirstHourIsLikeAnyOther(t *testing.T) {
	for _, r := range []struct {
		writes, creates float64
		within          time.Duration // visible to handed on, 99 %
	}{
		{5, 1, 5 * time.Minute}, {30, 6, 4 * time.Minute},
	} {
		t.Run(fmt.Sprintf("%g writes %g creates", r.writes, r.creates), func(t *testing.T) {
			t.Parallel()
			s := measure(t, r.writes, r.creates, 0, time.Hour)
			p99 := quantile(s.handed, 0.99)
			t.Logf("median %v, 99 %% %v, first periods %v", quantile(s.handed, 0.5), p99, s.periods[:4])
			if p99 > r.within {
				t.Errorf("99 %% handed on within %v, want %v", p99, r.within)
			}
		})
	}
}

// The second page costs a call, and only a Scope whose first one is young makes it.
func TestASecondFirstCall(t *testing.T) {
	for _, r := range []struct {
		writes float64
		second bool
	}{{0.01, false}, {5, true}} {
		synctest.Test(t, func(t *testing.T) {
			rig := newRig(t, r.writes, r.writes/5, 3*time.Hour, time.Hour)
			rig.start()
			time.Sleep(5 * time.Minute)
			rig.stop()
			second := rig.ct.seen()[1]
			settled := second.at.Sub(second.end) // of what was asked for
			if r.second && !second.start.IsZero() {
				t.Errorf("the second call begins at %v: what AWS takes for too old moves on", second.start)
			}
			if is := settled > 9*time.Minute && settled < 11*time.Minute; is != r.second {
				t.Errorf("%g writes a second: the second call is for what is %v old and older (%+v), want so: %v", r.writes, settled, second, r.second)
			}
		})
	}
}

// A second page that isn't answered is done without: nothing waits for a sample.
func TestASecondFirstCallThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rig := newRig(t, 5, 1, 3*time.Hour, time.Hour)
		rig.ct.fault = func(n int, r request) fault {
			if !r.end.IsZero() && r.start.IsZero() {
				return fault{code: "InvalidTimeRangeException"}
			}
			return fault{}
		}
		rig.start()
		time.Sleep(5 * time.Minute)
		rig.stop()
		seconds := 0
		for _, r := range rig.ct.seen() {
			if !r.end.IsZero() && r.start.IsZero() {
				seconds++
			}
		}
		if seconds != 1 || len(rig.b.resets) != 1 {
			t.Errorf("%d second calls, want one; the marks were set %d times, want once", seconds, len(rig.b.resets))
		}
	})
}
