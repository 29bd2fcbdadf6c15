package checkpoint

import (
	"slices"
	"time"
)

// seenIDs are the EventIDs settled since the Floor, by minute of event time, so that they are dropped a minute at a time
// and a save rewrites only the minutes that got new ones.
type seenIDs map[int64]*seenMinute

type seenMinute struct {
	// known holds every settled id; true for one that is also in ids, false for one that only this process may pass over.
	known map[eventKey]bool
	ids   []byte // appended to only, so that a save may use it without copying
	saved int    // how much of ids is durable
	// stored is set when the Store may have this part.
	stored bool
}

func (s seenIDs) minute(m int64) *seenMinute {
	if s[m] == nil {
		s[m] = &seenMinute{known: map[eventKey]bool{}}
	}
	return s[m]
}

// add notes an id. One that is not durable is forgotten at a restart.
func (s seenIDs) add(k eventKey, at time.Time, durable bool) {
	m := s.minute(minuteOf(at))
	if durable && !m.known[k] {
		m.ids = append(m.ids, k[:]...)
	}
	m.known[k] = m.known[k] || durable
}

// has reports whether an id is settled, as far as this process is concerned.
func (s seenIDs) has(k eventKey, at time.Time) bool {
	m := s[minuteOf(at)]
	if m == nil {
		return false
	}
	_, ok := m.known[k]
	return ok
}

// durable reports whether an id is in its part, or will be when that part is saved next.
func (s seenIDs) durable(k eventKey, at time.Time) bool {
	m := s[minuteOf(at)]
	return m != nil && m.known[k]
}

// load takes over a part's content; false if that is not whole ids.
func (s seenIDs) load(minute int64, ids []byte) bool {
	if len(ids)%len(eventKey{}) != 0 {
		return false
	}
	m := s.minute(minute)
	m.ids, m.saved, m.stored = slices.Clip(ids), len(ids), true
	for i := 0; i < len(ids); i += len(eventKey{}) {
		m.known[eventKey(ids[i:])] = true
	}
	return true
}
