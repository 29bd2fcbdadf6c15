package rules_test

import (
	"regexp"
	"strings"
	"testing"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/autotagd/autotagd/pkg/identity"
	"github.com/autotagd/autotagd/pkg/resource"
	"github.com/autotagd/autotagd/pkg/rules"
)

// The Resource Groups Tagging API's own patterns, as its model gives them.
var (
	awsValue = regexp.MustCompile(`^[\p{L}\p{Z}\p{N}_.:/=+\-@]*$`)
	awsKey   = regexp.MustCompile(`^[\p{L}\p{Z}\p{N}_.:/=+\-@]+$`)
)

func units(s string) int { return len(utf16.Encode([]rune(s))) }

// checkTags fails unless AWS would take tags.
func checkTags(t interface{ Errorf(string, ...any) }, tags []resource.Tag) {
	if len(tags) > 50 {
		t.Errorf("%d tags", len(tags))
	}
	for i, tag := range tags {
		switch {
		case !utf8.ValidString(tag.Key + tag.Value):
			t.Errorf("tag %q=%q is not UTF-8", tag.Key, tag.Value)
		case !awsKey.MatchString(tag.Key), units(tag.Key) > 127, strings.HasPrefix(strings.ToLower(tag.Key), "aws:"):
			t.Errorf("key %q", tag.Key)
		case !awsValue.MatchString(tag.Value), units(tag.Value) > 256, tag.Value == "":
			t.Errorf("value %q of %s", tag.Value, tag.Key)
		case strings.ContainsAny(tag.Value, "\u2028\u2029\n\x1b"), strings.TrimSpace(tag.Value) != tag.Value:
			t.Errorf("value %q of %s", tag.Value, tag.Key)
		case i > 0 && tags[i-1].Key >= tag.Key:
			t.Errorf("keys %q, %q are not in order", tags[i-1].Key, tag.Key)
		}
	}
}

func TestClean(t *testing.T) {
	for _, test := range []struct{ name, in, want string }{
		{"fine as it is", "Alice.Müller-2+x=y:z/@_", "Alice.Müller-2+x=y:z/@_"},
		{"case is kept", "AbC", "AbC"},
		{"refused characters", "a,b;c<d>\"e'", "a_b_c_d__e_"},
		{"control characters", "a\x00b\x1b[31mc", "a_b__31mc"},
		{"text that turns direction", "a\u202eb", "a_b"},
		{"spaces around", " \t a b \n", "a b"},
		{"a line break inside", "a\n\u2028b", "a  b"},
		{"other scripts", "田中 太郎", "田中 太郎"},
		{"invalid UTF-8", "a\xffb", "a_b"},
		{"cut", strings.Repeat("a", 300), strings.Repeat("a", 256)},
		{"cut between characters of two units", "a" + strings.Repeat("𝒳", 200), "a" + strings.Repeat("𝒳", 127)},
		{"cut before trailing spaces", strings.Repeat("a", 250) + strings.Repeat(" ", 50) + "b", strings.Repeat("a", 250)},
		{"cut after inner spaces", strings.Repeat("a", 250) + "     bcd", strings.Repeat("a", 250) + "     b"},
		{"an emoji is no letter", "🚀x", "_x"},
		{"nothing", " ", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, rules.Clean(test.in)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestCleanProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := rapid.OneOf(rapid.String(), rapid.StringN(200, 400, -1), rapid.StringMatching(`[\pL\pN +=._:/@-]{0,300}`),
			rapid.Custom(func(t *rapid.T) string { return string(rapid.SliceOf(rapid.Byte()).Draw(t, "bytes")) })).Draw(t, "in")
		out := rules.Clean(in)
		if out != "" {
			checkTags(t, []resource.Tag{{Key: "k", Value: out}})
		}
		if again := rules.Clean(out); again != out {
			t.Errorf("Clean(%q) = %q, and of that %q", in, out, again)
		}
		if fine := strings.TrimSpace(in) == in && units(in) <= 256 && awsValue.MatchString(in) && !strings.ContainsAny(in, "\u2028\u2029"); fine && out != in {
			t.Errorf("Clean(%q) = %q, but it was fine", in, out)
		}
	})
}

func TestCheckKey(t *testing.T) {
	for key, ok := range map[string]bool{
		"Owner": true, "cost-center": true, "a b": true, "aws": true, "Aws.x": true, "kä": true, strings.Repeat("k", 127): true,
		"": false, " ": false, " a": false, "aws:x": false, "AWS:x": false, "a,b": false, "a\nb": false, strings.Repeat("k", 128): false, "a\xff": false,
	} {
		if err := rules.CheckKey(key); (err == nil) != ok {
			t.Errorf("CheckKey(%q) = %v, want fine: %v", key, err, ok)
		}
	}
}

// FuzzCompileApply gives a tag, a filter and a record of any content to Compile and Apply.
func FuzzCompileApply(f *testing.F) {
	for _, seed := range [][3]string{
		{"Owner", "${owner.name}", "true"},
		{"K", "a ${owner.attributes.x} b ${{'a': 'b'}['a']}", `event.source != "x"`},
		{"aws:K", `${r"\"}${'''}'''}`, `has(resource.tags.a) || "b" in owner.attributes`},
		{"K", `${event.user_agent.replace("", event.user_agent).split("")[1]}`, `event.time.getHours() > 1`},
		{"K", `${string(event.time)}${1.0/0.0}${b"x" == b"" ? 1 : 2}`, `event.name.matches(event.user_agent)`},
		{"K", `${timestamp(event.user_agent)}`, `duration(event.name) < duration("1s")`},
	} {
		f.Add(seed[0], seed[1], seed[2], "Al\x1bice", int64(1))
	}
	f.Fuzz(func(t *testing.T, key, value, condition, data string, seconds int64) {
		r, err := rules.Compile(rules.Options{Tags: []rules.Tag{{Key: key, Value: value}}, Filters: []string{condition}})
		if err != nil {
			if len(rules.Mistakes(err)) == 0 {
				t.Fatalf("no mistake in %v", err)
			}
			for _, m := range rules.Mistakes(err) {
				text := map[rules.Part]string{rules.InTagKey: key, rules.InTagValue: value, rules.InFilter: condition}[m.Part]
				if m.Offset < 0 || m.Offset > utf8.RuneCountInString(text) || m.What == "" || m.Want == "" {
					t.Errorf("%+v", m)
				}
			}
			return
		}
		in := launch()
		in.Record.UserAgent, in.Record.EventName, in.Owner.Name = data, data, data
		in.Record.EventTime = in.Record.EventTime.AddDate(int(seconds%20000), 0, 0)
		in.Owner.Attributes, in.Resource.Tags = map[string]string{data: data}, map[string]string{"a": data}
		in.Owner.Kind = identity.Person
		d := r.Apply(in)
		checkTags(t, d.Tags)
		if (len(d.Tags) == 0) == (d.Skip == "") {
			t.Errorf("tags %v and skip %q", d.Tags, d.Skip)
		}
		if diff := cmp.Diff(d, r.Apply(in)); diff != "" {
			t.Errorf("not deterministic: %s", diff)
		}
	})
}
