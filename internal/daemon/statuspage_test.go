package daemon

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	"go.uber.org/zap"
	"golang.org/x/net/html"

	"github.com/autotagd/autotagd/internal/fakeaws"
	"github.com/autotagd/autotagd/pkg/checkpoint"
	"github.com/autotagd/autotagd/pkg/config"
	"github.com/autotagd/autotagd/pkg/event"
	"github.com/autotagd/autotagd/pkg/resource"
)

// hostile are names that a Record might hold.
var hostile = []string{
	`<script>document.title="owned"</script>`,
	`"><img src=x onerror=alert(1)>`,
	`'--></style></script><svg onload=alert(1)>`,
	`{{.Version}}</bdi></td></table><h1>owned`,
	"\x1b[31mred\x00\x07\r\n<b>",
	"\u202egnp.exe\u2066\u200b\ufeff",
	`javascript:alert(1)`,
	"\xff\xfe broken UTF-8",
	strings.Repeat("long", 5000),
	strings.Repeat("é<", 5000),
}

// hostileStatus has every hostile text in every place that a Record fills.
func hostileStatus(now time.Time) status {
	r := newRecent(now.Add(-26 * time.Hour))
	for i, text := range hostile {
		j := resource.Job{
			Event:    resource.EventRef{ID: text, Name: text, Source: text, Time: now, Scope: event.Scope{AccountID: "111122223333", Region: "eu-central-1"}},
			Resource: resource.Resource{ARN: text, ID: text, Type: text},
			Owner:    text, LastReason: resource.AccessDenied, LastError: text,
		}
		r.ended(resource.Outcome{Job: j, Kind: resource.Tagged, Detail: text, At: now.Add(-time.Duration(i) * time.Hour)})
		r.ended(resource.Outcome{Job: j, Kind: resource.Missed, Reason: resource.Reasons()[i%len(resource.Reasons())], Detail: text, At: now})
		r.deferred(j)
	}
	p := status{
		Version: "v1.2.3", Commit: "0123456", Replica: event.Printable(hostile[0], maxLogged), Now: now, Up: 26 * time.Hour,
		Healthy: errors.New(hostile[1]), Ready: errors.New(hostile[0]), Held: 1700, Wanted: 2000,
	}
	r.show(&p)
	p.take(manyScopes(now, 1700))
	return p
}

// manyScopes are n Scopes, 30 of which are behind, 20 cannot be begun, 10 fail, and some have something that waits.
func manyScopes(now time.Time, n int) []standing {
	cfg := config.Default()
	all := make([]standing, 0, n)
	for i := range n {
		id := event.Scope{AccountID: fmt.Sprintf("%012d", i/17), Region: fmt.Sprintf("xx-test-%d", i%17)}
		sum := checkpoint.Summary{Watermark: now.Add(-time.Minute), Floor: now.Add(-40 * time.Minute)}
		var err error
		switch {
		case i%100 == 7 && i/100 < 10:
			err = errors.New("AccessDeniedException: " + hostile[i/100])
		case i%50 == 3 && i/50 < 30:
			sum.Watermark = now.Add(-time.Duration(i+30) * time.Minute)
			sum.Spans, sum.Backlog = 1, 90*24*time.Hour
		case i%80 == 11 && i/80 < 20:
			all = append(all, standing{ID: id, Condition: stuck, Problem: event.Printable("no role: "+hostile[0], maxLogged)})
			continue
		case i%2 == 0:
			sum.Deferred = i % 7
		}
		if i > n-3 {
			sum = checkpoint.Summary{}
		}
		all = append(all, stand(&cfg, id, sum, err, now))
	}
	return all
}

// render asks a page for s, and returns the answer and the page as a tree.
func render(t *testing.T, s status, target string) (*httptest.ResponseRecorder, *html.Node) {
	t.Helper()
	w := httptest.NewRecorder()
	newStatusPage(func() status { return s }, zap.NewNop()).ServeHTTP(w, httptest.NewRequest(http.MethodGet, target, nil))
	if w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	tree, err := html.Parse(strings.NewReader(w.Body.String()))
	if err != nil {
		t.Fatal(err)
	}
	return w, tree
}

// elements returns the elements of that name below n; of every name for "".
func elements(n *html.Node, name string) []*html.Node {
	var all []*html.Node
	for d := range n.Descendants() {
		if d.Type == html.ElementNode && (name == "" || d.Data == name) {
			all = append(all, d)
		}
	}
	return all
}

func attribute(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

// text is what is to be read in n, on one line.
func text(n *html.Node) string {
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode && d.Parent.Data != "style" {
			b.WriteString(d.Data + " ")
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

// Invariant 6, for people: whatever a Record says is text on the page, bounded, and steers nothing.
func TestStatusPageEscapesWhatRecordsSay(t *testing.T) {
	t.Parallel()
	w, tree := render(t, hostileStatus(time.Now()), "/")
	body := w.Body.String()
	allowed := strings.Fields("html head meta title style body a header div h1 h2 p ul li strong nav main section dl dt dd small table caption em code thead tbody tr th td span time bdi footer")
	for _, e := range elements(tree, "") {
		if !slices.Contains(allowed, e.Data) {
			t.Errorf("there is a <%s>: %.200q", e.Data, text(e))
		}
		for _, a := range e.Attr {
			if strings.HasPrefix(a.Key, "on") || a.Key == "style" || a.Key == "src" {
				t.Errorf("<%s %s=%q>", e.Data, a.Key, a.Val)
			}
			if a.Key == "href" && !slices.Contains([]string{"/metrics", "/-/healthy", "/-/ready", "/?refresh", "#scopes", "#missed", "#waiting", "#tagged"}, a.Val) {
				t.Errorf("a link to %q", a.Val)
			}
		}
	}
	for i, r := range body {
		if r != '\n' && !unicode.IsPrint(r) && r != '\u00a0' && r != '\u202f' {
			t.Errorf("character %U at %d: %.60q", r, i, body[max(0, i-30):])
			break
		}
	}
	shown := text(tree)
	for _, want := range []string{`<script>document.title="owned"</script>`, `"><img src=x onerror=alert(1)>`, `{{.Version}}</bdi>`, `\x1b[31mred\x00\a\r\n<b>`, `\u202egnp.exe\u2066\u200b\ufeff`, `\xff\xfe broken UTF-8`} {
		if strings.Count(shown, want) < 4 {
			t.Errorf("%q is not shown as text", want)
		}
	}
	for _, e := range elements(tree, "td") {
		if n := len(text(e)); n > 3*maxRecentText {
			t.Errorf("a cell of %d bytes: %.80q", n, text(e))
		}
	}
}

// The page is one that a screen reader, a keyboard and a phone can use, and that runs nothing.
func TestStatusPageStructure(t *testing.T) {
	t.Parallel()
	w, tree := render(t, hostileStatus(time.Now()), "/")
	style := elements(tree, "style")
	if len(style) != 1 {
		t.Fatalf("%d style elements", len(style))
	}
	sum := sha256.Sum256([]byte(style[0].FirstChild.Data))
	policy := w.Header().Get("Content-Security-Policy")
	if want := "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "';"; !strings.HasPrefix(policy, want) {
		t.Errorf("Content-Security-Policy %q, want %s", policy, want)
	}
	for _, must := range []string{"base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"} {
		if !strings.Contains(policy, must) {
			t.Errorf("Content-Security-Policy %q lacks %s", policy, must)
		}
	}
	if got := w.Header().Get("Content-Type"); got != "text/html; charset=utf-8" {
		t.Errorf("Content-Type %q", got)
	}
	if got := attribute(elements(tree, "html")[0], "lang"); got != "en" {
		t.Errorf("lang %q", got)
	}
	for name, want := range map[string]int{"h1": 1, "h2": 5, "main": 1, "header": 1, "footer": 1, "nav": 1, "title": 1, "table": 4} {
		if got := len(elements(tree, name)); got != want {
			t.Errorf("%d <%s>, want %d", got, name, want)
		}
	}
	ids := map[string]bool{}
	for _, e := range elements(tree, "") {
		if id := attribute(e, "id"); id != "" {
			if ids[id] {
				t.Errorf("two elements have the id %q", id)
			}
			ids[id] = true
		}
	}
	for _, s := range elements(tree, "section") {
		if by := attribute(s, "aria-labelledby"); !ids[by] {
			t.Errorf("a section is labelled by %q, which is nothing", by)
		}
	}
	for _, a := range elements(tree, "a") {
		if to, inside := strings.CutPrefix(attribute(a, "href"), "#"); inside && !ids[to] {
			t.Errorf("a link to #%s, which is nothing", to)
		}
	}
	if skip := elements(tree, "a")[0]; attribute(skip, "href") != "#scopes" {
		t.Error("the first link doesn't skip to the Scopes")
	}
	for _, table := range elements(tree, "table") {
		if len(elements(table, "caption")) != 1 {
			t.Error("a table has no caption")
		}
		columns := len(elements(elements(table, "thead")[0], "th"))
		for _, h := range elements(table, "th") {
			if want := map[bool]string{true: "col", false: "row"}[h.Parent.Parent.Data == "thead"]; attribute(h, "scope") != want {
				t.Errorf("scope of %q is %q, want %s", text(h), attribute(h, "scope"), want)
			}
		}
		for _, row := range elements(elements(table, "tbody")[0], "tr") {
			if heads := elements(row, "th"); len(heads) != 1 || len(heads)+len(elements(row, "td")) != columns {
				t.Fatalf("a row has %d heads and %d cells, of %d columns", len(heads), len(elements(row, "td")), columns)
			}
		}
	}
	for _, e := range elements(tree, "time") {
		if _, err := time.Parse(time.RFC3339, attribute(e, "datetime")); err != nil {
			t.Error(err)
		}
	}
	if len(elements(tree, "meta")) != 4 {
		t.Errorf("%d meta elements: it renews itself without being asked to", len(elements(tree, "meta")))
	}
	_, renewing := render(t, hostileStatus(time.Now()), "/?refresh")
	found := false
	for _, m := range elements(renewing, "meta") {
		found = found || attribute(m, "http-equiv") == "refresh" && attribute(m, "content") == "30"
	}
	if !found {
		t.Error("/?refresh does not renew itself")
	}
}

// With 1,700 Scopes those with trouble are shown, the others counted.
func TestStatusPageOfManyScopes(t *testing.T) {
	t.Parallel()
	now := time.Now()
	s := hostileStatus(now)
	if s.Behind != 30 || s.Stuck != 20 || s.Hidden != 1600 || len(s.Scopes) != 100 {
		t.Errorf("%d behind, %d stuck, %d shown, %d hidden; want 30, 20, 100, 1600", s.Behind, s.Stuck, len(s.Scopes), s.Hidden)
	}
	w, tree := render(t, s, "/")
	rows := elements(elements(elements(tree, "table")[0], "tbody")[0], "tr")
	var states []string
	for _, row := range rows {
		words := strings.Fields(text(elements(row, "td")[1]))
		if len(states) == 0 || states[len(states)-1] != words[0] {
			states = append(states, words[0])
		}
	}
	if want := []string{"cannot", "behind", "failing", "starting", "ok"}; len(rows) != 100 || !slices.Equal(states, want) {
		t.Errorf("%d rows, in the order %q, want 100 in the order %q", len(rows), states, want)
	}
	all := text(tree)
	for _, want := range []string{"Scopes behind 30 of 1700 held here; 20 cannot begin", "1600 more Scopes", "This process holds 1700 of 2000", "Since the start, 1 d 2 h ago"} {
		if !strings.Contains(strings.ReplaceAll(all, "\u00a0", " "), want) {
			t.Errorf("it does not say %q", want)
		}
	}
	if w.Body.Len() > 500<<10 {
		t.Errorf("the page has %d bytes", w.Body.Len())
	}
	t.Logf("%d bytes", w.Body.Len())
}

// What is kept for the page is bounded, however many resources there are and whatever they are called; what waited and has ended is
// not shown as waiting.
func TestRecentIsBounded(t *testing.T) {
	t.Parallel()
	r := newRecent(time.Now())
	long := strings.Repeat("x", 1<<20)
	a, b := event.Scope{AccountID: "1", Region: "a"}, event.Scope{AccountID: "1", Region: "b"}
	job := func(i int, s event.Scope) resource.Job {
		return resource.Job{Event: resource.EventRef{ID: fmt.Sprint(i), Scope: s}, Resource: resource.Resource{ARN: long}, Owner: long, LastError: long}
	}
	for i := range 200 {
		r.ended(resource.Outcome{Job: job(i, a), Kind: resource.OutcomeKinds()[i%6], Detail: long, At: time.Now()})
		r.deferred(job(i, a))
		r.deferred(job(i, a)) // again: it is one
	}
	var s status
	r.show(&s)
	if len(s.Tagged) != maxRecent || len(s.Missed) != 33 || len(s.Waiting) != maxRecent || s.Deferrals != 400 {
		t.Errorf("%d tagged, %d missed, %d waiting, %d deferrals; want 50, 33, 50, 400", len(s.Tagged), len(s.Missed), len(s.Waiting), s.Deferrals)
	}
	if s.Waiting[0].EventID != "199" || s.Waiting[49].EventID != "150" {
		t.Errorf("waiting are %s to %s, want 199 to 150", s.Waiting[0].EventID, s.Waiting[49].EventID)
	}
	total := 0
	for _, f := range slices.Concat(s.Tagged, s.Missed, s.Waiting) {
		total += len(f.EventID) + len(f.EventName) + len(f.Resource) + len(f.Type) + len(f.Owner) + len(f.Detail)
	}
	if total > 512<<10 {
		t.Errorf("%d bytes of text are kept", total)
	}
	r.ended(resource.Outcome{Job: job(199, a), Kind: resource.Gone})
	r.wait(job(1000, b))
	r.forget(a)
	r.show(&s)
	if len(s.Waiting) != 1 || s.Waiting[0].EventID != "1000" {
		t.Errorf("%d wait after their Scope was given away", len(s.Waiting))
	}
}

// However many ask at once, the Scopes are asked once a second.
func TestStatusPageIsMadeOnceASecond(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		asked := 0 // under the page's lock
		p := newStatusPage(func() status { asked++; return status{} }, zap.NewNop())
		for i := range 100 {
			if i == 50 {
				time.Sleep(statusAge)
			}
			go p.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, []string{"/", "/?refresh"}[i%2], nil))
		}
		synctest.Wait()
		if asked != 2 {
			t.Errorf("%d times, want 2", asked)
		}
	})
}

func TestStanding(t *testing.T) {
	t.Parallel()
	now, cfg := time.Now(), config.Default()
	for name, c := range map[string]struct {
		watermark, floor time.Duration // before now; 0 is not known
		err              error
		want             scopeState
	}{
		"as it should be":               {time.Minute, 36 * time.Minute, nil, good},
		"a final pass by name":          {time.Minute, 2 * time.Hour, nil, good},
		"a mark of the future":          {-time.Minute, 30 * time.Minute, nil, good},
		"a busy Scope":                  {5 * time.Minute, 40 * time.Minute, nil, good},
		"head scans don't come through": {time.Hour, 40 * time.Minute, nil, behind},
		"final passes don't":            {time.Minute, 5 * time.Hour, nil, behind},
		"denied lately":                 {time.Minute, 36 * time.Minute, errors.New("denied"), failing},
		"denied for long":               {time.Hour, 36 * time.Minute, errors.New("denied"), behind},
		"denied from the start":         {0, 0, errors.New("denied"), failing},
		"nothing yet":                   {0, 0, nil, starting},
	} {
		at := func(d time.Duration) time.Time {
			if d == 0 {
				return time.Time{}
			}
			return now.Add(-d)
		}
		got := stand(&cfg, event.Scope{}, checkpoint.Summary{Watermark: at(c.watermark), Floor: at(c.floor)}, c.err, now)
		if got.Condition != c.want || (got.Problem != "") != (c.err != nil) {
			t.Errorf("%s: %s %q, want %s", name, got.Condition, got.Problem, c.want)
		}
	}
}

func TestStatusWords(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		0: "0 s", 400 * time.Millisecond: "0 s", 59 * time.Second: "59 s", time.Minute: "1 min", 61 * time.Minute: "1 h 1 min", 25 * time.Hour: "1 d 1 h", 24 * time.Hour: "1 d", 90*24*time.Hour + time.Minute: "90 d",
	} {
		if got := ago(d); strings.ReplaceAll(got, "\u00a0", " ") != want {
			t.Errorf("%s: %q, want %q", d, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1 000", 1234567: "1 234 567"} {
		if got := number(n); strings.ReplaceAll(got, "\u202f", " ") != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
	now := time.Date(2026, 3, 1, 1, 0, 0, 0, time.UTC)
	if a, b := statusInstant(now.Add(-time.Minute), now), statusInstant(now.Add(-2*time.Hour), now); a != "00:59:00" || b != "2026-02-28 23:00:00" {
		t.Errorf("%q, %q", a, b)
	}
}

// The page of a real daemon has what became of each resource, and a Scope whose role is refused.
func TestStatusOfADaemon(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, "{global_region: off, tagging: {defer_after: 1m}}", fakeaws.Config{})
		w.cloud.Deny("sqs:TagQueue")
		r := w.start()
		page := func() string {
			synctest.Wait()
			_, tree := render(t, r.daemon.status(), "/")
			return strings.ReplaceAll(text(tree), "\u00a0", " ")
		}
		if got := page(); !strings.Contains(got, "Scope") {
			t.Errorf("at once: %s", got)
		}
		time.Sleep(time.Minute)
		volume := w.cloud.Create(w.cloud.Scope(), "CreateVolume", fakeaws.IAMUser("alice"), fakeaws.Spec{Delay: -1})
		queue := w.cloud.Create(w.cloud.Scope(), "CreateQueue", fakeaws.IAMUser("bob"), fakeaws.Spec{Delay: -1})
		time.Sleep(10 * time.Minute)
		got := page()
		tagged, waiting := strings.Index(got, "Last tagged"), strings.Index(got, "Resources whose tagging failed")
		for what, at := range map[string]int{volume.EventID: tagged, queue.EventID: waiting} {
			if i := strings.Index(got, what); at < 0 || i < at || at == waiting && i > tagged {
				t.Errorf("%s is not where it should be in: %s", what, got)
			}
		}
		for _, want := range []string{"Tagged 1 ", "Deferred 1 waiting now: 1", "eu-central-1 ok", "Scopes behind 0 of 1 held here", "access_denied", "autotagd test (commit test)"} {
			if !strings.Contains(got, want) {
				t.Errorf("it does not say %q: %s", want, got)
			}
		}
		r.stop()

		// Another life knows what waits, and forgets it once it has ended.
		r = w.start()
		time.Sleep(5 * time.Second)
		if got := page(); !strings.Contains(got, queue.EventID) || !strings.Contains(got, "waiting now: 1") {
			t.Errorf("after a restart: %s", got)
		}
		w.cloud.Allow("sqs:TagQueue")
		time.Sleep(10 * time.Minute)
		if got := page(); !strings.Contains(got, "Nothing waits to be tried again.") || !strings.Contains(got, "waiting now: 0") {
			t.Errorf("after it was granted: %s", got)
		}
		r.stop()
	})
}

// Scopes that cannot be begun are known until they are begun, are another's, or are not ours any more.
func TestFleetKnowsWhatCannotBeBegun(t *testing.T) {
	t.Parallel()
	var f fleet
	ids := make([]event.Scope, 4)
	for i := range ids {
		ids[i] = event.Scope{AccountID: "111122223333", Region: fmt.Sprint(i)}
		f.fail(ids[i], errors.New("no role\x1b"))
	}
	f.want(ids[:3])
	f.leave(ids[1])
	f.add(&scope{id: ids[2]})
	got, wanted := f.failing()
	if len(got) != 1 || got[ids[0]] != `no role\x1b` || wanted != 3 {
		t.Errorf("%q of %d, want the first of 3", got, wanted)
	}
}
