package main

import (
	"os"
	"strings"
	"testing"
	"time"
)

// The demo passes its own check where AWS misbehaves, too. It ends while a permission is denied, so what waits for that is tagged
// afterwards.
func TestDemoWithFaults(t *testing.T) {
	if os.Getenv("AUTOTAGD_SLOW") == "" {
		t.Skip("takes a minute and a half: AUTOTAGD_SLOW=1 runs it, as make check does")
	}
	t.Parallel()
	c := start(t, nil, "demo", "--faults", "--seed", "4", "--duration", "20s", "--listen", "127.0.0.1:0")
	if code := c.wait(t, 10*time.Minute); code != exitDone || !strings.Contains(c.stdout.String(), "Check:    passed.") {
		t.Errorf("exit code %d\n%s\n%s", code, c.stdout.String(), c.tail())
	}
}
