package config

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
)

// The environment variables that configure, of which at most one may be set.
const (
	EnvFile = "AUTOTAGD_CONFIG"      // names the file
	EnvYAML = "AUTOTAGD_CONFIG_YAML" // is its content, for containers
)

// FromEnvironment loads the configuration from where it is: the file at flagPath, else what EnvFile or EnvYAML say, else
// nowhere, which is Default. Its error is an Errors, or says what could not be read.
func FromEnvironment(flagPath string, getenv func(string) string, readFile func(string) ([]byte, error)) (*Config, error) {
	path, content := getenv(EnvFile), getenv(EnvYAML)
	switch {
	case flagPath != "":
		return loadFile(flagPath, "--config", readFile)
	case path != "" && content != "":
		return nil, fmt.Errorf("%s and %s are both set; want one of the two", EnvFile, EnvYAML)
	case path != "":
		return loadFile(path, EnvFile, readFile)
	case content != "":
		return Load(EnvYAML, []byte(content))
	}
	c := Default()
	return &c, nil
}

func loadFile(path, from string, readFile func(string) ([]byte, error)) (*Config, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the configuration that %s names: %w", from, err)
	}
	return Load(path, data)
}

// ErrNoCheckpointDir is CheckpointDir's error where nothing says where to keep State.
var ErrNoCheckpointDir = errors.New("nowhere to keep checkpoints: none of $STATE_DIRECTORY, $XDG_STATE_HOME and $HOME is set; set checkpoint.file.path")

// CheckpointDir returns the directory of the file store: checkpoint.file.path, else $STATE_DIRECTORY as systemd sets it, else
// autotagd in $XDG_STATE_HOME, else in ~/.local/state. A relative $XDG_STATE_HOME or $HOME counts as none, as the XDG specification wants.
func (c *Config) CheckpointDir(getenv func(string) string) (string, error) {
	if c.Checkpoint.FilePath != "" {
		return c.Checkpoint.FilePath, nil
	}
	// With several StateDirectory= in the unit, systemd joins them by colons.
	if dir, _, _ := strings.Cut(getenv("STATE_DIRECTORY"), ":"); dir != "" {
		return dir, nil
	}
	if dir := getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "autotagd"), nil
	}
	if home := getenv("HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, ".local", "state", "autotagd"), nil
	}
	return "", ErrNoCheckpointDir
}
