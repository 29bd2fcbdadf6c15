package main

import (
	"regexp"
	"slices"
	"testing"
)

// An exception is a kind of command in the documents that is not run as it stands.
type exception struct {
	doc     string // "" is all of them
	command string // a regular expression of the whole command
	instead string // what is run instead; "" is nothing
	why     string
}

// exceptions has every command that the tests do not run as it stands. One that is in no document any more is an error.
var exceptions = []exception{
	{"", `make demo`, "autotagd demo --seed 4 --duration 5s", "it goes on until Ctrl-C, and begins with a seed of its own"},
	{"", `make build`, "", "the tests have built it, with the same flags but for the version"},
}

func (e exception) is(s step) bool {
	return s.typed != "" && (e.doc == "" || e.doc == s.doc) && regexp.MustCompile(`^(?s:`+e.command+`)$`).MatchString(s.typed)
}

// Every exception is still needed, and each command is one exception's at most.
func TestNoExceptionIsStale(t *testing.T) {
	var all []step
	for _, d := range documents(t) {
		all = append(all, stepsOf(t, d)...)
	}
	for i, e := range exceptions {
		if e.why == "" {
			t.Errorf("%s: no reason is given", e.command)
		}
		if !slices.ContainsFunc(all, func(s step) bool { return slices.IndexFunc(exceptions, func(e exception) bool { return e.is(s) }) == i }) {
			t.Errorf("no document has %s (%s) any more, or an exception before it has all of them: take it out of the list", e.command, e.why)
		}
	}
}
