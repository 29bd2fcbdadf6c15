package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/autotagd/autotagd/internal/fakeaws"
)

const webPassword = "correct horse/battery:staple@%" // of what a URL must escape

// authority is a CA that is made for one test.
type authority struct {
	t    *testing.T
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	file string // its certificate
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, key: newKey(t), file: filepath.Join(t.TempDir(), "ca.pem")}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "a CA of this test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	writePEM(t, a.file, "CERTIFICATE", der)
	return a
}

// issue writes server.crt and server.key to dir: for localhost and 127.0.0.1.
func (a *authority) issue(dir string, serial int64) {
	a.t.Helper()
	key := newKey(a.t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "autotagd"},
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	writePEM(a.t, filepath.Join(dir, "server.crt"), "CERTIFICATE", der)
	writePEM(a.t, filepath.Join(dir, "server.key"), "PRIVATE KEY", private)
}

// tls trusts a and nobody else.
func (a *authority) tls() *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return &tls.Config{RootCAs: pool}
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func writePEM(t *testing.T, file, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// startWeb runs the daemon with a web port of that configuration, made in dir, and returns where the port is.
func startWeb(t *testing.T, dir, webConfig string) (*child, string) {
	t.Helper()
	file := filepath.Join(dir, "web.yml")
	if err := os.WriteFile(file, []byte(webConfig), 0o600); err != nil {
		t.Fatal(err)
	}
	cloud := fakeaws.New(fakeaws.Config{Seed: 1, Regions: []string{"eu-central-1"}})
	c := start(t, []string{
		"AWS_REGION=eu-central-1", "AWS_ENDPOINT_URL=" + serve(t, cloud), "STATE_DIRECTORY=" + t.TempDir(),
		`AUTOTAGD_CONFIG_YAML={global_region: off, web: {listen: "127.0.0.1:0", config_file: "` + file + `"}}`,
	}, "run")
	addr := ""
	eventually(t, time.Minute, func() string { return "no port:\n" + c.tail() }, func() bool {
		addr = c.logged("listening", "addr")
		return addr != "" && c.logged("started", "account_id") != ""
	})
	return c, addr
}

func passwordHash(t *testing.T) string {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(webPassword), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return string(hash)
}

const tlsServer = "tls_server_config: {cert_file: server.crt, key_file: server.key}\n"

// With TLS and a password nothing is had without them, and a certificate that was renewed is used without a restart.
func TestWebWithTLSAndPassword(t *testing.T) {
	t.Parallel()
	dir, ca := t.TempDir(), newAuthority(t)
	ca.issue(dir, 100)
	_, addr := startWeb(t, dir, tlsServer+"basic_auth_users: {prometheus: '"+passwordHash(t)+"'}\n")

	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: ca.tls(), DisableKeepAlives: true, ForceAttemptHTTP2: true}}
	// get returns the status code and the body, and the serial number of the certificate.
	get := func(url, user, password string) (int, string, int64) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if user != "" {
			req.SetBasicAuth(user, password)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		serial := int64(0)
		if resp.TLS != nil {
			serial = resp.TLS.PeerCertificates[0].SerialNumber.Int64()
		}
		return resp.StatusCode, string(body), serial
	}
	for _, path := range []string{"/", "/metrics", "/-/healthy", "/-/ready", "/nothing"} {
		for _, who := range []struct{ user, password string }{{"", ""}, {"prometheus", "wrong"}, {"nobody", webPassword}, {"prometheus", ""}} {
			if code, body, _ := get("https://"+addr+path, who.user, who.password); code != http.StatusUnauthorized || strings.Contains(body, "autotagd") {
				t.Errorf("%s as %q with password %q: %d %.40q, want 401 and nothing of ours", path, who.user, who.password, code, body)
			}
		}
		want := http.StatusOK
		if path == "/nothing" {
			want = http.StatusNotFound
		}
		if code, _, serial := get("https://"+addr+path, "prometheus", webPassword); code != want || serial != 100 {
			t.Errorf("%s with the password: %d, certificate %d, want %d, 100", path, code, serial, want)
		}
	}
	if code, body, _ := get("http://"+addr+"/metrics", "prometheus", webPassword); code != http.StatusBadRequest || strings.Contains(body, "autotagd_") {
		t.Errorf("without TLS: %d %.40q, want 400", code, body)
	}
	old, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: ca.tls().RootCAs, MaxVersion: tls.VersionTLS11})
	if err == nil {
		old.Close()
		t.Error("TLS 1.1 was accepted")
	}

	ca.issue(dir, 200)
	if code, _, serial := get("https://"+addr+"/metrics", "prometheus", webPassword); code != http.StatusOK || serial != 200 {
		t.Errorf("after the certificate was renewed: %d, certificate %d, want 200, 200", code, serial)
	}
}

// autotagd health asks a port with TLS and a password as well, and where it can't says what helps; never the password.
func TestHealthWithTLSAndPassword(t *testing.T) {
	t.Parallel()
	dir, ca := t.TempDir(), newAuthority(t)
	ca.issue(dir, 100)
	_, addr := startWeb(t, dir, tlsServer+"basic_auth_users: {prometheus: '"+passwordHash(t)+"'}\n")
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	const escaped = "correct%20horse%2Fbattery%3Astaple%40%25"
	trust := "SSL_CERT_FILE=" + ca.file
	directory := filepath.Dir(ca.file)
	for name, c := range map[string]struct {
		env  []string
		args []string
		code int
		want string // on stdout, or in what stderr says
	}{
		"all as it should be":       {[]string{trust}, []string{"--url", "https://prometheus:" + escaped + "@" + addr}, exitDone, "ok"},
		"a name of the certificate": {[]string{trust}, []string{"--url", "https://prometheus:" + escaped + "@localhost:" + port + "/"}, exitDone, "ok"},
		"the CA in a directory":     {[]string{"SSL_CERT_DIR=" + directory}, []string{"--url", "https://prometheus:" + escaped + "@" + addr}, exitDone, "ok"},
		"the URL from outside":      {[]string{trust, "AUTOTAGD_HEALTH_URL=https://prometheus:" + escaped + "@" + addr}, nil, exitDone, "ok"},
		"the flag comes first":      {[]string{trust, "AUTOTAGD_HEALTH_URL=http://127.0.0.1:1"}, []string{"--url", "https://prometheus:" + escaped + "@" + addr}, exitDone, "ok"},
		"a wrong password":          {[]string{trust}, []string{"--url", "https://prometheus:horse@" + addr}, exitFailed, "(HTTP 401); want https://USER:PASSWORD@" + addr + " in --url"},
		"no password":               {[]string{trust}, []string{"--url", "https://" + addr}, exitFailed, "USER:PASSWORD"},
		"an unknown CA":             {nil, []string{"--url", "https://prometheus:horse@" + addr}, exitFailed, "name its certificate by SSL_CERT_FILE"},
		"no TLS in the URL":         {nil, []string{"--url", "http://prometheus:horse@" + addr}, exitFailed, "want https:// in --url"},
		"a bare host":               {nil, []string{"--url", "prometheus:horse@" + addr}, exitUsage, "want http://HOST:PORT or https://USER:PASSWORD@HOST:PORT"},
		"a password not escaped":    {nil, []string{"--url", "https://prometheus:horse%@" + addr}, exitUsage, "%-escape"},
		"of another scheme":         {[]string{"AUTOTAGD_HEALTH_URL=ftp://prometheus:horse@" + addr}, nil, exitUsage, "AUTOTAGD_HEALTH_URL: not the URL"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := start(t, c.env, append([]string{"health"}, c.args...)...)
			code := h.wait(t, time.Minute)
			if code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			if said := h.stdout.String() + h.stderr.String(); !strings.Contains(said, c.want) || strings.Contains(said, "horse") {
				t.Errorf("it says %q, want %q in it and no password", said, c.want)
			}
		})
	}
}

// Clients that stand still don't hold up the end of the daemon.
func TestSlowClientsDontHoldUpTheEnd(t *testing.T) {
	t.Parallel()
	for name, config := range map[string]string{"with TLS": tlsServer, "without": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, ca := t.TempDir(), newAuthority(t)
			ca.issue(dir, 100)
			c, addr := startWeb(t, dir, config)
			dial := func() net.Conn {
				raw, err := net.Dial("tcp", addr)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { raw.Close() })
				if err := raw.(*net.TCPConn).SetReadBuffer(1 << 10); err != nil {
					t.Fatal(err)
				}
				if config == "" {
					return raw
				}
				trust := ca.tls()
				trust.ServerName = "localhost"
				return tls.Client(raw, trust)
			}
			raw, err := net.Dial("tcp", addr) // says nothing
			if err != nil {
				t.Fatal(err)
			}
			defer raw.Close()
			for _, said := range []string{
				"GET /metrics HTTP/1.1\r\nHost: localhost\r\nX-Slow: ",                                               // a head without an end
				"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nx",                                // a body without an end
				strings.Repeat("GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: identity\r\n\r\n", 500), // and reads none of the answers
			} {
				if _, err := io.WriteString(dial(), said); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(200 * time.Millisecond) // until the daemon has begun with them
			began := time.Now()
			if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			if code := c.wait(t, 20*time.Second); code != exitDone {
				t.Errorf("exit code %d, want %d\n%s", code, exitDone, c.tail())
			}
			if took := time.Since(began); took > 8*time.Second {
				t.Errorf("the end took %s", took)
			} else {
				t.Logf("the end took %s", took)
			}
		})
	}
}

// What is wrong with the file of the web port is said with its place, by check and at a start, beside other mistakes.
func TestMistakesInTheWebConfig(t *testing.T) {
	t.Parallel()
	dir, ca := t.TempDir(), newAuthority(t)
	ca.issue(dir, 100)
	if err := os.Rename(filepath.Join(dir, "server.key"), filepath.Join(dir, "other.key")); err != nil {
		t.Fatal(err)
	}
	ca.issue(dir, 101)
	if err := os.WriteFile(filepath.Join(dir, "text.pem"), []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	const at = "config.yaml:2:20: web.config_file: "
	for name, c := range map[string]struct{ web, want string }{
		"an unknown key":       {"tls_server_config:\n  cert: x\n  certfile: server.crt\n", at + "FILE: yaml: unmarshal errors: line 3: field certfile not found in type web.TLSConfig; want a file as docs/web.md shows"},
		"no YAML":              {"tls_server_config: {", at + "FILE: yaml: line 1: did not find expected node content; want"},
		"no certificate":       {"tls_server_config: {cert_file: gone.crt, key_file: server.key}", "gone.crt: no such file or directory; want"},
		"text for a key":       {"tls_server_config: {cert_file: server.crt, key_file: text.pem}", at + "FILE: failed to load X509KeyPair: tls: failed to find any PEM data in key input; want"},
		"another's key":        {"tls_server_config: {cert_file: server.crt, key_file: other.key}", at + "FILE: failed to load X509KeyPair: tls: private key does not match public key; want"},
		"a certificate alone":  {"tls_server_config: {cert_file: server.crt}", at + "FILE: missing one of key or key_file; want"},
		"a password in clear":  {"basic_auth_users:\n  alice: " + passwordHash(t) + "\n  bob: hunter2\n", `FILE:3:8: basic_auth_users["bob"]: not a bcrypt hash of a password; want what this prints: htpasswd -nBC 10 USER`},
		"a header that is not": {"http_server_config: {headers: {X-Evil: y}}", at + `FILE: HTTP header "X-Evil" can not be configured; want`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(dir, strings.ReplaceAll(name, " ", "_")+".yml")
			if err := os.WriteFile(file, []byte(c.web), 0o600); err != nil {
				t.Fatal(err)
			}
			config := filepath.Join(t.TempDir(), "config.yaml")
			if err := os.WriteFile(config, []byte("poll: {rate: 9}\nweb: {config_file: "+file+"}\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			for _, sub := range []string{"check", "run"} {
				var stderr bytes.Buffer
				code := run(t.Context(), environment{[]string{sub, "--config", config}, nil, io.Discard, &stderr, func(string) string { return "" }})
				said := strings.ReplaceAll(strings.ReplaceAll(stderr.String(), file, "FILE"), filepath.Dir(config)+"/", "")
				if code != exitUsage || !strings.Contains(said, c.want) || !strings.Contains(said, "config.yaml:1:14: poll.rate") || strings.Contains(said, "hunter2") {
					t.Errorf("%s: exit code %d, want %d; it says\n%s\nwant %s", sub, code, exitUsage, said, c.want)
				}
			}
		})
	}
}

// A web port with passwords but no TLS, or with TLS but no passwords, is a configuration too.
func TestWebConfigInPart(t *testing.T) {
	t.Parallel()
	dir, ca := t.TempDir(), newAuthority(t)
	ca.issue(dir, 100)
	for i, web := range []string{"", tlsServer, "basic_auth_users: {a: '" + passwordHash(t) + "'}\n", "http_server_config: {headers: {X-Frame-Options: deny}}"} {
		file := filepath.Join(dir, fmt.Sprint(i, ".yml"))
		if err := os.WriteFile(file, []byte(web), 0o600); err != nil {
			t.Fatal(err)
		}
		code, stdout, stderr := command(t, []string{"AUTOTAGD_CONFIG_YAML={web: {config_file: '" + file + "'}}"}, "check")
		if code != exitDone || !strings.Contains(stdout, file) {
			t.Errorf("%q: exit code %d\n%s", web, code, stderr)
		}
	}
}

// The demo has the status page too, and fills it.
func TestDemoHasAStatusPage(t *testing.T) {
	t.Parallel()
	c := start(t, nil, "demo", "--seed", "1")
	page := ""
	eventually(t, time.Minute, func() string { return "no resource is on the page:\n" + page + "\n" + c.stdout.String() }, func() bool {
		_, rest, found := strings.Cut(c.stdout.String(), "Status: ")
		url, _, complete := strings.Cut(rest, " ")
		if !found || !complete {
			return false
		}
		resp, err := http.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		page = string(body)
		_, tagged, _ := strings.Cut(page, `<h2 id="tagged">`)
		return strings.Contains(tagged, "arn:aws:") && strings.Contains(tagged, "@example.com")
	})
}
