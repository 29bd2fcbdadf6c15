package fakeaws

import (
	"fmt"
	"strings"
)

// HostileName is what somebody may call himself to break what reads it: tags, logs, terminals, metric labels, expressions,
// spreadsheets.
type HostileName struct {
	What string
	Name string
	// Tag is the value that AWS's tag APIs take of it; "" where nothing is left.
	Tag string
}

// HostileNames returns some of every sort.
func HostileNames() []HostileName {
	return []HostileName{
		{"colour", "\x1b[31mred\x1b[0m", "__31mred__0m"},
		{"title and bell", "\x1b]0;owned\a", "__0_owned_"},
		{"C1 control", "\u009b2Jgone", "_2Jgone"},
		{"NUL", "a\x00b", "a_b"},
		{"backspaces", "alice\b\b\b\b\bmallory", "alice_____mallory"},
		{"newline and a forged line", "x\n{\"level\":\"info\",\"msg\":\"tagged\"}", "x __level_:_info___msg_:_tagged__"},
		{"carriage return", "alice\rmallory", "alice mallory"},
		{"line separator", "a\u2028b", "a b"},
		{"tabs around", "\tname\t", "name"},
		{"quotes", `"'` + "`" + `\"`, "_____"},
		{"backslashes", `\\u0000\n`, "__u0000_n"},
		{"expression", "${event.id}", "__event.id_"},
		{"expression's end", `" + identity.principal_id + "`, "_ + identity.principal_id + _"},
		{"brace", "}${owner.name", "___owner.name"},
		{"Go template", "{{.}}", "__.__"},
		{"shell", "$(reboot);`id`|tee", "__reboot___id__tee"},
		{"formula", "=cmd|'/C calc'!A0", "=cmd__/C calc__A0"},
		{"formula with a call", `=HYPERLINK("http://evil.example.com","x")`, "=HYPERLINK__http://evil.example.com___x__"},
		{"formulas", "@SUM(1+1)*cmd", "@SUM_1+1__cmd"},
		{"CSV", "a,b;c\"d", "a_b_c_d"},
		{"label's end", `x"} 1` + "\nautotagd_up 0", "x__ 1 autotagd_up 0"},
		{"HTML", "<script>alert(1)</script>", "_script_alert_1__/script_"},
		{"path", "../../../../etc/passwd", "../../../../etc/passwd"},
		{"AWS's prefix", "aws:root", "aws:root"},
		{"right to left", "\u202egpj.exe", "_gpj.exe"},
		{"isolates", "\u2066a\u2069\u200f", "_a__"},
		{"invisible", "al\u200bice\ufeff", "al_ice_"},
		{"tag characters", "a\U000e0041", "a_"},
		{"private use", "a\ue000", "a_"},
		{"combining", "e" + strings.Repeat("\u0301", 300), "e" + strings.Repeat("_", 255)},
		{"emoji", "👩‍💻", "___"},
		{"wide letters", strings.Repeat("\U00020000", 200), strings.Repeat("\U00020000", 128)},
		{"invalid UTF-8", "a\xff\xfe\xc0\x80b", "a____b"},
		{"surrogate", "a\xed\xa0\x80b", "a___b"},
		{"ten thousand", strings.Repeat("x", 10_000), strings.Repeat("x", 256)},
		{"ten thousand controls", strings.Repeat("\x01", 10_000), strings.Repeat("_", 256)},
		{"spaces", " \u00a0\u3000 ", ""},
		{"format verbs", "%s%n%!d(MISSING)", "_s_n__d_MISSING_"},
		{"number", "1e999", "1e999"},
		{"null", "null", "null"},
		{"prototype", "__proto__", "__proto__"},
		{"key", "#lease", "_lease"},
		{"glob", "*", "_"},
	}
}

// InRecord returns a record with the name in every place that says @NAME@. It is put there byte by byte, so that one that is
// not UTF-8 stays so.
func (n HostileName) InRecord(record string) string {
	var b strings.Builder
	for _, c := range []byte(n.Name) {
		switch {
		case c == '"' || c == '\\':
			b.WriteString(`\` + string(c))
		case c < ' ':
			fmt.Fprintf(&b, `\u%04x`, c)
		default:
			b.WriteByte(c)
		}
	}
	return strings.ReplaceAll(record, "@NAME@", b.String())
}
