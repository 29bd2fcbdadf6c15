package config_test

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/autotagd/autotagd/pkg/config"
)

var update = flag.Bool("update", false, "write the messages beside testdata/*.bad.yaml anew")

// sameConfig compares all but where a Config came from.
var sameConfig = cmpopts.IgnoreUnexported(config.Config{})

// TestBadFiles loads each testdata/NAME.bad.yaml and compares what is reported with NAME.bad.txt.
func TestBadFiles(t *testing.T) {
	for _, path := range files(t, "testdata/*.bad.yaml") {
		name := filepath.Base(path)
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			_, err = config.Load(name, data)
			var mistakes config.Errors
			if !errors.As(err, &mistakes) {
				t.Fatalf("got %v, want config.Errors", err)
			}
			golden := strings.TrimSuffix(path, ".yaml") + ".txt"
			if *update {
				if err := os.WriteFile(golden, []byte(err.Error()+"\n"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), mistakes.Error()+"\n"); diff != "" {
				t.Error(diff)
			}
		})
	}
	for _, path := range files(t, "testdata/*.bad.txt") {
		if _, err := os.Stat(strings.TrimSuffix(path, ".txt") + ".yaml"); err != nil {
			t.Errorf("%s has no file that it belongs to: %v", path, err)
		}
	}
}

// TestEveryKeyHasABadFile looks for each key of the schema among the messages.
func TestEveryKeyHasABadFile(t *testing.T) {
	var all strings.Builder
	for _, path := range files(t, "testdata/*.bad.txt") {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(data)
	}
	for _, key := range config.Keys() {
		switch key {
		case "checkpoint.file", "checkpoint.file.path", "web.config_file", "log", "owners", "catalog", "directory", "tagging":
			continue // any text will do, or tried with the others of their kind
		}
		if !strings.Contains(all.String(), ": "+key+": ") && !strings.Contains(all.String(), ": "+key+"[") && !strings.Contains(all.String(), ": "+key+".") {
			t.Errorf("no testdata/*.bad.yaml gets %s wrong", key)
		}
	}
}

func files(t testing.TB, glob string) []string {
	t.Helper()
	paths, err := filepath.Glob(glob)
	if err != nil || len(paths) == 0 {
		t.Fatalf("no files %s: %v", glob, err)
	}
	return paths
}

// TestDesign loads the documented example, in which each key has its default.
func TestDesign(t *testing.T) {
	data, err := os.ReadFile("testdata/design.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c, err := config.Load("design.yaml", data)
	if err != nil {
		t.Fatal(err)
	}
	want := config.Default()
	if diff := cmp.Diff(&want, c, sameConfig); diff != "" {
		t.Error(diff)
	}
	for _, key := range config.Keys() {
		if key != "checkpoint.dynamodb" && !strings.HasPrefix(key, "checkpoint.dynamodb.") && !c.IsSet(key) {
			t.Errorf("the documented example does not show %s", key)
		}
	}
}

func TestEmptyFilesAreDefault(t *testing.T) {
	want := config.Default()
	for _, data := range []string{"", "\n", "# nothing\n", "---\n", "~\n", "{}\n", "poll:\nregions:\naccounts: []\n", "\ufeff# with a byte order mark\n"} {
		c, err := config.Load("f", []byte(data))
		if err != nil {
			t.Errorf("%q: %v", data, err)
			continue
		}
		if diff := cmp.Diff(&want, c, sameConfig); diff != "" {
			t.Errorf("%q: %s", data, diff)
		}
	}
}

func TestEverythingSet(t *testing.T) {
	data, err := os.ReadFile("testdata/full.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c, err := config.Load("full.yaml", data)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(full(), c, sameConfig); diff != "" {
		t.Error(diff)
	}
	for key, want := range map[string]bool{"Owner": false, "PrincipalId": true, "Other": false} {
		if got := c.ExistingTags.Overwrite(key); got != want {
			t.Errorf("Overwrite(%s) = %v, want %v", key, got, want)
		}
	}
	if _, err := c.Rules(); err != nil {
		t.Error(err)
	}
}

func TestTooBig(t *testing.T) {
	_, err := config.Load("f", make([]byte, 2<<20))
	if err == nil || err.Error() != "f:1:1: the configuration has 2097152 bytes; want at most 1048576" {
		t.Errorf("got %v", err)
	}
}

func TestBillionLaughs(t *testing.T) {
	var b strings.Builder
	b.WriteString("a0: &a0 [x, x]\n")
	for i := 1; i < 40; i++ {
		prev, this := string(rune('a'+i-1)), string(rune('a'+i))
		b.WriteString("b" + this + ": &" + this + " [*" + prev + ", *" + prev + "]\n")
	}
	if _, err := config.Load("f", []byte(b.String())); err == nil {
		t.Error("accepted")
	}
	for _, deep := range []string{strings.Repeat("[", 1<<19), strings.Repeat("{a: ", 1<<17), strings.Repeat("- ", 1<<18)} {
		if _, err := config.Load("f", []byte(deep)); err == nil {
			t.Error("accepted")
		}
	}
}

func TestMistake(t *testing.T) {
	c, err := config.Load("f", []byte("directory:\n  file: d.csv\n"))
	if err != nil {
		t.Fatal(err)
	}
	const want = "f:2:9: directory.file: cannot be read; want it there"
	if err := c.Mistake("directory.file", "cannot be read", "want it there"); err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestJoinKeepsFilesApart(t *testing.T) {
	c, err := config.Load("f", []byte("\n\ncatalog: {files: [gone.tsv]}\n"))
	if err != nil {
		t.Fatal(err)
	}
	rows := config.Errors{{File: "rows.tsv", Line: 1, What: "no heading; want one"}}
	err = config.Join(nil, c.Mistake("catalog.files[0]", "is not there", "want a file"), rows, c.Mistake("catalog", "a later one", "want none"))
	const want = "f:3:10: catalog: a later one; want none\nf:3:19: catalog.files[0]: is not there; want a file\nrows.tsv:1: no heading; want one"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestCheckServices(t *testing.T) {
	c, err := config.Load("f", []byte("services:\n- ec2\n- lamda\n- nonsense\n"))
	if err != nil {
		t.Fatal(err)
	}
	err = c.CheckServices([]string{"ec2", "lambda", "s3"})
	const want = "f:3:3: services[1]: no such service: \"lamda\"; did you mean lambda?\n" +
		"f:4:3: services[2]: no such service: \"nonsense\"; want the names that autotagd catalog shows"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if err := c.CheckServices([]string{"ec2", "lamda", "nonsense"}); err != nil {
		t.Error(err)
	}
}

func BenchmarkDefault(b *testing.B) {
	c := config.Default()
	data, err := c.YAML()
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := config.Load("f", data); err != nil {
			b.Fatal(err)
		}
	}
}
