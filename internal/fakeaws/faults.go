package fakeaws

import (
	"slices"
	"strings"
	"time"

	"github.com/autotagd/autotagd/pkg/event"
)

// Fault is what can go wrong with one call.
type Fault uint8

// The faults.
const (
	NoFault     Fault = iota
	Throttle          // refused as too fast
	ServerError       // a 503, nothing done
	Reset             // the connection breaks, nothing done
	LostAnswer        // done, but the connection breaks before the answer
	Slow              // done, 20 s late
	BadToken          // a NextToken is refused; nothing happens to a call without one
	Partial           // a batch of DynamoDB leaves some of it unprocessed; nothing happens to another call
)

// String names the fault, as Call.Error has it.
func (f Fault) String() string {
	return [...]string{"none", "throttle", "server error", "reset", "lost answer", "slow", "bad token", "partial"}[f]
}

func (f Fault) delay() time.Duration {
	if f == Slow {
		return 20 * time.Second
	}
	return 0
}

// Faults are probabilities, each of 0 to 1; together at most 1.
type Faults struct {
	Throttle, ServerError, Reset, LostAnswer, Slow, BadToken, Partial float64
}

// SetFaults injects faults into an operation from now on, at random by the seed; op "" means every operation that has no
// Faults of its own. The zero Faults heals it.
func (a *AWS) SetFaults(op string, f Faults) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.faults[op] = f
}

type script struct {
	op     string
	n      int
	fault  Fault
	scopes []event.Scope
}

// Fail makes the next n calls of an operation ("" for any) fail, in the given Scopes or in all; n < 0 means until Heal.
func (a *AWS) Fail(op string, n int, fault Fault, scopes ...event.Scope) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.scripted = append(a.scripted, &script{op, n, fault, scopes})
}

// Heal ends all faults, scripted and random, and all that FailARN and Deny set.
func (a *AWS) Heal() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.scripted = nil
	a.hideIDs = false
	clear(a.faults)
	clear(a.arnFails)
	clear(a.denied)
}

func (a *AWS) drawFault(c *call) Fault {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, s := range a.scripted {
		if s.n == 0 || s.op != "" && s.op != c.op || len(s.scopes) > 0 && !slices.Contains(s.scopes, c.scope) {
			continue
		}
		if s.n > 0 {
			s.n--
		}
		return s.fault
	}
	f, ok := a.faults[c.op]
	if !ok {
		f = a.faults[""]
	}
	x := a.rng.Float64()
	for _, p := range [...]struct {
		p     float64
		fault Fault
	}{{f.Throttle, Throttle}, {f.ServerError, ServerError}, {f.Reset, Reset}, {f.LostAnswer, LostAnswer}, {f.Slow, Slow}, {f.BadToken, BadToken}, {f.Partial, Partial}} {
		if x < p.p {
			return p.fault
		}
		x -= p.p
	}
	return NoFault
}

type denial struct {
	action string
	scope  event.Scope // the zero Scope is every one
}

// Deny takes a permission away from the program under test, in the given Scopes or in all, until Allow or Heal. The action
// is IAM's: "cloudtrail:LookupEvents", "ec2:CreateTags", "tag:TagResources", or a service's own that TagResources needs
// besides: "sqs:TagQueue".
func (a *AWS) Deny(action string, scopes ...event.Scope) { a.setDenied(true, action, scopes) }

// Allow gives back what Deny took.
func (a *AWS) Allow(action string, scopes ...event.Scope) { a.setDenied(false, action, scopes) }

func (a *AWS) setDenied(denied bool, action string, scopes []event.Scope) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(scopes) == 0 {
		scopes = []event.Scope{{}}
	}
	for _, s := range scopes {
		if denied {
			a.denied[denial{action, s}] = true
		} else {
			delete(a.denied, denial{action, s})
		}
	}
}

func (a *AWS) isDenied(action string, s event.Scope) bool {
	return a.denied[denial{action, event.Scope{}}] || a.denied[denial{action, s}]
}

type arnFault struct {
	code string
	n    int
}

// FailARN makes TagResources give an error code, in its FailedResourcesMap, for the ARNs with a prefix: n times, or until
// Heal when n < 0.
func (a *AWS) FailARN(prefix, code string, n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.arnFails[prefix] = &arnFault{code, n}
}

func (a *AWS) arnFailure(arn string) string {
	for prefix, f := range a.arnFails {
		if strings.HasPrefix(arn, prefix) && f.n != 0 {
			if f.n > 0 {
				f.n--
			}
			return f.code
		}
	}
	return ""
}

// HideIDs makes EC2's 'does not exist' errors name no ids from now on, as some of AWS's do not.
func (a *AWS) HideIDs() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.hideIDs = true
}
