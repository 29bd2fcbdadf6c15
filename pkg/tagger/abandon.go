package tagger

import (
	"time"

	"github.com/autotagd/autotagd/pkg/event"
)

// Abandon forgets all Jobs of the events that scope read, those in hand and those deferred: another process has the Scope
// now. Nothing more is reported of them. A call that is under way is not cut off, and may have its effect. The caller submits
// nothing more of scope, but after a Restore for it.
func (t *Tagger) Abandon(scope event.Scope) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	for k, g := range t.groups {
		if k.scope != scope {
			continue
		}
		g.waiting, g.unstored, g.round = nil, false, nil
		g.stored, g.storedDenied = 0, 0
		g.back.from = time.Time{}
		for tk := range g.members {
			tk.abandoned, tk.round = true, nil
			switch tk.state {
			case stateQueued:
				tk.queue.remove(tk)
			case stateParked, stateDelayed:
			default:
				continue // its run, or the report that is due, finds it abandoned
			}
			tk.state = stateDecided
			t.letGo(tk, now)
		}
	}
	t.poke()
}

// InHandOf returns how many Jobs of the events that scope read are in memory and not deferred.
func (t *Tagger) InHandOf(scope event.Scope) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for k, in := range t.intakes {
		if k.scope == scope {
			n += in.inHand
		}
	}
	return n
}
