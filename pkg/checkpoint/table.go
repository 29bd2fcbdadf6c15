package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"
)

// DynamoDB is the calls of DynamoDB in one Region that a Table needs. Each makes one attempt.
type DynamoDB struct {
	Query              func(context.Context, *dynamodb.QueryInput, ...func(*dynamodb.Options)) (*dynamodb.QueryOutput, error)
	BatchGetItem       func(context.Context, *dynamodb.BatchGetItemInput, ...func(*dynamodb.Options)) (*dynamodb.BatchGetItemOutput, error)
	BatchWriteItem     func(context.Context, *dynamodb.BatchWriteItemInput, ...func(*dynamodb.Options)) (*dynamodb.BatchWriteItemOutput, error)
	UpdateItem         func(context.Context, *dynamodb.UpdateItemInput, ...func(*dynamodb.Options)) (*dynamodb.UpdateItemOutput, error)
	DeleteItem         func(context.Context, *dynamodb.DeleteItemInput, ...func(*dynamodb.Options)) (*dynamodb.DeleteItemOutput, error)
	CreateTable        func(context.Context, *dynamodb.CreateTableInput, ...func(*dynamodb.Options)) (*dynamodb.CreateTableOutput, error)
	DescribeTable      func(context.Context, *dynamodb.DescribeTableInput, ...func(*dynamodb.Options)) (*dynamodb.DescribeTableOutput, error)
	UpdateTimeToLive   func(context.Context, *dynamodb.UpdateTimeToLiveInput, ...func(*dynamodb.Options)) (*dynamodb.UpdateTimeToLiveOutput, error)
	DescribeTimeToLive func(context.Context, *dynamodb.DescribeTimeToLiveInput, ...func(*dynamodb.Options)) (*dynamodb.DescribeTimeToLiveOutput, error)
}

// Table is the DynamoDB table that replicas share. Its partition key is `scope`, its sort key `part`, both strings.
type Table struct {
	Name   string
	Region string // where Calls go, for messages
	Calls  DynamoDB
}

// The attributes of its items. Expressions name each by a # before it: many are words that DynamoDB reserves.
const (
	attrScope   = "scope"   // ACCOUNT/REGION, or leaseScope
	attrPart    = "part"    // the part's name, or the replica's id
	attrData    = "data"    // bytes: what the part holds
	attrVersion = "version" // of the state only: the count of its writes
	attrAttempt = "attempt" // of the state only: chosen at random for each write
	attrOwner   = "owner"   // of the state only: the replica that holds the Scope; absent: none
	attrCounter = "counter" // of a replica's lease only
	attrExpires = "expires" // seconds since 1970: DynamoDB may delete the item then
)

// The longest and shortest wait before a question is put again.
const (
	firstWait = 50 * time.Millisecond
	longWait  = 5 * time.Second
)

// TableError says in one line what is wrong with a table and what an operator can do.
type TableError struct {
	Table, Region string
	Call          string // the one that showed it
	Problem       string
	Remedy        string

	missing bool // there is no table: Create makes it
}

// Error names the table, its Region, the call, the problem and the remedy.
func (e *TableError) Error() string {
	return fmt.Sprintf("DynamoDB table %s in %s: %s: %s; %s", e.Table, e.Region, e.Call, e.Problem, e.Remedy)
}

// Check asks whether the table can be used. What an operator has to mend is a *TableError; after any other error the question
// may be put again. It needs the permission dynamodb:DescribeTable.
func (t Table) Check(ctx context.Context) error {
	d, err := t.describe(ctx)
	if err != nil {
		return err
	}
	return t.judge(d)
}

// Create makes the table, with `expires` as its time to live, unless it is there, and waits until it can be used. It may be
// repeated, also at the same time by several. What an operator has to mend is a *TableError. It needs the permissions
// dynamodb:DescribeTable, CreateTable, DescribeTimeToLive and UpdateTimeToLive.
func (t Table) Create(ctx context.Context) error {
	d, err := t.describe(ctx)
	if missing(err) {
		_, err = t.Calls.CreateTable(ctx, &dynamodb.CreateTableInput{
			TableName:   &t.Name,
			BillingMode: types.BillingModePayPerRequest,
			KeySchema: []types.KeySchemaElement{
				{AttributeName: aws.String(attrScope), KeyType: types.KeyTypeHash},
				{AttributeName: aws.String(attrPart), KeyType: types.KeyTypeRange},
			},
			AttributeDefinitions: []types.AttributeDefinition{
				{AttributeName: aws.String(attrScope), AttributeType: types.ScalarAttributeTypeS},
				{AttributeName: aws.String(attrPart), AttributeType: types.ScalarAttributeTypeS},
			},
		})
		if errorCode(err) == "ResourceInUseException" {
			err = nil // another is making it
		}
		if err != nil {
			return t.failed("CreateTable", err)
		}
		d, err = t.appears(ctx)
	}
	if err == nil && d.TableStatus == types.TableStatusCreating {
		d, err = t.appears(ctx)
	}
	if err != nil {
		return err
	}
	if err := t.judge(d); err != nil {
		return err
	}
	return t.expire(ctx)
}

// appears waits for a table that was just made.
func (t Table) appears(ctx context.Context) (*types.TableDescription, error) {
	for attempt := 0; ; attempt++ {
		d, err := t.describe(ctx)
		if err != nil && !missing(err) || err == nil && d.TableStatus != types.TableStatusCreating {
			return d, err
		}
		if err := pause(ctx, attempt); err != nil {
			return nil, fmt.Errorf("DynamoDB table %s in %s is still being made: %w", t.Name, t.Region, err)
		}
	}
}

// expire sets the table's time to live. A stand-in for DynamoDB that has no such thing will do: then nothing expires.
func (t Table) expire(ctx context.Context) error {
	out, err := t.Calls.DescribeTimeToLive(ctx, &dynamodb.DescribeTimeToLiveInput{TableName: &t.Name})
	if err != nil {
		return t.failed("DescribeTimeToLive", err)
	}
	if d := out.TimeToLiveDescription; d != nil {
		set, on := aws.ToString(d.AttributeName), d.TimeToLiveStatus == types.TimeToLiveStatusEnabled || d.TimeToLiveStatus == types.TimeToLiveStatusEnabling
		switch {
		case on && set == attrExpires:
			return nil
		case on:
			return t.wrong("DescribeTimeToLive", "its items expire by the attribute "+set+", not by "+attrExpires,
				"change its time to live, or name another table in checkpoint.dynamodb.table")
		}
	}
	_, err = t.Calls.UpdateTimeToLive(ctx, &dynamodb.UpdateTimeToLiveInput{
		TableName:               &t.Name,
		TimeToLiveSpecification: &types.TimeToLiveSpecification{AttributeName: aws.String(attrExpires), Enabled: aws.Bool(true)},
	})
	if err != nil && errorCode(err) != "UnknownOperationException" {
		return t.failed("UpdateTimeToLive", err)
	}
	return nil
}

func (t Table) describe(ctx context.Context) (*types.TableDescription, error) {
	out, err := t.Calls.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: &t.Name})
	switch {
	case err != nil:
		return nil, t.failed("DescribeTable", err)
	case out.Table == nil:
		return nil, t.failed("DescribeTable", errors.New("the answer describes no table"))
	}
	return out.Table, nil
}

// judge says what is wrong with a table that is there.
func (t Table) judge(d *types.TableDescription) error {
	kinds := map[string]types.ScalarAttributeType{}
	for _, a := range d.AttributeDefinitions {
		kinds[aws.ToString(a.AttributeName)] = a.AttributeType
	}
	var keys []string
	for _, k := range d.KeySchema {
		name := aws.ToString(k.AttributeName)
		keys = append(keys, fmt.Sprintf("%s %s (%s)", strings.ToLower(string(k.KeyType)), name, kinds[name]))
	}
	if got, want := strings.Join(keys, ", "), fmt.Sprintf("hash %s (S), range %s (S)", attrScope, attrPart); got != want {
		return t.wrong("DescribeTable", "its key is "+got+", not "+want, "name another table in checkpoint.dynamodb.table; `autotagd check --aws --create-table` makes one")
	}
	switch d.TableStatus {
	case types.TableStatusActive, types.TableStatusUpdating:
		return nil
	case types.TableStatusCreating:
		return t.wrong("DescribeTable", "it is still being made", "try again in a minute")
	}
	return t.wrong("DescribeTable", "it is "+string(d.TableStatus), "see to it in DynamoDB's console, or name another in checkpoint.dynamodb.table")
}

// failed wraps the error of a call.
func (t Table) failed(call string, err error) error {
	var api smithy.APIError
	if errors.As(err, &api) {
		switch api.ErrorCode() {
		case "ResourceNotFoundException":
			return &TableError{
				Table: t.Name, Region: t.Region, Call: call, Problem: "it does not exist", missing: true,
				Remedy: "make it with `autotagd check --aws --create-table`, or name another in checkpoint.dynamodb.table",
			}
		case "AccessDeniedException", "AccessDenied":
			return t.wrong(call, "AWS refuses the call ("+oneLine(api.ErrorMessage())+")", "grant dynamodb:"+call+" on this table to the identity that autotagd runs as")
		}
	}
	return fmt.Errorf("DynamoDB table %s in %s: %w", t.Name, t.Region, err)
}

func (t Table) wrong(call, problem, remedy string) error {
	return &TableError{Table: t.Name, Region: t.Region, Call: call, Problem: problem, Remedy: remedy}
}

func missing(err error) bool {
	var e *TableError
	return errors.As(err, &e) && e.missing
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

func errorCode(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}
