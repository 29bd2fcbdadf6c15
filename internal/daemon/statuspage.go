package daemon

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/autotagd/autotagd/pkg/resource"
)

//go:embed statuspage.html
var statusHTML string

//go:embed statuspage.css
var statusCSS string

const (
	// statusAge is for how long a page is good: however many ask, the Scopes are asked no more often.
	statusAge = time.Second
	// statusRefresh is how often a page that was asked to renews itself, in seconds. It is not by itself: that would take what
	// somebody is reading from under the eyes.
	statusRefresh = 30
)

// statusPage is the page for people. Nothing in it runs: whatever a Record says is text.
type statusPage struct {
	status   func() status
	template *template.Template
	policy   string
	log      *zap.Logger

	mu    sync.Mutex // guards what follows, and is held while a page is made: who comes meanwhile gets the same
	made  time.Time
	pages [2][]byte // plain, and renewing itself
}

func newStatusPage(show func() status, log *zap.Logger) *statusPage {
	sum := sha256.Sum256([]byte(statusCSS))
	return &statusPage{
		status: show, log: log,
		template: template.Must(template.New("status").Funcs(template.FuncMap{
			"ago": ago, "instant": statusInstant, "remedies": remedies, "number": number,
		}).Parse(statusHTML)),
		policy: "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
			"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
	}
}

// ServeHTTP implements http.Handler.
func (p *statusPage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	page, err := p.page(r.URL.Query().Has("refresh"))
	if err != nil {
		p.log.Error("the status page cannot be made", zap.Error(err))
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(len(page)))
	h.Set("Content-Security-Policy", p.policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	_, _ = w.Write(page) // the client may be gone; nothing is lost
}

func (p *statusPage) page(refresh bool) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := time.Now(); p.made.IsZero() || now.Sub(p.made) >= statusAge {
		data := struct {
			status
			Style   template.CSS
			Refresh int // in seconds; 0: it stays as it is
			Every   int
			Max     int
		}{status: p.status(), Style: template.CSS(statusCSS), Every: statusRefresh, Max: maxRecent}
		var pages [2][]byte
		for i := range pages {
			data.Refresh = i * statusRefresh
			var b bytes.Buffer
			if err := p.template.Execute(&b, data); err != nil {
				return nil, err
			}
			pages[i] = b.Bytes()
		}
		p.pages, p.made = pages, now
	}
	if refresh {
		return p.pages[1], nil
	}
	return p.pages[0], nil
}

// Count returns how many resources ended so, or so: a template can't add.
func (s status) Count(kinds ...string) int64 {
	var n int64
	for _, k := range kinds {
		n += s.Counts[resource.OutcomeKind(k)]
	}
	return n
}

// Title says how things are in a browser's tab.
func (s status) Title() string {
	switch {
	case s.Healthy != nil:
		return "not healthy"
	case s.Stuck > 0:
		return fmt.Sprintf("%s cannot begin", plural(s.Stuck, "Scope"))
	case s.Behind > 0:
		return fmt.Sprintf("%s behind", plural(s.Behind, "Scope"))
	case s.Ready != nil:
		return "starting"
	}
	return "running"
}

// Class marks what needs a look. No color says anything that a word doesn't.
func (c scopeState) Class() string {
	switch c {
	case stuck, behind:
		return "bad"
	case failing, starting:
		return "wary"
	case good:
	}
	return "good"
}

// remedies says of each Reason among fates what helps.
func remedies(fates []fate) []remedy {
	var all []remedy
	for _, r := range resource.Reasons() {
		if slices.ContainsFunc(fates, func(f fate) bool { return f.Reason == r }) {
			all = append(all, remedy{r, remedyOf(r)})
		}
	}
	return all
}

type remedy struct {
	Reason resource.Reason
	Text   string
}

func remedyOf(r resource.Reason) string {
	switch r {
	case resource.AccessDenied:
		return "The identity may not tag this kind: grant the action. What waits is then tagged by itself."
	case resource.TagLimit:
		return "The resource has 50 tags: remove one."
	case resource.Invalid:
		return "AWS refuses the tag or the resource for good: see the detail."
	case resource.Unresolved:
		return "The record does not say what was made: tag it by hand."
	case resource.Unsupported:
		return "autotagd has no call that tags it and does nothing else: tag it when it is made."
	case resource.Exhausted:
		return "It failed for as long as it was tried: see the detail."
	}
	return ""
}

// ago is a length of time for people, in the two largest units.
func ago(d time.Duration) string {
	d = d.Round(time.Second)
	units := []struct {
		length time.Duration
		name   string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "min"}, {time.Second, "s"}}
	for i, u := range units {
		if d < u.length {
			continue
		}
		text := fmt.Sprintf("%d %s", d/u.length, u.name)
		if i+1 < len(units) {
			if rest := d % u.length / units[i+1].length; rest > 0 {
				text += fmt.Sprintf(" %d %s", rest, units[i+1].name)
			}
		}
		return strings.ReplaceAll(text, " ", " ") // never broken over two lines
	}
	return "0 s"
}

// statusInstant is a time for people who look at now: in UTC, with the day where that is another.
func statusInstant(t, now time.Time) string {
	t, now = t.UTC(), now.UTC()
	if t.YearDay() == now.YearDay() && t.Year() == now.Year() {
		return t.Format("15:04:05")
	}
	return t.Format("2006-01-02 15:04:05")
}

// number groups the digits of n.
func number(n int64) string {
	digits := strconv.FormatInt(n, 10)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + " " + digits[i:]
	}
	return digits
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
