package poller

import "time"

// Now returns AWS's time, false until the first answer has told it. It is safe for use by several goroutines.
func (p *Poller) Now() (time.Time, bool) {
	if !p.clock.set() {
		return time.Time{}, false
	}
	return p.clock.now(), true
}
