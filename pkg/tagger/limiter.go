package tagger

import (
	"context"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// limiter is the rate of one account, Region and API: halved on a throttle, recovering by a tenth of its full rate every five
// seconds that pass without one. AWS's own bucket is shared with everyone in the account.
type limiter struct {
	tokens *rate.Limiter
	full   float64 // calls a second

	mu      sync.Mutex
	current float64
	changed time.Time
}

const (
	burstFactor     = 4
	throttlePause   = time.Second     // throttles of calls that were under way together count once
	recoverInterval = 5 * time.Second // and a step up comes no sooner
	slowestFraction = 32
	slowFraction    = 8
)

func newLimiter(full float64) *limiter {
	return &limiter{tokens: rate.NewLimiter(rate.Limit(full), burst(full)), full: full, current: full}
}

func burst(perSecond float64) int { return max(1, int(burstFactor*perSecond)) }

// wait blocks until a call may be made; it fails only when ctx ends.
func (l *limiter) wait(ctx context.Context) error { return l.tokens.Wait(ctx) }

// answered adapts the rate to one answer.
func (l *limiter) answered(c class, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case c == classThrottled && now.Sub(l.changed) >= throttlePause:
		l.set(max(l.current/2, l.full/slowestFraction), now)
	case c == classOK && l.current < l.full && now.Sub(l.changed) >= recoverInterval:
		l.set(min(l.current+l.full/10, l.full), now)
	}
}

// slow reports whether throttles have left little of the rate.
func (l *limiter) slow() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.current <= l.full/slowFraction
}

// perSecond is the rate now.
func (l *limiter) perSecond() float64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.current
}

func (l *limiter) set(perSecond float64, now time.Time) {
	l.current, l.changed = perSecond, now
	l.tokens.SetLimitAt(now, rate.Limit(perSecond))
	l.tokens.SetBurstAt(now, burst(perSecond))
}

// idle reports whether forgetting the limiter changes nothing.
func (l *limiter) idle(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.current == l.full && l.tokens.TokensAt(now) >= float64(burst(l.full))
}
