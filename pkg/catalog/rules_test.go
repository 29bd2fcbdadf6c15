package catalog

import "testing"

// Load leaves most cells of the embedded table unread until an event needs them, so this reads them all.
func TestEveryRowOfTheTableIsWellFormed(t *testing.T) {
	if _, err := parseTable("catalog.tsv", table, true); err != nil {
		t.Error(err)
	}
}
