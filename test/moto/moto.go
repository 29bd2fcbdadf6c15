// Package moto starts moto's server for a test: an AWS that we did not write.
//
// It has many services with their own checks and errors, but no LookupEvents. `make test` installs it, pinned, in
// test/moto/.venv. Each Start is a server of its own, on a free port of loopback, that ends with its test.
package moto

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// AccountID is the account of everything in moto.
const AccountID = "123456789012"

const (
	startTimeout = time.Minute // a cold start imports some hundred Python modules
	stopTimeout  = 5 * time.Second
)

// Start returns the URL of a new server, for AWS_ENDPOINT_URL. It ends with t, and when t fails its log is shown. Where
// moto is not installed t is skipped, or fails if AUTOTAGD_REQUIRE_MOTO is set, as `make test` does.
func Start(t testing.TB) string {
	t.Helper()
	server, err := installed()
	if err != nil {
		if os.Getenv("AUTOTAGD_REQUIRE_MOTO") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}

	cmd := exec.Command(server, "-H", "127.0.0.1", "-p", "0")
	// No test of ours may ask the machine's metadata address for credentials, and the log must come as it is written.
	cmd.Env = append(os.Environ(), "AWS_EC2_METADATA_DISABLED=true", "PYTHONUNBUFFERED=1")
	out, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start moto: %v", err)
	}
	url := make(chan string, 1) // one, so that the log is read on when nobody waits for it any more
	var log strings.Builder     // of the goroutine below until it has ended
	read := make(chan struct{})
	go func() {
		defer close(read)
		follow(out, &log, url)
	}()
	t.Cleanup(func() {
		stop(t, cmd, read)
		if t.Failed() {
			t.Logf("moto:\n%s", log.String())
		}
	})

	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	select {
	case u := <-url:
		if err := answers(ctx, u); err != nil {
			t.Fatalf("moto does not answer: %v", err)
		}
		return u
	case <-read:
		t.Fatal("moto ended before it listened")
	case <-ctx.Done():
		t.Fatalf("moto does not listen after %v", startTimeout)
	}
	return ""
}

// installed returns the path of moto_server in the virtual environment beside this file.
func installed() (string, error) {
	mod, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("cannot find test/moto: go env GOMOD: %w", err)
	}
	server := filepath.Join(filepath.Dir(string(mod)), "test", "moto", ".venv", "bin", "moto_server")
	if _, err := os.Stat(server); err != nil {
		return "", fmt.Errorf("moto is not installed: run `test/moto/setup`, or `make test`: %w", err)
	}
	return server, nil
}

// AWSCLI returns the path of the AWS CLI. t is skipped, or fails, as by Start.
func AWSCLI(t testing.TB) string {
	t.Helper()
	server, err := installed()
	if err != nil {
		if os.Getenv("AUTOTAGD_REQUIRE_MOTO") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	return filepath.Join(filepath.Dir(server), "aws")
}

// follow copies what the server writes to log, and gives the address that it names to url.
func follow(out io.Reader, log *strings.Builder, url chan<- string) {
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		log.WriteString(lines.Text() + "\n")
		if _, at, ok := strings.Cut(lines.Text(), "Running on http://"); ok {
			select {
			case url <- "http://" + strings.TrimSpace(at):
			default:
			}
		}
	}
}

// stop ends the server, by force if it takes long, and waits for it and its log.
func stop(t testing.TB, cmd *exec.Cmd, read <-chan struct{}) {
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("stop moto: %v", err)
	}
	force := time.AfterFunc(stopTimeout, func() { _ = cmd.Process.Kill() })
	defer force.Stop()
	<-read // Wait closes the pipe: not before all of it is read
	// How it ended says nothing: a signal ended it.
	_ = cmd.Wait()
}

// answers reports whether the server at url serves its own page.
func answers(ctx context.Context, url string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/moto-api/", nil)
	if err != nil {
		return err
	}
	out, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer out.Body.Close()
	if out.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s/moto-api/: %s", url, out.Status)
	}
	return nil
}
