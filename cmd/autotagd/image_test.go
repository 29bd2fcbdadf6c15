package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	goversion "go/version"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/autotagd/autotagd/internal/fakeaws"
)

const (
	maxImage     = 60 << 20 // bytes, of everything in it, not compressed
	maxImageTime = 20 * time.Minute
)

// The image of the Dockerfile, for each architecture: built of the files that a build gets to see, by the command that the
// Dockerfile builds with, in the stage that it ends with, verbatim; only the base, which no test may fetch, is the host's own
// Go and CA certificates. What is built is looked at and run, as its user and with its root read-only. It takes
// buildah, skopeo and root: `make image`.
func TestImage(t *testing.T) {
	if os.Getenv("AUTOTAGD_IMAGE") == "" {
		t.Skip("builds container images: run `make image`")
	}
	if os.Getuid() != 0 {
		t.Fatal("building an image without a container engine takes root")
	}
	dockerfile := string(readFile(t, "../../Dockerfile"))
	b := &imageBuilder{dir: t.TempDir()}
	t.Cleanup(func() { b.buildah(t, "rm", "--all") }) // lets go of what is mounted
	sources := b.sources(t)
	for _, arch := range []string{"amd64", "arm64"} {
		t.Run(arch, func(t *testing.T) {
			name := "autotagd-" + arch
			b.build(t, dockerfile, sources, name, arch)
			config := b.inspect(t, name, arch)
			root := b.mount(t, name)
			lookAtRoot(t, root, config, arch)
			if arch == runtime.GOARCH {
				runImage(t, root, config)
			}
		})
	}
}

// The Go that the image is built with can build this.
func TestDockerfileGo(t *testing.T) {
	t.Parallel()
	base := regexp.MustCompile(`(?m)^FROM --platform=\$BUILDPLATFORM docker\.io/library/golang:(\d+\.\d+\.\d+)(@sha256:[0-9a-f]{64})? AS build$`).FindSubmatch(readFile(t, "../../Dockerfile"))
	want := regexp.MustCompile(`(?m)^go (.*)$`).FindSubmatch(readFile(t, "../../go.mod"))
	if base == nil || want == nil {
		t.Fatal("no FROM of an exact golang:X.Y.Z, or no go line in go.mod")
	}
	if goversion.Compare("go"+string(base[1]), "go"+string(want[1])) < 0 {
		t.Errorf("the Dockerfile builds with Go %s; go.mod wants %s", base[1], want[1])
	}
}

// imageBuilder has a store of its own, so that no other images are touched.
type imageBuilder struct{ dir string }

// imageConfig is what a container engine reads.
type imageConfig struct {
	Architecture, OS string
	Config           struct {
		User         string
		Env          []string
		Entrypoint   []string
		Cmd          []string
		ExposedPorts map[string]any
		Volumes      map[string]any
		Labels       map[string]string
		Healthcheck  struct {
			Test    []string
			Timeout time.Duration
		}
	}
}

func (b *imageBuilder) buildah(t *testing.T, args ...string) string {
	t.Helper()
	return outputOf(t, "", append([]string{
		"buildah", "--storage-driver", "vfs", "--root", filepath.Join(b.dir, "storage"), "--runroot", filepath.Join(b.dir, "run"),
	}, args...)...)
}

// mount returns the directory that has what is in an image.
func (b *imageBuilder) mount(t *testing.T, image string) string {
	t.Helper()
	return strings.TrimSpace(b.buildah(t, "mount", strings.TrimSpace(b.buildah(t, "from", "--pull-never", image))))
}

// sources returns a directory with what a build gets to see of the tree: what .dockerignore leaves.
func (b *imageBuilder) sources(t *testing.T) string {
	t.Helper()
	all := filepath.Join(b.dir, "all.Dockerfile")
	writeFile(t, all, "FROM scratch\nCOPY . /\n")
	b.buildah(t, "bud", "--isolation", "chroot", "--tag", "sources", "--file", all, "../..")
	return b.mount(t, "sources")
}

// build builds an image as the Dockerfile says.
func (b *imageBuilder) build(t *testing.T, dockerfile, sources, name, arch string) {
	t.Helper()
	stage := filepath.Join(b.dir, arch)
	const certificates = "/etc/ssl/certs/ca-certificates.crt"
	writeFile(t, filepath.Join(stage, certificates), string(readFile(t, certificates)))
	run := regexp.MustCompile(`(?m)^RUN (?:--mount=\S+\s+)*(.* make build .*)$`).FindStringSubmatch(strings.ReplaceAll(dockerfile, "\\\n", ""))
	if run == nil {
		t.Fatal("the Dockerfile has no RUN with make build")
	}
	script := strings.ReplaceAll(run[1], "/out/", stage+"/out/")
	outputOf(t, sources, "env", "TARGETOS=linux", "TARGETARCH="+arch, "VERSION=v1.2.3", "COMMIT=0123abc", "bash", "-euc", script)

	last := filepath.Join(b.dir, "last.Dockerfile")
	writeFile(t, last, dockerfile[strings.LastIndex(dockerfile, "\nFROM ")+1:])
	// HEALTHCHECK is not in the format of OCI, which is buildah's default.
	b.buildah(t, "bud", "--isolation", "chroot", "--format", "docker", "--platform", "linux/"+arch, "--build-context", "build="+stage,
		"--build-arg", "VERSION=v1.2.3", "--build-arg", "COMMIT=0123abc", "--tag", name, "--file", last, stage)
}

// inspect returns an image's configuration as another tool reads it, and looks at it.
func (b *imageBuilder) inspect(t *testing.T, name, arch string) imageConfig {
	t.Helper()
	archive := "docker-archive:" + filepath.Join(b.dir, name+".tar")
	b.buildah(t, "push", name, archive)
	var c imageConfig
	if err := json.Unmarshal([]byte(outputOf(t, "", "skopeo", "inspect", "--raw", "--config", archive)), &c); err != nil {
		t.Fatal(err)
	}
	want := func(what string, got, want any) {
		t.Helper()
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s is %v, want %v", what, got, want)
		}
	}
	want("architecture", c.OS+"/"+c.Architecture, "linux/"+arch)
	want("user", c.Config.User, "65532:65532")
	want("entrypoint", c.Config.Entrypoint, []string{"/usr/bin/autotagd"})
	want("cmd", c.Config.Cmd, []string{"run"})
	want("ports", c.Config.ExposedPorts, map[string]any{"9464/tcp": map[string]any{}})
	want("volumes", c.Config.Volumes, map[string]any{"/var/lib/autotagd": map[string]any{}})
	want("health check", c.Config.Healthcheck.Test, []string{"CMD", "/usr/bin/autotagd", "health"})
	if c.Config.Healthcheck.Timeout <= healthTimeout {
		t.Errorf("a health check is ended after %s; it takes up to %s to say why it fails", c.Config.Healthcheck.Timeout, healthTimeout)
	}
	for label, value := range map[string]string{
		"title": "autotagd", "licenses": "Apache-2.0", "version": "v1.2.3", "revision": "0123abc", "source": "https://github.com/autotagd/autotagd",
	} {
		want("label "+label, c.Config.Labels["org.opencontainers.image."+label], value)
	}
	if c.Config.Labels["org.opencontainers.image.description"] == "" {
		t.Error("no label description")
	}
	return c
}

// lookAtRoot checks what is in an image.
func lookAtRoot(t *testing.T, root string, c imageConfig, arch string) {
	t.Helper()
	var files []string
	size := int64(0)
	err := filepath.Walk(root, func(path string, info fs.FileInfo, err error) error {
		if err != nil || info.IsDir() {
			return err
		}
		size += info.Size()
		files = append(files, strings.TrimPrefix(path, root))
		return nil
	})
	if want := []string{"/etc/ssl/certs/ca-certificates.crt", "/usr/bin/autotagd"}; err != nil || !slices.Equal(files, want) {
		t.Errorf("it has the files %q (%v), want %q", files, err, want)
	}
	t.Logf("%d bytes", size)
	if size > maxImage {
		t.Errorf("it has %d bytes, want at most %d", size, maxImage)
	}
	if !x509.NewCertPool().AppendCertsFromPEM(readFile(t, filepath.Join(root, "etc/ssl/certs/ca-certificates.crt"))) {
		t.Error("it has no CA certificates")
	}
	bin, err := elf.Open(filepath.Join(root, c.Config.Entrypoint[0]))
	if err != nil {
		t.Fatal(err)
	}
	defer bin.Close()
	if want := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}[arch]; bin.Machine != want {
		t.Errorf("its binary is for %v, want %v", bin.Machine, want)
	}
	if bin.Section(".interp") != nil || bin.Section(".dynamic") != nil {
		t.Error("its binary is not static")
	}
	state, err := os.Stat(filepath.Join(root, "var/lib/autotagd"))
	if err != nil {
		t.Fatal(err)
	}
	owner := state.Sys().(*syscall.Stat_t)
	if got := fmt.Sprintf("%d:%d", owner.Uid, owner.Gid); got != c.Config.User {
		t.Errorf("its volume belongs to %s, want %s", got, c.Config.User)
	}
}

// runImage runs what is in an image as a container would: its command as its user, with its environment, the root read-only.
func runImage(t *testing.T, root string, c imageConfig) {
	t.Helper()
	volume := t.TempDir()
	if err := os.Chown(volume, 65532, 65532); err != nil {
		t.Fatal(err)
	}
	container := func(env []string, args ...string) *exec.Cmd {
		const script = `mount --bind "$1" "$1" && mount --bind "$2" "$1/var/lib/autotagd" && mount -o remount,bind,ro "$1" && exec chroot --userspec="$3" "${@:4}"`
		cmd := exec.Command("unshare", append([]string{"--mount", "--", "bash", "-c", script, "bash", root, volume, c.Config.User, root}, args...)...)
		cmd.Env = append(append([]string{"AWS_EC2_METADATA_DISABLED=true", "PATH=" + os.Getenv("PATH")}, c.Config.Env...), env...)
		return cmd
	}
	command := func(args ...string) []string { return append(slices.Clone(c.Config.Entrypoint), args...) }

	out, err := container(nil, command("version")...).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "v1.2.3") || !strings.Contains(string(out), "0123abc") {
		t.Fatalf("version: %v\n%s", err, out)
	}

	// The demo, whose health is asked by the image's own check while it runs.
	demo := container(nil, command("demo", "--duration", "5s", "--listen", "0.0.0.0:0")...)
	stdout := new(lockedBuffer)
	demo.Stdout, demo.Stderr = stdout, stdout
	if err := demo.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- demo.Wait() }()
	t.Cleanup(func() { _ = demo.Process.Kill() })
	port := regexp.MustCompile(`Status: http://\S+:([0-9]+)/`)
	for end := time.Now().Add(time.Minute); port.FindStringSubmatch(stdout.String()) == nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the demo has no web port after a minute:\n%s", stdout)
		}
	}
	health := container([]string{"AUTOTAGD_HEALTH_URL=http://127.0.0.1:" + port.FindStringSubmatch(stdout.String())[1]}, c.Config.Healthcheck.Test[1:]...)
	if out, err := health.CombinedOutput(); err != nil {
		t.Errorf("%v: %v\n%s", c.Config.Healthcheck.Test, err, out)
	}
	select {
	case err := <-ended:
		if err != nil || !strings.Contains(stdout.String(), "Check:    passed") {
			t.Errorf("demo: %v\n%s", err, stdout)
		}
	case <-time.After(3 * time.Minute):
		t.Fatalf("the demo has not ended after three minutes:\n%s", stdout)
	}
	if out, err := container(nil, append(c.Config.Healthcheck.Test[1:], "--url", "http://127.0.0.1:1")...).CombinedOutput(); err == nil {
		t.Errorf("healthy, where nothing listens: %s", out)
	}

	// The daemon itself keeps its checkpoint in the volume, where the demo has left nothing.
	if left, err := os.ReadDir(volume); err != nil || len(left) > 0 {
		t.Errorf("the demo left %v in the volume (%v)", left, err)
	}
	cloud := fakeaws.New(fakeaws.Config{Accounts: []string{"111122223333"}, Regions: []string{"eu-west-1", "us-east-1"}})
	once := container([]string{
		"AWS_ACCESS_KEY_ID=AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY=secret", "AWS_REGION=eu-west-1", "AWS_ENDPOINT_URL=" + serve(t, cloud),
		`AUTOTAGD_CONFIG_YAML=web: {listen: ":0"}`,
	}, command(append(slices.Clone(c.Config.Cmd), "--once")...)...)
	if out, err := once.CombinedOutput(); err != nil {
		t.Errorf("run --once: %v\n%s", err, out)
	}
	if kept, err := os.ReadDir(volume); err != nil || len(kept) == 0 {
		t.Errorf("no checkpoint in the volume (%v)", err)
	}
	// The root can't be written, whoever owns the directory.
	out, err = container([]string{"TMPDIR=/usr/bin"}, command("demo", "--duration", "1s")...).CombinedOutput()
	if err == nil || !bytes.Contains(out, []byte(syscall.EROFS.Error())) {
		t.Errorf("a write outside of the volume: %v, want %q\n%s", err, syscall.EROFS.Error(), out)
	}
}

// outputOf runs args in dir, "" for here, and returns what they print; t fails if they do.
func outputOf(t *testing.T, dir string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), maxImageTime) // not t's, which has ended at a clean-up
	defer cancel()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir = dir
	cmd.WaitDelay = time.Second
	cmd.Env = append(os.Environ(), "AWS_EC2_METADATA_DISABLED=true")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if errors.Is(err, exec.ErrNotFound) {
		t.Fatalf("%v; on Debian: apt-get install buildah skopeo ca-certificates", err)
	} else if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, &stderr)
	}
	return string(out)
}

func readFile(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func writeFile(t *testing.T, name, content string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(content), 0o644)); err != nil {
		t.Fatal(err)
	}
}
