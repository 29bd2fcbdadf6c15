package main

import (
	"cmp"
	"context"
	"errors"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"go.uber.org/zap"

	"github.com/autotagd/autotagd/internal/daemon"
	"github.com/autotagd/autotagd/pkg/config"
)

const (
	// reloadWait is how long a reload may ask AWS what it needs to know before the Daemon at work is ended.
	reloadWait = 2 * time.Minute
	// provenTick is how often a new Daemon is asked whether it has shown that it works.
	provenTick = 50 * time.Millisecond
	// againWait is between two tries of a configuration that did work.
	againWait = 10 * time.Second
	// maxMistakesLogged of a configuration that is refused; `autotagd check` tells all.
	maxMistakesLogged = 20
)

// supervisor keeps one Daemon at work, and at SIGHUP puts one of the configuration as it is then in its place.
//
// Invariants: two are never at work at once. The next one is built, and AWS asked what it needs, before the one at work is ended as at a
// shutdown, its State saved and its leases released: whatever is wrong until then leaves that one alone. No reload ends the process: if the next
// one fails before it has shown that it works, the one before is begun again, until it works. Its fields are of the goroutine of run, but working.
type supervisor struct {
	env        environment
	configPath string
	dryRun     bool
	since      time.Time
	once       bool
	reloads    *daemon.Reloads
	systemd    *notifier
	hangup     chan os.Signal

	current *life
	spare   *life // to go back to until current has shown that it works; nil: the end of current is ours
	working atomic.Pointer[daemon.Daemon]
}

func newSupervisor(env environment, configPath string, dryRun bool, since time.Time, once bool) *supervisor {
	s := &supervisor{
		env: env, configPath: configPath, dryRun: dryRun, since: since, once: once, reloads: daemon.NewReloads(), hangup: make(chan os.Signal, 1),
	}
	s.systemd = newNotifier(func() working { return s.working.Load() })
	return s
}

// run works until ctx ends.
func (s *supervisor) run(ctx context.Context) (err error) {
	if !s.once { // which is soon over
		signal.Notify(s.hangup, syscall.SIGHUP)
		defer signal.Stop(s.hangup)
	}
	if s.current, err = s.open(ctx, nil); err != nil {
		return err
	}
	defer func() {
		if s.spare != nil && s.spare != s.current {
			err = errors.Join(err, s.spare.close(s.current))
		}
		err = errors.Join(err, s.current.close(nil))
	}()
	s.working.Store(s.current.daemon)
	defer s.systemd.start(ctx, s.current.log)()
	for {
		if goOn, err := s.work(ctx); !goOn {
			return err
		}
		s.working.Store(s.current.daemon)
	}
}

// work has current at work until that ends. It reports whether there is another current to go on with.
func (s *supervisor) work(ctx context.Context) (goOn bool, err error) {
	working, end := context.WithCancel(ctx)
	defer end()
	ended := make(chan error, 1)
	go func(d *daemon.Daemon) { ended <- d.Run(working) }(s.current.daemon)
	look := time.NewTicker(provenTick)
	defer look.Stop()
	for {
		hangup := s.hangup
		if s.spare != nil && s.spare != s.current {
			hangup = nil // one at a time
		}
		select {
		case err := <-ended:
			if ctx.Err() != nil || s.spare == nil {
				return false, err
			}
			return s.goBack(ctx, err), nil
		case <-look.C:
			switch {
			case s.spare == nil:
				look.Stop()
			case s.current.daemon.Proven():
				s.proven()
			}
		case <-hangup:
			next := s.reload(ctx)
			if next == nil {
				continue
			}
			end()
			err := <-ended
			if ctx.Err() != nil {
				return false, errors.Join(err, next.close(s.current))
			}
			if err != nil {
				s.current.log.Error("for the reload the daemon did not end well: what it had not saved is read again", zap.Error(err))
			}
			s.spare, s.current = s.current, next
			return true, nil
		}
	}
}

// reload builds the next life while current is at work; nil where that can't be.
func (s *supervisor) reload(ctx context.Context) *life {
	log := s.current.log
	from := cmp.Or(s.configPath, s.env.getenv(config.EnvFile))
	if from == "" {
		log.Warn("SIGHUP: there is no configuration file to read again; a restart reads the environment again")
		return nil
	}
	s.systemd.reloading()
	log.Info("SIGHUP: reading the configuration again", zap.String("file", from))
	ctx, cancel := context.WithTimeout(ctx, reloadWait)
	defer cancel()
	next, err := s.open(ctx, s.current)
	if err == nil {
		return next
	}
	s.reloads.Failed()
	lines := []string{err.Error()}
	if mistakes := (config.Errors{}); errors.As(err, &mistakes) {
		lines = strings.Split(err.Error(), "\n")
	}
	for _, line := range lines[:min(len(lines), maxMistakesLogged)] {
		log.Error("cannot reload", zap.String("mistake", line))
	}
	log.Error("not reloaded: the configuration of before stays in force", zap.Int("mistakes", len(lines)))
	s.systemd.reloaded()
	return nil
}

// proven is called when current has shown that it works.
func (s *supervisor) proven() {
	before := s.spare
	s.spare = nil
	if before == s.current {
		s.current.log.Info("the configuration of before works again")
		return
	}
	if err := before.close(s.current); err != nil {
		s.current.log.Error("what the configuration before had was not given back", zap.Error(err))
	}
	s.reloads.Succeeded()
	s.current.log.Info("reloaded: the new configuration is in force")
	s.systemd.reloaded()
}

// goBack deals with a current that has ended with err and never showed that it works.
func (s *supervisor) goBack(ctx context.Context, err error) (goOn bool) {
	failed := s.current
	s.current = s.spare
	if failed == s.spare {
		failed.log.Error("the configuration of before does not work now; trying again", zap.Duration("wait", againWait), zap.Error(err))
		select {
		case <-ctx.Done():
			return false
		case <-time.After(againWait):
		}
	} else {
		s.reloads.Failed()
		failed.log.Error("not reloaded: the new configuration does not work; going back to the one before", zap.Error(err))
		if err := failed.close(s.spare); err != nil {
			failed.log.Error("what the new configuration had was not given back", zap.Error(err))
		}
		s.systemd.reloaded()
	}
	s.current.renew(failed)
	return true
}
