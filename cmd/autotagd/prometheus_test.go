package main

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// prometheus is a real one.
type prometheus struct {
	t       testing.TB
	c       *child
	targets string // the file that names them
	addr    string
}

// startPrometheus begins one that scrapes every so often, and no slower, and works out what is in files of rules as often. It skips t
// where there is none, unless one is required.
func startPrometheus(t testing.TB, every time.Duration, rules ...string) *prometheus {
	t.Helper()
	path, err := exec.LookPath("prometheus")
	if err != nil {
		if os.Getenv("AUTOTAGD_REQUIRE_PROMETHEUS") != "" {
			t.Fatalf("prometheus is needed; on Debian: apt-get install prometheus: %v", err)
		}
		t.Skipf("needs prometheus: %v", err)
	}
	dir := t.TempDir()
	p := &prometheus{t: t, targets: filepath.Join(dir, "targets.json")}
	p.scrapes("")
	config := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(config, []byte(`
global: {scrape_interval: `+every.String()+`, scrape_timeout: `+every.String()+`, evaluation_interval: `+every.String()+`}
rule_files: [`+strings.Join(rules, ", ")+`]
scrape_configs:
  - job_name: autotagd
    file_sd_configs: [{files: [`+p.targets+`], refresh_interval: 1s}]
`), 0o600); err != nil {
		t.Fatal(err)
	}
	p.c = startProgram(t, path, nil, "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address=127.0.0.1:0", "--log.format=json")
	eventually(t, time.Minute, func() string { return "Prometheus does not listen:\n" + p.c.tail() }, func() bool {
		p.addr = p.c.logged("Listening on", "address")
		return p.addr != "" && p.c.logged("Server is ready to receive web requests.", "level") != ""
	})
	return p
}

// scrapes has Prometheus scrape an address from now on, or none. The instance is the same each time, as that of a daemon that
// was started again is.
func (p *prometheus) scrapes(addr string) {
	p.t.Helper()
	groups := []map[string]any{}
	if addr != "" {
		groups = append(groups, map[string]any{"targets": []string{addr}, "labels": map[string]string{"instance": "autotagd:9464"}})
	}
	text, err := json.Marshal(groups)
	if err != nil {
		p.t.Fatal(err)
	}
	// By rename: Prometheus may be reading it.
	if err := os.WriteFile(p.targets+".new", text, 0o600); err != nil {
		p.t.Fatal(err)
	}
	if err := os.Rename(p.targets+".new", p.targets); err != nil {
		p.t.Fatal(err)
	}
}

// series is one line of an answer. The values of an instant query are one.
type series struct {
	Metric map[string]string
	Times  []float64 // Unix seconds
	Values []float64
}

// hasNumber reports whether a value is one: a quantile of nothing is NaN.
func (s series) hasNumber() bool {
	for _, v := range s.Values {
		if !math.IsNaN(v) {
			return true
		}
	}
	return false
}

// at asks for an expression at one time.
func (p *prometheus) at(when time.Time, expr string) ([]series, error) {
	return p.ask("query", url.Values{"query": {expr}, "time": {stamp(when)}})
}

// over asks for an expression from one time to another.
func (p *prometheus) over(from, to time.Time, step time.Duration, expr string) ([]series, error) {
	return p.ask("query_range", url.Values{"query": {expr}, "start": {stamp(from)}, "end": {stamp(to)}, "step": {fmt.Sprint(step.Seconds())}})
}

func stamp(t time.Time) string { return strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 3, 64) }

// window is what Grafana looks at: a time range, in steps.
type window struct {
	p            *prometheus
	from, to     time.Time
	step, scrape time.Duration // scrape is how often Prometheus scrapes
}

// at is the expression at the window's end.
func (w window) at(expr string) ([]series, error) { return w.p.at(w.to, expr) }

// over is the expression over all of the window.
func (w window) over(expr string) ([]series, error) { return w.p.over(w.from, w.to, w.step, expr) }

var variableReference = regexp.MustCompile(`\$\{\w+\}|\$\w+`)

// fill puts in what Grafana puts in place of its variables: for account and region that is allValue where all are chosen, else the
// chosen ones as a regular expression.
func (w window) fill(expr, account, region string) string {
	span := int(math.Ceil(w.to.Sub(w.from).Seconds()))
	values := map[string]string{
		"job": "autotagd", "account": account, "region": region,
		"__range": fmt.Sprint(span, "s"), "__range_s": fmt.Sprint(span),
		"__interval": fmt.Sprint(w.step.Seconds(), "s"), "__interval_ms": fmt.Sprint(w.step.Milliseconds()),
		"__rate_interval": fmt.Sprint(max(w.step+w.scrape, 4*w.scrape).Seconds(), "s"),
	}
	return variableReference.ReplaceAllStringFunc(expr, func(name string) string { return values[strings.Trim(name, "${}")] })
}

func (p *prometheus) ask(what string, args url.Values) ([]series, error) {
	answer, err := http.PostForm("http://"+p.addr+"/api/v1/"+what, args)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	var parsed struct {
		Status, Error string
		Warnings      []string
		Data          struct {
			ResultType string
			Result     []struct {
				Metric map[string]string
				Value  [2]any
				Values [][2]any
			}
		}
	}
	if err := json.NewDecoder(answer.Body).Decode(&parsed); err != nil {
		return nil, fmt.Errorf("prometheus answers %s: %w", answer.Status, err)
	}
	if parsed.Status != "success" || len(parsed.Warnings) > 0 {
		return nil, fmt.Errorf("prometheus: %s %v", parsed.Error, parsed.Warnings)
	}
	var all []series
	for _, r := range parsed.Data.Result {
		if what == "query" {
			r.Values = [][2]any{r.Value}
		}
		s := series{Metric: r.Metric}
		for _, pair := range r.Values {
			at, isNumber := pair[0].(float64)
			text, isText := pair[1].(string)
			v, err := strconv.ParseFloat(text, 64)
			if !isNumber || !isText || err != nil {
				return nil, fmt.Errorf("prometheus: %v is not a sample", pair)
			}
			s.Times, s.Values = append(s.Times, at), append(s.Values, v)
		}
		all = append(all, s)
	}
	return all, nil
}
