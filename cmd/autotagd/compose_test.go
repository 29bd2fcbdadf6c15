package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// compose is what the tests read of the compose file; the schema of the Compose Specification knows the rest.
type compose struct {
	Services map[string]struct {
		Image, Build string
		Command      []string
		Ports        []string
		Volumes      []string
		Environment  map[string]string
	}
}

func readCompose(t *testing.T) (c compose) {
	t.Helper()
	readYAML(t, filepath.Join(deployDir, "compose.yaml"), &c)
	return c
}

var pinned = regexp.MustCompile(`:v?\d+\.\d+\.\d+$`)

// What the file mounts must be there, what it runs must be one version, and nobody but this host may reach it.
func TestComposeFile(t *testing.T) {
	t.Parallel()
	c := readCompose(t)
	mounted := map[string]string{} // a path in a container to one here
	for name, s := range c.Services {
		if s.Build == "" && !pinned.MatchString(s.Image) {
			t.Errorf("%s: image %q: want one version", name, s.Image)
		}
		for _, port := range s.Ports {
			if !strings.HasPrefix(port, "127.0.0.1:") {
				t.Errorf("%s: port %s: want it on loopback", name, port)
			}
		}
		for _, v := range s.Volumes {
			from, to, _ := strings.Cut(v, ":")
			if !strings.HasPrefix(from, ".") {
				continue // a volume of its own
			}
			if _, err := os.Stat(filepath.Join(deployDir, from)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if !strings.HasSuffix(to, ":ro") {
				t.Errorf("%s: %s is not mounted read-only", name, from)
			}
			mounted[strings.TrimSuffix(to, ":ro")] = filepath.Join(deployDir, from)
		}
	}
	home := c.Services["grafana"].Environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
	if mounted[home] == "" {
		t.Errorf("Grafana's home dashboard %q is not mounted", home)
	}
	var provider struct {
		Providers []struct{ Options struct{ Path string } }
	}
	readYAML(t, filepath.Join(mounted["/etc/grafana/provisioning/dashboards"], "autotagd.yaml"), &provider)
	if len(provider.Providers) != 1 || provider.Providers[0].Options.Path != filepath.Dir(home) {
		t.Errorf("Grafana reads dashboards of %+v, and %s is mounted", provider, home)
	}
	if _, err := os.Stat(filepath.Join(deployDir, c.Services["autotagd"].Build, "Dockerfile")); err != nil {
		t.Errorf("autotagd: %v", err)
	}
}

// Prometheus, Grafana and autotagd find each other by the names of their services and the ports that they listen on.
func TestComposeServicesFindEachOther(t *testing.T) {
	t.Parallel()
	c := readCompose(t)
	var scrape struct {
		Global struct {
			ScrapeInterval string `yaml:"scrape_interval"`
		}
		ScrapeConfigs []struct {
			StaticConfigs []struct{ Targets []string } `yaml:"static_configs"`
		} `yaml:"scrape_configs"`
	}
	readYAML(t, filepath.Join(deployDir, "prometheus", "prometheus.yml"), &scrape)
	if target := scrape.ScrapeConfigs[0].StaticConfigs[0].Targets[0]; target != "autotagd:9464" || c.Services["autotagd"].Image+c.Services["autotagd"].Build == "" {
		t.Errorf("Prometheus scrapes %s, want the service autotagd", target)
	}
	var sources struct {
		Datasources []struct {
			Type, URL string
			JSONData  struct {
				TimeInterval string `yaml:"timeInterval"`
			} `yaml:"jsonData"`
		}
	}
	readYAML(t, filepath.Join(deployDir, "grafana", "provisioning", "datasources", "prometheus.yaml"), &sources)
	s := sources.Datasources[0]
	if s.URL != "http://prometheus:9090" || s.Type != "prometheus" || c.Services["prometheus"].Image == "" {
		t.Errorf("Grafana asks %s, want the service prometheus", s.URL)
	}
	if s.JSONData.TimeInterval != scrape.Global.ScrapeInterval {
		t.Errorf("Grafana believes that Prometheus scrapes every %q; it is %q", s.JSONData.TimeInterval, scrape.Global.ScrapeInterval)
	}

	// The command is one that autotagd takes: it listens where it was told.
	command := c.Services["autotagd"].Command
	for i, arg := range command {
		if arg == ":9464" {
			command[i] = "127.0.0.1:0"
		}
	}
	demo := start(t, nil, command...)
	eventually(t, time.Minute, func() string { return "the demo does not begin:\n" + demo.stdout.String() + demo.tail() }, func() bool {
		return strings.Contains(demo.stdout.String(), "Metrics: http://127.0.0.1:")
	})
}

func TestComposeFileFitsTheSpecification(t *testing.T) {
	if os.Getenv("AUTOTAGD_SLOW") == "" {
		t.Skip("needs Node.js: AUTOTAGD_SLOW=1 runs it, as make check does")
	}
	t.Parallel()
	setupGrafana(t)
	var file map[string]any
	readYAML(t, filepath.Join(deployDir, "compose.yaml"), &file)
	check := func() (string, error) {
		text, err := json.Marshal(file)
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("node", "../../test/grafana/compose.js")
		cmd.Stdin = bytes.NewReader(text)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := check(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	file["services"].(map[string]any)["grafana"].(map[string]any)["volume"] = []string{}
	if out, err := check(); err == nil || !strings.Contains(out, "/services/grafana: ") {
		t.Errorf("with a misspelt key the check says %v\n%s", err, out)
	}
}

func TestPrometheusTakesItsConfiguration(t *testing.T) {
	t.Parallel()
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		if os.Getenv("AUTOTAGD_REQUIRE_PROMETHEUS") != "" {
			t.Fatalf("promtool is needed; on Debian: apt-get install prometheus: %v", err)
		}
		t.Skipf("needs promtool: %v", err)
	}
	if out, err := exec.Command(promtool, "check", "config", filepath.Join(deployDir, "prometheus", "prometheus.yml")).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
