package poller

import (
	"math"
	"time"
)

// learned is what reading has taught about a Scope: densities, delays, names. It is not saved: a new process learns anew.
type learned struct {
	writes, creates float64              // events a second; creates and their namesakes
	rates           map[string]float64   // events a second, by name
	seen            map[string]time.Time // the newest event of each name
	delays          delays
}

// Time constants of the densities.
const (
	smoothing = 15 * time.Minute
	surprise  = time.Minute // where a walk met ten times what was expected
	surveyed  = time.Second // a slice once an hour
)

// blend moves a density towards what a window of this length showed. The longer the window, the more: a second with a
// thousand events is a burst, not a density.
func blend(old, events float64, length, smoothing time.Duration) float64 {
	length = max(length, time.Second)
	share := 1 - math.Exp(-length.Seconds()/smoothing.Seconds())
	return old + share*(events/length.Seconds()-old)
}

// delays is a histogram of how old events were when they became visible. Old observations fade.
type delays struct {
	bucket  time.Duration
	counts  [delayBuckets]float64
	total   float64
	learned bool
}

const (
	delayBuckets = 60
	enoughDelays = 500     // before these, defaultAge holds
	mostDelays   = 200_000 // then all counts are halved: hours of memory, since late events are counted hours late
	visibleShare = 0.995   // 99 %, and a half more: who misses the edge waits for a final pass
)

func newDelays(lookback time.Duration) delays {
	return delays{bucket: max(lookback/delayBuckets, time.Second)}
}

// observe adds one event that at age d was seen for the first time. The age that steers head scans is the event's at the
// scan *before*, when it was not visible yet: a scan that goes back that far plus the time since then finds it.
func (d *delays) observe(age time.Duration) {
	i := min(max(int(age/d.bucket), 0), delayBuckets-1)
	d.counts[i]++
	d.total++
	if d.total >= enoughDelays {
		d.learned = true
	}
	if d.total >= mostDelays {
		d.total = 0
		for i := range d.counts {
			d.counts[i] /= 2
			d.total += d.counts[i]
		}
	}
}

// late adds one event that head scans did not find: all that is known is that it was older than they look.
func (d *delays) late() { d.observe(d.age() + d.bucket) }

// age is the age by which 99 % of the events are visible, rounded up to a bucket's end.
func (d *delays) age() time.Duration {
	if !d.learned {
		return min(defaultAge, delayBuckets*d.bucket)
	}
	sum := 0.0
	for i, n := range d.counts {
		if sum += n; sum >= visibleShare*d.total {
			return time.Duration(i+1) * d.bucket
		}
	}
	return delayBuckets * d.bucket
}
