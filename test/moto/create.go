package moto

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Made is a resource that create.py made at moto, or could not.
type Made struct {
	ID      int
	Service string // as the SDK for Python calls it
	Source  string // of the event that CloudTrail would have recorded
	Event   string
	Region  string
	Request json.RawMessage   // requestParameters and responseElements, in CloudTrail's form
	Answer  json.RawMessage   `json:"response"`
	Before  map[string]string // its tags
	Error   string
}

// Creator makes resources at moto by boto3, and reads their tags.
type Creator struct {
	t   testing.TB
	in  io.Writer
	out *bufio.Reader
}

// NewCreator starts create.py for the moto at url. It ends with t.
func NewCreator(t testing.TB, url string) *Creator {
	t.Helper()
	server, err := installed()
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Dir(server)
	cmd := exec.Command(filepath.Join(bin, "python"), filepath.Join(bin, "..", "..", "create.py"), url)
	cmd.Env = environment()
	var log strings.Builder
	cmd.Stderr = &log
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start create.py: %v", err)
	}
	t.Cleanup(func() {
		_ = in.Close() // ends it
		if err := cmd.Wait(); err != nil {
			t.Errorf("create.py: %v\n%s", err, &log)
		}
	})
	return &Creator{t: t, in: in, out: bufio.NewReader(out)}
}

// environment is that of our scripts: nothing of the tester's own AWS, not his profile, not his endpoints, not his machine's role.
func environment() []string {
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "AWS_") {
			env = append(env, v)
		}
	}
	return append(env, "AWS_EC2_METADATA_DISABLED=true", "AWS_CONFIG_FILE="+os.DevNull, "PYTHONDONTWRITEBYTECODE=1")
}

// Make makes one resource of each kind, named after round; of the given services only, if any are.
func (c *Creator) Make(round string, services ...string) []Made {
	c.t.Helper()
	var made []Made
	c.ask(strings.Join(append([]string{"make", round}, services...), " "), &made)
	return made
}

// Tags reads the tags of everything made, by id. What can't be read is not in it.
func (c *Creator) Tags() map[int]map[string]string {
	c.t.Helper()
	var tags map[int]map[string]string
	c.ask("tags", &tags)
	return tags
}

func (c *Creator) ask(command string, answer any) {
	c.t.Helper()
	if _, err := io.WriteString(c.in, command+"\n"); err != nil {
		c.t.Fatalf("create.py: %s: %v", command, err)
	}
	line, err := c.out.ReadBytes('\n')
	if err != nil {
		c.t.Fatalf("create.py: %s: %v", command, err)
	}
	if err := json.Unmarshal(line, answer); err != nil {
		c.t.Fatalf("create.py: %s: %v in %.200s", command, err, line)
	}
}
