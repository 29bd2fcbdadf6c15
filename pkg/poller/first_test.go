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
			if is := settled > 9*time.Minute && settled < 11*time.Minute; is != r.second {
				t.Errorf("%g writes a second: the second call is for what is %v old and older (%+v), want so: %v", r.writes, settled, second, r.second)
			}
		})
	}
}
