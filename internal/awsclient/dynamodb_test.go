package awsclient_test

import (
	"context"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/autotagd/autotagd/internal/awsclient"
)

// everyDynamoCall makes each call once.
func everyDynamoCall(ctx context.Context, d awsclient.DynamoDB) map[string]error {
	table, errs := aws.String("autotagd"), map[string]error{}
	key := map[string]types.AttributeValue{"scope": &types.AttributeValueMemberS{Value: "x"}}
	_, errs["Query"] = d.Query(ctx, &dynamodb.QueryInput{TableName: table})
	_, errs["BatchGetItem"] = d.BatchGetItem(ctx, &dynamodb.BatchGetItemInput{RequestItems: map[string]types.KeysAndAttributes{"autotagd": {Keys: []map[string]types.AttributeValue{key}}}})
	_, errs["BatchWriteItem"] = d.BatchWriteItem(ctx, &dynamodb.BatchWriteItemInput{RequestItems: map[string][]types.WriteRequest{
		"autotagd": {{DeleteRequest: &types.DeleteRequest{Key: key}}},
	}})
	_, errs["UpdateItem"] = d.UpdateItem(ctx, &dynamodb.UpdateItemInput{TableName: table, Key: key})
	_, errs["DeleteItem"] = d.DeleteItem(ctx, &dynamodb.DeleteItemInput{TableName: table, Key: key})
	_, errs["CreateTable"] = d.CreateTable(ctx, &dynamodb.CreateTableInput{TableName: table})
	_, errs["DescribeTable"] = d.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: table})
	_, errs["UpdateTimeToLive"] = d.UpdateTimeToLive(ctx, &dynamodb.UpdateTimeToLiveInput{
		TableName: table, TimeToLiveSpecification: &types.TimeToLiveSpecification{AttributeName: table, Enabled: aws.Bool(true)},
	})
	_, errs["DescribeTimeToLive"] = d.DescribeTimeToLive(ctx, &dynamodb.DescribeTimeToLiveInput{TableName: table})
	return errs
}

func dynamoClients(t *testing.T, q *requests) *awsclient.Clients {
	t.Helper()
	environment(t, withKeys("AWS_REGION", "eu-central-1", "AWS_MAX_ATTEMPTS", "7", "AWS_NEW_RETRIES_2026", "true")...)
	clients, err := awsclient.New(t.Context(), options(q))
	if err != nil {
		t.Fatal(err)
	}
	return clients
}

func TestDynamoDBCallsGoToTheTablesRegionUnderOurName(t *testing.T) {
	q := &requests{answer: func(string, *http.Request) (*http.Response, error) {
		return answer(200, "application/x-amz-json-1.0", "{}"), nil
	}}
	clients := dynamoClients(t, q)
	for asked, want := range map[string]string{"eu-west-1": "eu-west-1", "": "eu-central-1"} {
		q.seen = nil
		errs := everyDynamoCall(t.Context(), clients.DynamoDB(asked))
		for op, err := range errs {
			if err != nil {
				t.Errorf("%s: %v", op, err)
			}
		}
		if len(q.seen) != len(errs) {
			t.Errorf("%d requests for %d calls", len(q.seen), len(errs))
		}
		for _, r := range q.seen {
			if !strings.Contains(r.URL.Host, want) || !strings.Contains(r.Header.Get("Authorization"), "/"+want+"/dynamodb/") {
				t.Errorf("Region %q: a request to %s, signed %s", asked, r.URL.Host, r.Header.Get("Authorization"))
			}
			if !strings.Contains(r.UserAgent(), "autotagd/1.2.3") {
				t.Errorf("user agent %q", r.UserAgent())
			}
		}
	}
}

func TestNoDynamoDBCallIsRepeated(t *testing.T) {
	for name, failure := range map[string]func() (*http.Response, error){
		"a throttle": func() (*http.Response, error) {
			return jsonRefusal(400, "ProvisionedThroughputExceededException", "slow down"), nil
		},
		"a 500":   func() (*http.Response, error) { return jsonRefusal(500, "InternalServerError", "no"), nil },
		"a reset": func() (*http.Response, error) { return nil, syscall.ECONNRESET },
	} {
		t.Run(name, func(t *testing.T) {
			count := map[string]int{}
			clients := dynamoClients(t, &requests{answer: func(op string, _ *http.Request) (*http.Response, error) {
				count[op]++
				return failure()
			}})
			for op, err := range everyDynamoCall(t.Context(), clients.DynamoDB("")) {
				if err == nil || count[op] != 1 {
					t.Errorf("%s: %v after %d attempts, want an error after 1", op, err, count[op])
				}
			}
		})
	}
}
