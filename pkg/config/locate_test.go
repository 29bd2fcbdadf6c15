package config

import (
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
	"pgregory.net/rapid"
)

// TestLocate writes any text in every form that YAML has for it, and expects to find each character where it was written.
func TestLocate(t *testing.T) {
	styles := map[string]yaml.Style{
		"plain": 0, "single": yaml.SingleQuotedStyle, "double": yaml.DoubleQuotedStyle, "literal": yaml.LiteralStyle, "folded": yaml.FoldedStyle,
	}
	names := []string{"plain", "single", "double", "literal", "folded"}
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.OneOf(rapid.StringMatching(`[a-zäß'"\\#: \n{}$.=]{0,60}`), rapid.String(), rapid.StringMatching(`([a-z'"\\]{1,9}[ \n]){5,40}[a-z]`)).Draw(t, "value")
		style := rapid.SampledFrom(names).Draw(t, "style")
		width := rapid.SampledFrom([]int{-1, 20, 80}).Draw(t, "width")
		inner := &yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{
			{Kind: yaml.ScalarNode, Value: "key"},
			{Kind: yaml.ScalarNode, Tag: "!!str", Style: styles[style], Value: value},
			{Kind: yaml.ScalarNode, Value: "next"},
			{Kind: yaml.ScalarNode, Value: "x"},
		}}
		data, err := yaml.Dump(&yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{{Kind: yaml.ScalarNode, Value: "outer"}, inner}},
			yaml.WithLineWidth(width), yaml.WithUnicode(rapid.Bool().Draw(t, "unicode")))
		if err != nil {
			t.Skip(err)
		}
		checkPlaces(t, string(data), value)
	})
}

// TestLocateInHandwriting has forms that the library reads but does not write.
func TestLocateInHandwriting(t *testing.T) {
	for _, data := range []string{
		"outer:\n  key: \"a\n\n\n   b \\\n   c\\\n    d\n   \\n e\n\n   \\n\\n f\"\n",
		"outer:\n  key: \"\\n\\n\n    \\n#\\x41\\u00e4b\"\n",
		"outer: {key: 'it''s\n\n  ''x'' '}\n",
		"outer:\n  key: >2-\n     a\n    b\n\n\n      c\n     d\n",
		"outer:\r\n  key: a\r\n    b\r\n",
	} {
		var doc struct{ Outer struct{ Key string } }
		if err := yaml.Load([]byte(data), &doc); err != nil {
			t.Fatalf("%v in\n%s", err, data)
		}
		checkPlaces(t, data, doc.Outer.Key)
	}
}

// checkPlaces looks up each character of the value of outer.key in data.
func checkPlaces(t interface {
	Skip(...any)
	Fatalf(string, ...any)
}, data, value string,
) {
	var doc yaml.Node
	if err := yaml.Load([]byte(data), &doc); err != nil {
		t.Skip(err)
	}
	n := doc.Content[0].Content[1].Content[1]
	if n.Value != value {
		t.Skip("the library does not keep it")
	}
	lines := strings.Split(data, "\n")
	for i, r := range []rune(value) {
		p := locate(lines, n, i)
		if blank(r) || r == '\n' {
			continue // where lines are folded it stands nowhere
		}
		if p.line < 1 || p.line > len(lines) || p.column < 1 || p.column > len([]rune(lines[p.line-1])) {
			t.Fatalf("character %d (%q) of %q: no such place as %v in\n%s", i, r, value, p, data)
		}
		at := []rune(lines[p.line-1])[p.column-1]
		if at != r && at != '\\' {
			t.Fatalf("character %d (%q) of %q is found at %v, where %q stands, in\n%s", i, r, value, p, at, data)
		}
	}
}
