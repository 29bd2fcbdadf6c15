// Package archtest holds the rules about the whole tree: which package may import which, and what none may have.
//
// It reads the sources and builds nothing, so that it answers at once. A package that is not in the table fails the test:
// adding one is a decision, and it is made here.
package archtest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/autotagd/autotagd/"

// mayImport has every package that is not a command, and which others of this module it may import. A package below
// another, as pkg/checkpoint/storetest, may import that one and what that one may.
var mayImport = map[string][]string{
	"internal/archtest":  {},
	"internal/awsclient": {"pkg/event", "pkg/resource", "pkg/tagapi"},
	"internal/fakeaws":   {"pkg/event"},
	"pkg/catalog":        {"pkg/event", "pkg/resource", "pkg/tagapi"},
	"pkg/checkpoint":     {"pkg/event", "pkg/resource"},
	"pkg/config":         {"pkg/rules"},
	"pkg/directory":      {},
	"pkg/event":          {},
	"pkg/identity":       {"pkg/event"},
	"pkg/poller":         {"pkg/event"},
	"pkg/resource":       {"pkg/event"},
	"pkg/rules":          {"pkg/event", "pkg/resource", "pkg/identity"},
	"pkg/tagapi":         {"pkg/event", "pkg/resource"},
	"pkg/tagger":         {"pkg/event", "pkg/resource"},
	"test/dynalite":      {},
	"test/moto":          {},
	"test/sim":           {},

	// It joins the others; only the command may import it.
	"internal/daemon": {
		"internal/awsclient", "pkg/catalog", "pkg/checkpoint", "pkg/config", "pkg/directory", "pkg/event",
		"pkg/identity", "pkg/poller", "pkg/resource", "pkg/rules", "pkg/tagapi", "pkg/tagger",
	},
}

// testsMayImport is what the tests of a package may import beside.
var testsMayImport = map[string][]string{
	"internal/awsclient": {"internal/fakeaws", "test/moto"},
	"internal/daemon":    {"internal/fakeaws", "pkg/checkpoint/storetest", "test/moto"},
	"pkg/checkpoint":     {"internal/fakeaws", "test/dynalite", "test/moto"},
	"pkg/poller":         {"internal/fakeaws"},
	"pkg/tagger":         {"internal/fakeaws"},
}

// A sourceFile is a Go file of this module.
type sourceFile struct {
	name    string // from the root, with slashes
	pkg     string // its directory
	test    bool
	imports []string // of this module, without its path
	ast     *ast.File
	fset    *token.FileSet
}

func TestPackagesImportOnlyWhatTheDesignAllows(t *testing.T) {
	for _, f := range sources(t) {
		if problem := check(f); problem != "" {
			t.Error(problem)
		}
	}
}

// check returns what is wrong with f's imports, or "".
func check(f sourceFile) string {
	if strings.HasPrefix(f.pkg, "cmd/") || strings.HasPrefix(f.pkg, "test/") && f.test {
		return "" // the ends of the tree
	}
	owner := ownerOf(f.pkg)
	if owner == "" {
		return fmt.Sprintf("%s: package %s is not in internal/archtest's table: say there what it may import", f.name, f.pkg)
	}
	allowed := append([]string{owner}, mayImport[owner]...)
	if f.test {
		allowed = append(allowed, testsMayImport[owner]...)
	}
	for _, imported := range f.imports {
		if imported != f.pkg && !slices.Contains(allowed, imported) && !(f.test && ownerOf(imported) == owner) {
			return fmt.Sprintf("%s: package %s may not import %s; it may import %v", f.name, f.pkg, imported, allowed)
		}
	}
	return ""
}

// ownerOf returns the package of the table that pkg is, or is below of; "" if there is none.
func ownerOf(pkg string) string {
	for ; pkg != "."; pkg = path.Dir(pkg) {
		if _, ok := mayImport[pkg]; ok {
			return pkg
		}
	}
	return ""
}

func TestTheTableHasNoPackageThatIsGone(t *testing.T) {
	for pkg := range mayImport {
		if found, err := filepath.Glob(filepath.Join(root(t), pkg, "*.go")); err != nil || len(found) == 0 {
			t.Errorf("%s has no Go file (%v): take it out of the table", pkg, err)
		}
	}
}

// An init function runs before anyone can say whether it may, and in every test.
func TestNoPackageHasAnInitFunction(t *testing.T) {
	for _, f := range sources(t) {
		for _, d := range f.ast.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				t.Errorf("%s: an init function", f.fset.Position(fn.Pos()))
			}
		}
	}
}

// The rules themselves, on files that are not there.
func TestTheRulesCatch(t *testing.T) {
	cases := map[string]struct {
		file sourceFile
		ok   bool
	}{
		"what the table allows":                  {sourceFile{pkg: "pkg/tagger", imports: []string{"pkg/resource"}}, true},
		"the poller knowing tags":                {sourceFile{pkg: "pkg/poller", imports: []string{"pkg/tagger"}}, false},
		"the poller knowing resources":           {sourceFile{pkg: "pkg/poller", imports: []string{"pkg/resource"}}, false},
		"a package reaching back":                {sourceFile{pkg: "pkg/event", imports: []string{"pkg/catalog"}}, false},
		"the daemon in a package":                {sourceFile{pkg: "pkg/rules", imports: []string{"internal/daemon"}}, false},
		"the fake in a product file":             {sourceFile{pkg: "pkg/poller", imports: []string{"internal/fakeaws"}}, false},
		"the fake in a test":                     {sourceFile{pkg: "pkg/poller", test: true, imports: []string{"internal/fakeaws"}}, true},
		"the fake in a test of another":          {sourceFile{pkg: "pkg/rules", test: true, imports: []string{"internal/fakeaws"}}, false},
		"a suite below the package it tests":     {sourceFile{pkg: "pkg/checkpoint/storetest", imports: []string{"pkg/checkpoint", "pkg/event"}}, true},
		"that suite in the package's tests":      {sourceFile{pkg: "pkg/checkpoint", test: true, imports: []string{"pkg/checkpoint/storetest"}}, true},
		"that suite in the package":              {sourceFile{pkg: "pkg/checkpoint", imports: []string{"pkg/checkpoint/storetest"}}, false},
		"a package that nobody decided on":       {sourceFile{pkg: "pkg/util"}, false},
		"the command, which may import anything": {sourceFile{pkg: "cmd/autotagd", imports: []string{"internal/daemon"}}, true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if problem := check(c.file); (problem == "") != c.ok {
				t.Errorf("problem = %q, want allowed = %v", problem, c.ok)
			}
		})
	}
}

// sources reads every Go file of this module. A directory with a go.mod of its own is another module.
func sources(t *testing.T) []sourceFile {
	t.Helper()
	root := root(t)
	found := map[string]sourceFile{}
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			_, err := os.Stat(filepath.Join(file, "go.mod"))
			if file != root && (err == nil || strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(file, ".go") {
			return nil
		}
		f, err := read(root, file)
		found[file] = f
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) == 0 {
		t.Fatal("no Go file found")
	}
	names := slices.Sorted(maps.Keys(found))
	files := make([]sourceFile, 0, len(names))
	for _, name := range names {
		files = append(files, found[name])
	}
	return files
}

func read(root, file string) (sourceFile, error) {
	name, err := filepath.Rel(root, file)
	if err != nil {
		return sourceFile{}, err
	}
	name = filepath.ToSlash(name)
	fset := token.NewFileSet()
	parsed, err := parser.ParseFile(fset, file, nil, parser.SkipObjectResolution)
	if err != nil {
		return sourceFile{}, err
	}
	f := sourceFile{name: name, pkg: path.Dir(name), test: strings.HasSuffix(name, "_test.go"), ast: parsed, fset: fset}
	for _, spec := range parsed.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return sourceFile{}, fmt.Errorf("%s: %w", name, err)
		}
		if ours, ok := strings.CutPrefix(imported, module); ok {
			f.imports = append(f.imports, ours)
		}
	}
	return f, nil
}

// root is the directory with go.mod.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "go.mod")); err != nil {
		t.Fatal(err)
	}
	return dir
}
