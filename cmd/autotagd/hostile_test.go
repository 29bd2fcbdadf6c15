package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"go.uber.org/zap"

	"github.com/autotagd/autotagd/internal/fakeaws"
	"github.com/autotagd/autotagd/pkg/config"
)

// steers reports whether text could do more at a terminal than stand in its line.
func steers(text string) bool {
	return !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool {
		return r != '\t' && (unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029')
	})
}

// What explain writes about a hostile name is one line of JSON that acts on no terminal and says the very name.
func TestExplainHostileNames(t *testing.T) {
	t.Parallel()
	var records strings.Builder
	names := fakeaws.HostileNames()
	for _, n := range names {
		records.WriteString(n.InRecord(`{"eventID":"@NAME@","eventSource":"ec2.amazonaws.com","eventName":"CreateVolume","awsRegion":"eu-west-1",` +
			`"recipientAccountId":"111122223333","userIdentity":{"type":"IAMUser","principalId":"@NAME@","userName":"@NAME@"},"responseElements":{"volumeId":"vol-0123"}}` + "\n"))
	}
	var out, errs bytes.Buffer
	env := environment{[]string{"explain"}, strings.NewReader(records.String()), &out, &errs, func(string) string { return "" }}
	if code := run(t.Context(), env); code != exitDone {
		t.Fatalf("exit code %d: %s", code, errs.String())
	}
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if len(lines) != len(names) {
		t.Fatalf("%d lines for %d records", len(lines), len(names))
	}
	for i, n := range names {
		var e struct {
			EventID string `json:"event_id"`
			Owner   string
			Tags    map[string]string
		}
		if err := json.Unmarshal([]byte(lines[i]), &e); err != nil || steers(lines[i]) {
			t.Errorf("%s: %.200q: %v", n.What, lines[i], err)
		}
		said := strings.Map(func(r rune) rune { return r }, n.Name) // what is not UTF-8 becomes U+FFFD
		if e.Owner != said || e.EventID != said || e.Tags["Owner"] != n.Tag {
			t.Errorf("%s: event %.100q, owner %.100q, Owner %.100q; want %.100q", n.What, e.EventID, e.Owner, e.Tags["Owner"], n.Name)
		}
	}
}

// Whatever a log line is given, an error of AWS's that repeats a name among it, it stays one line and acts on no terminal.
func TestLogOfHostileNames(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"json", "console"} {
		cfg, err := config.Load("test", []byte("log: {format: "+format+"}"))
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		log, err := newLogger(cfg, &out)
		if err != nil {
			t.Fatal(err)
		}
		names := fakeaws.HostileNames()
		for _, n := range names {
			log.Warn("a name", zap.String("name", n.Name), zap.Error(fmt.Errorf("AWS: %w", errors.New(n.Name))))
		}
		lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
		if len(lines) != len(names) {
			t.Errorf("%s: %d lines, want %d", format, len(lines), len(names))
		}
		for _, line := range lines {
			if steers(line) || format == "json" && !json.Valid([]byte(line)) {
				t.Errorf("%s: %.200q", format, line)
			}
		}
	}
}
