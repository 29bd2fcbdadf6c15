//go:build simreplay

package daemon

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"testing"
	"testing/cryptotest"
	"testing/synctest"
	"time"
	_ "unsafe" // for go:linkname
)

// replays says that a seed has one history: this binary was built with the runtime that test/sim makes.
const replays = true

const childEnv = "AUTOTAGD_SIM_CHILD"

// alone reports whether this process is for one simulation, where nothing but its seed decides.
func alone() bool { return os.Getenv(childEnv) != "" }

//go:linkname simSeed runtime.simSeed
func simSeed(seed uint64)

// reseed has all that is random come from seed: in bubbles what the runtime draws, anywhere what crypto/rand does.
func reseed(t *testing.T, seed uint64) {
	cryptotest.SetGlobalRandom(t, seed)
	simSeed(seed)
}

// collect frees memory now and then, while nobody else has anything to do: a collector that ran beside them would decide who goes
// when.
func collect(over <-chan struct{}) {
	for enough := uint64(128 << 20); ; {
		select {
		case <-over:
			return
		case <-time.After(4*time.Minute + time.Millisecond):
		}
		synctest.Wait()
		var m runtime.MemStats
		if runtime.ReadMemStats(&m); m.HeapAlloc > enough {
			runtime.GC()
			runtime.ReadMemStats(&m)
			enough = max(enough, 2*m.HeapAlloc)
		}
	}
}

// inProcess runs one simulation in a process of its own and returns what it prints.
func inProcess(t *testing.T, name string, seed uint64, variable string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run=^TestSimulation$/^"+name+"$", "-test.v", "-test.timeout=20m")
	cmd.Args[0] = "sim.test" // what it is given is in its memory, and moves the rest
	cmd.Env = []string{
		"AWS_EC2_METADATA_DISABLED=true", childEnv + "=1", "AUTOTAGD_SIM=0", "AUTOTAGD_SIM_WEEKS=0", variable + "=1", fmt.Sprint("AUTOTAGD_SIM_SEED=", seed),
		"GOMAXPROCS=1", "GOGC=off", "GOMEMLIMIT=3GiB", "GODEBUG=asyncpreemptoff=1",
	}
	b, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, b)
	}
	return string(b)
}

var digestLine = regexp.MustCompile(`\d+ calls and outcomes, digest [0-9a-f]+`)

// A seed has one history, to the last call.
func TestSimulationReplays(t *testing.T) {
	seed := envNumber(t, "AUTOTAGD_SIM_SEED", 1)
	for i := range uint64(8) {
		name := fmt.Sprint("hours-", seed+i)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			first := inProcess(t, name, seed+i, "AUTOTAGD_SIM")
			again := inProcess(t, name, seed+i, "AUTOTAGD_SIM")
			a, b := digestLine.FindString(first), digestLine.FindString(again)
			if a == "" || a != b {
				t.Errorf("%q, and again %q", a, b)
			}
			t.Log(a)
		})
	}
}
