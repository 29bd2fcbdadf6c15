package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/autotagd/autotagd/internal/fakeaws"
	"github.com/autotagd/autotagd/test/moto"
)

// A step is what a reader does next: write a file that the document shows, or type a command.
type step struct {
	block
	writes string   // the file's name
	typed  string   // what is behind "$ "
	shown  []string // the output in the document
}

// stepsOf returns what a reader of d does. A command that is not complete at the end of its line goes on in the next ones, as in bash.
func stepsOf(t *testing.T, d *document) []step {
	t.Helper()
	var all []step
	for _, b := range d.blocks {
		switch {
		case b.file != "":
			all = append(all, step{block: b, writes: b.file})
		case isConfiguration(b):
			all = append(all, step{block: b, writes: "autotagd.yaml"})
		case b.language == "console":
			all = append(all, commandsOf(t, b)...)
		}
	}
	return all
}

func commandsOf(t *testing.T, b block) []step {
	t.Helper()
	var all []step
	open := false // the command's end is not there yet
	for line := range strings.Lines(b.text) {
		line = strings.TrimRight(line, " \n")
		typed, is := strings.CutPrefix(line, "$ ")
		switch {
		case is:
			all = append(all, step{block: b, typed: typed})
		case len(all) == 0:
			t.Fatalf("%s: a console block begins with a command after \"$ \"", b.place())
		case open:
			all[len(all)-1].typed += "\n" + line
		default:
			all[len(all)-1].shown = append(all[len(all)-1].shown, line)
		}
		if is || open {
			open = strings.HasSuffix(line, "\\") || exec.Command("bash", "-n", "-c", all[len(all)-1].typed).Run() != nil
		}
	}
	if open {
		t.Errorf("%s: the last command has no end", b.place())
	}
	return all
}

// harmless are the programs that the tests run: they stay in the directory that they are run in, and in the fakes. A command with
// another one has to be an exception, so that no test kills, installs or starts anything on the machine of whoever runs it.
var harmless = []string{"autotagd", "aws", "basename", "bin/autotagd", "cat", "cp", "diff", "echo", "env", "export", "grep", "head", "jq", "ls", "mkdir", "printf", "sed", "sort", "tail", "tr", "uniq", "wc"}

var (
	inert    = regexp.MustCompile(`'[^']*'|\d?>&\d|\\\n`) // what can't begin a command
	commands = regexp.MustCompile(`(?:^|[|;&({\n]|\$\()\s*(?:(?:do|then|else|!)\s+)*(?:\w+=(?:"[^"]*"|[^\s"()]*)\s+)*([^\s"'()=;|&]+)(=?)`)
)

// harmful returns the programs in what is typed that are not harmless.
func harmful(typed string) []string {
	typed = inert.ReplaceAllString(typed, " ")
	var all []string
	for _, m := range commands.FindAllStringSubmatch(typed, -1) {
		word := m[1]
		if m[2] == "=" || slices.Contains([]string{"for", "do", "done", "if", "then", "else", "fi", "{", "}"}, word) || strings.HasPrefix(word, "#") || strings.HasPrefix(word, ">") {
			continue
		}
		if !slices.Contains(harmless, word) {
			all = append(all, word)
		}
	}
	return all
}

// forever matches commands that go on until they are told to stop. They are, once they have tagged something.
var forever = regexp.MustCompile(`^(\S+/)?autotagd run\b`)

func isForever(typed string) bool {
	return forever.MatchString(typed) && !strings.Contains(typed, "--once") && !strings.Contains(typed, "|")
}

// placeholders are what a reader replaces with his own.
func placeholders(typed string, known map[string]string) string {
	for name, value := range known {
		typed = regexp.MustCompile(`\b`+name+`\b`).ReplaceAllLiteralString(typed, value)
	}
	return typed
}

// What the documents tell a reader to type works, and gives what they show. Each document is done from its beginning to its end, in
// a directory and an account of its own, by one shell. autotagd works on the fake AWS, and the AWS CLI on moto, but for CloudTrail,
// which moto lacks: CloudTrail is the fake's.
//
// Output that is shown has to be the whole output, but for times. Where a line of it is "...", it is an excerpt: each line is
// somewhere in the output, whatever its numbers. A command may fail only where its output is shown.
func TestCommandsOfDocuments(t *testing.T) {
	if os.Getenv("AUTOTAGD_SLOW") == "" {
		t.Skip("it takes a minute, and needs moto and jq: AUTOTAGD_SLOW=1")
	}
	t.Parallel()
	for _, tool := range []string{"bash", "jq"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("%v; on Debian: apt-get install %s", err, tool)
		}
	}
	found := 0
	for _, d := range documents(t) {
		steps := stepsOf(t, d)
		if !slices.ContainsFunc(steps, func(s step) bool { return s.typed != "" }) {
			continue
		}
		found++
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			newReader(t, d.name, steps).do(steps)
		})
	}
	if found == 0 {
		t.Error("no document has a command")
	}
}

// anyPort has a daemon listen on a port that is free: that of the documents may be taken on this machine.
const anyPort = `if [[ ${1:-} == run ]]; then
  configured() { { cat "$1"; grep -q '^web:' "$1" || echo 'web: {listen: "127.0.0.1:0"}'; } >.any-port.yaml; }
  args=()
  for arg; do
    [[ ! -f $arg ]] || { configured "$arg"; arg=.any-port.yaml; }
    args+=("$arg")
  done
  set -- "${args[@]}"
  if [[ -n ${AUTOTAGD_CONFIG:-} ]]; then
    configured "$AUTOTAGD_CONFIG"
    AUTOTAGD_CONFIG=.any-port.yaml
  elif [[ $* != *--config* ]]; then
    export AUTOTAGD_CONFIG_YAML='web: {listen: "127.0.0.1:0"}'
  fi
fi
`

// A reader is somebody who follows one document.
type reader struct {
	t     *testing.T
	dir   string
	env   []string
	known map[string]string
}

func newReader(t *testing.T, doc string, steps []step) *reader {
	t.Helper()
	autotagd, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	r := &reader{t: t, dir: t.TempDir()}
	copyFiles(t, absolute(t, "../../deploy"), filepath.Join(r.dir, "deploy"))
	copyFiles(t, absolute(t, "testdata/docs/common"), r.dir)
	copyFiles(t, absolute(t, filepath.Join("testdata/docs", strings.TrimSuffix(filepath.Base(doc), ".md"))), r.dir)
	newAuthority(t).issue(r.dir, 1)

	// The accounts and roles are those of the documents.
	const member, outsider = "222233334444", "444455556666"
	cloud := fakeaws.New(fakeaws.Config{
		Seed: 1, Visibility: -1, Regions: []string{"eu-central-1", "eu-west-1", "us-east-1"}, TableTime: time.Second,
		Accounts:     []string{fakeaws.DefaultAccount, member, outsider},
		Organization: &fakeaws.Organization{Members: []fakeaws.Member{{ID: fakeaws.DefaultAccount}, {ID: member}}, Units: []fakeaws.Unit{{ID: "ou-ab12-12345678"}}},
		Roles:        []fakeaws.Role{{ARN: "arn:aws:iam::" + member + ":role/autotagd"}, {ARN: "arn:aws:iam::" + outsider + ":role/autotagd", ExternalID: "from-them"}},
	})
	r.known = map[string]string{"EVENT_ID": cloud.Create(cloud.Scope(), "RunInstances", fakeaws.SSO("maria.lopez@example.com", "Dev")).EventID}

	fake := serve(t, cloud)

	bin, home := t.TempDir(), t.TempDir()
	r.script(filepath.Join(bin, "autotagd"), anyPort+"exec "+autotagd+` "$@"`)
	usesAWS := slices.ContainsFunc(steps, func(s step) bool { return strings.Contains(s.typed, "aws ") })
	if usesAWS {
		r.script(filepath.Join(bin, "aws"), `[[ $1 == cloudtrail ]] || export AWS_ENDPOINT_URL=`+moto.Start(t)+`
exec `+moto.AWSCLI(t)+` "$@"`)
	}
	putFile(t, filepath.Join(home, ".aws", "credentials"), "[default]\naws_access_key_id = AKIAEXAMPLE\naws_secret_access_key = secret\n")
	putFile(t, filepath.Join(home, ".aws", "config"), "[default]\nregion = eu-central-1\n")
	if err := os.MkdirAll(filepath.Join(r.dir, "bin"), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(bin, "autotagd"), filepath.Join(r.dir, "bin", "autotagd")); err != nil {
		t.Fatal(err)
	}
	r.env = []string{
		"HOME=" + home, "PATH=" + bin + ":" + os.Getenv("PATH"), "LC_ALL=C.UTF-8", "AWS_PAGER=",
		"AWS_ENDPOINT_URL=" + fake, "AWS_EC2_METADATA_DISABLED=true",
	}
	if usesAWS { // the role that the reader has already
		r.shell("aws iam create-role --role-name ROLE --assume-role-policy-document '{}' >/dev/null")
	}
	return r
}

func (r *reader) script(name, body string) {
	r.t.Helper()
	if err := os.WriteFile(name, []byte("#!/usr/bin/env bash\nset -euo pipefail\n"+body+"\n"), 0o777); err != nil {
		r.t.Fatal(err)
	}
}

// do takes the steps, one after another; a shell's variables and directory stay for the next.
func (r *reader) do(steps []step) {
	for _, s := range steps {
		if s.writes != "" {
			putFile(r.t, filepath.Join(r.dir, s.writes), s.text)
			continue
		}
		typed := s.typed
		if i := slices.IndexFunc(exceptions, func(e exception) bool { return e.is(s) }); i >= 0 {
			if typed = exceptions[i].instead; typed == "" {
				continue
			}
		}
		typed = placeholders(typed, r.known)
		if words := harmful(typed); len(words) > 0 {
			r.t.Errorf("%s: $ %s\nnot run, for %q are not among the programs that the tests run: want them in harmless if they are, or else the command in exceptions", s.place(), s.typed, words)
			continue
		}
		run := r.shell
		if isForever(typed) {
			run = r.untilTagged
		}
		code, output := run(typed)
		if testing.Verbose() { // to copy into a document
			r.t.Logf("$ %s\n%s", typed, strings.Join(output, "\n"))
		}
		problem := compare(s.shown, output)
		if code != 0 && len(s.shown) == 0 {
			problem = fmt.Sprintf("exit code %d", code)
		}
		if problem != "" {
			r.t.Errorf("%s: $ %s\n%s; the output is:\n%s", s.place(), s.typed, problem, strings.Join(output[:min(len(output), 30)], "\n"))
		}
	}
}

// commandTime bounds one command, generously: a machine may be slow.
const commandTime = 3 * time.Minute

// shell runs what is typed and returns its exit code and output. What it exports and where it goes is kept.
func (r *reader) shell(typed string) (int, []string) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), commandTime)
	defer cancel()
	state := filepath.Join(r.dir, ".environment")
	cmd := exec.CommandContext(ctx, "bash", "-o", "pipefail", "-c", typed+"\ncode=$?; env -0 >"+state+"; exit $code")
	cmd.Dir, cmd.Env, cmd.WaitDelay = r.dir, r.env, time.Second
	output, err := cmd.CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) || ctx.Err() != nil {
		r.t.Fatalf("$ %s: %v\n%s", typed, errors.Join(err, ctx.Err()), output)
	}
	if env, err := os.ReadFile(state); err == nil {
		r.env = strings.Split(strings.TrimSuffix(string(env), "\x00"), "\x00")
	}
	return cmd.ProcessState.ExitCode(), linesOf(string(output))
}

// untilTagged runs what is typed until it says that something was tagged, and stops it then.
func (r *reader) untilTagged(typed string) (int, []string) {
	r.t.Helper()
	output := new(lockedBuffer)
	cmd := exec.Command("bash", "-c", "exec "+typed)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = r.dir, r.env, output, output
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	deadline := time.After(commandTime)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for told := false; ; {
		select {
		case <-ended:
			if !told {
				r.t.Errorf("$ %s: it ended by itself, and tagged nothing", typed)
			}
			return cmd.ProcessState.ExitCode(), linesOf(output.String())
		case <-tick.C:
			if !told && strings.Contains(output.String(), `"msg":"tagged"`) {
				told = true
				_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
			}
		case <-deadline:
			_ = cmd.Process.Kill()
			r.t.Fatalf("$ %s: nothing was tagged, or it did not end:\n%s", typed, output)
		}
	}
}

func linesOf(output string) []string {
	var lines []string
	for line := range strings.Lines(output) {
		lines = append(lines, strings.TrimRight(line, " \n"))
	}
	return lines
}

// compare says how the output that a document shows differs from what there was, or "". Nothing shown is nothing said about it.
func compare(shown, got []string) string {
	for len(shown) > 0 && shown[len(shown)-1] == "" {
		shown = shown[:len(shown)-1]
	}
	if len(shown) == 0 {
		return ""
	}
	if slices.Contains(shown, "...") {
		return compareExcerpt(shown, got)
	}
	for i := range max(len(shown), len(got)) {
		switch {
		case i >= len(got):
			return fmt.Sprintf("the document shows %q, and the output has ended", shown[i])
		case i >= len(shown):
			return fmt.Sprintf("the output has %q, and what the document shows has ended", got[i])
		case shown[i] != got[i] && timeless(shown[i]) != timeless(got[i]):
			return fmt.Sprintf("line %d: the document shows\n  %s\nand the output has\n  %s", i+1, shown[i], got[i])
		}
	}
	return ""
}

func compareExcerpt(shown, got []string) string {
	have := map[string]bool{"...": true}
	for _, line := range got {
		have[numberless(line)] = true
	}
	for _, line := range shown {
		if !have[numberless(line)] {
			return fmt.Sprintf("the document shows %q, which the output has not", line)
		}
	}
	return ""
}

var (
	times   = regexp.MustCompile(`(\d{4}-\d\d-\d\dT)?\d\d:\d\d:\d\d(\.\d+)?Z?`)
	numbers = regexp.MustCompile(`\b\d+\b`)
)

func timeless(line string) string   { return times.ReplaceAllString(line, "TIME") }
func numberless(line string) string { return numbers.ReplaceAllString(timeless(line), "0") }

// Only what does no harm is run.
func TestHarmful(t *testing.T) {
	t.Parallel()
	for typed, want := range map[string]string{
		"autotagd run --once >/dev/null 2>&1":                    "",
		"export A=b C=d":                                         "",
		"A=b autotagd run --once":                                "",
		"arn=$(aws iam create-policy --query Policy.Arn)":        "",
		"arn=$(curl x)":                                          "curl",
		`aws x "$(basename "$f" .json)" | jq '.a | rm // "b"'`:   "",
		`kill -HUP "$(pidof prometheus)"   # or systemctl`:       "kill pidof",
		"for f in *; do\n  rm $f\n  aws s3 ls\ndone":             "rm",
		"sudo apt install ./x.deb":                               "sudo",
		"autotagd policy | docker login":                         "docker",
		"autotagd check && systemctl restart autotagd":           "systemctl",
		"{ printf 'a'\n  sed 's/^/ /' x; } | kubectl apply -f -": "kubectl",
		"aws a \\\n  --b c":                                      "",
		"true; ./script":                                         "true ./script",
		"autotagd run &":                                         "",
	} {
		if got := strings.Join(harmful(typed), " "); got != want {
			t.Errorf("%s: %q, want %q", typed, got, want)
		}
	}
}

// What compare calls equal, and what not.
func TestCompareOutput(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		shown, got string
		same       bool
	}{
		"nothing shown":                   {"", "a", true},
		"the same":                        {"a\nb", "a\nb", true},
		"another number":                  {"a 1", "a 2", false},
		"another time":                    {"12:00:00 a", "13:14:15 a", true},
		"one line less":                   {"a", "a\nb", false},
		"one line more":                   {"a\nb", "a", false},
		"another order":                   {"a\nb", "b\na", false},
		"an excerpt":                      {"a 1\n...", "b\na 2", true},
		"an excerpt of something else":    {"a\n...", "b", false},
		"an excerpt with another id":      {"i-0a1\n...", "i-0a2", false},
		"an excerpt's line that is twice": {"a\n...\na", "a", true},
	} {
		if problem := compare(linesOf(test.shown), linesOf(test.got)); (problem == "") != test.same {
			t.Errorf("%s: %q", name, problem)
		}
	}
}
