package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"go.uber.org/zap"

	"github.com/autotagd/autotagd/internal/awsclient"
	"github.com/autotagd/autotagd/internal/daemon"
	"github.com/autotagd/autotagd/pkg/checkpoint"
	"github.com/autotagd/autotagd/pkg/config"
)

const (
	tableTries = 6               // of a question about the table at a start, for what may pass
	tableWait  = 2 * time.Second // between them, longer each time
)

// openCheckpoints opens the store that cfg names and puts it into options. It returns files to be closed, nil for a table: those of held, if
// they are the same, since their lock is ours already.
func openCheckpoints(ctx context.Context, env environment, cfg *config.Config, options *daemon.Options, held *files) (*files, error) {
	if cfg.Checkpoint.DynamoDB == nil {
		f, err := openFiles(env, cfg, options.Log, held)
		if err != nil {
			return nil, err
		}
		options.Store = f.FileStore
		return f, nil
	}
	table := tableOf(cfg, options.Clients)
	if err := patiently(ctx, options.Log, table.Check); err != nil {
		return nil, err
	}
	useTable(cfg, options)
	return nil, nil
}

// useTable puts the table of cfg into options, as a replica that has not been there.
func useTable(cfg *config.Config, options *daemon.Options) {
	table := tableOf(cfg, options.Clients)
	options.Replica = replicaName()
	store := checkpoint.NewDynamoDBStore(table, options.Replica)
	options.Store, options.Leases = store, store
	options.Log.Info("checkpoints", zap.String("table", table.Name), zap.String("region", table.Region), zap.String("replica", options.Replica))
}

// files are the checkpoints in a directory, locked.
type files struct {
	*checkpoint.FileStore
	dir string
}

// openFiles opens the checkpoints in a directory and takes their lock, or returns held if that is them.
func openFiles(env environment, cfg *config.Config, log *zap.Logger, held *files) (*files, error) {
	dir, err := cfg.CheckpointDir(env.getenv)
	if err != nil {
		return nil, usageError{err}
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, fmt.Errorf("checkpoint directory: %w", err)
	}
	if held == nil || held.dir != dir {
		store, err := checkpoint.OpenFileStore(dir)
		if err != nil {
			return nil, err
		}
		held = &files{store, dir}
	}
	log.Info("checkpoints", zap.String("directory", dir))
	return held, nil
}

func tableOf(cfg *config.Config, clients *awsclient.Clients) checkpoint.Table {
	region := cmp.Or(cfg.Checkpoint.DynamoDB.Region, clients.Region())
	return checkpoint.Table{Name: cfg.Checkpoint.DynamoDB.Table, Region: region, Calls: checkpoint.DynamoDB(clients.DynamoDB(region))}
}

// patiently repeats what fails for a reason that may pass: whatever is no *checkpoint.TableError.
func patiently(ctx context.Context, log *zap.Logger, do func(context.Context) error) error {
	for attempt := 1; ; attempt++ {
		err := do(ctx)
		var mend *checkpoint.TableError
		if err == nil || errors.As(err, &mend) || attempt == tableTries || ctx.Err() != nil {
			return awsclient.Explain(err)
		}
		wait := time.Duration(attempt) * tableWait
		log.Warn("the checkpoint table does not answer; trying again", zap.Duration("wait", wait), zap.Error(awsclient.Explain(err)))
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// replicaName is this process's name among those that share a table: no other has it, nor had it, on whatever host.
func replicaName() string {
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "host"
	}
	var b [6]byte
	_, _ = rand.Read(b[:]) // never fails
	return fmt.Sprintf("%.64s-%s", host, hex.EncodeToString(b[:]))
}
