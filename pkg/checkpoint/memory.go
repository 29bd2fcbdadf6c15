package checkpoint

import (
	"context"
	"fmt"
	"sync"

	"github.com/autotagd/autotagd/pkg/event"
)

// Memory is a Store that forgets everything when the process ends: for dry runs, which read and write no checkpoint.
type Memory struct {
	mu     sync.Mutex // guards scopes
	scopes map[event.Scope]*memoryScope
}

type memoryScope struct {
	version int
	state   []byte
	parts   map[string][]byte
}

// NewMemory returns an empty Memory.
func NewMemory() *Memory { return &Memory{scopes: map[event.Scope]*memoryScope{}} }

func (m *Memory) scope(s event.Scope) *memoryScope {
	if m.scopes[s] == nil {
		m.scopes[s] = &memoryScope{parts: map[string][]byte{}}
	}
	return m.scopes[s]
}

func (sc *memoryScope) current() Version {
	if sc.version == 0 {
		return ""
	}
	return Version(fmt.Sprint(sc.version))
}

// Load implements Store.
func (m *Memory) Load(_ context.Context, s event.Scope) (Loaded, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	sc := m.scope(s)
	l := Loaded{State: sc.state, Version: sc.current()}
	for name, data := range sc.parts {
		l.Parts = append(l.Parts, Part{name, data})
	}
	return l, nil
}

// Put implements Store.
func (m *Memory) Put(_ context.Context, s event.Scope, parts []Part) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range parts {
		m.scope(s).parts[p.Name] = p.Data
	}
	return nil
}

// Swap implements Store.
func (m *Memory) Swap(_ context.Context, s event.Scope, old Version, state []byte) (Version, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	sc := m.scope(s)
	if sc.current() != old {
		return "", ErrFenced
	}
	sc.version++
	sc.state = state
	return sc.current(), nil
}

// Delete implements Store.
func (m *Memory) Delete(_ context.Context, s event.Scope, names []string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, n := range names {
		delete(m.scope(s).parts, n)
	}
	return nil
}

// Locate implements Store.
func (m *Memory) Locate(s event.Scope, part string) string {
	return "memory:" + s.String() + "/" + part
}
