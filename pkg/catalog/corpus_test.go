package catalog_test

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/autotagd/autotagd/pkg/catalog"
	"github.com/autotagd/autotagd/pkg/event"
)

const corpus = "../../../shared/corpus/"

// corpusRecords returns the records of the corpus, the first at index 0; the test is skipped where there is none.
func corpusRecords(t testing.TB) []*event.Record {
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
	var records []*event.Record
	for s.Scan() {
		r, err := event.Parse(slices.Clone(s.Bytes()))
		if err != nil {
			t.Fatalf("record %d: %v", len(records)+1, err)
		}
		records = append(records, r)
	}
	if s.Err() != nil {
		t.Fatal(s.Err())
	}
	return records
}

type expectation struct {
	Line        int
	EventSource string
	EventName   string
	Create      string
	ErrorCode   string
	Resources   []string
	ResourceIDs []string `json:"resource_ids"`
	AlsoMade    []string `json:"also_made"`
	Ambiguous   any
	Why         string
}

func expectations(t testing.TB) []expectation {
	t.Helper()
	f, err := os.Open(corpus + "expected.jsonl")
	if err != nil {
		t.Skip("no corpus:", err)
	}
	defer f.Close()
	var all []expectation
	for d := json.NewDecoder(f); d.More(); {
		var e expectation
		if err := d.Decode(&e); err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}

func set(values ...[]string) map[string]bool {
	m := map[string]bool{}
	for _, list := range values {
		for _, v := range list {
			m[v] = true
		}
	}
	return m
}

// bareID is the part of an ARN, or of an id, after its last slash or colon.
func bareID(s string) string {
	s = strings.TrimRight(strings.TrimRight(s, "*"), ":")
	return s[strings.LastIndexAny(s, "/:")+1:]
}

func bareIDs(values []string) []string {
	var ids []string
	for _, v := range values {
		ids = append(ids, bareID(v))
	}
	return ids
}

func subset(a, b map[string]bool) bool {
	for k := range a {
		if !b[k] {
			return false
		}
	}
	return true
}

// rightResources compares as the project's yardstick does: ARN for ARN, ids where the record is odd or an ARN can't be known.
func rightResources(e expectation, result catalog.Result) bool {
	var have, ids []string
	for _, r := range result.Resources {
		ids = append(ids, r.ID)
		if r.ARN != "" {
			have = append(have, r.ARN)
		} else {
			have = append(have, r.ID)
		}
	}
	if maps.Equal(set(have), set(e.Resources)) {
		return true
	}
	if e.Ambiguous == true || strings.Contains(e.Why, "account") {
		want, got := set(bareIDs(e.ResourceIDs)), set(bareIDs(have))
		return subset(want, got) && subset(got, set(bareIDs(e.ResourceIDs), bareIDs(e.AlsoMade)))
	}
	haveOrID := set(have, ids)
	var plain []string
	for _, want := range e.Resources {
		if !haveOrID[want] || strings.HasPrefix(want, "arn:") && !slices.Contains(have, want) {
			return false
		}
		if !strings.HasPrefix(want, "arn:") {
			plain = append(plain, want)
		}
	}
	also := set(bareIDs(e.AlsoMade))
	for _, got := range have {
		ofPlain := slices.ContainsFunc(plain, func(p string) bool { return bareID(got) == p || strings.HasSuffix(got, p) })
		if !slices.Contains(e.Resources, got) && !also[bareID(got)] && !ofPlain {
			return false
		}
	}
	return true
}

func TestResolveGivesTheExpectedAnswersOfTheCorpus(t *testing.T) {
	c := load(t)
	records := corpusRecords(t)
	all := expectations(t)
	right := 0
	for _, e := range all {
		result, create := c.Resolve(records[e.Line-1])
		create = create && result.Failed == ""
		wantCreate := e.Create == "yes" && e.ErrorCode == ""
		rightCreate := e.Create == "unsure" || create == wantCreate
		if rightCreate && rightResources(e, result) {
			right++
			continue
		}
		report := t.Errorf
		if e.Ambiguous == true {
			report = t.Logf
		}
		report("record %d %s %s: create %v, want %s %s; resources %+v, want %q (%s)", e.Line, e.EventSource, e.EventName, create, e.Create, e.ErrorCode, result.Resources, e.Resources, e.Why)
	}
	share := 100 * float64(right) / float64(len(all))
	t.Logf("%d of %d right (%.1f %%)", right, len(all), share)
	if share < 99 {
		t.Errorf("%.1f %% of the expected answers are right, want at least 99", share)
	}
}

// The corpus has more creates than have an expected answer. Of those that succeeded and have a request or a response, the
// catalog should find the resource.
func TestResolveFindsTheResourcesOfTheCorpus(t *testing.T) {
	c := load(t)
	var created, found int
	for i, r := range corpusRecords(t) {
		result, create := c.Resolve(r)
		if !create || result.Failed != "" || len(r.RequestParameters)+len(r.ResponseElements) <= len("nullnull") {
			continue
		}
		created++
		if len(result.Resources) > 0 || result.Problem == "" {
			found++
			continue
		}
		t.Logf("record %d %s %s: %s", i+1, r.EventSource, r.EventName, result.Detail)
	}
	t.Logf("%d of %d creates have a resource", found, created)
	if found*100 < created*97 {
		t.Errorf("%d of %d creates have a resource, want 97 %%", found, created)
	}
}
