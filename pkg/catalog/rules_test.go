package catalog

import (
	"strings"
	"testing"

	"github.com/autotagd/autotagd/pkg/tagapi"
)

// Load leaves most cells of the embedded table unread until an event needs them, so this reads them all.
func TestEveryRowOfTheTableIsWellFormed(t *testing.T) {
	if _, err := parseTable("catalog.tsv", table, tagapi.New()); err != nil {
		t.Error(err)
	}
}

// An id in a list stands for as many resources as the list has members. Where the row's ARN is one, or the list is of
// something else, that gives the id of what the resource was made from, so such rows are looked at one by one.
func TestIDsInListsAreLookedAt(t *testing.T) {
	looked := map[string]bool{
		"apigateway ImportApiKeys": true, "frauddetector BatchCreateVariable": true, "sagemaker RegisterDevices": true,
		"ssm CreateAssociationBatch": true, "workspaces CreateStandbyWorkspaces": true, "workspaces CreateWorkspaces": true,
	}
	rows, err := parseTable("catalog.tsv", table, tagapi.New())
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		name := row.Services[0] + " " + row.EventNames[0]
		if strings.Contains(row.cells.id, "[]") && !strings.Contains(row.cells.arn, "[]") && !looked[name] &&
			row.Services[0] != "ec2" && row.Services[0] != "lightsail" {
			t.Errorf("line %d: %s takes its id from a list: %s", row.Line, name, row.cells.id)
		}
	}
}

// A row without a tag call says why.
func TestRowsWithoutATagCallSayWhy(t *testing.T) {
	rows, err := parseTable("catalog.tsv", table, tagapi.New())
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		if row.cells.tagAPIs == "none" && row.Note == "" {
			t.Errorf("line %d: %s of %s has no tag call, and no note says why", row.Line, row.EventNames[0], row.Services[0])
		}
	}
}
