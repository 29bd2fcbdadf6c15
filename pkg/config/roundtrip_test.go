package config_test

import (
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/autotagd/autotagd/pkg/config"
	"github.com/autotagd/autotagd/pkg/rules"
)

// roundTrip fails unless c's YAML loads to c again.
func roundTrip(t interface{ Fatalf(string, ...any) }, c *config.Config) {
	data, err := c.YAML()
	if err != nil {
		t.Fatalf("%v", err)
	}
	again, err := config.Load("effective.yaml", data)
	if err != nil {
		t.Fatalf("%v\n%s", err, data)
	}
	if diff := cmp.Diff(c, again, sameConfig); diff != "" {
		t.Fatalf("%s\n%s", diff, data)
	}
	if second, err := again.YAML(); err != nil || string(second) != string(data) {
		t.Fatalf("%v: written again it is\n%s\nafter\n%s", err, second, data)
	}
}

func TestEffectiveConfigLoadsAgain(t *testing.T) {
	c := config.Default()
	roundTrip(t, &c)
	roundTrip(t, full())
	rapid.Check(t, func(t *rapid.T) { roundTrip(t, drawConfig(t)) })
}

func TestEffectiveDefault(t *testing.T) {
	c := config.Default()
	got, err := c.YAML()
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile("testdata/default.yaml", got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/default.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Error(diff)
	}
}

func drawConfig(t *rapid.T) *config.Config {
	pick := func(label string, words ...string) string { return rapid.SampledFrom(words).Draw(t, label) }
	span := func(max time.Duration) time.Duration {
		return time.Duration(rapid.Int64Range(1, int64(max/time.Millisecond)).Draw(t, "ms")) * time.Millisecond
	}
	rate := func(max float64) float64 {
		return rapid.Float64Range(math.SmallestNonzeroFloat64, max).Draw(t, "rate")
	}
	words := func(label string, word *rapid.Generator[string]) []string {
		list := rapid.SliceOfNDistinct(word, 0, 4, rapid.ID[string]).Draw(t, label)
		if len(list) == 0 {
			return nil
		}
		return list
	}
	year := 365 * 24 * time.Hour
	c := config.Default()
	c.Regions = words("regions", rapid.StringMatching(`[a-z]{2}-(gov-)?[a-z]{4,9}-[0-9]`))
	if rapid.Bool().Draw(t, "all") {
		c.Regions = []string{config.AllRegions}
	}
	c.GlobalRegion = config.GlobalRegion(pick("global", "auto", "off"))
	partition := pick("partition", "aws", "aws-cn", "aws-us-gov")
	for _, id := range words("accounts", rapid.StringMatching(`[0-9]{12}`)) {
		a := config.Account{RoleARN: "arn:" + partition + ":iam::" + id + ":role/" + rapid.StringMatching(`([a-z]+/)?[\w+=,.@-]{1,20}`).Draw(t, "role")}
		if rapid.Bool().Draw(t, "external") {
			a.ExternalID = rapid.StringMatching(`[\w+=,.@:/-]{2,30}`).Draw(t, "id")
		}
		c.Accounts = append(c.Accounts, a)
	}
	if rapid.Bool().Draw(t, "organization") {
		c.Accounts = append(c.Accounts, config.Account{Organization: &config.Organization{
			RoleName: rapid.StringMatching(`[\w+=,.@-]{1,20}`).Draw(t, "role"), Exclude: words("exclude", rapid.StringMatching(`[0-9]{12}|ou-[0-9a-z]{4}-[0-9a-z]{8}`)),
		}})
	}
	c.Poll = config.Poll{Interval: span(year), SweepInterval: span(year), Lookback: span(year), Rate: rate(2), Start: span(90 * 24 * time.Hour)}
	if rapid.Bool().Draw(t, "dynamodb") {
		c.Checkpoint.DynamoDB = &config.DynamoDB{Table: rapid.StringMatching(`[a-zA-Z0-9_.-]{3,20}`).Draw(t, "table"), Region: pick("region", "", "eu-west-1"), Lease: span(year)}
	} else {
		c.Checkpoint.FilePath = rapid.String().Draw(t, "path")
	}
	keys := rapid.SliceOfNDistinct(rapid.StringMatching(`[\pL0-9+=._:/@-][\pL0-9 +=._:/@-]{0,10}[\pL0-9+=._:/@-]`).Filter(func(s string) bool { return rules.CheckKey(s) == nil }), 1, 6, strings.ToLower).Draw(t, "keys")
	c.Tags = nil
	for _, key := range keys {
		c.Tags = append(c.Tags, rules.Tag{Key: key, Value: rapid.OneOf(
			rapid.Just("${owner.name}"),
			rapid.StringMatching(`[\pL\pN +=._:/@-]{1,40}`).Filter(func(s string) bool { return strings.TrimSpace(s) != "" }),
			rapid.Map(rapid.StringMatching(`[^"\\\p{Cc}\p{Cs}]{0,60}`), func(s string) string { return `${owner.name == "` + s + `" ? "a" : "b"}` }),
			rapid.Map(rapid.StringMatching(`[ \t\n]{0,9}`), func(s string) string { return "${" + s + "event.name" + s + "}" }),
		).Draw(t, "value")})
	}
	c.ExistingTags = config.ExistingTags{Default: config.Policy(pick("existing", "keep", "overwrite"))}
	if rapid.Bool().Draw(t, "by key") {
		c.ExistingTags = config.ExistingTags{Default: config.Keep, ByKey: map[string]config.Policy{keys[0]: config.Overwrite}}
	}
	c.Services = words("services", rapid.StringMatching(`[a-z0-9][a-z0-9-]{0,9}`))
	c.Filters = words("filters", rapid.Map(rapid.StringMatching(`[^"\\\p{Cc}\p{Cs}]{0,60}`), func(s string) string { return fmt.Sprintf("event.name !=\n  \"%s\"", s) }))
	c.ServiceOwned = rules.ServiceOwned(pick("service_owned", "skip", "tag"))
	c.Owners.SessionNames = nil
	for _, role := range rapid.SliceOfN(rapid.StringMatching(`[\w+=,.@?-][\w+=,.@*?-]{0,20}`), 1, 4).Draw(t, "session names") {
		c.Owners.SessionNames = append(c.Owners.SessionNames, config.SessionName{Role: role, Trust: rapid.Bool().Draw(t, "trust")})
	}
	c.DirectoryFile = rapid.String().Draw(t, "directory")
	c.CatalogFiles = words("catalog", rapid.StringN(1, 30, -1))
	c.Tagging = config.Tagging{
		Workers: rapid.IntRange(1, 1000).Draw(t, "workers"), BatchWait: span(year), Rate: rate(1000), ConsistencyWait: span(year),
		DeferAfter: span(year), GiveUpAfter: span(year), PropagateAtLaunch: rapid.Bool().Draw(t, "propagate"),
	}
	c.Web = config.Web{Listen: pick("listen", ":0", "127.0.0.1:9464", "[::1]:80", "localhost:65535"), ConfigFile: rapid.String().Draw(t, "web")}
	c.Log = config.Log{Level: pick("level", "debug", "info", "warn", "error"), Format: pick("format", "json", "console")}
	c.DryRun = rapid.Bool().Draw(t, "dry run")
	return &c
}

// FuzzLoad loads any text: it loads to a Config that can be written and read again, or to mistakes that each have a place in it.
func FuzzLoad(f *testing.F) {
	for _, path := range files(f, "testdata/*.yaml") {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := config.Load("f", data)
		if err == nil {
			roundTrip(t, c)
			if _, err := c.Rules(); err != nil {
				t.Error(err)
			}
			return
		}
		var mistakes config.Errors
		if !errors.As(err, &mistakes) || len(mistakes) == 0 {
			t.Fatalf("%T: %v", err, err)
		}
		lines := strings.Split(string(data), "\n")
		for _, m := range mistakes {
			if m.What == "" || m.Want == "" || strings.ContainsFunc(m.Error(), func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Errorf("%q", m.Error())
			}
			if m.Line < 1 || m.Line > len(lines)+1 || m.Column < 1 {
				t.Errorf("no such place: %v", m)
			} else if m.Line <= len(lines) && m.Column > utf8.RuneCountInString(lines[m.Line-1])+1 {
				t.Errorf("the line ends before: %v", m)
			}
		}
	})
}
