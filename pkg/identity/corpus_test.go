package identity_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"os"
	"slices"
	"testing"

	"github.com/autotagd/autotagd/pkg/event"
	"github.com/autotagd/autotagd/pkg/identity"
)

const corpus = "../../../shared/corpus/"

// corpusRecords returns the records of the corpus; the test is skipped where there is none.
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
	var records []*event.Record
	s := bufio.NewScanner(z)
	s.Buffer(nil, 16<<20)
	for s.Scan() {
		r, err := event.Parse(bytes.Clone(s.Bytes()))
		if err != nil {
			t.Fatal(err)
		}
		records = append(records, r)
	}
	if s.Err() != nil {
		t.Fatal(s.Err())
	}
	return records
}

type expected struct {
	Line           int
	Owner          *string
	OwnerAccept    []*string `json:"owner_accept"`
	Service        *string
	AccountID      *string `json:"account_id"`
	SourceIdentity *string `json:"source_identity"`
	PrincipalID    *string `json:"principal_id"`
	Why            string
}

func TestOwnersOfTheCorpus(t *testing.T) {
	records := corpusRecords(t)
	answers, err := os.ReadFile(corpus + "expected.jsonl")
	if err != nil {
		t.Skip("no corpus:", err)
	}
	res := resolver(t)
	checked := 0
	for dec := json.NewDecoder(bytes.NewReader(answers)); dec.More(); checked++ {
		var want expected
		if err := dec.Decode(&want); err != nil {
			t.Fatal(err)
		}
		id, owner := res.Of(records[want.Line-1])
		credited := ""
		if owner.Credited() {
			credited = owner.Name
		}
		accept := []string{str(want.Owner)}
		for _, o := range want.OwnerAccept {
			accept = append(accept, str(o))
		}
		if s := str(want.SourceIdentity); s != "" {
			accept = []string{s}
		}
		if !slices.Contains(accept, credited) {
			t.Errorf("record %d: owner %q (%s: %s), want one of %q: %s", want.Line, owner.Name, owner.Kind, owner.Reason, accept, want.Why)
		}
		if owner.Reason == "" {
			t.Errorf("record %d: no reason", want.Line)
		}
		if id.PrincipalID != str(want.PrincipalID) {
			t.Errorf("record %d: principal id %q, want %q", want.Line, id.PrincipalID, str(want.PrincipalID))
		}
		if s := str(want.Service); s != "" && id.Type != "AWSAccount" && (owner.Kind != identity.Service || owner.Name != s) {
			t.Errorf("record %d: %s %q, want service %q", want.Line, owner.Kind, owner.Name, s)
		}
		if id.Foreign != str(want.AccountID) && want.AccountID != nil {
			t.Errorf("record %d: foreign account %q, want %q", want.Line, id.Foreign, *want.AccountID)
		}
	}
	if checked < 300 {
		t.Errorf("only %d answers checked", checked)
	}
}

func TestEveryCallerOfTheCorpusHasAnAnswer(t *testing.T) {
	res := resolver(t)
	for i, r := range corpusRecords(t) {
		_, owner := res.Of(r)
		if (owner.Name == "") != (owner.Kind == identity.None) || owner.Reason == "" {
			t.Errorf("record %d: %+v", i+1, owner)
		}
	}
}

func str(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func resolver(t testing.TB, trust ...identity.Trust) *identity.Resolver {
	t.Helper()
	res, err := identity.New(trust)
	if err != nil {
		t.Fatal(err)
	}
	return res
}
