package tagger

import (
	"maps"
	"time"

	"github.com/autotagd/autotagd/pkg/resource"
)

const (
	// writtenFor is how long what we wrote stands for what is there: AWS's reads can lag behind its writes.
	writtenFor = 2 * time.Minute
	// createdFor is how long the event that we wrote for is remembered: an older one may become visible that much later.
	createdFor = time.Hour
	maxWritten = 10000
	maxLooked  = 50 // for one to forget in its place: looking at all for each write would take longer than the call
	// insteadFor is how long a kind goes by its own call after TagResources refused it: that may have been an outage.
	insteadFor = time.Hour
)

// memory is what this process learned of resources and kinds. Tagger.mu guards it.
type memory struct {
	proven  map[string]bool // ARN forms that AWS accepted
	refused map[string]bool // kinds that TagResources gave no answer for, often enough
	// worked are the calls that tagged a kind, and own those that tag kinds which TagResources refused.
	worked  map[worked]bool
	own     map[string]instead
	written map[resourceKey]writing
}

// worked is a call that tagged a kind.
type worked struct {
	kind string
	api  resource.TagAPI
}

// instead is a call that tagged a kind in TagResources' place.
type instead struct {
	api resource.TagAPI
	at  time.Time // first
}

type writing struct {
	tags    map[string]string
	at      time.Time
	created time.Time // of the newest create event, if one was written for
	owner   string    // and whose it was
}

func newMemory() memory {
	return memory{proven: map[string]bool{}, refused: map[string]bool{}, worked: map[worked]bool{}, own: map[string]instead{}, written: map[resourceKey]writing{}}
}

// form names the way a resource's ARN is built.
func form(r resource.Resource) string { return r.Service + " " + r.Type }

func (m *memory) prove(r resource.Resource) {
	m.proven[form(r)] = true
	delete(m.refused, form(r))
}

func (m *memory) wrote(tk *task, now time.Time) {
	k := tk.key
	w := writing{tags: map[string]string{}, at: now}
	if old, ok := m.written[k]; ok {
		maps.Copy(w.tags, old.tags)
		w.created, w.owner = old.created, old.owner
	} else if len(m.written) >= maxWritten {
		gone, looked := k, 0
		for old, w := range m.written { // one whose tags AWS's reads show by now, if there is one among a few
			if gone = old; now.Sub(w.at) > writtenFor || looked == maxLooked {
				break
			}
			looked++
		}
		delete(m.written, gone)
	}
	for _, tag := range tk.plan.write {
		w.tags[tag.Key] = tag.Value
	}
	if !tk.job.Upsert && !tk.job.Event.Time.Before(w.created) {
		w.created, w.owner = tk.job.Event.Time, tk.job.Owner
	}
	m.written[k] = w
}

// there returns what we wrote a moment ago.
func (m *memory) there(k resourceKey, now time.Time) map[string]string {
	if w := m.written[k]; now.Sub(w.at) <= writtenFor {
		return w.tags
	}
	return nil
}

// createdSince reports whether a later create event of the same resource, and somebody else's, was written for already.
func (m *memory) createdSince(tk *task) bool {
	w := m.written[tk.key]
	return !tk.job.Upsert && w.created.After(tk.job.Event.Time) && w.owner != tk.job.Owner
}

func (m *memory) forget(now time.Time) {
	maps.DeleteFunc(m.written, func(_ resourceKey, w writing) bool { return now.Sub(w.at) > createdFor })
	maps.DeleteFunc(m.own, func(_ string, i instead) bool { return now.Sub(i.at) > insteadFor })
}
