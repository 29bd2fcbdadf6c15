package daemon

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
)

// The status page in a browser: that its styles pass its own policy, that it fits phones and desks, that its colors can be read in
// both schemes, that a keyboard reaches everything, and that nothing in it runs. AUTOTAGD_SCREENSHOTS=DIR keeps what it looks like.
func TestStatusPageInChromium(t *testing.T) {
	if os.Getenv("AUTOTAGD_SLOW") == "" {
		t.Skip("needs a browser: AUTOTAGD_SLOW=1 runs it, as make check does")
	}
	now := time.Now()
	well := status{Version: "v1.2.3", Commit: "0123456", Now: now, Up: time.Minute, Held: 2, Wanted: 2}
	well.take(manyScopes(now, 2))
	b := startBrowser(t)
	for name, show := range map[string]status{"hostile": hostileStatus(now), "well": well} {
		w := startPort(t, webOptions{Page: newStatusPage(func() status { return show }, zap.NewNop())}, nil)
		for _, width := range []int{320, 768, 1280, 1400} {
			for _, scheme := range []string{"light", "dark"} {
				t.Run(fmt.Sprint(name, "-", width, "-", scheme), func(t *testing.T) {
					b.t = t
					b.open("http://"+w.Addr()+"/", width, scheme)
					b.looks(width, scheme)
					b.readable()
					b.runsNothing()
					b.tables(len(show.Scopes), len(show.Missed), len(show.Waiting), len(show.Tagged))
					b.keyboard()
					b.screenshot(t.Name())
				})
			}
		}
	}
}

// looks checks that the styles are in force and that nothing is wider than the window.
func (b *browser) looks(width int, scheme string) {
	b.t.Helper()
	var page struct {
		Background string
		Width      int
		Wide       []string
	}
	b.evaluate(strings.ReplaceAll(`({
		Background: getComputedStyle(document.body).backgroundColor,
		Width: document.documentElement.scrollWidth,
		Wide: [...document.querySelectorAll("body *:not(.skip)")].filter(e => e.getBoundingClientRect().right > WIDTH + 1)
			.map(e => e.tagName + " " + e.textContent.slice(0, 60)),
	})`, "WIDTH", fmt.Sprint(width)), &page)
	if want := map[string]string{"light": "rgb(246, 247, 249)", "dark": "rgb(18, 22, 28)"}[scheme]; page.Background != want {
		b.t.Errorf("the background is %s, want %s: are the styles in force?", page.Background, want)
	}
	if page.Width > width || len(page.Wide) > 0 {
		b.t.Errorf("in a window of %d the page is %d wide; too wide are %.500q", width, page.Width, page.Wide)
	}
}

// readable checks the contrast of every text with what is behind it: WCAG 2.2 AA asks for 4.5.
func (b *browser) readable() {
	b.t.Helper()
	var found struct {
		Texts int
		Bad   []string
		Small []string
	}
	b.evaluate(`(() => {
		const channel = c => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
		const rgb = text => text.match(/[\d.]+/g).map(Number);
		const light = c => 0.2126 * channel(c[0]) + 0.7152 * channel(c[1]) + 0.0722 * channel(c[2]);
		const behind = e => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor); if (c.length < 4 || c[3] == 1) return c; } return [255, 255, 255]; };
		const out = {Texts: 0, Bad: [], Small: []}, walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
		for (let n; n = walker.nextNode();) {
			if (!n.data.trim()) continue;
			out.Texts++;
			const style = getComputedStyle(n.parentElement);
			const [a, z] = [light(rgb(style.color)), light(behind(n.parentElement))].sort((x, y) => y - x);
			const ratio = (a + 0.05) / (z + 0.05), what = n.data.trim().slice(0, 40);
			if (ratio < 4.5) out.Bad.push(ratio.toFixed(2) + " " + what);
			if (parseFloat(style.fontSize) < 12) out.Small.push(style.fontSize + " " + what);
		}
		return out;
	})()`, &found)
	if len(found.Bad) > 0 {
		b.t.Errorf("too little contrast: %.300q", found.Bad)
	}
	if len(found.Small) > 0 {
		b.t.Errorf("too small: %.300q", found.Small)
	}
	if found.Texts < 30 {
		b.t.Errorf("%d texts: the test shows nothing", found.Texts)
	}
}

// runsNothing checks that the page has no script, that no name became one, and that the browser refused nothing of it.
func (b *browser) runsNothing() {
	b.t.Helper()
	var page struct {
		Title   string
		Scripts int
		Images  int
		Asked   []string
	}
	b.evaluate(`({Title: document.title, Scripts: document.scripts.length, Images: document.images.length,
		Asked: performance.getEntriesByType("resource").map(r => r.name)})`, &page)
	if !strings.HasPrefix(page.Title, "autotagd: ") || page.Scripts+page.Images+len(page.Asked) > 0 {
		b.t.Errorf("%+v", page)
	}
	for _, said := range b.said {
		if strings.Contains(said, "Content Security Policy") || strings.Contains(said, "Content-Security-Policy") {
			b.t.Errorf("the browser says %s", said)
		}
	}
}

// tables checks that tables are tables for a screen reader too, also where they look like cards.
func (b *browser) tables(rows ...int) {
	b.t.Helper()
	var tree struct {
		Nodes []struct {
			Ignored bool
			Role    struct{ Value string }
			Name    struct{ Value string }
		}
	}
	b.call("Accessibility.getFullAXTree", nil, &tree)
	got := map[string]int{}
	for _, n := range tree.Nodes {
		if !n.Ignored {
			got[n.Role.Value]++
		}
	}
	want := map[string]int{}
	columns := []int{7, 5, 5, 4}
	for i, n := range rows {
		if n > 0 {
			want["table"]++
			want["row"] += n + 1
			want["rowheader"] += n
			want["columnheader"] += columns[i]
			want["cell"] += n * (columns[i] - 1)
		}
	}
	for _, role := range slices.Sorted(maps.Keys(want)) {
		if got[role] != want[role] {
			b.t.Errorf("a screen reader finds %d of role %s, want %d", got[role], role, want[role])
		}
	}
}

// keyboard checks that Tab goes through all links, each seen when it has the focus, and that the first skips to the Scopes.
func (b *browser) keyboard() {
	b.t.Helper()
	var at struct {
		Href, Outline, ID  string
		Seen               bool
		Width, Left, Right float64
	}
	const active = `(() => { const e = document.activeElement, r = e.getBoundingClientRect(), s = getComputedStyle(e);
		return {Href: e.getAttribute("href") ?? "", ID: e.id, Outline: s.outlineStyle, Width: parseFloat(s.outlineWidth), Left: r.left, Right: r.right,
			Seen: r.left >= 0 && r.right <= innerWidth && r.top >= 0 && r.bottom <= innerHeight && r.width > 0}; })()`
	for _, href := range []string{"#scopes", "/metrics", "/-/healthy", "/-/ready", "/?refresh", "#tagged", "#missed", "#waiting", "#scopes"} {
		b.press("Tab", 9)
		b.evaluate(active, &at)
		if at.Href != href || !at.Seen || at.Outline != "solid" || at.Width < 2 {
			b.t.Errorf("Tab leads to %+v, want %s, seen and outlined", at, href)
		}
	}
	b.evaluate(`document.querySelector(".skip").focus()`, nil)
	b.press("Enter", 13)
	b.evaluate(active, &at)
	if at.ID != "scopes" {
		b.t.Errorf("the first link leads to %+v, want the Scopes", at)
	}
}

// browser is a headless Chromium, spoken to over pipes in its DevTools protocol.
type browser struct {
	t       *testing.T // the test that it works for now
	to      *os.File
	from    *os.File
	reader  *bufio.Reader
	last    int
	session string
	said    []string // what its console has, since the page was opened
}

func startBrowser(t *testing.T) *browser {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		const how = "there is no chromium: on Debian, apt-get install chromium fonts-dejavu-core"
		if os.Getenv("AUTOTAGD_REQUIRE_CHROMIUM") != "" {
			t.Fatal(how)
		}
		t.Skip(how)
	}
	theirIn, to, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	from, theirOut, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr strings.Builder
	cmd := exec.Command(path, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking",
		"--user-data-dir="+t.TempDir(), "--remote-debugging-pipe", "about:blank")
	cmd.ExtraFiles = []*os.File{theirIn, theirOut} // 3 and 4
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	theirIn.Close()
	theirOut.Close()
	b := &browser{t: t, to: to, from: from, reader: bufio.NewReader(from)}
	t.Cleanup(func() {
		b.t, b.session = t, ""
		b.call("Browser.close", nil, nil)
		waited := make(chan error, 1)
		go func() { waited <- cmd.Wait() }()
		select {
		case <-waited:
		case <-time.After(20 * time.Second):
			_ = cmd.Process.Kill()
			<-waited
		}
		to.Close()
		from.Close()
		if t.Failed() {
			t.Logf("chromium said %s", stderr.String())
		}
	})
	var target struct {
		TargetID  string `json:"targetId"`
		SessionID string `json:"sessionId"`
	}
	b.call("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	b.call("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &target)
	b.session = target.SessionID
	b.call("Log.enable", nil, nil)
	b.call("Page.enable", nil, nil)
	b.call("Accessibility.enable", nil, nil)
	return b
}

// call does one command and unmarshals its result into out, if that is not nil.
func (b *browser) call(method string, params, out any) {
	b.t.Helper()
	b.last++
	message := map[string]any{"id": b.last, "method": method}
	if params != nil {
		message["params"] = params
	}
	if b.session != "" {
		message["sessionId"] = b.session
	}
	text, err := json.Marshal(message)
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.to.Write(append(text, 0)); err != nil {
		b.t.Fatalf("%s: %v", method, err)
	}
	for {
		if err := b.from.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			b.t.Fatal(err)
		}
		line, err := b.reader.ReadBytes(0)
		if err != nil {
			b.t.Fatalf("%s: no answer: %v", method, err)
		}
		var answer struct {
			ID     int
			Method string
			Error  json.RawMessage
			Result json.RawMessage
			Params struct{ Entry struct{ Text string } }
		}
		if err := json.Unmarshal(line[:len(line)-1], &answer); err != nil {
			b.t.Fatalf("%s: %v", method, err)
		}
		switch {
		case answer.Method == "Log.entryAdded":
			b.said = append(b.said, answer.Params.Entry.Text)
		case answer.ID != b.last:
		case answer.Error != nil:
			b.t.Fatalf("%s: %s", method, answer.Error)
		default:
			if out != nil {
				if err := json.Unmarshal(answer.Result, out); err != nil {
					b.t.Fatalf("%s: %v", method, err)
				}
			}
			return
		}
	}
}

// evaluate runs a script in the page, as its own policy does not hold for us, and unmarshals what it gives.
func (b *browser) evaluate(script string, out any) {
	b.t.Helper()
	var answer struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails json.RawMessage
	}
	b.call("Runtime.evaluate", map[string]any{"expression": script, "returnByValue": true}, &answer)
	if answer.ExceptionDetails != nil {
		b.t.Fatalf("%s", answer.ExceptionDetails)
	}
	if out != nil {
		if err := json.Unmarshal(answer.Result.Value, out); err != nil {
			b.t.Fatal(err)
		}
	}
}

// open loads a page in a window of that width.
func (b *browser) open(url string, width int, scheme string) {
	b.t.Helper()
	b.said = nil
	b.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}, nil)
	b.call("Emulation.setEmulatedMedia", map[string]any{"features": []any{map[string]any{"name": "prefers-color-scheme", "value": scheme}}}, nil)
	b.call("Page.navigate", map[string]any{"url": "about:blank"}, nil)
	b.call("Page.navigate", map[string]any{"url": url}, nil)
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		var at string
		b.evaluate(`document.readyState + " " + location.href`, &at)
		if at == "complete "+url {
			return
		}
		if time.Now().After(end) {
			b.t.Fatalf("the page does not load: %s", at)
		}
	}
}

func (b *browser) press(key string, code int) {
	b.t.Helper()
	for _, kind := range []string{"rawKeyDown", "char", "keyUp"} {
		params := map[string]any{"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code}
		if key == "Enter" {
			params["text"] = "\r"
		} else if kind == "char" {
			continue
		}
		b.call("Input.dispatchKeyEvent", params, nil)
	}
}

func (b *browser) screenshot(name string) {
	b.t.Helper()
	dir := os.Getenv("AUTOTAGD_SCREENSHOTS")
	if dir == "" {
		return
	}
	b.evaluate(`document.activeElement.blur(); scrollTo(0, 0)`, nil)
	var shot struct{ Data string }
	b.call("Page.captureScreenshot", map[string]any{"captureBeyondViewport": true, "clip": map[string]any{"x": 0, "y": 0, "width": 1400, "height": 2400, "scale": 1}}, &shot)
	image, err := base64.StdEncoding.DecodeString(shot.Data)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, strings.ReplaceAll(name, "/", "-")+".png"), image, 0o644); err != nil {
		b.t.Fatal(err)
	}
}
