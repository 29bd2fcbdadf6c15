package daemon

import (
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/autotagd/autotagd/internal/fakeaws"
)

// What a Scope calls in an hour is what docs/sizing.md says it does, within a sixth.
func TestCallsAnHour(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, yaml    string
		traffic       fakeaws.Traffic
		lookups, tags int // LookupEvents; CreateTags and TagResources together
	}{
		{"nothing written", "{global_region: off}", fakeaws.Traffic{}, 252, 0},
		{"nothing written, read once a minute", "{global_region: off, poll: {interval: 1m, sweep_interval: 15m}}", fakeaws.Traffic{}, 64, 0},
		{"a write every ten seconds", "{global_region: off}", fakeaws.Traffic{Creates: 0.02, Writes: 0.08, Reads: 0.1}, 481, 88},
		{"a write a second", "{global_region: off}", fakeaws.Traffic{Creates: 0.1, Writes: 0.9, Reads: 1}, 3105, 447},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if c.tags > 0 && os.Getenv("AUTOTAGD_SLOW") == "" {
				t.Skip("half a minute: AUTOTAGD_SLOW=1")
			}
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 1, c.yaml, fakeaws.Config{})
				r := w.start()
				go func() { _ = w.cloud.Live(t.Context(), c.traffic) }() // until the test ends
				calls := func(ops ...string) (n int) {
					for _, op := range ops {
						n += len(w.cloud.Calls(op))
					}
					return n
				}
				time.Sleep(90 * time.Minute)
				lookups, tags := -calls("LookupEvents"), -calls("CreateTags", "TagResources")
				time.Sleep(time.Hour)
				lookups, tags = lookups+calls("LookupEvents"), tags+calls("CreateTags", "TagResources")
				if !near(lookups, c.lookups) || !near(tags, c.tags) {
					t.Errorf("%d LookupEvents and %d tag calls an hour; docs/sizing.md says %d and %d", lookups, tags, c.lookups, c.tags)
				}
				r.stop()
			})
		})
	}
}

// near reports whether got is within a sixth of want.
func near(got, want int) bool { return max(got-want, want-got) <= want/6 }
