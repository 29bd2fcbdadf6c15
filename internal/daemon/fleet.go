package daemon

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/autotagd/autotagd/pkg/event"
)

// fleet is the Scopes that this process holds. They come and go while the daemon is at work.
type fleet struct {
	mu   sync.RWMutex
	held map[event.Scope]*scope
}

// add notes a Scope that is held now.
func (f *fleet) add(s *scope) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.held == nil {
		f.held = map[event.Scope]*scope{}
	}
	f.held[s.id] = s
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
