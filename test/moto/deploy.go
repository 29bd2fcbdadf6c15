package moto

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Deployed is what deploy.py made at moto.
type Deployed struct {
	Policies map[string][]json.RawMessage // of each role, by its name in the template
	Trust    map[string]json.RawMessage   // of each role, who may assume it
	Tables   []string
	Task     Task
}

// Task is what moto keeps of a task definition of ECS, of a template's too.
type Task struct {
	ContainerDefinitions []map[string]any
}

// DeployECS gives a task definition and a service to ECS, as the AWS CLI's --cli-input-json does.
func DeployECS(t testing.TB, url, taskDefinition, service string) Deployed {
	t.Helper()
	return deploy(t, url, "ecs", taskDefinition, service)
}

// DeployStack makes a stack of a CloudFormation template, in the Region eu-west-1.
func DeployStack(t testing.TB, url, template string, parameters map[string]string) Deployed {
	t.Helper()
	given, err := json.Marshal(parameters)
	if err != nil {
		t.Fatal(err)
	}
	return deploy(t, url, "stack", template, string(given))
}

func deploy(t testing.TB, args ...string) Deployed {
	t.Helper()
	python := Tool(t, "python")
	cmd := exec.Command(python, append([]string{filepath.Join(filepath.Dir(python), "..", "..", "deploy.py")}, args...)...)
	cmd.Env = environment()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("deploy.py: %v\n%s", err, &stderr)
	}
	var made Deployed
	if err := json.Unmarshal(out, &made); err != nil {
		t.Fatalf("deploy.py: %v in %.200s", err, out)
	}
	return made
}

// Tool returns a program of the virtual environment that test/moto/setup makes, as cfn-lint. Where it is not installed t is
// skipped, or fails, as in Start.
func Tool(t testing.TB, name string) string {
	t.Helper()
	server, err := installed()
	if err != nil {
		if os.Getenv("AUTOTAGD_REQUIRE_MOTO") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	return filepath.Join(filepath.Dir(server), name)
}
