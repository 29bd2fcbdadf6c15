package tagger

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/autotagd/autotagd/pkg/resource"
)

// A million owners, each with a name and a resource of his own, within the time for which writes are remembered.
func TestMemoryOfAMillionNames(t *testing.T) {
	const most = 32 << 20
	names := 100_000
	if os.Getenv("AUTOTAGD_LOAD") != "" { // make load: with the race detector it takes a quarter of an hour
		names = 1_000_000
	}
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	m := newMemory()
	before, now := heap(), time.Now()
	long := strings.Repeat("x", 200)
	for i := range names {
		owner := fmt.Sprint(i, long)
		j := resource.Job{Owner: owner, Tags: []resource.Tag{{Key: "Owner", Value: owner}, {Key: "PrincipalId", Value: owner}}}
		tk := &task{job: j, key: resourceKey{name: fmt.Sprint("vol-", i)}}
		tk.plan.write = j.Tags
		m.wrote(tk, now.Add(time.Duration(i)*time.Millisecond))
		m.prove(resource.Resource{Service: "ec2", Type: "AWS::EC2::Volume"})
	}
	grown := int64(heap()) - int64(before)
	t.Logf("%d names: %d writes remembered, %.1f MiB", names, len(m.written), float64(grown)/(1<<20))
	if len(m.written) > maxWritten || len(m.proven) != 1 || grown > most {
		t.Errorf("%d writes are remembered, in %d bytes: want at most %d in %d", len(m.written), grown, maxWritten, most)
	}
	if m.forget(now.Add(createdFor + time.Duration(names)*time.Millisecond + time.Second)); len(m.written) != 0 {
		t.Errorf("%d writes are remembered an hour later", len(m.written))
	}
}
