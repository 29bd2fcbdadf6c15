package release

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const unitFile = root + "/deploy/systemd/autotagd.service"

// maxExposure is what systemd may rate the unit, in tenths: it is 1.1 as it is, and 10 would be the worst.
const maxExposure = "15"

// systemd finds nothing to say about the unit. `verify` exits 0 when it does not know a key, and only prints that: so any output fails.
func TestUnitIsValid(t *testing.T) {
	needSlow(t)
	if said := verify(t, unit(t), "/bin/true"); said != "" {
		t.Errorf("systemd-analyze verify: %s", said)
	}
	if said := verify(t, unit(t)+"[Service]\nProtectSystm=yes\n", "/bin/true"); !strings.Contains(said, "ProtectSystm") {
		t.Errorf("of a key that there isn't systemd-analyze verify says %q: this test shows nothing", said)
	}
}

func unit(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(unitFile)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// verify returns what systemd says about a unit, whose program is where it isn't installed.
func verify(t *testing.T, text, program string) string {
	t.Helper()
	const installed = "ExecStart=/usr/bin/autotagd run\n"
	if !strings.Contains(text, installed) {
		t.Fatalf("the unit has no %s", installed)
	}
	file := filepath.Join(t.TempDir(), "autotagd.service")
	if err := os.WriteFile(file, []byte(strings.Replace(text, installed, "ExecStart="+program+" run\n", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("systemd-analyze", "verify", "--man=no", file)
	out, err := cmd.CombinedOutput()
	if err != nil && len(out) == 0 {
		t.Fatalf("systemd-analyze verify: %v", err)
	}
	return string(out)
}

// The daemon may do little more than it must.
func TestUnitIsHardened(t *testing.T) {
	needSlow(t)
	out, err := exec.Command("systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold="+maxExposure, unitFile).CombinedOutput()
	if err != nil {
		t.Fatalf("systemd-analyze security: %v\n%s", err, out)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	t.Log(lines[len(lines)-1])
}

// systemd waits longer for the end than the daemon takes, and for a beat longer than the daemon may be silent between two.
func TestUnitTimes(t *testing.T) {
	t.Parallel()
	for key, least := range map[string]time.Duration{"TimeoutStopSec": 30 * time.Second, "WatchdogSec": 30 * time.Second, "TimeoutStartSec": 2 * time.Minute} {
		_, rest, _ := strings.Cut(unit(t), "\n"+key+"=")
		value, _, _ := strings.Cut(rest, "\n")
		if d, err := time.ParseDuration(strings.TrimSuffix(value, "in")); err != nil || d < least {
			t.Errorf("%s=%s (%v), want at least %s", key, value, err, least)
		}
	}
}
