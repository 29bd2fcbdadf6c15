package daemon

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/autotagd/autotagd/pkg/event"
)

// fleet is the Scopes that this process holds, and those that it can't begin. They come and go while the daemon is at work.
type fleet struct {
	mu     sync.RWMutex
	held   map[event.Scope]*scope
	stuck  map[event.Scope]string // why it could not be begun; none of them is held
	wanted int                    // Scopes of the configuration, whoever holds them
}

// want notes which Scopes there are.
func (f *fleet) want(ids []event.Scope) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.wanted = len(ids)
	maps.DeleteFunc(f.stuck, func(id event.Scope, _ string) bool { return !slices.Contains(ids, id) })
}

// fail notes that a Scope could not be begun, and why.
func (f *fleet) fail(id event.Scope, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stuck == nil {
		f.stuck = map[event.Scope]string{}
	}
	f.stuck[id] = event.Printable(err.Error(), maxLogged)
}

// leave notes that a Scope is another replica's.
func (f *fleet) leave(id event.Scope) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.stuck, id)
}

// failing returns the Scopes that could not be begun, each with the reason, and how many Scopes there are in all.
func (f *fleet) failing() (stuck map[event.Scope]string, wanted int) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return maps.Clone(f.stuck), f.wanted
}

// add notes a Scope that is held now.
func (f *fleet) add(s *scope) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.held == nil {
		f.held = map[event.Scope]*scope{}
	}
	f.held[s.id] = s
	delete(f.stuck, s.id)
}

// remove notes that a Scope is held no more.
func (f *fleet) remove(id event.Scope) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.held, id)
}

// get returns a Scope that is held, or nil.
func (f *fleet) get(id event.Scope) *scope {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.held[id]
}

// now is AWS's time, as any of the Scopes has learned it lately.
func (f *fleet) now() (time.Time, bool) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	for _, s := range f.held {
		if now, ok := s.poller.Now(); ok {
			return now, true
		}
	}
	return time.Time{}, false
}

// all returns the Scopes that are held, by account and Region.
func (f *fleet) all() []*scope {
	f.mu.RLock()
	defer f.mu.RUnlock()
	scopes := make([]*scope, 0, len(f.held))
	for _, s := range f.held {
		scopes = append(scopes, s)
	}
	slices.SortFunc(scopes, func(a, b *scope) int { return strings.Compare(a.id.String(), b.id.String()) })
	return scopes
}
