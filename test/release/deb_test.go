package release

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// installed is every file and directory of ours that the package puts on a host, with its mode.
var installed = map[string]fs.FileMode{
	"etc/autotagd":                                   fs.ModeDir | 0o755,
	"etc/autotagd/autotagd.yaml":                     0o644,
	"etc/default/autotagd":                           0o644,
	"lib/systemd/system/autotagd.service":            0o644,
	"usr/bin/autotagd":                               0o755,
	"usr/share/doc/autotagd/changelog.Debian.gz":     0o644,
	"usr/share/doc/autotagd/changelog.gz":            0o644,
	"usr/share/doc/autotagd/copyright":               0o644,
	"usr/share/doc/autotagd/systemd.md":              0o644,
	"usr/share/doc/autotagd/third-party-licenses.gz": 0o644,
	"usr/share/man/man8/autotagd.8.gz":               0o644,
}

// host is a directory with as much of a Debian in it as the package's scripts need. They run chrooted there: what they remove, they remove there.
type host struct {
	t    *testing.T
	root string
}

func newHost(t *testing.T) *host {
	t.Helper()
	if os.Getuid() != 0 {
		t.Fatal("dpkg needs root to install")
	}
	h := &host{t, filepath.Join(t.TempDir(), "host")}
	for _, dir := range []string{"bin", "usr/bin", "etc", "tmp", "dev", "var/lib/dpkg/info", "var/lib/dpkg/updates", "var/lib/dpkg/triggers", "var/log"} {
		if err := os.MkdirAll(filepath.Join(h.root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	h.write("var/lib/dpkg/status", "")
	h.write("dev/null", "") // scripts write to it
	for _, program := range []string{"/bin/sh", "/bin/rm"} {
		h.copyProgram(program)
	}
	return h
}

func (h *host) path(name string) string { return filepath.Join(h.root, name) }

func (h *host) write(name, text string) {
	h.t.Helper()
	if err := os.MkdirAll(filepath.Dir(h.path(name)), 0o755); err != nil {
		h.t.Fatal(err)
	}
	if err := os.WriteFile(h.path(name), []byte(text), 0o644); err != nil {
		h.t.Fatal(err)
	}
}

// copyProgram copies a program of this host and its libraries.
func (h *host) copyProgram(name string) {
	h.t.Helper()
	files := []string{name}
	for field := range strings.FieldsSeq(output(h.t, "ldd", name)) {
		if strings.HasPrefix(field, "/") {
			files = append(files, field)
		}
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			h.t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Dir(h.path(f)), 0o755); err != nil {
			h.t.Fatal(err)
		}
		if err := os.WriteFile(h.path(f), data, 0o755); err != nil {
			h.t.Fatal(err)
		}
	}
}

// dpkg works on the host alone. Packages that ours depends on are not there.
func (h *host) dpkg(args ...string) string {
	h.t.Helper()
	return output(h.t, "dpkg", append([]string{"--root=" + h.root, "--force-depends", "--log=/dev/null", "--no-debsig"}, args...)...)
}

// files returns what is on the host, but dpkg's own, with modes.
func (h *host) files() map[string]fs.FileMode {
	h.t.Helper()
	all := map[string]fs.FileMode{}
	err := filepath.WalkDir(h.root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(h.root, name)
		if err != nil {
			return err
		}
		if strings.HasPrefix(rel, "var/lib/dpkg") {
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		all[rel] = info.Mode()
		if st := info.Sys().(*syscall.Stat_t); st.Uid != 0 || st.Gid != 0 {
			h.t.Errorf("%s is of %d:%d", rel, st.Uid, st.Gid)
		}
		return nil
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return all
}

// asNobody runs the installed program as a plain user.
func (h *host) asNobody(args ...string) string {
	h.t.Helper()
	cmd := exec.Command("/usr/bin/autotagd", args...)
	cmd.Env = []string{"AWS_EC2_METADATA_DISABLED=true"}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: h.root, Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		h.t.Errorf("autotagd %q: %v\n%s", args, err, out)
	}
	return string(out)
}

// The package installs over and over, works for a plain user, and leaves nothing behind when it is purged.
func TestDebianPackage(t *testing.T) {
	deb := filepath.Join(dist(t), "autotagd_1.2.3-1_amd64.deb")
	h := newHost(t)
	before := h.files()
	h.dpkg("--install", deb)

	after := h.files()
	for name, mode := range installed {
		if after[name] != mode {
			t.Errorf("%s: mode %s, want %s", name, after[name], mode)
		}
	}
	for name, mode := range after {
		if _, ours := installed[name]; !ours && before[name] == 0 && !mode.IsDir() {
			t.Errorf("%s is installed, and not in the list of this test", name)
		}
	}
	conffiles := strings.Fields(output(t, "dpkg-query", "--admindir="+h.path("var/lib/dpkg"), "-W", "-f=${Conffiles}", "autotagd"))
	if len(conffiles) != 4 || conffiles[0] != "/etc/autotagd/autotagd.yaml" || conffiles[2] != "/etc/default/autotagd" {
		t.Errorf("conffiles: %q", conffiles)
	}
	text, err := os.ReadFile(h.path("lib/systemd/system/autotagd.service"))
	if err != nil {
		t.Fatal(err)
	}
	if said := verify(t, string(text), h.path("usr/bin/autotagd")); said != "" {
		t.Errorf("systemd-analyze verify: %s", said)
	}
	man := exec.Command("man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", h.path("usr/share/man/man8/autotagd.8.gz"))
	man.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	var stderr strings.Builder
	man.Stderr = &stderr
	if page, err := man.Output(); err != nil || stderr.Len() > 0 || len(page) == 0 {
		t.Errorf("man: %v\n%s", err, stderr.String())
	}
	if said := h.asNobody("version"); !strings.Contains(said, version) || !strings.Contains(said, commit) {
		t.Errorf("version: %q", said)
	}
	if said := h.asNobody("check", "--config", "/etc/autotagd/autotagd.yaml"); !strings.Contains(said, "\nregions: []\n") {
		t.Errorf("check of the installed configuration: %q", said)
	}

	// What the administrator changed survives an upgrade and a removal; what the service keeps survives both too.
	h.write("etc/autotagd/autotagd.yaml", "regions: [eu-central-1]\n")
	h.write("var/lib/private/autotagd/lock", "1\n")
	if err := os.Symlink("private/autotagd", h.path("var/lib/autotagd")); err != nil {
		t.Fatal(err)
	}
	h.dpkg("--install", deb)
	h.dpkg("--remove", "autotagd")
	left := h.files()
	for name := range installed {
		if _, there := left[name]; there != strings.HasPrefix(name, "etc/") {
			t.Errorf("after the removal: %s there = %v", name, there)
		}
	}
	if changed, err := os.ReadFile(h.path("etc/autotagd/autotagd.yaml")); err != nil || string(changed) != "regions: [eu-central-1]\n" {
		t.Errorf("after the removal the configuration is %q (%v)", changed, err)
	}
	if _, there := left["var/lib/private/autotagd/lock"]; !there {
		t.Error("after the removal the checkpoints are gone")
	}
	h.dpkg("--purge", "autotagd")
	for name := range h.files() {
		if _, there := before[name]; !there && name != "var/lib/private" && name != "etc/default" {
			t.Errorf("after the purge %s is still there", name)
		}
	}
}

// On a host where systemd is at work it hears of the package: nothing is enabled or started by an installation, an upgrade restarts what runs
// and does not wait, and a removal stops it.
func TestDebianPackageTellsSystemd(t *testing.T) {
	deb := filepath.Join(dist(t), "autotagd_1.2.3-1_amd64.deb")
	h := newHost(t)
	if err := os.MkdirAll(h.path("run/systemd/system"), 0o755); err != nil {
		t.Fatal(err)
	}
	h.write("bin/systemctl", "#!/bin/sh\necho \"$*\" >>/said\n")
	if err := os.Chmod(h.path("bin/systemctl"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct{ args, want string }{
		{"--install " + deb, "daemon-reload\n"},
		{"--install " + deb, "daemon-reload\ndaemon-reload\n--no-block try-restart autotagd.service\n"}, // of the old postrm, and of the new postinst
		{"--remove autotagd", "stop autotagd.service\n--no-reload disable autotagd.service\ndaemon-reload\n"},
		{"--purge autotagd", "daemon-reload\n"},
	} {
		h.write("said", "")
		h.dpkg(strings.Fields(step.args)...)
		if said, err := os.ReadFile(h.path("said")); err != nil || string(said) != step.want {
			t.Errorf("dpkg %s: systemctl was told\n%s(%v), want\n%s", step.args, said, err, step.want)
		}
	}
}

// The packages say for whom they are, and what they are.
func TestDebianControl(t *testing.T) {
	for _, arch := range []string{"amd64", "arm64"} {
		deb := filepath.Join(dist(t), "autotagd_1.2.3-1_"+arch+".deb")
		fields := map[string]string{}
		for line := range strings.Lines(output(t, "dpkg-deb", "--field", deb)) {
			if key, value, found := strings.Cut(line, ": "); found && !strings.HasPrefix(line, " ") {
				fields[key] = strings.TrimSpace(value)
			}
		}
		for key, want := range map[string]string{
			"Package": "autotagd", "Version": "1.2.3-1", "Architecture": arch, "Depends": "ca-certificates",
			"Description": "tags new AWS resources with who created them",
		} {
			if fields[key] != want {
				t.Errorf("%s: %s is %q, want %q", arch, key, fields[key], want)
			}
		}
	}
}

// Debian orders our versions as we do.
func TestDebianVersions(t *testing.T) {
	needSlow(t)
	ordered := []string{"217383f-dirty", "v1.2.3-rc.1", "v1.2.3", "v1.2.3-4-gabc1234", "v1.2.4"}
	var have []string
	for _, v := range ordered {
		cmd := exec.Command("bash", root+"/deploy/release", "--debian-version")
		cmd.Env = append(os.Environ(), "VERSION="+v)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", v, err, out)
		}
		have = append(have, strings.TrimSpace(string(out)))
	}
	for i := 1; i < len(have); i++ {
		if err := exec.Command("dpkg", "--compare-versions", have[i-1], "lt", have[i]).Run(); err != nil {
			t.Errorf("%s (of %s) is not below %s (of %s): %v", have[i-1], ordered[i-1], have[i], ordered[i], err)
		}
	}
	t.Log(have)
}
