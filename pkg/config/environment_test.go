package config_test

import (
	"errors"
	"io/fs"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/autotagd/autotagd/pkg/config"
)

func TestFromEnvironment(t *testing.T) {
	readFile := func(path string) ([]byte, error) {
		switch path {
		case "dry.yaml":
			return []byte("dry_run: true\n"), nil
		case "bad.yaml":
			return []byte("dry_run: 1\n"), nil
		}
		return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
	}
	const debug = "log: {level: debug}\n"
	for _, test := range []struct {
		name, flag string
		env        map[string]string
		want       func(*config.Config)
		wantErr    string
	}{
		{"nothing is the defaults", "", nil, func(*config.Config) {}, ""},
		{"the flag names the file", "dry.yaml", nil, func(c *config.Config) { c.DryRun = true }, ""},
		{"the environment names the file", "", map[string]string{"AUTOTAGD_CONFIG": "dry.yaml"}, func(c *config.Config) { c.DryRun = true }, ""},
		{"the environment is the content", "", map[string]string{"AUTOTAGD_CONFIG_YAML": debug}, func(c *config.Config) { c.Log.Level = "debug" }, ""},
		{"the flag beats the environment", "dry.yaml", map[string]string{"AUTOTAGD_CONFIG": "bad.yaml", "AUTOTAGD_CONFIG_YAML": debug}, func(c *config.Config) { c.DryRun = true }, ""},
		{"both are one too many", "", map[string]string{"AUTOTAGD_CONFIG": "dry.yaml", "AUTOTAGD_CONFIG_YAML": debug}, nil, "AUTOTAGD_CONFIG and AUTOTAGD_CONFIG_YAML are both set; want one of the two"},
		{"a mistake in the file", "", map[string]string{"AUTOTAGD_CONFIG": "bad.yaml"}, nil, `bad.yaml:1:10: dry_run: not a truth value: "1"; want true or false`},
		{"a mistake in the content", "", map[string]string{"AUTOTAGD_CONFIG_YAML": "dry_run: 1"}, nil, `AUTOTAGD_CONFIG_YAML:1:10: dry_run: not a truth value: "1"; want true or false`},
		{"no such file, by flag", "none.yaml", nil, nil, "read the configuration that --config names: open none.yaml: file does not exist"},
		{"no such file, by environment", "", map[string]string{"AUTOTAGD_CONFIG": "none.yaml"}, nil, "read the configuration that AUTOTAGD_CONFIG names: open none.yaml: file does not exist"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, err := config.FromEnvironment(test.flag, func(key string) string { return test.env[key] }, readFile)
			if test.wantErr != "" {
				if err == nil || err.Error() != test.wantErr {
					t.Errorf("got error %v, want %s", err, test.wantErr)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want := config.Default()
			test.want(&want)
			if diff := cmp.Diff(&want, c, sameConfig); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestCheckpointDir(t *testing.T) {
	for _, test := range []struct {
		name, path string
		env        map[string]string
		want       string
	}{
		{"the configuration comes first", "/c", map[string]string{"STATE_DIRECTORY": "/s", "XDG_STATE_HOME": "/x", "HOME": "/h"}, "/c"},
		{"then systemd's", "", map[string]string{"STATE_DIRECTORY": "/s", "XDG_STATE_HOME": "/x", "HOME": "/h"}, "/s"},
		{"of several the first", "", map[string]string{"STATE_DIRECTORY": "/s:/t"}, "/s"},
		{"then XDG's", "", map[string]string{"XDG_STATE_HOME": "/x", "HOME": "/h"}, "/x/autotagd"},
		{"which counts only if absolute", "", map[string]string{"XDG_STATE_HOME": "x", "HOME": "/h"}, "/h/.local/state/autotagd"},
		{"then the home directory", "", map[string]string{"HOME": "/h"}, "/h/.local/state/autotagd"},
		{"none of these", "", nil, ""},
		{"a relative home is none", "", map[string]string{"HOME": "h"}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := config.Default()
			c.Checkpoint.FilePath = test.path
			got, err := c.CheckpointDir(func(key string) string { return test.env[key] })
			if got != test.want || errors.Is(err, config.ErrNoCheckpointDir) != (test.want == "") {
				t.Errorf("got %q, %v; want %q", got, err, test.want)
			}
		})
	}
}
