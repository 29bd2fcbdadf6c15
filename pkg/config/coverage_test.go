package config_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestEveryMessageHasABadFile looks in the source for what can be wrong with a file, and among the expected messages for each.
func TestEveryMessageHasABadFile(t *testing.T) {
	elsewhere := []string{"the configuration has "} // TestTooBig
	var messages strings.Builder
	for _, path := range files(t, "testdata/*.bad.txt") {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		messages.Write(data)
	}
	found := 0
	for _, path := range append(files(t, "*.go"), files(t, "../rules/*.go")...) {
		if strings.HasSuffix(path, "_test.go") || path == "config.go" { // what it finds after Load has tests of its own
			continue
		}
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			var list []ast.Expr
			switch n := n.(type) {
			case *ast.CallExpr:
				list = n.Args
			case *ast.ReturnStmt:
				list = n.Results
			case *ast.CompositeLit:
				list = n.Elts
			}
			for i := 1; i < len(list); i++ {
				if !isWant(list[i]) {
					continue
				}
				for _, what := range literals(list[i-1]) {
					found++
					if !strings.Contains(messages.String(), what) && !slices.Contains(elsewhere, what) {
						t.Errorf("%s: no testdata/*.bad.yaml shows %q", fset.Position(list[i-1].Pos()), what)
					}
				}
			}
			return true
		})
	}
	if found < 50 {
		t.Errorf("only %d messages found in the source: does it still look like this test expects?", found)
	}
}

// isWant reports whether e is the remedy of a mistake.
func isWant(e ast.Expr) bool {
	if id, ok := e.(*ast.Ident); ok {
		return id.Name == "want"
	}
	return slices.ContainsFunc(literals(e), func(s string) bool { return strings.HasPrefix(s, "want ") })
}

// literals returns the longest constant piece of every string in e.
func literals(e ast.Expr) []string {
	var all []string
	ast.Inspect(e, func(n ast.Node) bool {
		lit, ok := n.(*ast.BasicLit)
		if !ok || lit.Kind != token.STRING {
			return true
		}
		s, err := strconv.Unquote(lit.Value)
		if err != nil {
			return true
		}
		longest := slices.MaxFunc(regexp.MustCompile(`%[a-z]`).Split(s, -1), func(a, b string) int { return len(a) - len(b) })
		if strings.TrimSpace(longest) != "" {
			all = append(all, longest)
		}
		return true
	})
	return all
}
