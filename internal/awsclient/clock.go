package awsclient

import (
	"sync"
	"time"

	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/smithy-go/middleware"
)

// clock is AWS's time on this host's monotonic clock.
type clock struct {
	mu    sync.Mutex // guards all
	date  time.Time  // AWS's time when it last told; zero: it never did
	heard time.Time  // and when that was here
}

// hear takes the time from an answer that has just come.
func (c *clock) hear(answer middleware.Metadata) {
	if date, ok := awsmiddleware.GetServerTime(answer); ok {
		c.told(date)
	}
}

// told takes the time that an answer which has just come was sent at.
func (c *clock) told(date time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.date, c.heard = date, time.Now()
}

// Now is AWS's time, as STS told it last, on this host's monotonic clock; the host's own time if STS did not tell.
func (c *Clients) Now() time.Time {
	c.clock.mu.Lock()
	defer c.clock.mu.Unlock()
	if c.clock.date.IsZero() {
		return time.Now()
	}
	return c.clock.date.Add(time.Since(c.clock.heard))
}
