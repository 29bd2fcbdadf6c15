package fakeaws

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/autotagd/autotagd/pkg/event"
)

// awsError is an error with AWS's code.
type awsError struct{ code, message string }

func (e *awsError) Error() string { return e.code + ": " + e.message }

func invalid(message string) error { return &awsError{"ValidationException", message} }

func noTable() error { return &awsError{"ResourceNotFoundException", "Requested resource not found"} }

// dynamoOperation returns what a call of DynamoDB does; nil if the fake does not have it. Nothing of it shows in
// CloudTrail: what reads and writes items doesn't by default, and the rest is a few calls in a table's life.
func (a *AWS) dynamoOperation(op string) func(*call) answer {
	do, ok := map[string]func(*call) (any, error){
		"CreateTable": a.createTable, "DescribeTable": a.describeTable,
		"UpdateTimeToLive": a.updateTimeToLive, "DescribeTimeToLive": a.describeTimeToLive,
		"PutItem": a.putItem, "UpdateItem": a.updateItem, "DeleteItem": a.deleteItem, "GetItem": a.getItem,
		"BatchGetItem": a.batchGetItem, "BatchWriteItem": a.batchWriteItem, "Query": a.query,
	}[op]
	if !ok {
		return nil
	}
	return func(c *call) answer {
		out, err := do(c)
		var failed *awsError
		switch {
		case errors.As(err, &failed):
			return jsonError(400, failed.code, failed.message)
		case err != nil:
			return jsonError(400, "SerializationException", err.Error())
		}
		return jsonOK(out)
	}
}

// strictly reads the request; a member that the fake does not have is an error.
func (c *call) strictly(in any) error {
	d := json.NewDecoder(bytes.NewReader(c.body))
	d.DisallowUnknownFields()
	if err := d.Decode(in); err != nil {
		return invalid("the fake does not take this: " + err.Error())
	}
	return nil
}

// table finds a table that is ready.
func (a *AWS) table(c *call, name string) (*dynamoTable, error) {
	t := a.tables[tableKey{c.scope, name}]
	if t == nil || t.activeAt.After(c.now) {
		return nil, noTable()
	}
	t.expire(c.now)
	return t, nil
}

func (a *AWS) createTable(c *call) (any, error) {
	var in struct {
		TableName            string
		KeySchema            []keySchemaElement
		AttributeDefinitions []attributeDefinition
		BillingMode          string
	}
	if err := c.strictly(&in); err != nil {
		return nil, err
	}
	key := tableKey{c.scope, in.TableName}
	types := map[string]string{}
	for _, d := range in.AttributeDefinitions {
		types[d.AttributeName] = d.AttributeType
	}
	kinds := ""
	for _, k := range in.KeySchema {
		kinds += k.KeyType + " "
		if types[k.AttributeName] == "" {
			return nil, invalid("One or more parameter values were invalid: Some index key attributes are not defined in AttributeDefinitions")
		}
	}
	switch {
	case a.tables[key] != nil:
		return nil, &awsError{"ResourceInUseException", "Table already exists: " + in.TableName}
	case len(in.TableName) < 3:
		return nil, invalid("TableName must be at least 3 characters long and at most 255 characters long")
	case kinds != "HASH RANGE " && kinds != "HASH ":
		return nil, invalid("Invalid KeySchema: " + kinds)
	case len(types) != len(in.KeySchema):
		return nil, invalid("One or more parameter values were invalid: Number of attributes in KeySchema does not exactly match number of attributes defined in AttributeDefinitions")
	case in.BillingMode != "PAY_PER_REQUEST":
		return nil, invalid("No provisioned throughput specified for the table")
	}
	t := &dynamoTable{
		name: in.TableName, schema: in.KeySchema, attributes: in.AttributeDefinitions, created: c.now, activeAt: c.now.Add(a.cfg.TableTime),
		arn:   "arn:" + event.Partition(c.scope.Region) + ":dynamodb:" + c.scope.Region + ":" + c.scope.AccountID + ":table/" + in.TableName,
		items: map[itemKey]*stored{},
	}
	a.tables[key] = t
	return object{"TableDescription": t.describe(c.now)}, nil
}

func (t *dynamoTable) describe(now time.Time) object {
	status := "ACTIVE"
	if t.activeAt.After(now) {
		status = "CREATING"
	}
	return object{
		"TableName": t.name, "TableArn": t.arn, "TableStatus": status, "KeySchema": t.schema, "AttributeDefinitions": t.attributes,
		"CreationDateTime": float64(t.created.UnixMilli()) / 1e3, "BillingModeSummary": object{"BillingMode": "PAY_PER_REQUEST"},
	}
}

func (a *AWS) describeTable(c *call) (any, error) {
	var in struct{ TableName string }
	if err := c.strictly(&in); err != nil {
		return nil, err
	}
	t := a.tables[tableKey{c.scope, in.TableName}]
	if t == nil {
		return nil, &awsError{"ResourceNotFoundException", "Requested resource not found: Table: " + in.TableName + " not found"}
	}
	return object{"Table": t.describe(c.now)}, nil
}

func (a *AWS) updateTimeToLive(c *call) (any, error) {
	var in struct {
		TableName               string
		TimeToLiveSpecification struct {
			AttributeName string
			Enabled       bool
		}
	}
	if err := c.strictly(&in); err != nil {
		return nil, err
	}
	t, err := a.table(c, in.TableName)
	if err != nil {
		return nil, err
	}
	spec := in.TimeToLiveSpecification
	switch {
	case !spec.Enabled:
		return nil, invalid("the fake does not turn TimeToLive off")
	case t.ttl == spec.AttributeName:
		return nil, invalid("TimeToLive is already enabled")
	case t.ttl != "":
		return nil, invalid("TimeToLive is active on a different AttributeName: current AttributeName is " + t.ttl)
	}
	t.ttl = spec.AttributeName
	return object{"TimeToLiveSpecification": object{"AttributeName": spec.AttributeName, "Enabled": true}}, nil
}

func (a *AWS) describeTimeToLive(c *call) (any, error) {
	var in struct{ TableName string }
	if err := c.strictly(&in); err != nil {
		return nil, err
	}
	t, err := a.table(c, in.TableName)
	switch {
	case err != nil:
		return nil, err
	case t.ttl == "":
		return object{"TimeToLiveDescription": object{"TimeToLiveStatus": "DISABLED"}}, nil
	}
	return object{"TimeToLiveDescription": object{"TimeToLiveStatus": "ENABLED", "AttributeName": t.ttl}}, nil
}

// conditional is what the calls that write one item share.
type conditional struct {
	TableName           string
	ConditionExpression string
	expressions
}

// write does one conditional write: change gives the new item, nil to delete it.
func (a *AWS) write(c *call, in *conditional, key Item, change func(t *dynamoTable, old Item) (Item, error)) (Item, error) {
	t, err := a.table(c, in.TableName)
	if err != nil {
		return nil, err
	}
	k, err := t.keyOf(key)
	if err != nil {
		return nil, err
	}
	old := t.get(k, c.now, true)
	holds := in.holds(in.ConditionExpression, old)
	item, err := change(t, old)
	if err == nil {
		err = in.done()
	}
	if err == nil {
		err = item.check()
	}
	if err != nil {
		return nil, err
	}
	if !holds {
		t.note(c, k, nil, max(old.size(), item.size()), true)
		return nil, &awsError{"ConditionalCheckFailedException", "The conditional request failed"}
	}
	t.put(c, k, item)
	return item, nil
}

func (a *AWS) putItem(c *call) (any, error) {
	var in struct {
		conditional
		Item Item
	}
	if err := c.strictly(&in); err != nil {
		return nil, err
	}
	_, err := a.write(c, &in.conditional, in.Item, func(*dynamoTable, Item) (Item, error) { return in.Item, nil })
	return object{}, err
}

func (a *AWS) deleteItem(c *call) (any, error) {
	var in struct {
		conditional
		Key Item
	}
	if err := c.strictly(&in); err != nil {
		return nil, err
	}
	_, err := a.write(c, &in.conditional, in.Key, func(t *dynamoTable, _ Item) (Item, error) {
		_, err := t.onlyKey(in.Key)
		return nil, err
	})
	return object{}, err
}

func (a *AWS) updateItem(c *call) (any, error) {
	var in struct {
		conditional
		Key              Item
		UpdateExpression string
		ReturnValues     string
	}
	if err := c.strictly(&in); err != nil {
		return nil, err
	}
	var changed []string
	item, err := a.write(c, &in.conditional, in.Key, func(t *dynamoTable, old Item) (Item, error) {
		if _, err := t.onlyKey(in.Key); err != nil {
			return nil, err
		}
		if old == nil {
			old = in.Key
		}
		var item Item
		item, changed = in.update(in.UpdateExpression, old)
		for _, k := range t.schema {
			if slices.Contains(changed, k.AttributeName) {
				return nil, invalid("Cannot update attribute " + k.AttributeName + ". This attribute is part of the key")
			}
		}
		return item, nil
	})
	if err != nil {
		return nil, err
	}
	switch in.ReturnValues {
	case "", "NONE":
		return object{}, nil
	case "ALL_NEW":
		return object{"Attributes": item}, nil
	case "UPDATED_NEW":
		return object{"Attributes": item.only(changed)}, nil
	}
	return nil, invalid("the fake does not return " + in.ReturnValues)
}

func (a *AWS) getItem(c *call) (any, error) {
	var in struct {
		TableName            string
		Key                  Item
		ConsistentRead       bool
		ProjectionExpression string
		expressions
	}
	if err := c.strictly(&in); err != nil {
		return nil, err
	}
	t, err := a.table(c, in.TableName)
	if err != nil {
		return nil, err
	}
	k, err := t.onlyKey(in.Key)
	if err != nil {
		return nil, err
	}
	names := in.names(in.ProjectionExpression)
	if err := in.done(); err != nil {
		return nil, err
	}
	item := t.get(k, c.now, in.ConsistentRead)
	if item == nil {
		return object{}, nil
	}
	return object{"Item": item.only(names)}, nil
}

func (a *AWS) query(c *call) (any, error) {
	var in struct {
		TableName              string
		KeyConditionExpression string
		ProjectionExpression   string
		ConsistentRead         bool
		ExclusiveStartKey      Item
		expressions
	}
	if err := c.strictly(&in); err != nil {
		return nil, err
	}
	t, err := a.table(c, in.TableName)
	if err != nil {
		return nil, err
	}
	var after itemKey
	if in.ExclusiveStartKey != nil {
		if after, err = t.onlyKey(in.ExclusiveStartKey); err != nil {
			return nil, err
		}
	}
	names := in.names(in.ProjectionExpression)
	hash := t.schema[0].AttributeName
	if name, _, _ := strings.Cut(in.KeyConditionExpression, " "); in.ExpressionAttributeNames[name] != hash {
		return nil, invalid("Query condition missed key schema element: " + hash)
	}
	var keys []itemKey
	for k := range t.items {
		if in.holds(in.KeyConditionExpression, Item{hash: {'S', k.hash}}) && (in.ExclusiveStartKey == nil || k.compare(after) > 0) {
			keys = append(keys, k)
		}
	}
	in.holds(in.KeyConditionExpression, nil) // also on an empty table
	if err := in.done(); err != nil {
		return nil, err
	}
	slices.SortFunc(keys, itemKey.compare)
	items, size := []Item{}, 0
	for _, k := range keys {
		i := t.get(k, c.now, in.ConsistentRead)
		if i == nil {
			continue
		}
		// The page ends with the item that fills it, whether or not there are more: then the next one is empty.
		items, size = append(items, i.only(names)), size+i.size()
		if size >= maxQueryBytes {
			last := Item{}
			for _, s := range t.schema {
				last[s.AttributeName] = i[s.AttributeName]
			}
			return object{"Items": items, "Count": len(items), "ScannedCount": len(items), "LastEvaluatedKey": last}, nil
		}
	}
	return object{"Items": items, "Count": len(items), "ScannedCount": len(items)}, nil
}
