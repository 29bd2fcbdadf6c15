package tagger

import (
	"maps"
	"time"

	"github.com/autotagd/autotagd/pkg/resource"
)

const (
	// writtenFor is how long what we wrote is remembered: AWS's reads can lag behind its writes.
	writtenFor = 2 * time.Minute
	maxWritten = 10000
)

// memory is what this process learned of resources and kinds. Tagger.mu guards it.
type memory struct {
	proven  map[string]bool // ARN forms that AWS accepted
	refused map[string]bool // kinds that TagResources gave no answer for, often enough
	written map[resourceKey]writing
}

type writing struct {
	tags map[string]string
	at   time.Time
}

func newMemory() memory {
	return memory{proven: map[string]bool{}, refused: map[string]bool{}, written: map[resourceKey]writing{}}
}

// form names the way a resource's ARN is built.
func form(r resource.Resource) string { return r.Service + " " + r.Type }

func (m *memory) prove(r resource.Resource) {
	m.proven[form(r)] = true
	delete(m.refused, form(r))
}

func (m *memory) wrote(k resourceKey, tags []resource.Tag, now time.Time) {
	w := writing{tags: map[string]string{}, at: now}
	if old, ok := m.written[k]; ok {
		maps.Copy(w.tags, old.tags)
	} else if len(m.written) >= maxWritten {
		for old := range m.written { // any one: this is a help, not a promise
			delete(m.written, old)
			break
		}
	}
	for _, tag := range tags {
		w.tags[tag.Key] = tag.Value
	}
	m.written[k] = w
}

func (m *memory) forget(now time.Time) {
	maps.DeleteFunc(m.written, func(_ resourceKey, w writing) bool { return now.Sub(w.at) > writtenFor })
}
