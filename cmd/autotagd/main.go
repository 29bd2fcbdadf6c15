// Command autotagd finds out who created every AWS resource and writes that on the resource.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/autotagd/autotagd/pkg/config"
	"github.com/autotagd/autotagd/pkg/directory"
)

// Set by the linker: see the Makefile.
var (
	version = "dev"
	commit  = "unknown"
)

// The exit codes that scripts rely on.
const (
	exitDone   = 0
	exitFailed = 1 // failed while running
	exitUsage  = 2 // wrong usage or configuration
)

// environment is what the process was given: tests give their own.
type environment struct {
	args           []string
	stdin          io.Reader
	stdout, stderr io.Writer
	getenv         func(string) string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends it at once: nothing is lost by that but time
	os.Exit(run(ctx, environment{os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Getenv}))
}

// run does one command line and returns its exit code. What cobra itself refuses (a flag, a command, an argument that
// there isn't) is wrong usage; what a command returns is a failure unless it says usageError.
func run(ctx context.Context, env environment) int {
	started := false
	root := newRoot(env, &started)
	root.SetArgs(env.args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitDone
	}
	var mistakes config.Errors
	var rows directory.Errors
	switch {
	case errors.Is(err, errSilent):
	case errors.As(err, &mistakes), errors.As(err, &rows):
		fmt.Fprintln(env.stderr, err) // each line begins with its place, as editors and scripts expect
	default:
		fmt.Fprintf(env.stderr, "autotagd: %v\n", err)
	}
	if usage := (usageError{}); !started || errors.As(err, &usage) {
		return exitUsage
	}
	return exitFailed
}

// usageError is a mistake in the command line, the environment or the configuration.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// errSilent fails a command that has said already what is wrong.
var errSilent = errors.New("failed")

func newRoot(env environment, started *bool) *cobra.Command {
	root := &cobra.Command{
		Use:     "autotagd",
		Version: version,
		Short:   "Tags every new AWS resource with who created it",
		Long: `autotagd reads CloudTrail's event history, works out who created each new
resource, and tags it: Owner and PrincipalId. It needs no trail, no Lambda, no rule
and no bucket: with credentials and a Region in the environment, 'autotagd run' works.

See it work without AWS:   autotagd demo
Try it on your account:    autotagd run --dry-run --once`,
		SilenceUsage:      true,
		SilenceErrors:     true,
		PersistentPreRun:  func(*cobra.Command, []string) { *started = true },
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
	}
	root.SetIn(env.stdin)
	root.SetOut(env.stdout)
	root.SetErr(env.stderr)
	root.AddCommand(newRun(env), newDemo(env), newExplain(env), newCheck(env), newCatalog(env), newPolicy(env), newStatus(env), newHealth(env), newVersion(env))
	return root
}
