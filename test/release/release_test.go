// Package release tests what is shipped: that two builds give the same bytes, that the Debian package installs and goes away again, and that
// the unit is one that systemd takes and rates well. `make check` runs it; it needs Debian's tools, and root for some of it.
package release

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

const root = "../.."

// The release that is built here: darwin's would take minutes more, and nothing of it is other than linux's.
const (
	version   = "v1.2.3"
	commit    = "0123456789abcdef0123456789abcdef01234567"
	epoch     = "1767225600" // 2026-01-01
	platforms = "linux/amd64 linux/arm64"
)

func needSlow(t *testing.T) {
	t.Helper()
	if os.Getenv("AUTOTAGD_SLOW") == "" {
		t.Skip("takes a minute, and Debian's tools; AUTOTAGD_SLOW=1 runs it")
	}
}

// built is a release, made once for all tests.
var built = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "autotagd-release-")
	if err != nil {
		return "", err
	}
	builtDir = dir
	dist := filepath.Join(dir, "dist")
	return dist, release(root, dist)
})

// builtDir is where built builds; "" until it has. Only TestMain and built use it.
var builtDir string

func TestMain(m *testing.M) {
	code := m.Run()
	if builtDir != "" {
		_ = os.RemoveAll(builtDir)
	}
	os.Exit(code)
}

// release runs `make release` in tree.
func release(tree, dist string, env ...string) error {
	cmd := exec.Command("make", "-C", tree, "--no-print-directory", "release", "DIST="+dist, "VERSION="+version, "COMMIT="+commit)
	cmd.Env = append(append(os.Environ(), env...), "SOURCE_DATE_EPOCH="+epoch, "PLATFORMS="+platforms, "MAKEFLAGS=", "MAKELEVEL=", "AWS_EC2_METADATA_DISABLED=true")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("make release: %w\n%s", err, out)
	}
	return nil
}

func dist(t *testing.T) string {
	t.Helper()
	needSlow(t)
	dir, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// output runs a command, with stdout and stderr together, and fails t if it fails.
func output(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "AWS_EC2_METADATA_DISABLED=true")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// sums returns the SHA-256 of each file of a directory, by name.
func sums(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(data)
		all[e.Name()] = hex.EncodeToString(sum[:])
	}
	return all
}

// From a copy of the tree elsewhere, with other times, another time zone and other modes of what git doesn't keep, the same bytes come.
func TestReleaseIsReproducible(t *testing.T) {
	first := sums(t, dist(t))
	elsewhere := filepath.Join(t.TempDir(), "a copy", "autotagd") // with a space: a path that scripts break on
	copyTree(t, elsewhere)
	again := filepath.Join(t.TempDir(), "dist")
	if err := release(elsewhere, again, "TZ=Asia/Tokyo", "LC_ALL=C.UTF-8", "USER=somebody"); err != nil {
		t.Fatal(err)
	}
	second := sums(t, again)
	for _, name := range slices.Sorted(maps.Keys(first)) {
		if second[name] != first[name] {
			t.Errorf("%s: %s here, %q from the copy", name, first[name], second[name])
		}
	}
	if len(first) != len(second) {
		t.Errorf("%d files here, %d from the copy", len(first), len(second))
	}
	t.Logf("%d files are the same", len(first))
}

// copyTree copies what git has, or would take, to dir.
func copyTree(t *testing.T, dir string) {
	t.Helper()
	for name := range strings.SplitSeq(strings.TrimSuffix(output(t, "git", "-C", root, "ls-files", "-z", "--cached", "--others", "--exclude-standard"), "\x00"), "\x00") {
		info, err := os.Stat(filepath.Join(root, name))
		if errors.Is(err, os.ErrNotExist) {
			continue // deleted, and not committed yet
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, data, info.Mode()&0o100|0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// What a release has: for each platform an archive, a list of what is in the program, and a package.
func TestReleaseContents(t *testing.T) {
	dir := dist(t)
	var want []string
	for arch, machine := range map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64} {
		name := "autotagd-1.2.3-linux-" + arch
		want = append(want, name+".tar.gz", name+".cdx.json", "autotagd_1.2.3-1_"+arch+".deb")
		files := untar(t, filepath.Join(dir, name+".tar.gz"))
		for _, f := range []string{
			"autotagd", "LICENSE", "README.md", "CHANGELOG.md", "third-party-licenses", "autotagd.8", "autotagd.yaml", "autotagd.service", "autotagd.env", "docs/systemd.md", "docs/web.md",
		} {
			if len(files[name+"/"+f]) == 0 {
				t.Errorf("%s has no %s", name, f)
			}
		}
		program, err := elf.NewFile(bytes.NewReader(files[name+"/autotagd"]))
		if err != nil {
			t.Fatal(err)
		}
		if libs, err := program.ImportedLibraries(); err != nil || len(libs) > 0 || program.Machine != machine {
			t.Errorf("%s: for %s, linked with %q (%v)", name, program.Machine, libs, err)
		}
		for _, leak := range []string{abs(t, root), os.Getenv("HOME") + "/go/pkg"} {
			if bytes.Contains(files[name+"/autotagd"], []byte(leak)) {
				t.Errorf("%s: the program has the path %s in it", name, leak)
			}
		}
		checkParts(t, filepath.Join(dir, name+".cdx.json"), string(files[name+"/third-party-licenses"]))
	}
	want = append(want, "SHA256SUMS")
	slices.Sort(want)
	if have := slices.Sorted(maps.Keys(sums(t, dir))); !slices.Equal(have, want) {
		t.Errorf("there are %q, want %q", have, want)
	}
	cmd := exec.Command("sha256sum", "--check", "--strict", "SHA256SUMS")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil || bytes.Count(out, []byte(": OK\n")) != len(want)-1 {
		t.Errorf("sha256sum: %v\n%s", err, out)
	}
}

// checkParts compares the list of what is in the program with its licenses.
func checkParts(t *testing.T, file, licenses string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var bom struct {
		BomFormat string
		Metadata  struct {
			Component struct{ Name, Version string }
		}
		Components []struct{ Name, Version, PURL string }
	}
	if err := json.Unmarshal(data, &bom); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	if bom.BomFormat != "CycloneDX" || bom.Metadata.Component.Version != version || len(bom.Components) < 20 {
		t.Errorf("%s: %s of %+v with %d components", file, bom.BomFormat, bom.Metadata.Component, len(bom.Components))
	}
	for _, c := range bom.Components {
		if !strings.Contains(licenses, "\n==== "+c.Name+" "+c.Version+": ") && c.Name != "std" {
			t.Errorf("%s: the license of %s %s is not there", file, c.Name, c.Version)
		}
	}
}

// untar returns the files of a tar.gz, and fails t if one of them has an owner or another time than the release.
func untar(t *testing.T, name string) map[string][]byte {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Uid != 0 || h.Gid != 0 || h.Uname != "" || fmt.Sprint(h.ModTime.Unix()) != epoch || h.Mode&0o022 != 0 {
			t.Errorf("%s: %s is of %d:%d %q, from %s, mode %o", filepath.Base(name), h.Name, h.Uid, h.Gid, h.Uname, h.ModTime, h.Mode)
		}
		if files[h.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
}

func abs(t *testing.T, path string) string {
	t.Helper()
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return path
}
