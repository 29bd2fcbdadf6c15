package checkpoint_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/autotagd/autotagd/internal/fakeaws"
	"github.com/autotagd/autotagd/pkg/checkpoint"
	"github.com/autotagd/autotagd/pkg/checkpoint/storetest"
	"github.com/autotagd/autotagd/test/dynalite"
	"github.com/autotagd/autotagd/test/moto"
)

const tableRegion = "eu-central-1"

// dynamo is a DynamoDB to test against.
type dynamo struct{ config aws.Config }

// served is one that answers where config says.
func served(config aws.Config) dynamo {
	config.Region = tableRegion
	config.Credentials = credentials.NewStaticCredentialsProvider(fakeaws.AccessKey(fakeaws.DefaultAccount), "secret", "")
	config.Retryer = func() aws.Retryer { return aws.NopRetryer{} }
	return dynamo{config}
}

// oneAtATime is for moto, which lets another request come between a condition and its write.
type oneAtATime struct{ mu sync.Mutex }

func (o *oneAtATime) Do(r *http.Request) (*http.Response, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return http.DefaultClient.Do(r)
}

// inProcess is a fake whose answers take no time.
func inProcess(cfg fakeaws.Config) (*fakeaws.AWS, dynamo) {
	cfg.Latency, cfg.TableTime = -1, -1
	f := fakeaws.New(cfg)
	return f, served(aws.Config{HTTPClient: f.HTTPClient()})
}

// calls are those of an SDK client, but for what the answers say.
func (d dynamo) calls(a *storetest.Answers) checkpoint.DynamoDB {
	c := dynamodb.NewFromConfig(d.config)
	return checkpoint.DynamoDB{
		Query:              answered(a, "Query", c.Query),
		BatchGetItem:       answered(a, "BatchGetItem", c.BatchGetItem),
		BatchWriteItem:     answered(a, "BatchWriteItem", c.BatchWriteItem),
		UpdateItem:         answered(a, "UpdateItem", c.UpdateItem),
		DeleteItem:         answered(a, "DeleteItem", c.DeleteItem),
		CreateTable:        c.CreateTable,
		DescribeTable:      c.DescribeTable,
		UpdateTimeToLive:   c.UpdateTimeToLive,
		DescribeTimeToLive: c.DescribeTimeToLive,
	}
}

func answered[In, Out any](a *storetest.Answers, name string,
	call func(context.Context, *In, ...func(*dynamodb.Options)) (*Out, error),
) func(context.Context, *In, ...func(*dynamodb.Options)) (*Out, error) {
	return func(ctx context.Context, in *In, opts ...func(*dynamodb.Options)) (*Out, error) {
		fault := a.Take(name)
		if fault == storetest.Lost {
			return nil, fmt.Errorf("%s: %w", name, storetest.ErrNoAnswer)
		}
		out, err := call(ctx, in, opts...)
		if fault == storetest.Kept {
			return nil, fmt.Errorf("%s: %w", name, storetest.ErrNoAnswer)
		}
		return out, err
	}
}

// table makes a new one.
func (d dynamo) table(t testing.TB, name string) checkpoint.Table {
	t.Helper()
	table := checkpoint.Table{Name: name, Region: tableRegion, Calls: d.calls(&storetest.Answers{})}
	if err := table.Create(t.Context()); err != nil {
		t.Fatal(err)
	}
	return table
}

// DynamoDB as we know it, and as two others do.
func TestDynamoDBStores(t *testing.T) {
	for name, start := range map[string]func(t *testing.T) dynamo{
		"fake": func(*testing.T) dynamo { _, d := inProcess(fakeaws.Config{}); return d },
		"moto": func(t *testing.T) dynamo {
			return served(aws.Config{BaseEndpoint: aws.String(moto.Start(t)), HTTPClient: &oneAtATime{}})
		},
		"dynalite": func(t *testing.T) dynamo { return served(aws.Config{BaseEndpoint: aws.String(dynalite.Start(t))}) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := start(t)
			var tables atomic.Int64
			fresh := func(t *testing.T) checkpoint.Table {
				return d.table(t, fmt.Sprint("autotagd-", tables.Add(1)))
			}
			t.Run("store", func(t *testing.T) {
				storetest.RunStoreTests(t, func(t *testing.T) func() checkpoint.Store {
					table, replicas := fresh(t), 0
					return func() checkpoint.Store {
						replicas++
						return checkpoint.NewDynamoDBStore(table, fmt.Sprint("replica-", replicas))
					}
				})
			})
			t.Run("leases", func(t *testing.T) {
				storetest.RunLeaseTests(t, func(t *testing.T) func(string, *storetest.Answers) storetest.Replica {
					table := fresh(t)
					return func(replica string, a *storetest.Answers) storetest.Replica {
						return checkpoint.NewDynamoDBStore(checkpoint.Table{Name: table.Name, Region: table.Region, Calls: d.calls(a)}, replica)
					}
				})
			})
		})
	}
}
