package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/autotagd/autotagd/internal/fakeaws"
)

// binary builds autotagd as it is shipped, once for all tests.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "autotagd-test-")
	if err != nil {
		return "", err
	}
	binaryDir = dir
	path := filepath.Join(dir, "autotagd")
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", path, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
})

// binaryDir is where binary builds; "" until it has. Only TestMain and binary use it.
var binaryDir string

func TestMain(m *testing.M) {
	testscript.Main(cleanup{m}, map[string]func(){"autotagd": main})
}

// cleanup removes what binary built when all tests have run.
type cleanup struct{ *testing.M }

func (c cleanup) Run() int {
	defer func() {
		if binaryDir != "" {
			_ = os.RemoveAll(binaryDir)
		}
	}()
	return c.M.Run()
}

// Each script in testdata/script is a few command lines and what they must print and return.
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("AWS_EC2_METADATA_DISABLED", "true")
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"exits": exits,
		},
	})
}

// exits CODE COMMAND...: the command ends with that exit code. Its output is there for stdout and stderr to look at.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND [ARG ...]")
	}
	err := ts.Exec(args[1], args[2:]...)
	code := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if fmt.Sprint(code) != args[0] {
		ts.Fatalf("exit code %d, want %s", code, args[0])
	}
}

// serve makes cloud answer over HTTP on loopback until t ends.
func serve(t testing.TB, cloud *fakeaws.AWS) string {
	t.Helper()
	server := httptest.NewServer(cloud.Handler())
	t.Cleanup(server.Close)
	return server.URL
}

// child is one autotagd process.
type child struct {
	cmd            *exec.Cmd
	stdout, stderr *lockedBuffer
	exited         chan struct{}
	err            error // of Wait; read it after exited is closed
}

// start runs autotagd with args and env on top of what every child has. It is killed when t ends.
func start(t testing.TB, env []string, args ...string) *child {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	return startProgram(t, path, env, args...)
}

// startProgram is start for any program.
func startProgram(t testing.TB, path string, env []string, args ...string) *child {
	t.Helper()
	c := &child{cmd: exec.Command(path, args...), stdout: new(lockedBuffer), stderr: new(lockedBuffer), exited: make(chan struct{})}
	c.cmd.Env = append([]string{
		"AWS_EC2_METADATA_DISABLED=true", "AWS_ACCESS_KEY_ID=AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY=secret",
		"HOME=" + t.TempDir(), "PATH=" + os.Getenv("PATH"),
	}, env...)
	c.cmd.Stdout, c.cmd.Stderr = c.stdout, c.stderr
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		c.err = c.cmd.Wait()
		close(c.exited)
	}()
	t.Cleanup(func() { c.kill() })
	return c
}

// kill ends the process as a power cut would.
func (c *child) kill() {
	_ = c.cmd.Process.Kill() // it may have ended
	<-c.exited
}

// wait returns the exit code; the test fails if there is none in time.
func (c *child) wait(t testing.TB, d time.Duration) int {
	t.Helper()
	select {
	case <-c.exited:
		return c.cmd.ProcessState.ExitCode()
	case <-time.After(d):
		t.Fatalf("autotagd has not ended after %s; its log ends:\n%s", d, c.tail())
		return -1
	}
}

// tail is the end of the process's log.
func (c *child) tail() string {
	lines := strings.Split(strings.TrimSpace(c.stderr.String()), "\n")
	return strings.Join(lines[max(0, len(lines)-30):], "\n")
}

// lockedBuffer is a bytes.Buffer that a process writes while a test reads.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// eventually polls until ok, or fails t with what.
func eventually(t testing.TB, d time.Duration, what func() string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			t.Fatalf("after %s: %s", d, what())
		case <-tick.C:
		}
	}
}
