package checkpoint_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"

	"github.com/autotagd/autotagd/internal/fakeaws"
	"github.com/autotagd/autotagd/pkg/checkpoint"
	"github.com/autotagd/autotagd/pkg/checkpoint/storetest"
)

// slowly is a fake that takes its time, for use in a bubble.
func slowly(cfg fakeaws.Config) (*fakeaws.AWS, checkpoint.Table) {
	f := fakeaws.New(cfg)
	d := served(aws.Config{HTTPClient: f.HTTPClient()})
	return f, checkpoint.Table{Name: "autotagd", Region: tableRegion, Calls: d.calls(&storetest.Answers{})}
}

func TestCreateIsIdempotentAndWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, table := slowly(fakeaws.Config{})
		var several sync.WaitGroup
		for i := range 3 {
			several.Go(func() {
				time.Sleep(time.Duration(i) * time.Second)
				if err := table.Create(t.Context()); err != nil {
					t.Error(err)
				}
				if err := table.Check(t.Context()); err != nil {
					t.Errorf("Check right after Create: %v", err)
				}
			})
		}
		several.Wait()
		if err := table.Create(t.Context()); err != nil {
			t.Errorf("Create again: %v", err)
		}
		if n := len(f.Calls("UpdateTimeToLive")); n < 1 || n > 3 {
			t.Errorf("%d UpdateTimeToLive, want 1 to 3", n)
		}
		out, err := table.Calls.DescribeTimeToLive(t.Context(), &dynamodb.DescribeTimeToLiveInput{TableName: &table.Name})
		if err != nil || aws.ToString(out.TimeToLiveDescription.AttributeName) != "expires" {
			t.Errorf("time to live %+v, %v", out, err)
		}
	})
}

func TestCreateEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, table := slowly(fakeaws.Config{TableTime: time.Hour})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := table.Create(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Create: %v", err)
		}
		wantTableError(t, table.Check(t.Context()), "DescribeTable", "still being made", "try again")
	})
}

// What is wrong with a table is said in one line, with what to do.
func TestTableErrors(t *testing.T) {
	const create = "autotagd check --aws --create-table"
	other := func(names ...string) *dynamodb.CreateTableInput {
		in := &dynamodb.CreateTableInput{TableName: aws.String("autotagd"), BillingMode: types.BillingModePayPerRequest}
		for i, n := range names {
			in.KeySchema = append(in.KeySchema, types.KeySchemaElement{AttributeName: &n, KeyType: []types.KeyType{types.KeyTypeHash, types.KeyTypeRange}[i]})
			in.AttributeDefinitions = append(in.AttributeDefinitions, types.AttributeDefinition{AttributeName: &n, AttributeType: types.ScalarAttributeTypeS})
		}
		return in
	}
	numbers := other("scope", "part")
	numbers.AttributeDefinitions[1].AttributeType = types.ScalarAttributeTypeN
	cases := map[string]struct {
		made  *dynamodb.CreateTableInput // nil: none
		deny  string
		check []string // in Check's error; none: there is none
		made2 []string // in Create's
	}{
		"there is none":             {nil, "", []string{"DescribeTable", "does not exist", create, "checkpoint.dynamodb.table"}, nil},
		"all is well":               {other("scope", "part"), "", nil, nil},
		"other names":               {other("pk", "sk"), "", []string{"DescribeTable", "its key is hash pk (S), range sk (S)", create}, []string{"hash pk"}},
		"no sort key":               {other("scope"), "", []string{"its key is hash scope (S)", "range part (S)"}, []string{"its key"}},
		"another type":              {numbers, "", []string{"range part (N)"}, []string{"range part (N)"}},
		"not allowed to ask":        {other("scope", "part"), "DescribeTable", []string{"DescribeTable", "is not authorized", "grant dynamodb:DescribeTable"}, []string{"grant dynamodb:DescribeTable"}},
		"not allowed to make it":    {nil, "CreateTable", []string{"does not exist"}, []string{"CreateTable", "grant dynamodb:CreateTable"}},
		"not allowed to ask of TTL": {nil, "DescribeTimeToLive", []string{"does not exist"}, []string{"grant dynamodb:DescribeTimeToLive"}},
		"not allowed to set TTL":    {nil, "UpdateTimeToLive", []string{"does not exist"}, []string{"grant dynamodb:UpdateTimeToLive"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			f, d := inProcess(fakeaws.Config{})
			table := checkpoint.Table{Name: "autotagd", Region: tableRegion, Calls: d.calls(&storetest.Answers{})}
			if c.made != nil {
				if _, err := table.Calls.CreateTable(t.Context(), c.made); err != nil {
					t.Fatal(err)
				}
			}
			if c.deny != "" {
				f.Deny("dynamodb:" + c.deny)
			}
			wantTableError(t, table.Check(t.Context()), c.check...)
			wantTableError(t, table.Create(t.Context()), c.made2...)
			if c.made2 == nil {
				wantTableError(t, table.Check(t.Context()))
			}
		})
	}
}

func wantTableError(t *testing.T, err error, want ...string) {
	t.Helper()
	if len(want) == 0 {
		if err != nil {
			t.Error(err)
		}
		return
	}
	var wrong *checkpoint.TableError
	if !errors.As(err, &wrong) {
		t.Fatalf("error %v, want a TableError", err)
	}
	for _, w := range append(want, "autotagd", tableRegion) {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("text %q, want %q in it", err, w)
		}
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("text %q has more than one line", err)
	}
	var api smithy.APIError
	if errors.As(err, &api) {
		t.Error("it says what to do, and is AWS's error still: the remedy would be said twice")
	}
}

func TestTablesTimeToLiveOnAnotherAttribute(t *testing.T) {
	_, d := inProcess(fakeaws.Config{})
	table := d.table(t, "autotagd")
	other := table
	other.Calls.DescribeTimeToLive = func(context.Context, *dynamodb.DescribeTimeToLiveInput, ...func(*dynamodb.Options)) (*dynamodb.DescribeTimeToLiveOutput, error) {
		return &dynamodb.DescribeTimeToLiveOutput{TimeToLiveDescription: &types.TimeToLiveDescription{
			AttributeName: aws.String("ttl"), TimeToLiveStatus: types.TimeToLiveStatusEnabled,
		}}, nil
	}
	wantTableError(t, other.Create(t.Context()), "DescribeTimeToLive", "expire by the attribute ttl")
}

// What passes by itself, or is not the table's, is no TableError.
func TestTableErrorsThatPass(t *testing.T) {
	f, d := inProcess(fakeaws.Config{})
	table := checkpoint.Table{Name: "autotagd", Region: tableRegion, Calls: d.calls(&storetest.Answers{})}
	for _, fault := range []fakeaws.Fault{fakeaws.Throttle, fakeaws.ServerError, fakeaws.Reset} {
		f.Fail("DescribeTable", 1, fault)
		err := table.Check(t.Context())
		var wrong *checkpoint.TableError
		if err == nil || errors.As(err, &wrong) || !strings.Contains(err.Error(), fmt.Sprint("table autotagd in ", tableRegion)) {
			t.Errorf("%v: %v", fault, err)
		}
	}
}
