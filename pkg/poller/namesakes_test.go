package poller

import (
	"fmt"
	"testing"
	"time"

	"github.com/autotagd/autotagd/pkg/event"
)

// A reading by name shows every service's events of that name, so they count where the two ways of reading are compared: an account
// where kms grants 35 times a second is not read by the name of license-manager's CreateGrant.
func TestNamesakesCostAReadingByName(t *testing.T) {
	s := newSimulation(t, newAccount(1, epoch, 1, 0.1, 3*time.Hour), defaults())
	s.start()
	s.p.Names.Known = func(source, _ string) bool { return source == "license-manager.amazonaws.com" }
	name := s.p.reader.names.all()[0]
	p := &pass{plan: plan{kind: final, by: byWrites, span: event.Span{Start: s.now.Add(-time.Minute), End: s.now}}}
	var records []Event
	for i := range 40 {
		e := Event{ID: fmt.Sprint(i), Source: "license-manager.amazonaws.com", Name: name, Time: s.now.Add(-time.Second), Raw: "{}"}
		switch {
		case i >= 36:
			e.Source, e.Name = "ec2.amazonaws.com", "ModifyThing"
		case i >= 1:
			e.Source = "kms.amazonaws.com"
		}
		records = append(records, e)
	}
	wanted, pg := s.p.take(&call{pass: p}, records, s.now)
	if len(wanted) != 1 || pg.creates != 36 {
		t.Errorf("%d events are handed on and %d counted as what a reading by name shows, want 1 and 36", len(wanted), pg.creates)
	}
	t1 := traffic{writes: float64(pg.events), creates: float64(pg.creates), names: catalogSize, lively: commonSize}
	if by := finalBy(t1, byName, 5*time.Minute, nameStride); by != byWrites {
		t.Errorf("final passes read by %s, want writes", by)
	}
}
