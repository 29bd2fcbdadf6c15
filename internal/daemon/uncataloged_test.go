package daemon

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/autotagd/autotagd/pkg/catalog"
)

// However many names there were, those that were logged are logged again a day later.
func TestUncatalogedNamesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cat, err := catalog.Load()
		if err != nil {
			t.Fatal(err)
		}
		core, logs := observer.New(zapcore.InfoLevel)
		u := newUncataloged(cat, newMetrics(prometheus.NewRegistry(), "", "", ""), zap.New(core))
		for day := range 2 {
			for i := range maxNamesSaid + 50 {
				u.observe("nebula.amazonaws.com", fmt.Sprint("CreateStar", i), `{"eventID":"e1"}`)
			}
			if n := len(logs.TakeAll()); n != maxNamesSaid {
				t.Errorf("day %d: %d lines, want %d", day+1, n, maxNamesSaid)
			}
			time.Sleep(25 * time.Hour)
		}
	})
}

// Every call is counted; a name is logged once a day, with a row that makes the next one a create event.
func TestUncatalogedSuggestsARow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cat, err := catalog.Load()
		if err != nil {
			t.Fatal(err)
		}
		core, logs := observer.New(zapcore.InfoLevel)
		m := newMetrics(prometheus.NewRegistry(), "", "", "")
		u := newUncataloged(cat, m, zap.New(core))
		const source, name = "nebula.amazonaws.com", "CreateStar"
		see := func(source, name, more string) {
			u.observe(source, name, fmt.Sprintf(`{"eventID":"e1","eventSource":%q,"eventName":%q,%s"responseElements":{"starArn":"arn:aws:nebula:eu-west-1:111122223333:star/s"}}`, source, name, more))
		}
		see(source, name, "")
		see(source, name, "")
		see(source, name, `"errorCode":"AccessDenied",`)
		see("ec2.amazonaws.com", "RunInstances", "")
		time.Sleep(25 * time.Hour)
		see(source, name, "")
		see(source, "Create Star", "")

		if n := testutil.ToFloat64(m.uncataloged.WithLabelValues(source, name)); n != 3 {
			t.Errorf("counted %v times, want 3", n)
		}
		lines := logs.All()
		if len(lines) != 3 {
			t.Fatalf("%d lines, want one a day for each name: %v", len(lines), lines)
		}
		row, _ := lines[0].ContextMap()["row"].(string)
		want := "nebula\tnebula.amazonaws.com\tCreateStar\tnebula:star\tresponseElements.starArn\t\t\t" +
			"tagging:TagResources(ResourceARNList)\tnebula:TagResource\t\tguess\t\t\t"
		if row != want {
			t.Errorf("row %q, want %q", row, want)
		}
		if row, ok := lines[2].ContextMap()["row"]; ok {
			t.Errorf("a row for a name that can't be one's: %q", row)
		}
		extended, err := catalog.Load(strings.NewReader(tableHeading + row + "\n"))
		if err != nil {
			t.Fatal(err)
		}
		if !extended.Known(source, name) || extended.Uncataloged(source, name) {
			t.Error("the row does not make it a create event")
		}
	})
}
