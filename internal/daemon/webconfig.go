package daemon

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	toolkit "github.com/prometheus/exporter-toolkit/web"
	"go.yaml.in/yaml/v4"
	"golang.org/x/crypto/bcrypt"

	"github.com/autotagd/autotagd/pkg/config"
)

// maxWebConfigBytes bounds what is read of web.config_file to find a mistake in it.
const maxWebConfigBytes = 1 << 20

// CheckWebConfig reads the file that web.config_file names, and the certificates that this one names, as the web port will: TLS and
// passwords, in the form of every Prometheus exporter. Its error is a config.Errors.
func CheckWebConfig(cfg *config.Config) error {
	name := cfg.Web.ConfigFile
	if name == "" {
		return nil
	}
	err := toolkit.Validate(name)
	if err == nil {
		return nil
	}
	if mistakes := plainPasswords(name); len(mistakes) > 0 {
		return mistakes
	}
	what := strings.Join(strings.Fields(err.Error()), " ") // a YAML parser's are several lines
	if path := (*fs.PathError)(nil); !errors.As(err, &path) {
		what = name + ": " + what
	}
	return cfg.Mistake("web.config_file", what, "want a file as docs/web.md shows")
}

// plainPasswords returns each value of basic_auth_users that is no hash, with its place in the file: what people write there
// first is the password itself, and the toolkit says no more than that some hash is too short.
func plainPasswords(name string) config.Errors {
	f, err := os.Open(name)
	if err != nil {
		return nil
	}
	defer f.Close()
	var file struct {
		Users yaml.Node `yaml:"basic_auth_users"`
	}
	text, err := io.ReadAll(io.LimitReader(f, maxWebConfigBytes))
	if err != nil || yaml.Unmarshal(text, &file) != nil || file.Users.Kind != yaml.MappingNode {
		return nil
	}
	var mistakes config.Errors
	for i := 0; i+1 < len(file.Users.Content); i += 2 {
		user, hash := file.Users.Content[i], file.Users.Content[i+1]
		if _, err := bcrypt.Cost([]byte(hash.Value)); err == nil {
			continue
		}
		mistakes = append(mistakes, &config.Error{
			File: name, Line: hash.Line, Column: hash.Column, Key: fmt.Sprintf("basic_auth_users[%+q]", user.Value),
			What: "not a bcrypt hash of a password", Want: "want what this prints: htpasswd -nBC 10 USER",
		})
	}
	return mistakes
}
