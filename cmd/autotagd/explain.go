package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/autotagd/autotagd/internal/daemon"
	"github.com/autotagd/autotagd/pkg/event"
)

func newExplain(env environment) *cobra.Command {
	var configPath string
	cmd := &cobra.Command{
		Use:   "explain [FILE ...]",
		Short: "Say what would be tagged for CloudTrail records, how, and why",
		Long: `explain reads CloudTrail records and writes one line of JSON for each: whether it
created something, who is to be credited, the resources, the tags, and why.

A FILE may hold bare records, {"Records": [...]}, EventBridge envelopes, the answer of
'aws cloudtrail lookup-events' or JSON lines, plain or gzipped. '-' or nothing is stdin.
No call is made to AWS.`,
		Example: `  aws cloudtrail lookup-events --lookup-attributes AttributeKey=EventName,AttributeValue=RunInstances |
      autotagd explain | jq .`,
		RunE: func(_ *cobra.Command, files []string) error {
			_, planner, err := loadConfig(env, configPath, false)
			if err != nil {
				return err
			}
			return explainFiles(env, planner, files)
		},
	}
	configFlag(cmd, &configPath)
	return cmd
}

func explainFiles(env environment, planner *daemon.Planner, files []string) error {
	if len(files) == 0 {
		files = []string{"-"}
	}
	out := bufio.NewWriter(env.stdout)
	bad := false
	for _, file := range files {
		switch err := explainFile(env, planner, file, out); {
		case errors.Is(err, errSilent):
			bad = true
		case errors.Is(err, errUnreadable): // the others are answered all the same
			bad = true
			fmt.Fprintf(env.stderr, "autotagd: %v\n", err)
		case err != nil:
			return errors.Join(err, out.Flush())
		}
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("write the answers: %w", err)
	}
	if bad {
		return errSilent
	}
	return nil
}

// errUnreadable is a file that can't be read, or not to its end.
var errUnreadable = errors.New("explain")

// explainFile answers every record of file. It returns errSilent when one could not be read: the answer says which.
func explainFile(env environment, planner *daemon.Planner, file string, out *bufio.Writer) error {
	in := env.stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return fmt.Errorf("%w: %w", errUnreadable, err)
		}
		defer f.Close()
		in = f
	}
	enc := json.NewEncoder(terminalSafe{out})
	enc.SetEscapeHTML(false)
	var failed error
	read := false
	for reader := event.NewReader(in); ; {
		record, number, err := reader.Next()
		read = read || err == nil || !errors.Is(err, io.EOF)
		var bad *event.RecordError
		switch {
		case errors.Is(err, io.EOF):
			if !read {
				fmt.Fprintf(env.stderr, "autotagd: explain: no record in %s\n", nameOf(file))
			}
			return failed
		case errors.As(err, &bad):
			failed = errSilent
			err = enc.Encode(struct {
				Error string `json:"error"`
				Line  int    `json:"line"`
			}{event.Printable(bad.Err.Error(), 300), bad.Number})
		case err != nil:
			return fmt.Errorf("%w %s, after record %d: %w", errUnreadable, nameOf(file), number, err)
		default:
			err = enc.Encode(planner.Explain(record))
		}
		if err != nil {
			return fmt.Errorf("write the answers: %w", err)
		}
	}
}

// nameOf is what people call the file.
func nameOf(file string) string {
	if file == "-" {
		return "standard input"
	}
	return file
}

// terminalSafe writes JSON, or log lines, so that nothing in it acts on a terminal: JSON escapes the control characters below
// U+0020 itself, not those above (U+009B begins an escape sequence too), those that turn the direction of text, nor every end of
// a line. The values stay the same.
type terminalSafe struct{ w io.Writer }

func (s terminalSafe) Write(p []byte) (int, error) {
	if bytes.ContainsFunc(p, actsOnTerminal) {
		var b bytes.Buffer
		for _, r := range string(p) {
			if actsOnTerminal(r) {
				fmt.Fprintf(&b, `\u%04x`, r)
				continue
			}
			b.WriteRune(r)
		}
		if _, err := s.w.Write(b.Bytes()); err != nil {
			return 0, err
		}
		return len(p), nil
	}
	return s.w.Write(p)
}

func actsOnTerminal(r rune) bool {
	return r >= 0x7f && r < 0xa0 || unicode.In(r, unicode.Bidi_Control, unicode.Zl, unicode.Zp)
}
