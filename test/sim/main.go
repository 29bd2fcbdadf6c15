// Command sim writes what makes a Go program's history hang on one seed: a runtime whose random numbers (map iterations,
// select, timers that are due at once, math/rand) come from that seed within a synctest bubble, and that neither preempts by
// the clock nor takes a P away during a system call. With GOMAXPROCS=1 and GOGC=off a simulation then runs the same way each
// time. The files are made from those of the Go that builds the test, and given to it by `go test -overlay`: nothing that is
// shipped is built with them.
//
//	go run ./test/sim DIR
//
// writes DIR/overlay.json and the files that it names.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// edit replaces a text that is in a file once.
type edit struct{ old, new string }

var edits = map[string][]edit{
	"runtime/rand.go": {
		{
			"	seed := &globalRand.seed\n	if len(startupRand) >= 16 &&",
			"	seed := &globalRand.seed\n	if simFixed {\n		copy(seed[:], \"one seed, one history\")\n	} else if len(startupRand) >= 16 &&",
		},
		{
			"func rand() uint64 {\n",
			`func rand() uint64 {
	if simulates() {
		stream := &simOther
		if getg().bubble != nil {
			stream = &simBubble
		}
		*stream += 0xa0761d6478bd642f
		hi, lo := math.Mul64(*stream, *stream^0xe7037ed1a0b428db)
		return hi ^ lo
	}
`,
		},
		{
			"func cheaprand() uint32 {\n",
			`func cheaprand() uint32 {
	if simulates() {
		return uint32(rand())
	}
`,
		},
		{
			"var readRandomFailed bool\n",
			`var readRandomFailed bool

// simFixed is constant, but the compiler is not to know.
var simFixed = true

// simulates reports whether this process has one simulation: it is run with GODEBUG=asyncpreemptoff=1.
func simulates() bool { return debug.asyncpreemptoff != 0 }

// simBubble is where the random numbers of bubbles come from, simOther is of all else.
var simBubble, simOther uint64

//go:linkname simSeed
func simSeed(seed uint64) { simBubble = seed }
`,
		},
	},
	"runtime/proc.go": {
		// While main is locked to its thread, how many others are made to run the rest hangs on which is fast; their stacks move
		// the heap, and with it the order of maps by pointer.
		{"	lockOSThread()\n\n	if mp != &m0 {\n", "	if !simulates() {\n		lockOSThread()\n	}\n\n	if mp != &m0 {\n"},
		{"	needUnlock = false\n	unlockOSThread()\n", "	needUnlock = false\n	if !simulates() {\n		unlockOSThread()\n	}\n"},
		{"if scavenger.sysmonWake.Load() != 0 {\n", "if !simulates() && scavenger.sysmonWake.Load() != 0 {\n"},
		{"func retake(now int64) uint32 {\n", "func retake(now int64) uint32 {\n	if simulates() {\n		return 0\n	}\n"},
	},
	"runtime/mem_linux.go": { // without a collector, a page fault for each 4 KiB of garbage is a quarter of the time
		{"	setVMAName(p, n, vmaName)\n\n	// Disable huge", "	setVMAName(p, n, vmaName)\n	if simulates() {\n		sysHugePageOS(v, n)\n	}\n\n	// Disable huge"},
	},
	"internal/sync/mutex.go": {
		{"starvationThresholdNs = 1e6\n", "starvationThresholdNs = 1 << 62\n"},
	},
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: go run ./test/sim DIR")
		os.Exit(2)
	}
	if err := write(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "sim:", err)
		os.Exit(1)
	}
}

func write(dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	out, err := exec.Command("go", "env", "GOROOT", "GOVERSION").Output()
	if err != nil {
		return fmt.Errorf("go env: %w", err)
	}
	root, version, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	replace := map[string]string{}
	for name, edits := range edits {
		from := filepath.Join(root, "src", name)
		text, err := os.ReadFile(from)
		if err != nil {
			return err
		}
		s := string(text)
		for _, e := range edits {
			if strings.Count(s, e.old) != 1 {
				return fmt.Errorf("%s of %s is not as expected: it should have once:\n%s\nadapt test/sim/main.go to this Go", name, version, e.old)
			}
			s = strings.Replace(s, e.old, e.new, 1)
		}
		to := filepath.Join(dir, strings.ReplaceAll(name, "/", "_")+".txt") // no package for what looks at ./...
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(to, []byte(s), 0o644); err != nil {
			return err
		}
		replace[from] = to
	}
	overlay, err := json.MarshalIndent(map[string]any{"Replace": replace}, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "overlay.json"), append(overlay, '\n'), 0o644)
}
