package checkpoint

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"iter"
	mathrand "math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go/middleware"

	"github.com/autotagd/autotagd/pkg/event"
)

// The limits of DynamoDB. A batch of the largest items is still below the 16 MB that one may have.
const (
	batchWrites = 25
	batchReads  = 100
	// maxItemData leaves a KB of an item's 400 for its key, its other attributes and all their names.
	maxItemData = 399 << 10
)

// How long a part outlives its last write on a table with a time to live, in case nobody deletes it: long after it can be of
// use. CloudTrail shows events for 90 days; a Job that waits longer than a year was given up long before.
const (
	seenLife = 95 * 24 * time.Hour
	jobLife  = 366 * 24 * time.Hour
)

// DynamoDBStore keeps States in a Table, an item for each part. Of each Scope it writes only while its replica is the owner,
// so Claim comes before the first Swap: see Leases. Parts are written whoever is the owner; what a replica writes late is
// harmless, since no state speaks of it.
type DynamoDBStore struct {
	table   Table
	replica string
	clock   awsClock
}

// NewDynamoDBStore returns a store for the replica of that name, which no other may have; a new one for each process will
// do. It makes no call.
func NewDynamoDBStore(t Table, replica string) *DynamoDBStore {
	return &DynamoDBStore{table: t, replica: replica}
}

// item is an item's attributes by name.
type item = map[string]types.AttributeValue

func str(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }

func num(n int64) types.AttributeValue {
	return &types.AttributeValueMemberN{Value: strconv.FormatInt(n, 10)}
}

// bin makes bytes, none of them too: the SDK writes nil as no value at all.
func bin(b []byte) types.AttributeValue {
	if b == nil {
		b = []byte{}
	}
	return &types.AttributeValueMemberB{Value: b}
}

// text reads a string; "" if there is none.
func text(i item, name string) string {
	if v, ok := i[name].(*types.AttributeValueMemberS); ok {
		return v.Value
	}
	return ""
}

// named is what the #names in an expression stand for.
func named(attributes ...string) map[string]string {
	names := make(map[string]string, len(attributes))
	for _, a := range attributes {
		names["#"+a] = a
	}
	return names
}

func itemKey(scope, part string) item { return item{attrScope: str(scope), attrPart: str(part)} }

// scopeKey is a Scope's partition key, which no other item of the table can have.
func scopeKey(s event.Scope) (string, error) {
	if !accountName.MatchString(s.AccountID) || !regionName.MatchString(s.Region) {
		return "", fmt.Errorf("no items for the Scope %.60q", s)
	}
	return s.String(), nil
}

// Locate implements Store: it gives the item's table and key.
func (s *DynamoDBStore) Locate(scope event.Scope, part string) string {
	return fmt.Sprintf("item %s %s of DynamoDB table %s in %s", scope, part, s.table.Name, s.table.Region)
}

// itemVersion is what the state's item has in place of a Version: the count for people, the attempt so that no two writes
// are the same, also after an operator has put an old state back.
type itemVersion struct {
	count   int64
	attempt string
}

func (v itemVersion) version() Version { return Version(fmt.Sprintf("%d-%s", v.count, v.attempt)) }

// parseVersion is the reverse of version; the zero itemVersion is that of a Scope never saved.
func parseVersion(v Version) (itemVersion, bool) {
	if v == "" {
		return itemVersion{}, true
	}
	count, attempt, ok := strings.Cut(string(v), "-")
	n, err := strconv.ParseInt(count, 10, 64)
	return itemVersion{n, attempt}, ok && err == nil && attempt != ""
}

// versionOf reads the version of a state's item; the zero one if it was never saved.
func versionOf(i item) (itemVersion, error) {
	n, counted := i[attrVersion].(*types.AttributeValueMemberN)
	attempt := text(i, attrAttempt)
	if !counted && attempt == "" {
		return itemVersion{}, nil
	}
	if !counted || attempt == "" {
		return itemVersion{}, errors.New("it has one of " + attrVersion + " and " + attrAttempt + " without the other")
	}
	count, err := strconv.ParseInt(n.Value, 10, 64)
	if err != nil {
		return itemVersion{}, fmt.Errorf("its %s is no whole number: %q", attrVersion, n.Value)
	}
	return itemVersion{count, attempt}, nil
}

// Load implements Store.
func (s *DynamoDBStore) Load(ctx context.Context, scope event.Scope) (Loaded, error) {
	key, err := scopeKey(scope)
	if err != nil {
		return Loaded{}, err
	}
	var loaded Loaded
	for i, err := range s.query(ctx, key) {
		if err != nil {
			return Loaded{}, fmt.Errorf("read the checkpoint: %w", err)
		}
		name := text(i, attrPart)
		damaged := func(problem string) error {
			return &DamagedError{Part: name, Place: s.Locate(scope, name), Problem: problem}
		}
		if !validPart(name) {
			return Loaded{}, damaged("no item of autotagd has such a key")
		}
		data, ok := i[attrData].(*types.AttributeValueMemberB)
		if name != StatePart {
			if !ok {
				return Loaded{}, damaged("it has no bytes in " + attrData)
			}
			loaded.Parts = append(loaded.Parts, Part{name, data.Value})
			continue
		}
		v, err := versionOf(i)
		switch {
		case err != nil:
			return Loaded{}, damaged(err.Error())
		case !ok && v == (itemVersion{}): // claimed, never saved
		case !ok:
			return Loaded{}, damaged("it has no bytes in " + attrData)
		case v == (itemVersion{}):
			return Loaded{}, damaged("it has no " + attrVersion)
		default:
			loaded.State, loaded.Version = data.Value, v.version()
		}
	}
	return loaded, nil
}

// query gives every item of a partition, page by page, consistently.
func (s *DynamoDBStore) query(ctx context.Context, scope string) iter.Seq2[item, error] {
	return func(yield func(item, error) bool) {
		in := &dynamodb.QueryInput{
			TableName: &s.table.Name, ConsistentRead: aws.Bool(true), KeyConditionExpression: aws.String("#scope = :scope"),
			ExpressionAttributeNames: named(attrScope), ExpressionAttributeValues: item{":scope": str(scope)},
		}
		for {
			out, err := s.table.Calls.Query(ctx, in)
			if err != nil {
				yield(nil, s.failed(err))
				return
			}
			s.clock.heard(out.ResultMetadata)
			for _, i := range out.Items {
				if !yield(i, nil) {
					return
				}
			}
			if len(out.LastEvaluatedKey) == 0 {
				return
			}
			in.ExclusiveStartKey = out.LastEvaluatedKey
		}
	}
}

// failed names the table, which the SDK's errors do not.
func (s *DynamoDBStore) failed(err error) error {
	return fmt.Errorf("DynamoDB table %s in %s: %w", s.table.Name, s.table.Region, err)
}

// Put implements Store.
func (s *DynamoDBStore) Put(ctx context.Context, scope event.Scope, parts []Part) error {
	key, err := scopeKey(scope)
	if err != nil {
		return err
	}
	writes := make([]types.WriteRequest, 0, len(parts))
	for _, p := range parts {
		if p.Name == StatePart {
			return errors.New("write the checkpoint: the state is written by Swap only")
		}
		if err := s.fits(scope, p.Name, p.Data); err != nil {
			return err
		}
		i := itemKey(key, p.Name)
		i[attrData], i[attrExpires] = bin(p.Data), num(s.expires(p.Name).Unix())
		writes = append(writes, types.WriteRequest{PutRequest: &types.PutRequest{Item: i}})
	}
	if err := s.write(ctx, writes); err != nil {
		return fmt.Errorf("write the checkpoint: %w", err)
	}
	return nil
}

// expires says when a part may go. What was seen goes by its event time, which every replica knows alike.
func (s *DynamoDBStore) expires(part string) time.Time {
	if minute, ok := minuteOfPart(part); ok {
		return time.Unix(minute*60, 0).Add(seenLife)
	}
	return s.clock.now().Add(jobLife)
}

func (s *DynamoDBStore) fits(scope event.Scope, part string, data []byte) error {
	if len(data) <= maxItemData {
		return nil
	}
	return fmt.Errorf("write the checkpoint: %s would have %d KB, an item has 400 at most", s.Locate(scope, part), len(data)>>10)
}

// Delete implements Store.
func (s *DynamoDBStore) Delete(ctx context.Context, scope event.Scope, names []string) error {
	key, err := scopeKey(scope)
	if err != nil {
		return err
	}
	writes := make([]types.WriteRequest, 0, len(names))
	for _, name := range names {
		if name == StatePart {
			return errors.New("clean the checkpoint: the state is not deleted")
		}
		writes = append(writes, types.WriteRequest{DeleteRequest: &types.DeleteRequest{Key: itemKey(key, name)}})
	}
	if err := s.write(ctx, writes); err != nil {
		return fmt.Errorf("clean the checkpoint: %w", err)
	}
	return nil
}

// write makes all writes, a batch after another. What a batch leaves undone goes first into the next one.
func (s *DynamoDBStore) write(ctx context.Context, writes []types.WriteRequest) error {
	attempt := 0
	for len(writes) > 0 {
		n := min(batchWrites, len(writes))
		out, err := s.table.Calls.BatchWriteItem(ctx, &dynamodb.BatchWriteItemInput{
			RequestItems: map[string][]types.WriteRequest{s.table.Name: writes[:n]},
		})
		if err != nil {
			return s.failed(err)
		}
		s.clock.heard(out.ResultMetadata)
		left := out.UnprocessedItems[s.table.Name]
		writes = writes[n:]
		if len(left) == 0 {
			attempt = 0
			continue
		}
		writes = slices.Concat(left, writes)
		if err := pause(ctx, attempt); err != nil {
			return s.failed(fmt.Errorf("it is too busy to take %d more items: %w", len(writes), err))
		}
		attempt++
	}
	return nil
}

// Swap implements Store. ErrFenced: old is not what is stored, or the Scope's owner is another replica or none.
func (s *DynamoDBStore) Swap(ctx context.Context, scope event.Scope, old Version, state []byte) (Version, error) {
	key, err := scopeKey(scope)
	if err != nil {
		return "", err
	}
	if err := s.fits(scope, StatePart, state); err != nil {
		return "", err
	}
	was, ok := parseVersion(old)
	if !ok { // no version of ours
		return "", fmt.Errorf("%s: %w", s.Locate(scope, StatePart), ErrFenced)
	}
	next := itemVersion{was.count + 1, rand.Text()}
	in := &dynamodb.UpdateItemInput{
		TableName: &s.table.Name, Key: itemKey(key, StatePart),
		UpdateExpression:         aws.String("SET #data = :data, #version = :version, #attempt = :attempt"),
		ExpressionAttributeNames: named(attrData, attrVersion, attrAttempt, attrOwner),
		ExpressionAttributeValues: item{
			":data": bin(state), ":version": num(next.count), ":attempt": str(next.attempt), ":me": str(s.replica),
		},
	}
	in.ConditionExpression = aws.String("#owner = :me AND " + unchanged(in, was))
	if refused, err := s.update(ctx, in); refused {
		return "", fmt.Errorf("%s: %w", s.Locate(scope, StatePart), ErrFenced)
	} else if err != nil {
		return "", fmt.Errorf("write the checkpoint: %w", err)
	}
	return next.version(), nil
}

// unchanged is the condition that an item has a version; its values are added to in.
func unchanged(in *dynamodb.UpdateItemInput, v itemVersion) string {
	if v == (itemVersion{}) {
		return "attribute_not_exists(#version)"
	}
	in.ExpressionAttributeValues[":was"], in.ExpressionAttributeValues[":wasattempt"] = num(v.count), str(v.attempt)
	return "#version = :was AND #attempt = :wasattempt"
}

// update makes one call and tells whether its condition refused it.
func (s *DynamoDBStore) update(ctx context.Context, in *dynamodb.UpdateItemInput) (refused bool, err error) {
	out, err := s.table.Calls.UpdateItem(ctx, in)
	var failed *types.ConditionalCheckFailedException
	switch {
	case errors.As(err, &failed):
		return true, nil
	case err != nil:
		return false, s.failed(err)
	}
	s.clock.heard(out.ResultMetadata)
	return false, nil
}

// pause waits before the next attempt: a random time that grows. It fails when ctx ends.
func pause(ctx context.Context, attempt int) error {
	wait := min(longWait, firstWait<<min(attempt, 10))
	t := time.NewTimer(wait/2 + mathrand.N(wait/2))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// awsClock is AWS's time, by which items expire, as its last answer told it; until there was one, this host's.
type awsClock struct {
	mu   sync.Mutex // guards both
	date time.Time
	at   time.Time // when that was here
}

func (c *awsClock) heard(answer middleware.Metadata) {
	if date, ok := awsmiddleware.GetServerTime(answer); ok && !date.IsZero() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.date, c.at = date, time.Now()
	}
}

func (c *awsClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.date.IsZero() {
		return time.Now()
	}
	return c.date.Add(time.Since(c.at))
}
