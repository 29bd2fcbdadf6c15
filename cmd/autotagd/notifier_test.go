package main

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/autotagd/autotagd/internal/fakeaws"
)

// supervising is what a service manager hears on $NOTIFY_SOCKET.
type supervising struct {
	t    *testing.T
	path string

	mu    sync.Mutex // guards heard
	heard []string   // assignments, in order
}

func supervise(t *testing.T) *supervising {
	t.Helper()
	dir, err := os.MkdirTemp("", "notify-") // t.TempDir's is too long for the name of a socket
	if err != nil {
		t.Fatal(err)
	}
	s := &supervising{t: t, path: filepath.Join(dir, "s")}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: s.path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 64<<10)
		for {
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			s.mu.Lock()
			s.heard = append(s.heard, strings.Split(strings.TrimSpace(string(buf[:n])), "\n")...)
			s.mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		conn.Close()
		<-done
		os.RemoveAll(dir)
	})
	return s
}

func (s *supervising) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.heard)
}

func (s *supervising) count(assignment string) (n int) {
	for _, h := range s.all() {
		if h == assignment {
			n++
		}
	}
	return n
}

// until waits for the nth time that it is said.
func (s *supervising) until(assignment string, n int) {
	s.t.Helper()
	eventually(s.t, time.Minute, func() string { return fmt.Sprintf("%s was not said %d times: %q", assignment, n, s.all()) }, func() bool { return s.count(assignment) >= n })
}

// systemd hears when the daemon is ready, and not before; that it lives; that it reads its configuration again; and that it ends.
func TestSystemdIsNotified(t *testing.T) {
	t.Parallel()
	s := supervise(t)
	cloud := fakeaws.New(fakeaws.Config{Seed: 1, Regions: []string{"eu-central-1"}})
	cloud.SetFaults("GetCallerIdentity", fakeaws.Faults{ServerError: 1}) // the daemon waits for AWS
	r := &reloader{t: t, cloud: cloud, file: filepath.Join(t.TempDir(), "autotagd.yaml")}
	r.write(reloadWeb)
	r.child = start(t, []string{
		"AWS_REGION=eu-central-1", "AWS_ENDPOINT_URL=" + serve(t, cloud), "STATE_DIRECTORY=" + t.TempDir(), "AUTOTAGD_CONFIG=" + r.file,
		"NOTIFY_SOCKET=" + s.path, "WATCHDOG_USEC=300000",
	}, "run")
	r.until("AWS did not say which account this is; trying again", 1)
	s.until("STATUS=starting: the AWS account is not known yet", 1)
	if s.count("READY=1") > 0 {
		t.Fatal("READY=1 before the account is known")
	}
	resp, err := http.Get("http://" + r.logged("listening", "addr") + "/-/ready")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("/-/ready: %s", resp.Status)
	}
	cloud.Heal()
	s.until("READY=1", 1)
	s.until("WATCHDOG=1", s.count("WATCHDOG=1")+3)
	s.until("STATUS=1 of 1 Scopes held, 0 behind, 0 cannot begin; tagged 0, missed 0, waiting 0", 1)

	for n, c := range []struct{ yaml, said string }{{reloadWeb, inForce}, {"rubbish: 1\n", refused}} {
		r.reload(c.yaml, c.said, 1)
		s.until("RELOADING=1", n+1)
		s.until("READY=1", n+2)
	}
	heard := s.all()
	at := slices.Index(heard, "RELOADING=1")
	stamp, found := strings.CutPrefix(heard[at+1], "MONOTONIC_USEC=")
	if usec, err := strconv.ParseUint(stamp, 10, 64); !found || err != nil || usec == 0 {
		t.Errorf("after RELOADING=1 comes %q", heard[at+1])
	}
	if err := r.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	s.until("STOPPING=1", 1)
	if code := r.wait(t, 30*time.Second); code != exitDone {
		t.Errorf("exit code %d\n%s", code, r.tail())
	}
	order := regexp.MustCompile(`^(STATUS |WATCHDOG )+READY (WATCHDOG |STATUS )*RELOADING MONOTONIC_USEC (WATCHDOG |STATUS )*READY (WATCHDOG |STATUS )*RELOADING MONOTONIC_USEC (WATCHDOG |STATUS )*READY (WATCHDOG |STATUS )*STOPPING STATUS $`)
	said := ""
	for _, h := range s.all() {
		word, _, _ := strings.Cut(h, "=")
		said += word + " "
	}
	if !order.MatchString(said) {
		t.Errorf("said in the order %s", said)
	}
}

// sick is a Daemon that is ready, and whose health a test sets.
type sick struct{ err atomic.Pointer[error] }

func (s *sick) Ready() error    { return nil }
func (s *sick) Summary() string { return "well" }
func (s *sick) Healthy() error {
	if err := s.err.Load(); err != nil {
		return *err
	}
	return nil
}

// A daemon that makes no progress gives no beat, so that systemd ends it, and says why; one that makes some again is spared.
func TestWatchdogIsNotFedWhileUnhealthy(t *testing.T) {
	s := supervise(t)
	t.Setenv("NOTIFY_SOCKET", s.path)
	t.Setenv("WATCHDOG_USEC", "30000")
	t.Setenv("WATCHDOG_PID", strconv.Itoa(os.Getpid()))
	d := new(sick)
	core, logs := observer.New(zap.ErrorLevel)
	stop := newNotifier(func() working { return d }).start(t.Context(), zap.New(core))
	defer stop()
	s.until("WATCHDOG=1", 3)
	stuck := errors.New("the head loop made no attempt for 5m")
	d.err.Store(&stuck)
	s.until("STATUS=not healthy: the head loop made no attempt for 5m", 1)
	beats := s.count("WATCHDOG=1")
	time.Sleep(200 * time.Millisecond) // six beats, were it healthy
	if n := s.count("WATCHDOG=1"); n != beats {
		t.Errorf("%d beats while unhealthy", n-beats)
	}
	if n := logs.Len(); n != 1 {
		t.Errorf("%d lines of the log, want one: %v", n, logs.All())
	}
	d.err.Store(nil)
	s.until("STATUS=well", 2)
	s.until("WATCHDOG=1", beats+1)
}

// A service manager that does not hear is no reason to end.
func TestNotifySocketThatIsGone(t *testing.T) {
	t.Parallel()
	r := startReloader(t, reloadWeb, "NOTIFY_SOCKET=/nowhere/notify", "WATCHDOG_USEC=rubbish")
	r.until("systemd cannot be notified", 1)
	r.until("the watchdog is off", 1)
	r.end()
}

// maxStart is far beyond what a start takes on a machine that does nothing else; the figure is in the log.
const maxStart = 30 * time.Second

// From the start of the process until systemd hears that it is ready.
func TestStartToReady(t *testing.T) {
	t.Parallel()
	if _, err := binary(); err != nil {
		t.Fatal(err)
	}
	var took []time.Duration
	for range 5 {
		s := supervise(t)
		cloud := fakeaws.New(fakeaws.Config{Seed: 1, Regions: []string{"eu-central-1", "us-east-1"}})
		began := time.Now()
		c := start(t, []string{
			"AWS_REGION=eu-central-1", "AWS_ENDPOINT_URL=" + serve(t, cloud), "STATE_DIRECTORY=" + t.TempDir(), "NOTIFY_SOCKET=" + s.path,
			`AUTOTAGD_CONFIG_YAML=web: {listen: "127.0.0.1:0"}`,
		}, "run")
		for s.count("READY=1") == 0 {
			if time.Since(began) > maxStart {
				t.Fatalf("not ready after %s\n%s", maxStart, c.tail())
			}
			time.Sleep(5 * time.Millisecond)
		}
		took = append(took, time.Since(began).Round(time.Millisecond))
		c.kill()
	}
	slices.Sort(took)
	t.Logf("from start to ready: median %s of %v", took[len(took)/2], took)
}
