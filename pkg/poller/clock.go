package poller

import (
	"sync"
	"time"
)

// clock tells AWS's time: what its answers' Date headers said, on our monotonic clock. The host's wall clock, and its
// steps, play no part. Safe for use by several goroutines.
type clock struct {
	base time.Time // has a monotonic reading

	mu      sync.Mutex
	at0     time.Time // AWS's time at base; zero before the first answer
	suspect time.Time // a far-off at0 that waits for a second answer to agree
}

const (
	clockSlack = 2 * time.Second // a Date has whole seconds, and an answer takes its time
	clockLeap  = time.Minute     // what one answer alone is not believed
)

func newClock() *clock { return &clock{base: time.Now()} }

// now is AWS's time, late by up to a second or so, never early by more than clockSlack.
func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at0.Add(time.Since(c.base))
}

// heard takes the Date of an answer that has just come.
func (c *clock) heard(date time.Time) {
	if date.IsZero() {
		return
	}
	at0 := date.UTC().Add(-time.Since(c.base))
	c.mu.Lock()
	defer c.mu.Unlock()
	near := func(a, b time.Time) bool { return a.Sub(b).Abs() < clockLeap }
	switch {
	case c.at0.IsZero() || !near(at0, c.at0) && near(at0, c.suspect):
		c.at0, c.suspect = at0, time.Time{}
	case !near(at0, c.at0):
		c.suspect = at0
	default:
		c.suspect = time.Time{}
		if at0.After(c.at0) {
			c.at0 = at0
		} else if late := at0.Add(clockSlack); c.at0.After(late) {
			c.at0 = late
		}
	}
}

// set reports whether AWS's time is known.
func (c *clock) set() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.at0.IsZero()
}

// Now returns AWS's time, false until the first answer has told it. It is safe for use by several goroutines.
func (p *Poller) Now() (time.Time, bool) {
	if !p.clock.set() {
		return time.Time{}, false
	}
	return p.clock.now(), true
}
