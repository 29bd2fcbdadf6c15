// Package dynalite starts dynalite for a test: a DynamoDB that we did not write.
//
// It has tables, conditions and batches with AWS's own checks and messages, but no time to live. `make check` installs it,
// pinned, in test/dynalite/node_modules. Each Start is a server of its own, on a free port of loopback, that ends with its
// test.
package dynalite

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const startTimeout = time.Minute

// Start returns the URL of a new server, for AWS_ENDPOINT_URL. It ends with t, and when t fails its log is shown. Where
// dynalite is not installed t is skipped, or fails if AUTOTAGD_REQUIRE_DYNALITE is set, as `make check` does.
func Start(t testing.TB) string {
	t.Helper()
	dir, err := installed()
	if err != nil {
		if os.Getenv("AUTOTAGD_REQUIRE_DYNALITE") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}

	cmd := exec.Command("node", "serve.js")
	cmd.Dir = dir
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout // one pipe for both
	if err := cmd.Start(); err != nil {
		t.Fatalf("start dynalite: %v", err)
	}
	url := make(chan string, 1) // one, so that the log is read on when nobody waits for it any more
	var log strings.Builder     // of the goroutine below until it has ended
	read := make(chan struct{})
	go func() {
		defer close(read)
		follow(out, &log, url)
	}()
	t.Cleanup(func() {
		if err := cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) { // it keeps nothing
			t.Errorf("stop dynalite: %v", err)
		}
		<-read         // Wait closes the pipe: not before all of it is read
		_ = cmd.Wait() // how it ended says nothing: a signal ended it
		if t.Failed() {
			t.Logf("dynalite:\n%s", log.String())
		}
	})

	select {
	case u := <-url:
		return u
	case <-read:
		t.Fatal("dynalite ended before it listened")
	case <-time.After(startTimeout):
		t.Fatalf("dynalite does not listen after %v", startTimeout)
	}
	return ""
}

// installed returns this directory, if setup has been run in it.
func installed() (string, error) {
	mod, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("cannot find test/dynalite: go env GOMOD: %w", err)
	}
	dir := filepath.Join(filepath.Dir(string(mod)), "test", "dynalite")
	if _, err := os.Stat(filepath.Join(dir, "node_modules", ".lock")); err != nil {
		return "", fmt.Errorf("dynalite is not installed: run `test/dynalite/setup`, or `make check`: %w", err)
	}
	return dir, nil
}

// follow copies what the server writes to log, and gives the address that it names to url.
func follow(out io.Reader, log *strings.Builder, url chan<- string) {
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		log.WriteString(lines.Text() + "\n")
		if u, ok := strings.CutPrefix(lines.Text(), "listening on "); ok {
			url <- u
		}
	}
}
