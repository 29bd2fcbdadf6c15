package release

import (
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/autotagd/autotagd/internal/fakeaws"
)

// nobody is a user and a group that owns nothing.
const nobody = 65534

// As a plain user who can write nothing but the state directory, in a root directory that has nothing but the program, it tags. It is what
// the unit leaves it, and more: there is no /proc, no /tmp and no /etc either.
func TestTagsAsAPlainUser(t *testing.T) {
	needSlow(t)
	if os.Getuid() != 0 {
		t.Fatal("another user can be had by root alone")
	}
	host := filepath.Join(t.TempDir(), "root")
	state := filepath.Join(host, "state")
	if err := os.MkdirAll(state, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(host, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(state, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", filepath.Join(host, "autotagd"), root+"/cmd/autotagd")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	cloud := fakeaws.New(fakeaws.Config{Seed: 1, Regions: []string{"eu-central-1"}, Visibility: time.Second})
	server := httptest.NewServer(cloud.Handler())
	defer server.Close()

	log := new(lockedBuffer)
	cmd := exec.Command("/autotagd", "run")
	cmd.Dir = "/"
	cmd.Stderr = log
	cmd.Env = []string{
		"AWS_EC2_METADATA_DISABLED=true", "AWS_ACCESS_KEY_ID=AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY=secret", "AWS_REGION=eu-central-1",
		"AWS_ENDPOINT_URL=" + server.URL, "STATE_DIRECTORY=/state",
		`AUTOTAGD_CONFIG_YAML={global_region: off, poll: {interval: 1s}, tagging: {batch_wait: 100ms}, web: {listen: "127.0.0.1:0"}}`,
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: host, Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	defer func() { _ = cmd.Process.Kill() }()

	volume := cloud.Create(cloud.Scope(), "CreateVolume", fakeaws.IAMUser("alice"), fakeaws.Spec{}).IDs("volume")[0]
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		if v, _ := cloud.Resource(volume); v.Tags["Owner"] == "alice" {
			break
		}
		select {
		case err := <-ended:
			t.Fatalf("it has ended: %v\n%s", err, log)
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s is not tagged\n%s", volume, log)
		}
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("it ended with %v\n%s", err, log)
		}
	case <-time.After(30 * time.Second):
		t.Errorf("it has not ended\n%s", log)
	}
	saved, err := filepath.Glob(filepath.Join(state, fakeaws.DefaultAccount, "eu-central-1", "state"))
	if err != nil || len(saved) != 1 {
		t.Errorf("saved: %q, %v", saved, err)
	}
	entries, err := os.ReadDir(host)
	if err != nil || len(entries) != 2 {
		t.Errorf("beside the program and its state there is %v, %v", entries, err)
	}
	if strings.Contains(log.String(), `"level":"error"`) {
		t.Errorf("it logged an error:\n%s", log)
	}
}

// lockedBuffer is what a process writes while a test reads.
type lockedBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
