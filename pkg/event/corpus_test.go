package event_test

import (
	"bufio"
	"compress/gzip"
	"os"
	"testing"

	"github.com/autotagd/autotagd/pkg/event"
)

const corpus = "../../../shared/corpus/"

// corpusLines returns the records of the corpus; the test is skipped where there is none.
func corpusLines(t testing.TB) [][]byte {
	t.Helper()
	f, err := os.Open(corpus + "events.jsonl.gz")
	if err != nil {
		t.Skip("no corpus:", err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	s := bufio.NewScanner(z)
	s.Buffer(nil, 16<<20)
	var lines [][]byte
	for s.Scan() {
		lines = append(lines, append([]byte(nil), s.Bytes()...))
	}
	if s.Err() != nil {
		t.Fatal(s.Err())
	}
	return lines
}

func TestParseReadsEveryRecordOfTheCorpus(t *testing.T) {
	noTime := 0
	for i, line := range corpusLines(t) {
		r, err := event.Parse(line)
		if err != nil {
			t.Errorf("record %d: %v", i+1, err)
			continue
		}
		if r.EventName == "" || r.EventSource == "" || r.AWSRegion == "" {
			t.Errorf("record %d: %+v", i+1, r)
		}
		if r.EventTime.IsZero() {
			noTime++
			t.Logf("record %d: no time: %.80q", i+1, r.Lookup(mustPath(t, "eventTime")))
		}
	}
	if noTime > 3 {
		t.Errorf("%d records without a readable time, want at most the 3 that have none", noTime)
	}
}

func mustPath(t testing.TB, s string) event.Path {
	t.Helper()
	p, err := event.ParsePath(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}
