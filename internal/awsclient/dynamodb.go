package awsclient

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
)

// DynamoDB is DynamoDB's calls in one Region, one attempt each, in the account of the environment's credentials. They are
// functions: see calls.
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

// DynamoDB returns DynamoDB's calls in a Region; "" is that of the environment.
func (c *Clients) DynamoDB(region string) DynamoDB {
	if region == "" {
		region = c.region
	}
	d, in := c.calls.dynamodb, func(o *dynamodb.Options) { o.Region = region }
	return DynamoDB{
		Query:              with(d.Query, in),
		BatchGetItem:       with(d.BatchGetItem, in),
		BatchWriteItem:     with(d.BatchWriteItem, in),
		UpdateItem:         with(d.UpdateItem, in),
		DeleteItem:         with(d.DeleteItem, in),
		CreateTable:        with(d.CreateTable, in),
		DescribeTable:      with(d.DescribeTable, in),
		UpdateTimeToLive:   with(d.UpdateTimeToLive, in),
		DescribeTimeToLive: with(d.DescribeTimeToLive, in),
	}
}
