package catalog_test

import (
	"testing"

	"github.com/autotagd/autotagd/pkg/event"
)

func parse(t testing.TB, s string) *event.Record {
	t.Helper()
	r, err := event.Parse([]byte(s))
	if err != nil {
		t.Fatal(err)
	}
	return r
}
