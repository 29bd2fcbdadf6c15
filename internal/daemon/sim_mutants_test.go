package daemon

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"
)

// Mutants are small ways to break an invariant, in testdata/mutants, a txtar archive each: what it breaks, the lines of a source
// file as they are, and what they become. They tell whether the simulation would notice. The sources themselves never
// change: a mutant is built by an overlay of that one file.

const (
	mutantFiles  = "testdata/mutants/*.txt"
	moduleRoot   = "../.."
	fewMutants   = 20  // at least, for the simulation to be judged by
	mutantSeeds  = 200 // within which each is to be found, unless AUTOTAGD_SIM says another number
	firstSeed    = 1   // unless AUTOTAGD_SIM_SEED does
	becomes      = "becomes"
	mutantLength = time.Hour // at most, for all seeds of one
)

// mutant is one of them.
type mutant struct {
	name, breaks string
	file         string // from the root of the module, with slashes
	old, new     string // whole lines
}

func mutants(t *testing.T) []mutant {
	t.Helper()
	files, err := filepath.Glob(mutantFiles)
	if err != nil {
		t.Fatal(err)
	}
	var all []mutant
	for _, f := range files {
		a, err := txtar.ParseFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if len(a.Files) != 2 || a.Files[1].Name != becomes || !strings.Contains(string(a.Comment), "Invariant ") {
			t.Fatalf("%s: want what it breaks with its `Invariant N.`, the file with the lines as they are, and what they become", f)
		}
		all = append(all, mutant{
			name: strings.TrimSuffix(filepath.Base(f), ".txt"), breaks: strings.Join(strings.Fields(string(a.Comment)), " "),
			file: a.Files[0].Name, old: string(a.Files[0].Data), new: string(a.Files[1].Data),
		})
	}
	return all
}

// mutated returns the mutant's source file.
func (m mutant) mutated() ([]byte, error) {
	source, err := os.ReadFile(filepath.Join(moduleRoot, filepath.FromSlash(m.file)))
	if err != nil {
		return nil, err
	}
	if n := strings.Count("\n"+string(source), "\n"+m.old); m.old == "" || n != 1 {
		return nil, fmt.Errorf("%s: its lines are %d times in %s, want them once: adapt it to how the code is now", m.name, n, m.file)
	}
	return bytes.Replace(source, []byte(m.old), []byte(m.new), 1), nil
}

// A refactoring that goes past a mutant is told so.
func TestMutantsMatchTheSources(t *testing.T) {
	all := mutants(t)
	if len(all) < fewMutants {
		t.Errorf("there are %d mutants, want at least %d", len(all), fewMutants)
	}
	for _, m := range all {
		if _, err := m.mutated(); err != nil {
			t.Error(err)
		}
		if m.old == m.new {
			t.Errorf("%s changes nothing", m.name)
		}
	}
}

// TestMutants runs the simulation with each mutant until it fails: `make sim-mutants`. It takes long; -run TestMutants/NAME
// runs one of them.
func TestMutants(t *testing.T) {
	if os.Getenv("AUTOTAGD_SIM_MUTANTS") == "" {
		t.Skip("set AUTOTAGD_SIM_MUTANTS")
	}
	all := mutants(t)
	if len(all) == 0 {
		t.Fatal("there are no mutants")
	}
	var table []string
	for _, m := range all {
		t.Run(m.name, func(t *testing.T) {
			found := m.hunt(t, m.build(t))
			line := fmt.Sprintf("%s\n\t%s\n\t", m.name, m.breaks)
			if found.message == "" {
				line += fmt.Sprintf("SURVIVED %d seeds", found.seeds)
				t.Errorf("%s: no seed of %d found it: the watch has a hole", m.name, found.seeds)
			} else {
				line += fmt.Sprintf("found after %d seeds, by %s: %s", found.seeds, found.seed, found.message)
			}
			t.Log(line)
			table = append(table, line)
		})
	}
	t.Logf("%d mutants\n%s", len(table), strings.Join(table, "\n"))
}

// build makes the test binary of this package with the mutant in it.
func (m mutant) build(t *testing.T) string {
	t.Helper()
	source, err := m.mutated()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	changed := filepath.Join(dir, path.Base(m.file))
	root, err := filepath.Abs(moduleRoot)
	if err != nil {
		t.Fatal(err)
	}
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(root, filepath.FromSlash(m.file)): changed}})
	if err != nil {
		t.Fatal(err)
	}
	list, binary := filepath.Join(dir, "overlay.json"), filepath.Join(dir, "mutant.test")
	if err := cmp.Or(os.WriteFile(changed, source, 0o600), os.WriteFile(list, overlay, 0o600)); err != nil {
		t.Fatal(err)
	}
	build := exec.Command("go", "test", "-c", "-vet=off", "-overlay", list, "-o", binary, ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%s does not compile: %v\n%s", m.name, err, out)
	}
	return binary
}

// sighting is how a mutant was found.
type sighting struct {
	seeds   int    // that were begun: two or more run side by side
	seed    string // that found it
	message string // "" if none did
}

var (
	simBegins = regexp.MustCompile(`^=== CONT +TestSimulation/(\S+)`) // once for each, since all are parallel
	simRuns   = regexp.MustCompile(`^=== (?:NAME|CONT|RUN) +TestSimulation/(\S+)`)
	simFails  = regexp.MustCompile(`^ *--- FAIL: TestSimulation/(\S+)`)
	simSays   = regexp.MustCompile(`^ *\w+_test\.go:\d+: (.*)`)
)

// hunt runs seeds until the first failure.
func (m mutant) hunt(t *testing.T, binary string) sighting {
	t.Helper()
	most := int(envNumber(t, "AUTOTAGD_SIM", mutantSeeds))
	run := exec.Command(binary, "-test.run=^TestSimulation$", "-test.v", "-test.timeout="+mutantLength.String())
	run.Env = append(slices.DeleteFunc(os.Environ(), func(e string) bool { return strings.HasPrefix(e, "AUTOTAGD_SIM") }),
		fmt.Sprint("AUTOTAGD_SIM=", most), fmt.Sprint("AUTOTAGD_SIM_SEED=", envNumber(t, "AUTOTAGD_SIM_SEED", firstSeed)), "AWS_EC2_METADATA_DISABLED=true")
	out, err := run.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	run.Stderr = run.Stdout
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = run.Process.Kill() // the first failure is enough
		_ = run.Wait()
	}()
	var found sighting
	name, begun := "", map[string]bool{}
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<24)
	for lines.Scan() {
		line := lines.Text()
		if begins := simBegins.FindStringSubmatch(line); begins != nil {
			begun[begins[1]] = true
			found.seeds = len(begun)
		}
		if runs := simRuns.FindStringSubmatch(line); runs != nil {
			name = runs[1]
		} else if says := simSays.FindStringSubmatch(line); says != nil && begun[name] {
			found.seed, found.message = name, says[1]
			return found
		} else if strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ") {
			found.seed, found.message = name, line
			return found
		} else if fails := simFails.FindStringSubmatch(line); fails != nil {
			found.seed, found.message = fails[1], "it fails"
			return found
		}
	}
	if found.seeds < most {
		t.Fatalf("%s: the simulation ended after %d seeds", m.name, found.seeds)
	}
	return found
}
