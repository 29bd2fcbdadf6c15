package main

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"go.uber.org/zap"

	"github.com/autotagd/autotagd/internal/daemon"
)

// life is one Daemon of this process, with what it was built from.
type life struct {
	daemon  *daemon.Daemon
	options daemon.Options
	planner *daemon.Planner
	log     *zap.Logger
	// What is closed by close. The life before has the same, where both want that.
	files *files // nil: none
	port  *daemon.Port
}

// open builds a life from the configuration as it is now. While before, if any, is at work, it makes sure of all that can be made sure of.
func (s *supervisor) open(ctx context.Context, before *life) (*life, error) {
	cfg, planner, err := loadConfig(s.env, s.configPath, true)
	if err != nil {
		return nil, err
	}
	cfg.DryRun = cfg.DryRun || s.dryRun
	log, err := newLogger(cfg, s.env.stderr)
	if err != nil {
		return nil, err
	}
	clients, err := newClients(ctx, cfg, log)
	if err != nil {
		return nil, err
	}
	l := &life{planner: planner, log: log, options: daemon.Options{
		Config: cfg, Clients: clients, Log: log, Version: version, Commit: commit, Since: s.since, Once: s.once, Reloads: s.reloads,
	}}
	if err := l.take(ctx, s.env, before); err != nil {
		return nil, errors.Join(err, l.close(before))
	}
	return l, nil
}

// take opens what l needs, or has it from before.
func (l *life) take(ctx context.Context, env environment, before *life) (err error) {
	cfg := l.options.Config
	if !cfg.DryRun {
		var held *files
		if before != nil {
			held = before.files
		}
		if l.files, err = openCheckpoints(ctx, env, cfg, &l.options, held); err != nil {
			return err
		}
	}
	if before != nil && before.options.Config.Web.Listen == cfg.Web.Listen {
		l.port = before.port
	} else if l.port, err = daemon.OpenPort(cfg); err != nil {
		if before != nil && errors.Is(err, syscall.EADDRINUSE) {
			err = fmt.Errorf("%w; if it is this daemon itself that has the address, as another name of it, restart it", err)
		}
		return err
	}
	l.options.Port = l.port
	l.follow(before)
	if before == nil {
		return nil // it may wait for AWS, with the port open
	}
	return l.daemon.Prepare(ctx)
}

// renew makes l ready to be at work again, after that one.
func (l *life) renew(after *life) {
	if l.options.Leases != nil {
		useTable(l.options.Config, &l.options) // as a replica that is a new one to the others
	}
	l.follow(after)
}

// follow gives l a Daemon that has not run, to come after the one of before, if any.
func (l *life) follow(before *life) {
	o := l.options
	if before != nil {
		o.After = before.daemon
	}
	l.daemon = daemon.New(o, l.planner)
}

// close gives back what l has and keep, if any, doesn't.
func (l *life) close(keep *life) error {
	var errs []error
	if l.files != nil && (keep == nil || keep.files != l.files) {
		errs = append(errs, l.files.Close())
	}
	if l.port != nil && (keep == nil || keep.port != l.port) {
		errs = append(errs, l.port.Close())
	}
	return errors.Join(errs...)
}
