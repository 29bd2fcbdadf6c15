package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/term"

	"github.com/autotagd/autotagd/internal/daemon"
	"github.com/autotagd/autotagd/pkg/catalog"
	"github.com/autotagd/autotagd/pkg/config"
)

func configFlag(cmd *cobra.Command, path *string) {
	cmd.Flags().StringVar(path, "config", "", "configuration file (else $AUTOTAGD_CONFIG, or $AUTOTAGD_CONFIG_YAML as its content)")
}

// loadConfig reads the configuration and the directory, and makes what decides by them. Every mistake is wrong usage, and all are
// said together; with toRun also those in what only the daemon reads.
func loadConfig(env environment, path string, toRun bool) (*config.Config, *daemon.Planner, error) {
	cfg, cat, err := readConfig(env, path)
	if cat == nil {
		return nil, nil, err
	}
	err = config.Join(err, cfg.CheckServices(cat.Services()))
	if toRun {
		err = config.Join(err, daemon.CheckWebConfig(cfg))
	}
	people, peopleErr := daemon.OpenDirectory(cfg)
	if mistakes := (config.Errors{}); errors.As(peopleErr, &mistakes) {
		err, peopleErr = config.Join(err, mistakes), nil
	}
	if err = errors.Join(err, peopleErr); err != nil {
		return nil, nil, usageError{err}
	}
	planner, err := daemon.NewPlanner(cfg, cat, people)
	if err != nil {
		return nil, nil, usageError{err}
	}
	return cfg, planner, nil
}

// readConfig reads the configuration and the catalog with the rows that it adds. Beside a Catalog the error is a
// config.Errors with every mistake that was found in either; without one there is nothing to go on with.
func readConfig(env environment, path string) (*config.Config, *catalog.Catalog, error) {
	cfg, err := config.FromEnvironment(path, env.getenv, os.ReadFile)
	if cfg == nil {
		return nil, nil, usageError{err}
	}
	cat, mistakes := loadCatalog(cfg)
	if cat == nil {
		return nil, nil, mistakes
	}
	return cfg, cat, config.Join(err, mistakes)
}

// loadCatalog reads the catalog with the files that cfg names. Beside a Catalog the error is a config.Errors.
func loadCatalog(cfg *config.Config) (*catalog.Catalog, error) {
	var tables []io.Reader
	var err error
	for i, name := range cfg.CatalogFiles {
		if name == "" {
			continue // a mistake that is reported already
		}
		f, openErr := os.Open(name)
		if openErr != nil {
			err = config.Join(err, cfg.Mistake(fmt.Sprintf("catalog.files[%d]", i), openErr.Error(), "want a table that can be read"))
			continue
		}
		defer f.Close()
		tables = append(tables, f)
	}
	cat, loadErr := catalog.Load(tables...)
	var rows catalog.Errors
	switch {
	case cat == nil:
		return nil, fmt.Errorf("catalog: %w", loadErr)
	case errors.As(loadErr, &rows):
		mistakes := make(config.Errors, len(rows))
		for i, m := range rows {
			mistakes[i] = &config.Error{File: m.Table, Line: m.Line, What: m.Err.Error()}
		}
		err = config.Join(err, mistakes)
	}
	return cat, err
}

// newLogger logs to w: as the configuration says, but for people where w is a terminal and the file names no format.
func newLogger(cfg *config.Config, w io.Writer) (*zap.Logger, error) {
	level, err := zapcore.ParseLevel(cfg.Log.Level)
	if err != nil {
		return nil, usageError{fmt.Errorf("log.level: %w", err)}
	}
	format := cfg.Log.Format
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) && !cfg.IsSet("log.format") {
		format = "console"
	}
	enc := zap.NewProductionEncoderConfig()
	enc.TimeKey, enc.MessageKey, enc.LevelKey = "time", "msg", "level"
	enc.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	var encoder zapcore.Encoder
	if format == "console" {
		enc.EncodeTime = func(t time.Time, a zapcore.PrimitiveArrayEncoder) { a.AppendString(t.Format(time.TimeOnly)) }
		enc.EncodeLevel = zapcore.CapitalLevelEncoder
		enc.ConsoleSeparator = "  "
		encoder = zapcore.NewConsoleEncoder(enc)
	} else {
		encoder = zapcore.NewJSONEncoder(enc)
	}
	return zap.New(zapcore.NewCore(encoder, zapcore.Lock(zapcore.AddSync(terminalSafe{w})), level)), nil
}
