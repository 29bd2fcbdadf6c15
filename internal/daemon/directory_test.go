package daemon

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/autotagd/autotagd/internal/fakeaws"
	"github.com/autotagd/autotagd/pkg/catalog"
	"github.com/autotagd/autotagd/pkg/config"
	"github.com/autotagd/autotagd/pkg/directory"
	"github.com/autotagd/autotagd/pkg/event"
	"github.com/autotagd/autotagd/pkg/identity"
	"github.com/autotagd/autotagd/pkg/resource"
)

// replace puts another file in path's place, as an editor or a deployment does.
func replace(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// The directory's columns are on the resources, also after the file has changed; a broken one changes nothing.
func TestDirectory(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "people.csv")
		replace(t, path, "name,department\nAlice,Sales\nci-*,Platform\n")
		w := newWorld(t, 1, `{global_region: off, directory: {file: "`+path+`"}, tags: {Owner: "${owner.name}", Department: "${owner.attributes.department}", Room: "${owner.attributes.room}"}}`, fakeaws.Config{})
		r := w.start()
		// want has someone make a volume and fails unless it gets that Department: "" is no such tag.
		want := func(department string, who fakeaws.Who, owner string) {
			t.Helper()
			made := w.cloud.Create(w.cloud.Scope(), "CreateVolume", who, fakeaws.Spec{Delay: -1})
			time.Sleep(time.Minute)
			got, _ := w.cloud.Resource(made.Resources[0].ARN)
			if value, ok := got.Tags["Department"]; value != department || ok != (department != "") {
				t.Errorf("Department = %q (there: %t), want %q", value, ok, department)
			}
			if _, room := got.Tags["Room"]; room || got.Tags["Owner"] != owner {
				t.Errorf("tags %v, want Owner %s and no Room", got.Tags, owner)
			}
		}
		const inForce = "autotagd_directory_last_read_successful{} "
		const unmapped = `autotagd_owners_unmapped_total{account_id="111122223333",region="eu-central-1"}`
		alice, bob := fakeaws.IAMUser("alice"), fakeaws.IAMUser("bob")
		want("Sales", alice, "alice")
		want("Platform", fakeaws.Machine("ci-deploy", "botocore-session-1700000000"), "ci-deploy")
		if text := gather(t, r); !strings.Contains(text, unmapped+" 0\n") {
			t.Error("owners with a row were counted as unmapped")
		}
		want("", bob, "bob")
		want("", bob, "bob")
		if text := gather(t, r); !strings.Contains(text, unmapped+" 2\n") {
			t.Errorf("no %s 2", unmapped)
		}
		if said := w.logs.FilterMessageSnippet("no row of the directory").All(); len(said) != 1 || said[0].ContextMap()["owner"] != "bob" {
			t.Errorf("said %v, want bob once", said)
		}

		replace(t, path, "name,department\nalice,Board,x\nbob,Research\n")
		time.Sleep(time.Minute)
		said := w.logs.FilterLevelExact(zapcore.ErrorLevel).FilterMessageSnippet("what was read before stays in force").All()
		if len(said) != 1 || !strings.Contains(fmt.Sprint(said[0].ContextMap()["error"]), path+":2:13: the row has 3 cells") {
			t.Errorf("said %v of the broken file, want one line with the place", said)
		}
		want("Sales", alice, "alice")
		if text := gather(t, r); !strings.Contains(text, inForce+"0\n") {
			t.Error("the metrics say that the broken file is in force")
		}

		replace(t, path, "name,department\nalice,Board\nbob,Research\n")
		time.Sleep(2*directoryLook + time.Second)
		if said := w.logs.FilterMessage("directory read again: it has changed").All(); len(said) != 1 || said[0].ContextMap()["rows"] != int64(2) {
			t.Errorf("said %v, want that it was read", said)
		}
		want("Board", alice, "alice")
		want("Research", bob, "bob")
		if text := gather(t, r); !strings.Contains(text, inForce+"1\n") {
			t.Error("the metrics say that the good file is not in force")
		}

		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if said := w.logs.FilterMessageSnippet("the directory cannot be read").All(); len(said) != 1 {
			t.Errorf("said %v, want once that the file is gone", said)
		}
		want("Board", alice, "alice")
		r.stop()
	})
}

// What was made before its owner had a row gets the tag that it lacks when that time is read again, and keeps the others.
func TestDirectoryForWhatIsTagged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "people.csv")
		replace(t, path, "name,department\n")
		w := newWorld(t, 1, `{global_region: off, directory: {file: "`+path+`"}, tags: {Owner: "${owner.name}", Department: "${owner.attributes.department}"}}`, fakeaws.Config{})
		made := w.cloud.Create(w.cloud.Scope(), "CreateVolume", fakeaws.IAMUser("bob"), fakeaws.Spec{Delay: -1})
		began := time.Now()
		r := w.start()
		time.Sleep(2 * time.Hour)
		r.stop()
		if got, _ := w.cloud.Resource(made.Resources[0].ARN); got.Tags["Owner"] != "bob" || len(got.Tags) != 1 {
			t.Errorf("tags %v, want Owner alone", got.Tags)
		}
		replace(t, path, "name,department\nbob,Research\n")
		r = w.start(func(o *Options) { o.Since = began.Add(-time.Minute) })
		time.Sleep(time.Hour)
		r.stop()
		if got, _ := w.cloud.Resource(made.Resources[0].ARN); got.Tags["Department"] != "Research" || got.Tags["Owner"] != "bob" {
			t.Errorf("tags %v, want Department Research beside Owner", got.Tags)
		}
	})
}

// A hostile name can neither grow the memory nor flood the log.
func TestUnmappedNamesAreBounded(t *testing.T) {
	t.Parallel()
	core, logs := observer.New(zapcore.InfoLevel)
	m := newMetrics(prometheus.NewRegistry(), "test", "test", runtime.Version())
	u := newUnmapped(m, zap.New(core))
	scope := event.Scope{AccountID: "111122223333", Region: "eu-central-1"}
	for i := range 5000 {
		for range 2 {
			u.observe(resource.EventRef{ID: "e", Scope: scope}, identity.Owner{Name: fmt.Sprint(i, "\x1b[31m", strings.Repeat("x", 10_000)), Kind: identity.Person})
		}
	}
	if got := testutil.ToFloat64(m.unmapped.WithLabelValues(scope.AccountID, scope.Region)); got != 10_000 {
		t.Errorf("counted %v, want 10000", got)
	}
	if got := len(u.said); got != 1000 {
		t.Errorf("%d names remembered, want 1000", got)
	}
	named := logs.FilterMessageSnippet("no row of the directory matches the owner").All()
	if len(named) != 1000 || len(logs.FilterMessageSnippet("counted, not named").All()) != 1 || len(logs.All()) != 1001 {
		t.Errorf("%d names said in %d lines, want 1000, and once that there are more", len(named), len(logs.All()))
	}
	for _, e := range named {
		if name := fmt.Sprint(e.ContextMap()["owner"]); len(name) > 128 || strings.ContainsRune(name, 0x1b) {
			t.Fatalf("owner %q", name)
		}
	}
}

func planner(t *testing.T, yaml string) *Planner {
	t.Helper()
	cfg, err := config.Load("test", []byte(yaml))
	if err != nil {
		t.Fatal(err)
	}
	cat, err := catalog.Load()
	if err != nil {
		t.Fatal(err)
	}
	people, err := OpenDirectory(cfg)
	if err != nil {
		t.Fatal(err)
	}
	p, err := NewPlanner(cfg, cat, people)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestWhoIsUnmapped(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "people.csv")
	replace(t, path, "name,department\nalice,Sales\nautoscaling.*,Platform\nempty,\n")
	with := `{directory: {file: "` + path + `"}, service_owned: tag, tags: {Owner: "${owner.name}", Department: "${owner.attributes.department}"}, filters: ["owner.attributes.department != 'None'"]}`
	const volume = `"eventSource":"ec2.amazonaws.com","eventName":"CreateVolume","awsRegion":"eu-west-1","recipientAccountId":"111122223333","responseElements":{"volumeId":"vol-0123"}`
	for _, test := range []struct {
		name, yaml, record, department, reason string
		unmapped                               bool
	}{
		{"with a row", with, volume + `,"userIdentity":{"type":"IAMUser","userName":"ALICE"}`, "Sales", "", false},
		{"with an empty row", with, volume + `,"userIdentity":{"type":"IAMUser","userName":"empty"}`, "", "", false},
		{"a person without", with, volume + `,"userIdentity":{"type":"IAMUser","userName":"bob"}`, "", "no row of the directory matches the owner", true},
		{"a workload without", with, volume + `,"userIdentity":{"type":"AssumedRole","arn":"arn:aws:sts::111122223333:assumed-role/ci/GitHubActions"}`, "", "no row of the directory matches the owner", true},
		{"a service with a row", with, volume + `,"userIdentity":{"type":"AWSService","invokedBy":"autoscaling.amazonaws.com"}`, "Platform", "", false},
		{"a service without", with, volume + `,"userIdentity":{"type":"AWSService","invokedBy":"batch.amazonaws.com"}`, "", "", false},
		{"nobody", with, volume + `,"userIdentity":{}`, "", "nobody to credit: a caller without a type or a name", false},
		{"no create event", with, `"eventSource":"ec2.amazonaws.com","eventName":"DescribeVolumes","userIdentity":{"type":"IAMUser","userName":"bob"}`, "", "not an event that creates a taggable resource", false},
		{"no directory", "{}", volume + `,"userIdentity":{"type":"IAMUser","userName":"bob"}`, "", "", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			record, err := event.Parse([]byte(`{"eventID":"e",` + test.record + `}`))
			if err != nil {
				t.Fatal(err)
			}
			p := planner(t, test.yaml)
			if plan := p.Plan(record, resource.EventRef{}); plan.Unmapped != test.unmapped {
				t.Errorf("unmapped = %t, want %t", plan.Unmapped, test.unmapped)
			}
			e := p.Explain(record)
			if e.Tags["Department"] != test.department || e.Reason != test.reason {
				t.Errorf("Department %q, reason %q; want %q, %q", e.Tags["Department"], e.Reason, test.department, test.reason)
			}
		})
	}
}

// Every column that a directory may have can be written in an expression: the words that CEL keeps for itself, and no words at all, by index.
func TestColumnsAreUsableInExpressions(t *testing.T) {
	t.Parallel()
	words := strings.Fields("department cost_center _x A1 name2 size string type int has duration matches as break const continue else for " +
		"function if import let loop package namespace return var void while in true false null owner attributes __proto__")
	for _, word := range append(words, "Cost Center", "1st", "--", "\u00e9t\u00e9") {
		if _, err := directory.Parse("people.csv", []byte("name,"+word+"\n")); err != nil {
			t.Errorf("column %s: %v", word, err)
		}
		if _, err := config.Load("test", []byte(`tags: {A: '${owner.attributes["`+word+`"]}'}`+"\n"+`filters: ['"`+word+`" in owner.attributes']`)); err != nil {
			t.Errorf("column %s: %v", word, err)
		}
	}
}
