package daemon

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/autotagd/autotagd/internal/fakeaws"
	"github.com/autotagd/autotagd/pkg/event"
	"github.com/autotagd/autotagd/pkg/resource"
)

// heapMiB is what is in use after a collection.
func heapMiB() float64 {
	runtime.GC()
	runtime.GC() // what finalizers and pools held
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc) / (1 << 20)
}

// A million owners, each with his own name, service and call: what the daemon remembers of them stops growing. The tagger's part
// of it is tested there.
func TestAMillionNames(t *testing.T) {
	names := 50_000
	if os.Getenv("AUTOTAGD_LOAD") != "" { // make load: with the race detector it takes a quarter of an hour
		names = 1_000_000
	}
	people := filepath.Join(t.TempDir(), "people.csv")
	replace(t, people, "name,department\nnobody-*,Sales\n")
	p := planner(t, `{directory: {file: "`+people+`"}, tags: {Owner: "${owner.name}", PrincipalId: "${identity.principal_id}", Department: "${owner.attributes.department}"}}`)
	reg := prometheus.NewPedanticRegistry()
	m := newMetrics(reg, "test", "test", runtime.Version())
	lines := new(countLines)
	log := zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(lines), zapcore.InfoLevel))
	said, outcomes, strange := newUnmapped(m, log), newOutcomeLog(log), newUncataloged(p.Catalog, m, log)
	s := event.Scope{AccountID: fakeaws.DefaultAccount, Region: fakeaws.DefaultRegion}
	long := strings.Repeat("x", 1000)

	var before float64
	for i := range names {
		if i == names/10 {
			before = heapMiB()
		}
		raw := fmt.Sprintf(`{"eventID":"%d","eventSource":"ec2.amazonaws.com","eventName":"CreateVolume","awsRegion":"%s","recipientAccountId":"%s",`+
			`"userIdentity":{"type":"IAMUser","principalId":"AIDA%d","userName":"%d%s"},"responseElements":{"volumeId":"vol-%x"}}`, i, s.Region, s.AccountID, i, i, long, i)
		record, err := event.Parse([]byte(raw))
		if err != nil {
			t.Fatal(err)
		}
		ref := resource.EventRef{ID: record.EventID, Source: record.EventSource, Name: record.EventName, Scope: s}
		plan := p.Plan(record, ref)
		if len(plan.Jobs) != 1 || !plan.Unmapped {
			t.Fatalf("plan %+v, want one Job of an owner without a row", plan)
		}
		said.observe(ref, plan.Owner)
		job := plan.Jobs[0]
		job.Resource.Service = fmt.Sprint("service", i) // as if the catalog had that many
		o := resource.Outcome{Job: job, Kind: resource.Tagged, At: time.Now()}
		m.observe(o)
		outcomes.write(o)
		name := fmt.Sprint("Create", i)
		strange.observe("warp.amazonaws.com", name, strings.Replace(raw, "CreateVolume", name, 1))
	}
	grown := heapMiB() - before
	runtime.KeepAlive([]any{p, m, said, outcomes, strange})
	t.Logf("%d names: the heap has grown by %.1f MiB since a tenth of them, %d log lines, %d series", names, grown, lines.n, series(t, reg))
	if grown > 4 {
		t.Errorf("the heap has grown by %.1f MiB", grown)
	}
	// Outcomes are thinned by the second, so only those lines are bounded that come once a name.
	if len(said.said) != maxUnmappedSaid || len(strange.said) != maxNamesSaid {
		t.Errorf("%d owners and %d calls are remembered as said, want %d and %d", len(said.said), len(strange.said), maxUnmappedSaid, maxNamesSaid)
	}
	if n := testutil.CollectAndCount(m.byService); n != maxLabelValues+1 {
		t.Errorf("%d services in labels, want %d and other", n, maxLabelValues)
	}
	if n := testutil.CollectAndCount(m.uncataloged); n != maxLabelValues+1 {
		t.Errorf("%d calls in labels, want %d and other", n, maxLabelValues)
	}
	if got := testutil.ToFloat64(m.uncataloged.WithLabelValues("other", "other")); got != float64(names-maxLabelValues) {
		t.Errorf("%v calls were counted as other, want %d", got, names-maxLabelValues)
	}
	if got := testutil.ToFloat64(m.unmapped.WithLabelValues(s.AccountID, s.Region)); got != float64(names) {
		t.Errorf("%v owners without a row were counted, want %d", got, names)
	}
}

type countLines struct{ n int }

func (c *countLines) Write(p []byte) (int, error) {
	c.n++
	return io.Discard.Write(p)
}

func series(t *testing.T, reg *prometheus.Registry) int {
	t.Helper()
	n, err := testutil.GatherAndCount(reg)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
