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

// openCheckpoints opens the store that cfg names and puts it into options. What it returns closes it.
func openCheckpoints(ctx context.Context, env environment, cfg *config.Config, options *daemon.Options) (func() error, error) {
	if cfg.Checkpoint.DynamoDB == nil {
		store, err := openFiles(env, cfg, options.Log)
		if err != nil {
			return nil, err
		}
		options.Store = store
		return store.Close, nil
	}
	table := tableOf(cfg, options.Clients)
	if err := patiently(ctx, options.Log, table.Check); err != nil {
		return nil, err
	}
	options.Replica = replicaName()
	store := checkpoint.NewDynamoDBStore(table, options.Replica)
	options.Store, options.Leases = store, store
	options.Log.Info("checkpoints", zap.String("table", table.Name), zap.String("region", table.Region), zap.String("replica", options.Replica))
	return func() error { return nil }, nil
}

// openFiles opens the checkpoints in a directory and takes their lock.
func openFiles(env environment, cfg *config.Config, log *zap.Logger) (*checkpoint.FileStore, error) {
	dir, err := cfg.CheckpointDir(env.getenv)
	if err != nil {
		return nil, usageError{err}
	}
	store, err := checkpoint.OpenFileStore(filepath.Clean(dir))
	if err != nil {
		return nil, err
	}
	log.Info("checkpoints", zap.String("directory", dir))
	return store, nil
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
