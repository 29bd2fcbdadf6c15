package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/text"
	"go.yaml.in/yaml/v4"
)

// A document is a Markdown file for users or developers.
type document struct {
	name    string // from the root, with slashes
	anchors map[string]bool
	links   []link
	spans   []span
	blocks  []block
}

// A link is a link or an image of a document.
type link struct {
	to   string
	line int
}

// A span is a piece of code in the text.
type span struct {
	code string
	line int
}

// A block is what stands between ``` and ```.
type block struct {
	doc, section string // section is the anchor of the heading above it
	line         int    // of its first line
	language     string
	file         string // what the text above it ends with, as in "`people.csv`:"; "" if it names none
	text         string
}

func (b block) place() string { return fmt.Sprintf("%s:%d", b.doc, b.line) }

// documents reads every Markdown file but those of tools and those that the build makes.
func documents(t *testing.T) []*document {
	t.Helper()
	root := os.DirFS("../..")
	var all []*document
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != "." && (strings.HasPrefix(d.Name(), ".") || slices.Contains([]string{"bin", "dist", "node_modules", "testdata"}, d.Name())):
			return fs.SkipDir
		case d.IsDir() || path.Ext(name) != ".md":
			return nil
		}
		source, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		all = append(all, parseDocument(name, source))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 5 {
		t.Fatalf("%d documents found", len(all))
	}
	return all
}

func parseDocument(name string, source []byte) *document {
	d := &document{name: name, anchors: map[string]bool{}}
	lineAt := func(offset int) int { return bytes.Count(source[:offset], []byte("\n")) + 1 }
	section, line := "", 1
	root := goldmark.New(goldmark.WithExtensions(extension.GFM)).Parser().Parse(text.NewReader(source))
	_ = ast.Walk(root, func(n ast.Node, entering bool) (ast.WalkStatus, error) { // never fails
		if !entering {
			return ast.WalkContinue, nil
		}
		if n.Type() == ast.TypeBlock && n.Lines().Len() > 0 {
			line = lineAt(n.Lines().At(0).Start)
		}
		switch n := n.(type) {
		case *ast.Heading:
			section = anchor(inlineText(n, source))
			for i, first := 1, section; d.anchors[section]; i++ {
				section = fmt.Sprintf("%s-%d", first, i)
			}
			d.anchors[section] = true
		case *ast.Link:
			d.links = append(d.links, link{string(n.Destination), line})
		case *ast.Image:
			d.links = append(d.links, link{string(n.Destination), line})
		case *ast.CodeSpan:
			d.spans = append(d.spans, span{inlineText(n, source), line})
		case *ast.FencedCodeBlock:
			b := block{doc: name, section: section, line: line, language: string(n.Language(source)), file: fileBefore(n, source)}
			for i := range n.Lines().Len() {
				segment := n.Lines().At(i)
				b.text += string(segment.Value(source))
			}
			d.blocks = append(d.blocks, b)
		}
		return ast.WalkContinue, nil
	})
	return d
}

// inlineText is n's text without its markup.
func inlineText(n ast.Node, source []byte) string {
	var b strings.Builder
	_ = ast.Walk(n, func(n ast.Node, entering bool) (ast.WalkStatus, error) { // never fails
		if t, ok := n.(*ast.Text); ok && entering {
			b.Write(t.Segment.Value(source))
			if t.SoftLineBreak() {
				b.WriteByte(' ')
			}
		}
		return ast.WalkContinue, nil
	})
	return b.String()
}

// anchor is what GitHub makes of a heading for links.
func anchor(heading string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
			return unicode.ToLower(r)
		}
		return -1
	}, heading)
}

// fileBefore returns the file's name that the text before a block ends with, as in "`people.csv`:".
func fileBefore(n ast.Node, source []byte) string {
	before := n.PreviousSibling()
	if before == nil || before.LastChild() == nil {
		return ""
	}
	colon, ok := before.LastChild().(*ast.Text)
	if !ok || string(colon.Segment.Value(source)) != ":" {
		return ""
	}
	span, ok := colon.PreviousSibling().(*ast.CodeSpan)
	if !ok {
		return ""
	}
	if name := inlineText(span, source); regexp.MustCompile(`^[\w./-]+\.\w+$`).MatchString(name) {
		return name
	}
	return ""
}

// Every link within the tree leads to a file that is there, and to a heading that is there.
func TestDocumentsLinkToWhatIsThere(t *testing.T) {
	all := documents(t)
	for _, d := range all {
		for _, l := range d.links {
			u, err := url.Parse(l.to)
			if err != nil {
				t.Errorf("%s:%d: the link %s: %v", d.name, l.line, l.to, err)
				continue
			}
			if u.Scheme != "" {
				if u.Scheme != "https" && !strings.HasPrefix(l.to, "http://127.0.0.1") {
					t.Errorf("%s:%d: the link %s: want https", d.name, l.line, l.to)
				}
				continue
			}
			target := d.name
			if u.Path != "" {
				target = path.Join(path.Dir(d.name), u.Path)
			}
			if _, err := os.Stat(filepath.Join("../..", target)); err != nil || strings.HasPrefix(target, "..") {
				t.Errorf("%s:%d: the link %s leads nowhere: %v", d.name, l.line, l.to, err)
				continue
			}
			if u.Fragment == "" {
				continue
			}
			i := slices.IndexFunc(all, func(d *document) bool { return d.name == target })
			if i < 0 || !all[i].anchors[u.Fragment] {
				t.Errorf("%s:%d: the link %s: no such heading", d.name, l.line, l.to)
			}
		}
	}
}

// Every document is reached from the README, by however many links.
func TestDocumentsAreReached(t *testing.T) {
	all := documents(t)
	reached := map[string]bool{"README.md": true}
	for more := true; more; {
		more = false
		for _, d := range all {
			for _, l := range d.links {
				to, _, _ := strings.Cut(l.to, "#")
				if to = path.Join(path.Dir(d.name), to); reached[d.name] && !reached[to] {
					reached[to], more = true, true
				}
			}
		}
	}
	for _, d := range all {
		if !reached[d.name] {
			t.Errorf("no document that the README leads to links to %s", d.name)
		}
	}
}

// Languages of blocks. What is to be typed is in console blocks, after "$ ", so that the tests find it.
var languages = []string{"", "console", "csv", "dockerfile", "hcl", "ini", "json", "promql", "text", "yaml"}

// Every block is what it says: JSON is JSON, YAML is YAML, and a configuration is one that `autotagd check` takes.
func TestBlocksOfDocuments(t *testing.T) {
	configurations := 0
	fixtures := absolute(t, "testdata/docs/common")
	for _, d := range documents(t) {
		t.Run(d.name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			newAuthority(t).issue(".", 1)
			copyFiles(t, fixtures, ".")
			for _, b := range slices.Backward(d.blocks) { // so that the first of a name is there
				if b.file != "" {
					putFile(t, b.file, b.text)
				}
			}
			for _, b := range d.blocks {
				if b.file != "" {
					putFile(t, b.file, b.text)
				}
				if isConfiguration(b) {
					configurations++
				}
				if err := checkBlock(t, b); err != nil {
					t.Errorf("%s: %v", b.place(), err)
				}
			}
		})
	}
	if configurations < 40 {
		t.Errorf("only %d configurations were found", configurations)
	}
}

// checkBlock looks at b, with the files that its document shows in the working directory.
func checkBlock(t *testing.T, b block) error {
	t.Helper()
	var v any
	switch {
	case !slices.Contains(languages, b.language):
		return fmt.Errorf("a block in %q; want one of %q", b.language, languages)
	case b.language == "json":
		return json.Unmarshal([]byte(b.text), &v)
	case isConfiguration(b):
		return checkConfiguration(t, b)
	case b.language == "yaml":
		return yaml.Load([]byte(b.text), &v)
	}
	return nil
}

// foreign are the keys that YAML of other programs begins with. All other YAML is a configuration of ours, so that a misspelt
// key in it is found.
var foreign = []string{"AWSTemplateFormatVersion", "Resources", "apiVersion", "scrape_configs", "rule_files", "groups", "route", "receivers", "tls_server_config", "containerDefinitions"}

func isConfiguration(b block) bool {
	if b.language != "yaml" || b.file != "" && path.Base(b.file) != "autotagd.yaml" {
		return false
	}
	var keys map[string]any
	if err := yaml.Load([]byte(b.text), &keys); err != nil {
		return true // and let it say where it is wrong
	}
	return !slices.ContainsFunc(foreign, func(k string) bool { _, ok := keys[k]; return ok })
}

// checkConfiguration does `autotagd check`.
func checkConfiguration(t *testing.T, b block) error {
	t.Helper()
	name := fmt.Sprintf("block-%d.yaml", b.line)
	putFile(t, name, b.text)
	var out, problems bytes.Buffer
	code := run(t.Context(), environment{[]string{"check", "--config", name}, strings.NewReader(""), &out, &problems, func(string) string { return "" }})
	if code != exitDone {
		return fmt.Errorf("autotagd check: exit code %d: %s", code, problems.String())
	}
	return nil
}

func absolute(t *testing.T, name string) string {
	t.Helper()
	abs, err := filepath.Abs(name)
	if err != nil {
		t.Fatal(err)
	}
	return abs
}

func putFile(t *testing.T, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o666); err != nil {
		t.Fatal(err)
	}
}

// copyFiles copies the files of a directory, if there is one.
func copyFiles(t *testing.T, from, to string) {
	t.Helper()
	if _, err := os.Stat(from); err != nil {
		return
	}
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}
