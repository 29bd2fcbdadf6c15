package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

var update = flag.Bool("update", false, "write the man page anew")

const manFile = "../../deploy/debian/autotagd.8"

// The parts of the man page that no command says of itself.
const (
	manHead = `.\" Made by: go test ./cmd/autotagd -run TestManPage -update
.TH AUTOTAGD 8 "" autotagd "System Manager's Manual"
.SH NAME
autotagd \- tag new AWS resources with who created them
.SH SYNOPSIS
.B autotagd
.I command
.RI [ options ]
.SH DESCRIPTION
.B autotagd
reads CloudTrail's event history, works out who created each new resource in an AWS account, and writes that on the resource as tags.
It needs credentials and a Region, and no trail, no Lambda, no EventBridge rule and no bucket.
.PP
As a service it is
.BR autotagd.service :
edit
.IR /etc/autotagd/autotagd.yaml ,
try it with
.BR "autotagd check \-\-config /etc/autotagd/autotagd.yaml \-\-aws" ,
and have it run from now on with
.BR "systemctl enable \-\-now autotagd" .
.SH COMMANDS
`
	manTail = `.SH CONFIGURATION
The configuration is one YAML file, in which nothing is required.
.B autotagd check
prints every key with what is in force, and every mistake at once. All keys are explained at
.UR https://github.com/autotagd/autotagd#configuration
.UE .
.SH SIGNALS
.TP
.BR SIGTERM ", " SIGINT
end the daemon: what is in hand is tagged, the rest is saved, and a later start goes on there.
.TP
.B SIGHUP
has the configuration file and all that it names read again. One with mistakes is refused, each is in the log with its place, and what was in
force stays so. What was changed in the environment needs a restart.
.SH ENVIRONMENT
.TP
.B AUTOTAGD_CONFIG
names the configuration file, where
.B \-\-config
doesn't.
.TP
.B AUTOTAGD_CONFIG_YAML
is its content, in its stead.
.TP
.B AUTOTAGD_HEALTH_URL
is where
.B autotagd health
asks.
.TP
.BR AWS_REGION ", " AWS_PROFILE " and so on"
are those of every AWS tool.
.TP
.B STATE_DIRECTORY
is where checkpoints are kept unless the configuration says so; else
.IR $XDG_STATE_HOME/autotagd " or " ~/.local/state/autotagd .
.TP
.BR NOTIFY_SOCKET ", " WATCHDOG_USEC
are systemd's: see
.BR sd_notify (3).
.SH FILES
.TP
.I /etc/autotagd/autotagd.yaml
the configuration. Files that it names are relative to this directory.
.TP
.I /etc/default/autotagd
the environment of the service.
.TP
.I /var/lib/autotagd
the checkpoints of the service. They are of this host alone: no second daemon may work in the same accounts and Regions.
.SH "EXIT STATUS"
.TP
.B 0
done, or ended because it was told to.
.TP
.B 1
failed while running.
.TP
.B 2
wrong usage or configuration.
.SH "SEE ALSO"
.BR systemctl (1),
.BR journalctl (1),
.BR systemd.service (5)
.PP
.UR https://github.com/autotagd/autotagd
.UE
`
)

// manText is s as it is: no character of it means anything to roff.
func manText(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", `\(ga`, "~", `\(ti`, "^", `\(ha`, `"`, `\(dq`).Replace(s)
	if strings.HasPrefix(s, ".") {
		s = `\&` + s
	}
	return s
}

// manParagraphs sets text as the help shows it: paragraphs are filled, indented lines stay as they are.
func manParagraphs(text string) string {
	var b strings.Builder
	indented := false
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if now := strings.HasPrefix(line, "  "); now != indented {
			indented = now
			b.WriteString(map[bool]string{true: ".RS 4\n.nf\n", false: ".fi\n.RE\n"}[now])
		}
		if line == "" {
			b.WriteString(".PP\n")
			continue
		}
		if indented {
			line = strings.TrimPrefix(line, "  ")
		}
		b.WriteString(manText(line) + "\n")
	}
	if indented {
		b.WriteString(".fi\n.RE\n")
	}
	return b.String()
}

func manCommand(cmd *cobra.Command) string {
	var b strings.Builder
	fmt.Fprintf(&b, ".SS %q\n", manText(strings.TrimSuffix(cmd.UseLine(), " [flags]")))
	text := cmd.Long
	if text == "" {
		text = cmd.Short + "."
	}
	b.WriteString(manParagraphs(text))
	cmd.NonInheritedFlags().VisitAll(func(f *pflag.Flag) {
		if f.Name == "help" {
			return
		}
		value, usage := pflag.UnquoteUsage(f)
		b.WriteString(".TP\n.B \\-\\-" + manText(f.Name))
		if value != "" {
			b.WriteString(" \\fI" + manText(value) + "\\fP")
		}
		if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "0" && f.DefValue != "0s" && f.DefValue != "[]" {
			usage += " (default: " + f.DefValue + ")"
		}
		b.WriteString("\n" + manText(usage) + "\n")
	})
	if cmd.Example != "" {
		b.WriteString(".PP\nFor example:\n" + manParagraphs(cmd.Example))
	}
	return b.String()
}

func manPage() string {
	started := false
	root := newRoot(environment{getenv: func(string) string { return "" }}, &started)
	page := manHead
	for _, cmd := range root.Commands() {
		page += manCommand(cmd)
	}
	return page + manTail
}

// The man page has every command and every flag, as the program's own help has them.
func TestManPage(t *testing.T) {
	t.Parallel()
	page := manPage()
	if *update {
		if err := os.WriteFile(manFile, []byte(page), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(filepath.FromSlash(manFile))
	if err != nil {
		t.Fatal(err)
	}
	if string(have) != page {
		t.Errorf("%s is not as the commands and flags are: go test ./cmd/autotagd -run TestManPage -update", manFile)
	}
	for _, want := range []string{`.SS "autotagd run"`, `.B \-\-dry\-run`, `.SS "autotagd explain [FILE ...]"`, `.B \-\-max\-lag \fIstring\fP`} {
		if !strings.Contains(page, want+"\n") {
			t.Errorf("it has no line %s", want)
		}
	}
}

// man renders it without a warning. Where Debian's man is not there, as in `make test`, this is left out.
func TestManPageRenders(t *testing.T) {
	t.Parallel()
	needSlow(t)
	cmd := exec.Command("man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", manFile)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "MANROFFSEQ=", "MANWIDTH=100")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil || stderr.Len() > 0 {
		t.Errorf("man: %v\n%s", err, stderr.String())
	}
	if !strings.Contains(string(out), "SIGHUP") {
		t.Errorf("it shows\n%s", out)
	}
}
