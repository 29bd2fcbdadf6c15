package fakeaws_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/autotagd/autotagd/internal/fakeaws"
)

type item = map[string]types.AttributeValue

func str(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }
func num(n int) types.AttributeValue    { return &types.AttributeValueMemberN{Value: fmt.Sprint(n)} }

func key(h, s string) item { return item{"h": str(h), "s": str(s)} }

// table is a client of a fake with a table whose keys are h and s.
type table struct {
	*clients
	*dynamodb.Client
}

func newTable(t *testing.T, cfg fakeaws.Config) table {
	t.Helper()
	c := connect(t, cfg)
	db := table{c, dynamodb.NewFromConfig(aws.Config{
		Region:      c.aws.Scope().Region,
		Credentials: credentials.NewStaticCredentialsProvider("AKIAREPLICA", "secret", ""),
		HTTPClient:  c.aws.HTTPClient(),
		Retryer:     func() aws.Retryer { return aws.NopRetryer{} },
	})}
	db.must(db.create("PAY_PER_REQUEST"))
	time.Sleep(5 * time.Second)
	return db
}

func (db table) must(err error) {
	db.T.Helper()
	if err != nil {
		db.T.Fatal(err)
	}
}

func (db table) create(billing types.BillingMode) error {
	_, err := db.CreateTable(db.ctx, &dynamodb.CreateTableInput{
		TableName: aws.String("table"), BillingMode: billing,
		KeySchema: []types.KeySchemaElement{
			{AttributeName: aws.String("h"), KeyType: types.KeyTypeHash}, {AttributeName: aws.String("s"), KeyType: types.KeyTypeRange},
		},
		AttributeDefinitions: []types.AttributeDefinition{
			{AttributeName: aws.String("h"), AttributeType: types.ScalarAttributeTypeS}, {AttributeName: aws.String("s"), AttributeType: types.ScalarAttributeTypeS},
		},
	})
	return err
}

func (db table) put(i item) error {
	_, err := db.PutItem(db.ctx, &dynamodb.PutItemInput{TableName: aws.String("table"), Item: i})
	return err
}

func (db table) update(k item, update, condition string, names map[string]string, values item) error {
	in := &dynamodb.UpdateItemInput{
		TableName: aws.String("table"), Key: k, UpdateExpression: aws.String(update), ExpressionAttributeNames: names, ExpressionAttributeValues: values,
	}
	if condition != "" {
		in.ConditionExpression = aws.String(condition)
	}
	_, err := db.UpdateItem(db.ctx, in)
	return err
}

func (db table) get(k item, consistent bool) item {
	db.T.Helper()
	out, err := db.GetItem(db.ctx, &dynamodb.GetItemInput{TableName: aws.String("table"), Key: k, ConsistentRead: &consistent})
	db.must(err)
	return out.Item
}

func (db table) write(requests ...types.WriteRequest) (*dynamodb.BatchWriteItemOutput, error) {
	return db.BatchWriteItem(db.ctx, &dynamodb.BatchWriteItemInput{RequestItems: map[string][]types.WriteRequest{"table": requests}})
}

func (db table) want(err error, want string) {
	db.T.Helper()
	if err == nil || code(err) != want {
		db.T.Errorf("error %v, want %s", err, want)
	}
}

func putRequest(i item) types.WriteRequest {
	return types.WriteRequest{PutRequest: &types.PutRequest{Item: i}}
}

func inTable(t *testing.T, cfg fakeaws.Config, test func(t *testing.T, db table)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, newTable(t, cfg)) })
}

func TestTableLifeCycle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := connect(t, fakeaws.Config{})
		db := table{c, dynamodb.NewFromConfig(aws.Config{
			Region: c.aws.Scope().Region, Credentials: credentials.NewStaticCredentialsProvider("AKIA", "secret", ""), HTTPClient: c.aws.HTTPClient(),
			Retryer: func() aws.Retryer { return aws.NopRetryer{} },
		})}
		describe := func() (types.TableStatus, error) {
			out, err := db.DescribeTable(db.ctx, &dynamodb.DescribeTableInput{TableName: aws.String("table")})
			if err != nil {
				return "", err
			}
			return out.Table.TableStatus, nil
		}
		_, err := describe()
		db.want(err, "ResourceNotFoundException")
		db.want(db.create("PROVISIONED"), "ValidationException")
		db.must(db.create("PAY_PER_REQUEST"))
		db.want(db.create("PAY_PER_REQUEST"), "ResourceInUseException")
		if s, err := describe(); s != "CREATING" || err != nil {
			t.Errorf("status %s, %v", s, err)
		}
		db.want(db.put(key("a", "1")), "ResourceNotFoundException")
		time.Sleep(5 * time.Second)
		if s, err := describe(); s != "ACTIVE" || err != nil {
			t.Errorf("status %s, %v", s, err)
		}
		db.must(db.put(key("a", "1")))
		time.Sleep(time.Hour)
		if got := c.lookup(cloudtrail.LookupEventsInput{}); len(got.Events) > 0 && strings.HasPrefix(*got.Events[0].EventSource, "dynamodb") {
			t.Errorf("CloudTrail shows %s", *got.Events[0].EventName)
		}
	})
}

func TestConditionsAndUpdates(t *testing.T) {
	inTable(t, fakeaws.Config{}, func(t *testing.T, db table) {
		k := key("a", "1")
		v, n := map[string]string{"#v": "v"}, map[string]string{"#n": "n"}
		db.must(db.update(k, "SET #v = :v", "attribute_not_exists(#v)", v, item{":v": str("x")}))
		db.want(db.update(k, "SET #v = :v", "attribute_not_exists(#v)", v, item{":v": str("x")}), "ConditionalCheckFailedException")
		db.want(db.update(k, "SET #v = :v", "#v = :o", v, item{":v": str("x"), ":o": str("y")}), "ConditionalCheckFailedException")
		db.want(db.update(key("a", "2"), "SET #v = :v", "#v = :o", v, item{":v": str("x"), ":o": str("y")}), "ConditionalCheckFailedException")
		db.must(db.update(k, "SET #v = :v ADD #n :one", "#v = :o AND attribute_not_exists(#n)", map[string]string{"#v": "v", "#n": "n"},
			item{":v": str("y"), ":o": str("x"), ":one": num(1)}))
		db.must(db.update(k, "ADD #n :one", "", n, item{":one": num(41)}))
		db.must(db.update(k, "REMOVE #v", "attribute_exists(#v)", v, nil))
		got := db.get(k, true)
		if count, ok := got["n"].(*types.AttributeValueMemberN); !ok || count.Value != "42" || len(got) != 3 {
			t.Errorf("item %v", got)
		}
		_, err := db.DeleteItem(db.ctx, &dynamodb.DeleteItemInput{TableName: aws.String("table"), Key: k})
		db.must(err)
		if got := db.get(k, true); got != nil {
			t.Errorf("item %v after its deletion", got)
		}

		// What DynamoDB would refuse, and what the fake does not have.
		for name, err := range map[string]error{
			"a name not given":     db.update(k, "SET #v = :v", "", nil, item{":v": str("x")}),
			"a name without #":     db.update(k, "SET v = :v", "", nil, item{":v": str("x")}),
			"a value not given":    db.update(k, "SET #v = :v", "", v, nil),
			"an unused name":       db.update(k, "SET #v = :v", "", map[string]string{"#v": "v", "#w": "w"}, item{":v": str("x")}),
			"an unused value":      db.update(k, "SET #v = :v", "", v, item{":v": str("x"), ":w": str("x")}),
			"a part of the key":    db.update(k, "SET #s = :v", "", map[string]string{"#s": "s"}, item{":v": str("x")}),
			"a name twice":         db.update(k, "SET #v = :v REMOVE #v", "", v, item{":v": str("x")}),
			"ADD to a string":      db.update(k, "ADD #v :v", "", v, item{":v": str("x")}),
			"an unknown condition": db.update(k, "SET #v = :v", "size(#v) = :v", v, item{":v": str("x")}),
			"half a key":           db.update(item{"h": str("a")}, "SET #v = :v", "", v, item{":v": str("x")}),
			"more than a key":      db.update(item{"h": str("a"), "s": str("b"), "v": str("c")}, "SET #v = :v", "", v, item{":v": str("x")}),
			"an empty key":         db.put(key("a", "")),
			"a key that is long":   db.put(key("a", strings.Repeat("x", 1025))),
			"a number as key":      db.put(item{"h": num(1), "s": str("1")}),
			"a number that isn't":  db.put(item{"h": str("a"), "s": str("1"), "n": &types.AttributeValueMemberN{Value: "x"}}),
			"a member not here": func() error {
				_, err := db.PutItem(db.ctx, &dynamodb.PutItemInput{TableName: aws.String("table"), Item: k, ReturnValues: "ALL_OLD"})
				return err
			}(),
		} {
			if err == nil || code(err) != "ValidationException" {
				t.Errorf("%s: %v, want a ValidationException", name, err)
			}
		}
	})
}

func TestItemAndBatchLimits(t *testing.T) {
	inTable(t, fakeaws.Config{}, func(t *testing.T, db table) {
		sized := func(n int) item { // h, s and d, with their names, have 7 bytes
			i := key("aa", "11")
			i["d"] = &types.AttributeValueMemberB{Value: make([]byte, n-7)}
			return i
		}
		db.must(db.put(sized(400 << 10)))
		db.want(db.put(sized(400<<10+1)), "ValidationException")
		_, err := db.write(putRequest(sized(400<<10 + 1)))
		db.want(err, "ValidationException")

		var requests []types.WriteRequest
		var keys []item
		for n := range 101 {
			keys = append(keys, key("a", fmt.Sprint(n)))
			requests = append(requests, putRequest(keys[n]))
		}
		_, err = db.write(requests[:26]...)
		db.want(err, "ValidationException")
		_, err = db.write(requests[0], requests[1], requests[0])
		db.want(err, "ValidationException")
		_, err = db.write(requests[:25]...)
		db.must(err)
		read := func(keys ...item) (*dynamodb.BatchGetItemOutput, error) {
			return db.BatchGetItem(db.ctx, &dynamodb.BatchGetItemInput{RequestItems: map[string]types.KeysAndAttributes{"table": {Keys: keys, ConsistentRead: aws.Bool(true)}}})
		}
		_, err = read(keys...)
		db.want(err, "ValidationException")
		_, err = read(keys[0], keys[0])
		db.want(err, "ValidationException")
		out, err := read(keys[:100]...)
		db.must(err)
		if got := len(out.Responses["table"]); got != 25 {
			t.Errorf("%d items read of 25", got)
		}
	})
}

func TestQueryPagesAndConsistency(t *testing.T) {
	inTable(t, fakeaws.Config{}, func(t *testing.T, db table) {
		query := func(consistent bool) (sorts []string, pages int) {
			var start item
			for {
				out, err := db.Query(db.ctx, &dynamodb.QueryInput{
					TableName: aws.String("table"), KeyConditionExpression: aws.String("#h = :h"), ConsistentRead: &consistent, ExclusiveStartKey: start,
					ExpressionAttributeNames: map[string]string{"#h": "h"}, ExpressionAttributeValues: item{":h": str("a")},
				})
				db.must(err)
				pages++
				for _, i := range out.Items {
					sorts = append(sorts, i["s"].(*types.AttributeValueMemberS).Value)
				}
				if start = out.LastEvaluatedKey; start == nil {
					return sorts, pages
				}
			}
		}
		big := func(s string) item {
			i := key("a", s)
			i["d"] = &types.AttributeValueMemberB{Value: make([]byte, 350<<10)}
			return i
		}
		for _, s := range []string{"b", "c", "a", "d"} {
			db.must(db.put(big(s)))
		}
		db.must(db.put(key("b", "x")))
		if sorts, pages := query(true); fmt.Sprint(sorts) != "[a b c d]" || pages != 2 {
			t.Errorf("%v in %d pages, want a to d in 2", sorts, pages)
		}
		if sorts, _ := query(false); len(sorts) == 4 {
			t.Error("an eventually consistent read shows what was written just now")
		}
		if db.get(key("b", "x"), false) != nil || db.get(key("b", "x"), true) == nil {
			t.Error("a get is not as consistent as it should be")
		}
		time.Sleep(2 * time.Second)
		if sorts, _ := query(false); len(sorts) != 4 {
			t.Errorf("%v two seconds later", sorts)
		}
	})
}

func TestTimeToLive(t *testing.T) {
	inTable(t, fakeaws.Config{}, func(t *testing.T, db table) {
		set := func(attribute string) error {
			_, err := db.UpdateTimeToLive(db.ctx, &dynamodb.UpdateTimeToLiveInput{
				TableName: aws.String("table"), TimeToLiveSpecification: &types.TimeToLiveSpecification{AttributeName: &attribute, Enabled: aws.Bool(true)},
			})
			return err
		}
		put := func(s string, at time.Time) {
			i := key("a", s)
			i["e"] = num(int(at.Unix()))
			db.must(db.put(i))
		}
		put("soon", time.Now().Add(time.Hour))
		put("later", time.Now().Add(3*time.Hour))
		put("long past", time.Now().AddDate(-6, 0, 0))
		db.must(db.put(key("a", "never")))
		time.Sleep(2 * time.Hour)
		if got := len(db.aws.TableItems(db.aws.Scope(), "table")); got != 4 {
			t.Errorf("%d items without time to live, want 4", got)
		}
		db.must(set("e"))
		db.want(set("e"), "ValidationException")
		db.want(set("f"), "ValidationException")
		out, err := db.DescribeTimeToLive(db.ctx, &dynamodb.DescribeTimeToLiveInput{TableName: aws.String("table")})
		db.must(err)
		if d := out.TimeToLiveDescription; d.TimeToLiveStatus != "ENABLED" || aws.ToString(d.AttributeName) != "e" {
			t.Errorf("time to live %+v", d)
		}
		time.Sleep(2 * time.Minute)
		var left []string
		for _, i := range db.aws.TableItems(db.aws.Scope(), "table") {
			left = append(left, i["s"].Value)
		}
		if fmt.Sprint(left) != "[later long past never]" {
			t.Errorf("left %q", left)
		}
	})
}

func TestTableFaults(t *testing.T) {
	inTable(t, fakeaws.Config{}, func(t *testing.T, db table) {
		for fault, want := range map[fakeaws.Fault]struct {
			code string
			kept bool
		}{
			fakeaws.Throttle:    {"ProvisionedThroughputExceededException", false},
			fakeaws.ServerError: {"ServiceUnavailable", false},
			fakeaws.Reset:       {"", false},
			fakeaws.LostAnswer:  {"", true},
		} {
			k := key("fault", fault.String())
			db.aws.Fail("PutItem", 1, fault)
			if err := db.put(k); err == nil || want.code != "" && code(err) != want.code {
				t.Errorf("%v: %v, want %s", fault, err, want.code)
			}
			if got := db.get(k, true) != nil; got != want.kept {
				t.Errorf("%v: kept %v, want %v", fault, got, want.kept)
			}
		}
		db.aws.Deny("dynamodb:PutItem")
		db.want(db.put(key("a", "1")), "AccessDeniedException")
		db.aws.Heal()

		var requests []types.WriteRequest
		for n := range 25 {
			requests = append(requests, putRequest(key("batch", fmt.Sprint(n))))
		}
		db.aws.Fail("BatchWriteItem", 1, fakeaws.Partial)
		out, err := db.write(requests...)
		db.must(err)
		left := out.UnprocessedItems["table"]
		if len(left) == 0 || len(left) == 25 {
			t.Fatalf("%d of 25 left", len(left))
		}
		if got := db.get(left[0].PutRequest.Item, true); got != nil {
			t.Errorf("%v is there", got)
		}
		db.aws.Fail("BatchGetItem", 1, fakeaws.Partial)
		var keys []item
		for _, r := range requests {
			keys = append(keys, r.PutRequest.Item)
		}
		read, err := db.BatchGetItem(db.ctx, &dynamodb.BatchGetItemInput{RequestItems: map[string]types.KeysAndAttributes{"table": {
			Keys: keys, ConsistentRead: aws.Bool(true), ProjectionExpression: aws.String("#s"), ExpressionAttributeNames: map[string]string{"#s": "s"},
		}}})
		db.must(err)
		again := read.UnprocessedKeys["table"]
		if len(again.Keys) == 0 || !aws.ToBool(again.ConsistentRead) || aws.ToString(again.ProjectionExpression) != "#s" || again.ExpressionAttributeNames["#s"] != "s" {
			t.Errorf("left %+v", again)
		}
	})
}

func TestTableWritesSayWhoWroteWhat(t *testing.T) {
	inTable(t, fakeaws.Config{}, func(t *testing.T, db table) {
		i := key("a", "1")
		i["d"], i["n"] = &types.AttributeValueMemberB{Value: make([]byte, 3000)}, num(7)
		db.must(db.put(i))
		db.want(db.update(key("a", "1"), "REMOVE #x", "attribute_exists(#x)", map[string]string{"#x": "x"}, nil), "ConditionalCheckFailedException")
		_, err := db.write(types.WriteRequest{DeleteRequest: &types.DeleteRequest{Key: key("a", "1")}})
		db.must(err)
		writes := db.aws.TableWrites(db.aws.Scope(), "table")
		if len(writes) != 3 {
			t.Fatalf("writes %+v", writes)
		}
		w := writes[0]
		if w.Op != "PutItem" || w.AccessKey != "AKIAREPLICA" || !strings.Contains(w.Agent, "aws-sdk-go-v2") || w.Hash != "a" || w.Sort != "1" ||
			w.Bytes != 3008 || w.Units() != 3 || w.Attributes["n"] != "7" || w.Attributes["d"] != "" {
			t.Errorf("first write %+v", w)
		}
		if w := writes[1]; !w.Refused || w.Op != "UpdateItem" || w.Deleted {
			t.Errorf("second write %+v", w)
		}
		if w := writes[2]; !w.Deleted || w.Op != "BatchWriteItem" || w.Refused {
			t.Errorf("third write %+v", w)
		}
	})
}
