package catalog_test

import (
	"errors"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/autotagd/autotagd/pkg/catalog"
	"github.com/autotagd/autotagd/pkg/resource"
)

const heading = "service\tsource\tevent\ttype\tarn\tid\ttemplate\ttag_api\tiam_action\ttags\tconfidence\tcommon\toptions\tnote\n"

// tsv makes a table of one row for each list of cells.
func tsv(rows ...[]string) string {
	b := heading
	for _, row := range rows {
		b += strings.Join(row, "\t") + "\n"
	}
	return b
}

func load(t testing.TB, extra ...string) *catalog.Catalog {
	t.Helper()
	var readers []io.Reader
	for _, e := range extra {
		readers = append(readers, strings.NewReader(e))
	}
	c, err := catalog.Load(readers...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestKnownAllocatesNothing(t *testing.T) {
	c := load(t)
	for _, tt := range []struct {
		source, name string
		want         bool
	}{
		{"ec2.amazonaws.com", "RunInstances", true},
		{"ec2.amazonaws.com", "DescribeInstances", false},
		{"lambda.amazonaws.com", "CreateFunction20150331", true},
		{"lambda.amazonaws.com", "CreateFunction20291231v3", true},
		{"lambda.amazonaws.com", "UpdateFunctionCode20150331v2", false},
		{"cloudfront.amazonaws.com", "CreateDistribution2031_01_31", true},
		{"ec2.amazonaws.com", "CreateBucket", false},
		{"", "", false},
	} {
		if got := c.Known(tt.source, tt.name); got != tt.want {
			t.Errorf("Known(%q, %q) = %v, want %v", tt.source, tt.name, got, tt.want)
		}
		if n := testing.AllocsPerRun(100, func() { c.Known(tt.source, tt.name) }); n != 0 {
			t.Errorf("Known(%q, %q) allocates %v times, want 0", tt.source, tt.name, n)
		}
	}
}

func TestUndated(t *testing.T) {
	for name, want := range map[string]string{
		"CreateFunction20150331":       "CreateFunction",
		"CreateFunction20150331v2":     "CreateFunction",
		"CreateDistribution2020_05_31": "CreateDistribution",
		"CreateThing_2020_05_31v12":    "CreateThing",
		"CreateFunction":               "CreateFunction",
		"CreateV2":                     "CreateV2",
		"CreateAggregatorV2":           "CreateAggregatorV2",
		"CreateThing2015033":           "CreateThing2015033",
		"20150331":                     "20150331",
		"v2":                           "v2",
		"":                             "",
		"20150331v2":                   "20150331v2",
		"CreateOauth2":                 "CreateOauth2",
	} {
		if got := catalog.Undated(name); got != want {
			t.Errorf("Undated(%q) = %q, want %q", name, got, want)
		}
	}
}

func TestNames(t *testing.T) {
	c := load(t)
	all := c.Names(nil)
	if len(all) < 1370 || !slices.IsSorted(all) || len(slices.Compact(slices.Clone(all))) != len(all) {
		t.Errorf("%d names, sorted %v", len(all), slices.IsSorted(all))
	}
	s3 := c.Names([]string{"s3"})
	if !slices.Contains(s3, "CreateBucket") || slices.Contains(s3, "RunInstances") {
		t.Errorf("names of s3: %q", s3)
	}
	if twins := c.Names([]string{"wisdom"}); !slices.Contains(twins, "CreateAssistant") {
		t.Errorf("names of wisdom, which shares rows with qconnect: %q", twins)
	}
	for _, name := range []string{"CreateFunction", "CreateFunction20150331", "CreateFunction20150331v2", "CreateDistribution2020_05_31"} {
		if !slices.Contains(all, name) {
			t.Errorf("no %s among the names", name)
		}
	}
}

func TestCommonHasSixtyNames(t *testing.T) {
	c := load(t)
	common := c.Common(60)
	if len(common) != 60 || len(slices.Compact(slices.Sorted(slices.Values(common)))) != 60 {
		t.Errorf("Common(60) = %d names: %q", len(common), common)
	}
	if common[0] != "RunInstances" {
		t.Errorf("commonest is %s", common[0])
	}
	if got := c.Common(3); !slices.Equal(got, common[:3]) {
		t.Errorf("Common(3) = %q", got)
	}
	names := c.Names(nil)
	for _, name := range common {
		if !slices.Contains(names, name) {
			t.Errorf("%s is common but no name", name)
		}
	}
}

func TestUncataloged(t *testing.T) {
	c := load(t)
	for _, tt := range []struct {
		source, name string
		want         bool
	}{
		{"ec2.amazonaws.com", "RunInstances", false},           // in the table
		{"ec2.amazonaws.com", "CreateRoute", false},            // takes no tags
		{"kms.amazonaws.com", "CreateAlias", false},            // takes no tags
		{"lambda.amazonaws.com", "CreateAlias20150331", false}, // takes no tags, dated
		{"ec2.amazonaws.com", "CreateTags", false},             // our own call
		{"ec2.amazonaws.com", "CreateWarpDrive", true},
		{"warp.amazonaws.com", "CreateDrive", true},
		{"warp.amazonaws.com", "CreateDrive20300101", true},
		{"ec2.amazonaws.com", "DescribeWarpDrives", false},
		{"ec2.amazonaws.com", "Create", false},
		{"ec2.amazonaws.com", "Runaway", false},
	} {
		if got := c.Uncataloged(tt.source, tt.name); got != tt.want {
			t.Errorf("Uncataloged(%q, %q) = %v, want %v", tt.source, tt.name, got, tt.want)
		}
	}
}

// tagAPIForm is how the table writes a call.
var tagAPIForm = regexp.MustCompile(`^([a-z0-9-]+:[A-Z][A-Za-z]+|none)$`)

func TestEveryPairIsComplete(t *testing.T) {
	pairs := load(t).Pairs()
	if len(pairs) < 1690 {
		t.Errorf("%d pairs, want at least 1,690", len(pairs))
	}
	for i, p := range pairs {
		if !tagAPIForm.MatchString(string(p.TagAPI)) {
			t.Errorf("%+v: tag API", p)
		}
		if p.TagAPI != resource.NoTagAPI && !strings.Contains(p.IAMAction, ":") {
			t.Errorf("%+v: no IAM action", p)
		}
		if !strings.HasSuffix(p.EventSource, ".amazonaws.com") || p.Service == "" || !strings.Contains(p.ResourceType, ":") {
			t.Errorf("%+v: source, service or type", p)
		}
		if strings.ContainsAny(p.EventName, " |") || p.EventName == "" {
			t.Errorf("%+v: name", p)
		}
		if i > 0 && pairs[i-1].EventSource == p.EventSource && pairs[i-1].EventName == p.EventName {
			t.Errorf("%+v comes twice", p)
		}
		if p.EventSource == "ec2.amazonaws.com" && p.TagAPI != resource.EC2CreateTags {
			t.Errorf("%+v: EC2's resources are tagged by CreateTags", p)
		}
	}
}

func TestLoadReportsEveryMalformedRow(t *testing.T) {
	good := []string{"x", "x.amazonaws.com", "CreateX", "x:x", "", "responseElements.id", "arn:{partition}:x:{region}:{account}:x/{id}", "tagging:TagResources", "x:TagResource", "", "model", "", "", ""}
	with := func(column int, cell string) []string {
		row := slices.Clone(good)
		row[column] = cell
		return row
	}
	bad := []struct {
		row  []string
		want string
	}{
		{with(0, ""), "no service"},
		{with(2, ""), "no event"},
		{with(4, "responseElements..arn"), "path"},
		{with(5, "responseElements.a b"), "path"},
		{with(6, "arn:{partition}:x:{region}:{account}:x/{Name}"), "{Name}"},
		{with(6, "arn:{partition}:x:{region}:{account}:x/"), "has no {id}"},
		{with(6, "arn:{partition}:x:{region}:{account}:x/{id|shout}"), "shout"},
		{with(6, "arn:{partition}:x:{region}:{account}:x/{id"), "closing"},
		{with(6, "x/{id}"), "not an ARN"},
		{with(7, "TagResource"), "tag call"},
		{with(8, ""), "no iam_action"},
		{with(10, "sure"), "confidence"},
		{with(11, "often"), "rank"},
		{with(12, "sometimes"), "option"},
		{with(12, "when=requestParameters.a="), "condition"},
		{with(12, "expand=everything"), "option"},
		{good[:13], "13 columns"},
		{with(0, "x|"), `bad service ""; want`},
		{with(0, "X"), "service"},
		{with(1, "x amazonaws.com"), "source"},
		{with(2, "Create X"), "event"},
		{with(3, "thing"), "type"},
		{with(8, "*"), "iam_action"},
		{with(8, "x:*"), "iam_action"},
		{with(8, "x:TagResource+"), "iam_action"},
		{with(13, "\x1b[2J"), "cannot be printed"},
		{with(13, "\xff"), "UTF-8"},
	}
	var rows [][]string
	for _, b := range bad {
		rows = append(rows, b.row, good)
	}
	_, err := catalog.Load(strings.NewReader(tsv(rows...)), strings.NewReader("no heading\n"))
	if err == nil {
		t.Fatal("no error")
	}
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != len(bad)+1 {
		t.Fatalf("%d mistakes reported, want %d:\n%v", len(lines), len(bad)+1, err)
	}
	for i, b := range bad {
		if !strings.Contains(lines[i], b.want) {
			t.Errorf("mistake %d: %s; want something about %q", i, lines[i], b.want)
		}
	}
	var first *catalog.RowError
	if !errors.As(err, &first) || first.Line != 2 {
		t.Errorf("first mistake: %+v, want line 2", first)
	}
}

// A row is corrected in one go.
func TestLoadReportsEveryMistakeOfARow(t *testing.T) {
	row := []string{"", "x.amazonaws.com", "CreateX", "x:x", "a..b", "c..d", "e", "TagX", "tag", "f..g", "sure", "often", "now later=1", ""}
	more := []string{"mine", "mine.amazonaws.com", "MakeThing", "mine:thing", "", "", "", "none", "", "", "sure", "", "", ""}
	c, err := catalog.Load(strings.NewReader(tsv(row)), named{"rows.tsv", strings.NewReader("# mine\n\n" + tsv(more))})
	var mistakes catalog.Errors
	if !errors.As(err, &mistakes) || c == nil {
		t.Fatalf("catalog %v, error %v", c, err)
	}
	want := []string{
		"extra catalog 1:2: no service; want ", `:2: bad confidence "sure"; want `, `:2: bad rank "often"; want `, `:2: bad iam_action "tag"; want `,
		`:2: bad path "a..b": `, `:2: bad path "c..d": `, `:2: bad tag call "TagX"; want `, `:2: bad path "f..g": `,
		`:2: unknown option "now"; want `, `:2: unknown option "later=1"; want `, "rows.tsv:4: bad confidence",
	}
	got := strings.Split(err.Error(), "\n")
	if len(got) != len(want) {
		t.Fatalf("%d mistakes, want %d:\n%v", len(got), len(want), err)
	}
	for i, w := range want {
		if !strings.Contains(got[i], w) {
			t.Errorf("mistake %d: %s\nwant %s", i, got[i], w)
		}
	}
	if !slices.Contains(c.Services(), "mine") {
		t.Error("a service that a row with a mistake names is not known: the configuration's use of it would look like another mistake")
	}
}

// named is a reader that says what it is called, as a file does.
type named struct {
	name string
	io.Reader
}

func (n named) Name() string { return n.name }

func TestLoadSaysWhatCannotBeRead(t *testing.T) {
	broken := iotest.ErrReader(errors.New("is a directory"))
	_, err := catalog.Load(named{"rows", broken}, strings.NewReader(""), strings.NewReader("service source\n"))
	const heading = "service source event type arn id template tag_api iam_action tags confidence common options note"
	want := "rows: cannot be read: is a directory; want a table\n" +
		"extra catalog 2: no heading; want these columns, a tab between: " + heading + "\n" +
		"extra catalog 3:1: wrong heading; want these columns, a tab between: " + heading
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// What is asked of extra rows holds of our own: the table is one that could be loaded as an extra one.
func TestTheTableIsAnExtraTable(t *testing.T) {
	own, err := os.ReadFile("catalog.tsv")
	if err != nil {
		t.Fatal(err)
	}
	if c := load(t, string(own)); !slices.Equal(c.Pairs(), load(t).Pairs()) {
		t.Error("the table loaded over itself gives other pairs")
	}
}

func TestExtraRowsReplaceThoseOfTheirEvents(t *testing.T) {
	row := []string{"mine", "ec2.amazonaws.com", "RunInstances", "mine:thing", "", "responseElements.thing", "", "none", "", "", "guess", "", "", ""}
	other := []string{"mine", "mine.amazonaws.com", "MakeThing", "mine:thing", "", "responseElements.thing", "", "none", "", "", "guess", "", "", ""}
	c := load(t, tsv(row, other))
	if !c.Known("mine.amazonaws.com", "MakeThing") || !c.Known("ec2.amazonaws.com", "CreateVolume") {
		t.Error("an event is not known")
	}
	result, ok := c.Resolve(parse(t, `{"eventSource":"ec2.amazonaws.com","eventName":"RunInstances","responseElements":{"thing":"t-1","instancesSet":{"items":[{"instanceId":"i-1"}]}}}`))
	if !ok || len(result.Resources) != 1 || result.Resources[0].Type != "mine:thing" || result.Expand != "" {
		t.Errorf("%+v", result)
	}
	if slices.Contains(c.Common(60), "RunInstances") {
		t.Error("the replaced row still counts")
	}
}

func BenchmarkLoad(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := catalog.Load(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkKnown(b *testing.B) {
	c := load(b)
	b.ReportAllocs()
	for b.Loop() {
		c.Known("lambda.amazonaws.com", "CreateFunction20291231")
	}
}

func TestKnownOfServices(t *testing.T) {
	c := load(t)
	for _, tt := range []struct {
		services     []string
		source, name string
		want         bool
	}{
		{nil, "s3.amazonaws.com", "CreateBucket", true},
		{[]string{"ec2"}, "s3.amazonaws.com", "CreateBucket", false},
		{[]string{"ec2", "s3"}, "s3.amazonaws.com", "CreateBucket", true},
		{[]string{"lambda"}, "lambda.amazonaws.com", "CreateFunction20990101", true},
		{[]string{"ec2"}, "lambda.amazonaws.com", "CreateFunction20990101", false},
		{[]string{"wisdom"}, "wisdom.amazonaws.com", "CreateSession", true}, // of several services
		{nil, "ec2.amazonaws.com", "DescribeInstances", false},
	} {
		if got := c.KnownOf(tt.services, tt.source, tt.name); got != tt.want {
			t.Errorf("KnownOf(%v, %s, %s) = %v, want %v", tt.services, tt.source, tt.name, got, tt.want)
		}
	}
}
