package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// The picture is as wide as this page is drawn, and as high as the dashboard: testdata/picture.html has the same numbers.
const (
	pictureWidth = 1536
	pictureLine  = 27 // pixels
	pictureHead  = 76

	pictureColors = 256
)

// TestDashboardPicture draws the dashboard's figures of a demo with faults, from the answers of a real Prometheus to its queries.
// `make dashboard-picture` runs it: it takes ten minutes, and Grafana has no part in it.
func TestDashboardPicture(t *testing.T) {
	lasts := durationOf(t, "AUTOTAGD_PICTURE", "make dashboard-picture")
	const every = 5 * time.Second
	p := startPrometheus(t, every)
	c := start(t, nil, "demo", "--faults", "--seed", "4", "--listen", "127.0.0.1:0")
	var addr string
	eventually(t, time.Minute, func() string { return "the demo does not begin:\n" + c.stdout.String() + c.tail() }, func() bool {
		_, rest, _ := strings.Cut(c.stdout.String(), "Status: http://")
		addr, _, _ = strings.Cut(rest, "/")
		return addr != ""
	})
	p.scrapes(addr)
	began := time.Now()
	select {
	case <-time.After(lasts):
	case <-c.exited:
		t.Fatalf("the demo has ended: %v\n%s", c.err, c.tail())
	}
	w := window{p: p, from: began, to: time.Now(), step: every, scrape: every}

	page, err := os.ReadFile("testdata/picture.html")
	if err != nil {
		t.Fatal(err)
	}
	data, height := w.drawn(t, lasts)
	html := filepath.Join(t.TempDir(), "picture.html")
	if err := os.WriteFile(html, bytes.Replace(page, []byte("/*DATA*/null"), data, 1), 0o600); err != nil {
		t.Fatal(err)
	}
	shot := filepath.Join(t.TempDir(), "picture.png")
	if out, err := exec.Command("chromium", "--headless", "--no-sandbox", "--hide-scrollbars", "--user-data-dir="+t.TempDir(),
		fmt.Sprintf("--window-size=%d,%d", pictureWidth, height), "--screenshot="+shot, "file://"+html).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := shrink(shot, "../../docs/dashboard.png"); err != nil {
		t.Fatal(err)
	}
}

// drawn is what the page draws: the dashboard as it is, and the answers to each panel's queries; and how high that is.
func (w window) drawn(t *testing.T, lasts time.Duration) (data []byte, height int) {
	t.Helper()
	text, err := os.ReadFile(dashboardFile)
	if err != nil {
		t.Fatal(err)
	}
	d := readDashboard(t)
	answers := map[string][]series{} // by panel and query
	lines := 0
	for _, p := range d.Panels {
		lines = max(lines, p.GridPos.Y+p.GridPos.H)
		for _, q := range p.Targets {
			ask := w.over
			if q.Instant {
				ask = w.at
			}
			got, err := ask(w.fill(q.Expr, d.allValue(t, "account"), d.allValue(t, "region")))
			if err != nil {
				t.Fatalf("panel %q: %v", p.Title, err)
			}
			for _, s := range got { // JSON has no NaN
				for i, v := range s.Values {
					if math.IsNaN(v) || math.IsInf(v, 0) {
						s.Values[i] = math.MaxFloat64
					}
				}
			}
			answers[fmt.Sprint(p.ID, q.RefID)] = got
		}
	}
	data, err = json.Marshal(map[string]any{
		"dashboard": json.RawMessage(text), "answers": answers, "from": w.from.Unix(), "to": w.to.Unix(), "step": w.step.Seconds(),
		"lasts": fmt.Sprint(lasts.Minutes(), " minutes"), "none": math.MaxFloat64,
	})
	if err != nil {
		t.Fatal(err)
	}
	return data, lines*pictureLine + pictureHead
}

// shrink writes a PNG again with the commonest colors alone: a third of the bytes, and the eye sees no difference.
func shrink(from, to string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	full, err := png.Decode(bytes.NewReader(text))
	if err != nil {
		return err
	}
	bounds := full.Bounds()
	count := map[color.Color]int{}
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			count[color.RGBAModel.Convert(full.At(x, y))]++
		}
	}
	var palette color.Palette
	for c := range count {
		palette = append(palette, c)
	}
	slices.SortFunc(palette, func(a, b color.Color) int { return count[b] - count[a] })
	palette = palette[:min(len(palette), pictureColors)]
	nearest := map[color.Color]uint8{}
	for c := range count {
		nearest[c] = uint8(palette.Index(c))
	}
	small := image.NewPaletted(bounds, palette)
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			small.SetColorIndex(x, y, nearest[color.RGBAModel.Convert(full.At(x, y))])
		}
	}
	var out bytes.Buffer
	encoder := png.Encoder{CompressionLevel: png.BestCompression}
	if err := encoder.Encode(&out, small); err != nil {
		return err
	}
	return os.WriteFile(to, out.Bytes(), 0o644)
}
