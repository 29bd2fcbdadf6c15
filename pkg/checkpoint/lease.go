package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/autotagd/autotagd/pkg/event"
)

// Leases are what replicas share Scopes by. A Scope's state names the replica that owns it, and only that one can Swap it. A
// replica lives as long as its counter changes: who watches it takes two readings and his own clock between them. Nothing
// here decides who gets what, and no time of one host ever meets that of another.
//
// Each call may be repeated. After an error other than those named, a write may have happened, or may yet happen for as long
// as its request is on its way: then Owners shows this replica as owner of a Scope that it does not know it has.
type Leases interface {
	// Beat counts this replica's counter up by one, or by two if an answer was lost.
	Beat(ctx context.Context) error
	// Replicas returns the counter of every replica that has one, consistently, this one's among them. A counter may begin
	// again, so only whether it changed means anything.
	Replicas(ctx context.Context) (map[string]int64, error)
	// Owners returns who owns each of the Scopes, consistently with each, though not at one moment for all. Those whose state
	// can't be trusted are left out, and the error has a *DamagedError for each; no other error comes with owners.
	Owners(ctx context.Context, scopes []event.Scope) (map[event.Scope]Owner, error)
	// Claim makes this replica the owner if nothing has changed since it saw what it saw: neither owner nor version. Load
	// after it. ErrTaken: something has, and nothing was written.
	Claim(ctx context.Context, s event.Scope, seen Owner) error
	// Release leaves the Scope without an owner if this replica is it; else there is nothing to do. Call it after the last
	// Swap has returned.
	Release(ctx context.Context, s event.Scope) error
	// Forget removes the counter of a replica that is gone. One that isn't comes back at its next beat.
	Forget(ctx context.Context, replica string) error
}

// Owner is who owns a Scope, and the version that its state had then.
type Owner struct {
	Replica string  // "": nobody
	Version Version // "": never saved
}

// ErrTaken means that a Scope's owner or state is not what was seen: another replica was faster.
var ErrTaken = errors.New("another replica was faster")

const (
	// leaseScope is the partition of the replicas' counters. No Scope has such a name.
	leaseScope = "#replica"
	// leaseLife is how long a counter outlives its last beat on a table with a time to live.
	leaseLife = 24 * time.Hour
)

var _ interface {
	Store
	Leases
} = (*DynamoDBStore)(nil)

// Beat implements Leases.
func (s *DynamoDBStore) Beat(ctx context.Context) error {
	_, err := s.update(ctx, &dynamodb.UpdateItemInput{
		TableName: &s.table.Name, Key: itemKey(leaseScope, s.replica),
		UpdateExpression:          aws.String("SET #expires = :expires ADD #counter :one"),
		ExpressionAttributeNames:  named(attrExpires, attrCounter),
		ExpressionAttributeValues: item{":expires": num(s.clock.now().Add(leaseLife).Unix()), ":one": num(1)},
	})
	if err != nil {
		return fmt.Errorf("count the lease of replica %s: %w", s.replica, err)
	}
	return nil
}

// Replicas implements Leases.
func (s *DynamoDBStore) Replicas(ctx context.Context) (map[string]int64, error) {
	counters := map[string]int64{}
	for i, err := range s.query(ctx, leaseScope) {
		if err != nil {
			return nil, fmt.Errorf("read the replicas' leases: %w", err)
		}
		// What is no count stands still, and is forgotten one day like that of a replica that is gone.
		count := int64(0)
		if n, ok := i[attrCounter].(*types.AttributeValueMemberN); ok {
			count, _ = strconv.ParseInt(n.Value, 10, 64)
		}
		counters[text(i, attrPart)] = count
	}
	return counters, nil
}

// Owners implements Leases.
func (s *DynamoDBStore) Owners(ctx context.Context, scopes []event.Scope) (map[event.Scope]Owner, error) {
	owners, byKey := make(map[event.Scope]Owner, len(scopes)), make(map[string]event.Scope, len(scopes))
	var keys []item
	for _, scope := range scopes {
		key, err := scopeKey(scope)
		if err != nil {
			return nil, err
		}
		if _, twice := byKey[key]; !twice {
			owners[scope], byKey[key] = Owner{}, scope
			keys = append(keys, itemKey(key, StatePart))
		}
	}
	var damaged []error
	attempt := 0
	for len(keys) > 0 {
		n := min(batchReads, len(keys))
		out, err := s.table.Calls.BatchGetItem(ctx, &dynamodb.BatchGetItemInput{
			RequestItems: map[string]types.KeysAndAttributes{s.table.Name: {
				Keys: keys[:n], ConsistentRead: aws.Bool(true), ProjectionExpression: aws.String("#scope, #owner, #version, #attempt"),
				ExpressionAttributeNames: named(attrScope, attrOwner, attrVersion, attrAttempt),
			}},
		})
		if err != nil {
			return nil, fmt.Errorf("read who owns %d Scopes: %w", len(scopes), s.failed(err))
		}
		s.clock.heard(out.ResultMetadata)
		for _, i := range out.Responses[s.table.Name] {
			scope, asked := byKey[text(i, attrScope)]
			if !asked {
				continue
			}
			v, err := versionOf(i)
			if err != nil {
				damaged = append(damaged, &DamagedError{Part: StatePart, Place: s.Locate(scope, StatePart), Problem: err.Error()})
				delete(owners, scope)
				continue
			}
			owner := Owner{Replica: text(i, attrOwner)}
			if v != (itemVersion{}) {
				owner.Version = v.version()
			}
			owners[scope] = owner
		}
		keys = keys[n:]
		left := out.UnprocessedKeys[s.table.Name].Keys
		if len(left) == 0 {
			attempt = 0
			continue
		}
		keys = slices.Concat(left, keys)
		if err := pause(ctx, attempt); err != nil {
			return nil, fmt.Errorf("read who owns %d Scopes: %w", len(scopes), s.failed(fmt.Errorf("it is too busy: %w", err)))
		}
		attempt++
	}
	return owners, errors.Join(damaged...)
}

// Claim implements Leases.
func (s *DynamoDBStore) Claim(ctx context.Context, scope event.Scope, seen Owner) error {
	key, err := scopeKey(scope)
	if err != nil {
		return err
	}
	version, ok := parseVersion(seen.Version)
	if !ok {
		return fmt.Errorf("claim %s: %w", scope, ErrTaken)
	}
	in := &dynamodb.UpdateItemInput{
		TableName: &s.table.Name, Key: itemKey(key, StatePart),
		UpdateExpression:          aws.String("SET #owner = :me"),
		ExpressionAttributeNames:  named(attrOwner, attrVersion),
		ExpressionAttributeValues: item{":me": str(s.replica)},
	}
	condition := "attribute_not_exists(#owner)"
	if seen.Replica != "" {
		condition = "#owner = :owner"
		in.ExpressionAttributeValues[":owner"] = str(seen.Replica)
	}
	if version != (itemVersion{}) {
		in.ExpressionAttributeNames["#"+attrAttempt] = attrAttempt
	}
	in.ConditionExpression = aws.String(condition + " AND " + unchanged(in, version))
	if refused, err := s.update(ctx, in); refused {
		return fmt.Errorf("claim %s: %w", scope, ErrTaken)
	} else if err != nil {
		return fmt.Errorf("claim %s: %w", scope, err)
	}
	return nil
}

// Release implements Leases.
func (s *DynamoDBStore) Release(ctx context.Context, scope event.Scope) error {
	key, err := scopeKey(scope)
	if err != nil {
		return err
	}
	_, err = s.update(ctx, &dynamodb.UpdateItemInput{
		TableName: &s.table.Name, Key: itemKey(key, StatePart),
		UpdateExpression:          aws.String("REMOVE #owner"),
		ConditionExpression:       aws.String("#owner = :me"),
		ExpressionAttributeNames:  named(attrOwner),
		ExpressionAttributeValues: item{":me": str(s.replica)},
	})
	if err != nil {
		return fmt.Errorf("release %s: %w", scope, err)
	}
	return nil
}

// Forget implements Leases.
func (s *DynamoDBStore) Forget(ctx context.Context, replica string) error {
	out, err := s.table.Calls.DeleteItem(ctx, &dynamodb.DeleteItemInput{TableName: &s.table.Name, Key: itemKey(leaseScope, replica)})
	if err != nil {
		return fmt.Errorf("forget replica %s: %w", replica, s.failed(err))
	}
	s.clock.heard(out.ResultMetadata)
	return nil
}
