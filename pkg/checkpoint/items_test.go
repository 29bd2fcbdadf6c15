package checkpoint_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/autotagd/autotagd/internal/fakeaws"
	"github.com/autotagd/autotagd/pkg/checkpoint"
	"github.com/autotagd/autotagd/pkg/event"
	"github.com/autotagd/autotagd/pkg/resource"
)

// replica is a store over a table that has claimed the Scope.
func replica(t *testing.T, table checkpoint.Table, name string) *checkpoint.DynamoDBStore {
	t.Helper()
	s := checkpoint.NewDynamoDBStore(table, name)
	owners, err := s.Owners(t.Context(), []event.Scope{scope})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Claim(t.Context(), scope, owners[scope]); err != nil {
		t.Fatal(err)
	}
	return s
}

func jobName(n int) string { return fmt.Sprintf("job#%032x#%032x", n, n) }

func manyParts(n int) (parts []checkpoint.Part, names []string) {
	for i := range n {
		parts = append(parts, checkpoint.Part{Name: jobName(i), Data: []byte(fmt.Sprint(i))})
		names = append(names, jobName(i))
	}
	return parts, names
}

// What a batch leaves undone is done by the next ones, and the caller's context ends that.
func TestUnprocessedItemsAreDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, table := slowly(fakeaws.Config{})
		if err := table.Create(t.Context()); err != nil {
			t.Fatal(err)
		}
		f.SetFaults("BatchWriteItem", fakeaws.Faults{Partial: 1})
		f.SetFaults("BatchGetItem", fakeaws.Faults{Partial: 1})
		s := replica(t, table, "a")
		parts, names := manyParts(200)
		if err := s.Put(t.Context(), scope, parts); err != nil {
			t.Fatal(err)
		}
		l, err := s.Load(t.Context(), scope)
		if err != nil || len(l.Parts) != len(parts) {
			t.Fatalf("%d parts of %d, %v", len(l.Parts), len(parts), err)
		}
		for _, p := range l.Parts {
			if n, err := strconv.Atoi(string(p.Data)); err != nil || p.Name != jobName(n) {
				t.Fatalf("%s holds %q", p.Name, p.Data)
			}
		}
		for _, w := range f.TableWrites(f.Scope(), table.Name) {
			if w.Sort == checkpoint.StatePart && w.Op == "BatchWriteItem" {
				t.Error("the state was written in a batch")
			}
		}
		var scopes []event.Scope
		for n := range 250 {
			scopes = append(scopes, event.Scope{AccountID: fmt.Sprintf("%012d", n), Region: "eu-west-1"})
			if err := s.Claim(t.Context(), scopes[n], checkpoint.Owner{}); err != nil {
				t.Fatal(err)
			}
		}
		owners, err := s.Owners(t.Context(), scopes)
		for _, scope := range scopes {
			if owners[scope].Replica != "a" {
				t.Fatalf("the owner of %v is %+v, %v", scope, owners[scope], err)
			}
		}
		if err := s.Delete(t.Context(), scope, names); err != nil {
			t.Fatal(err)
		}
		if l, err := s.Load(t.Context(), scope); err != nil || len(l.Parts) != 0 {
			t.Fatalf("%d parts after they were deleted, %v", len(l.Parts), err)
		}

		// A table that takes nothing any more, without an error.
		stuck := table
		stuck.Calls.BatchWriteItem = func(_ context.Context, in *dynamodb.BatchWriteItemInput, _ ...func(*dynamodb.Options)) (*dynamodb.BatchWriteItemOutput, error) {
			return &dynamodb.BatchWriteItemOutput{UnprocessedItems: in.RequestItems}, nil
		}
		stuck.Calls.BatchGetItem = func(_ context.Context, in *dynamodb.BatchGetItemInput, _ ...func(*dynamodb.Options)) (*dynamodb.BatchGetItemOutput, error) {
			return &dynamodb.BatchGetItemOutput{UnprocessedKeys: in.RequestItems}, nil
		}
		s = checkpoint.NewDynamoDBStore(stuck, "a")
		for name, call := range map[string]func(ctx context.Context) error{
			"Put":    func(ctx context.Context) error { return s.Put(ctx, scope, parts) },
			"Delete": func(ctx context.Context) error { return s.Delete(ctx, scope, names) },
			"Owners": func(ctx context.Context) error { _, err := s.Owners(ctx, []event.Scope{scope}); return err },
		} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			began := time.Now()
			err := call(ctx)
			if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "too busy") || time.Since(began) != time.Minute {
				t.Errorf("%s: %v after %v, want the end of its context", name, err, time.Since(began))
			}
			cancel()
		}
	})
}

func TestItemsThatCannotBeTrusted(t *testing.T) {
	raw := func(attributes map[string]types.AttributeValue, part string) map[string]types.AttributeValue {
		i := map[string]types.AttributeValue{
			"scope": &types.AttributeValueMemberS{Value: scope.String()}, "part": &types.AttributeValueMemberS{Value: part},
		}
		for k, v := range attributes {
			i[k] = v
		}
		return i
	}
	str := func(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }
	num := func(s string) types.AttributeValue { return &types.AttributeValueMemberN{Value: s} }
	data := &types.AttributeValueMemberB{Value: []byte("{}")}
	for name, c := range map[string]struct {
		part string
		item map[string]types.AttributeValue
		want string // "" = it is no damage
	}{
		"a state that was claimed only":  {"state", map[string]types.AttributeValue{"owner": str("a")}, ""},
		"a state released, never saved":  {"state", nil, ""},
		"a state without bytes":          {"state", map[string]types.AttributeValue{"version": num("3"), "attempt": str("X")}, "no bytes in data"},
		"a state without a version":      {"state", map[string]types.AttributeValue{"data": data, "owner": str("a")}, "no version"},
		"a state with half a version":    {"state", map[string]types.AttributeValue{"data": data, "version": num("3")}, "without the other"},
		"a state with the other half":    {"state", map[string]types.AttributeValue{"data": data, "attempt": str("X")}, "without the other"},
		"a state whose bytes are text":   {"state", map[string]types.AttributeValue{"data": str("{}"), "version": num("3"), "attempt": str("X")}, "no bytes in data"},
		"a count of many digits":         {"state", map[string]types.AttributeValue{"data": data, "version": num(strings.Repeat("9", 30)), "attempt": str("X")}, "no whole number"},
		"a part without bytes":           {seenPart, nil, "no bytes in data"},
		"a part that nobody writes":      {"seen#yesterday", map[string]types.AttributeValue{"data": data}, "no item of autotagd has such a key"},
		"a part that was there all long": {seenPart, map[string]types.AttributeValue{"data": data}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, d := inProcess(fakeaws.Config{})
			table := d.table(t, "autotagd")
			if _, err := dynamodb.NewFromConfig(d.config).PutItem(t.Context(), &dynamodb.PutItemInput{TableName: aws.String("autotagd"), Item: raw(c.item, c.part)}); err != nil {
				t.Fatal(err)
			}
			_, err := checkpoint.NewDynamoDBStore(table, "a").Load(t.Context(), scope)
			var damaged *checkpoint.DamagedError
			switch {
			case c.want == "" && err != nil:
				t.Errorf("Load: %v", err)
			case c.want == "":
			case !errors.As(err, &damaged) || damaged.Part != c.part:
				t.Errorf("Load: %v, want a DamagedError of %s", err, c.part)
			default:
				for _, w := range []string{c.want, "damaged", scope.String(), c.part, "autotagd in " + tableRegion, "move it away"} {
					if !strings.Contains(err.Error(), w) {
						t.Errorf("text %q, want %q in it", err, w)
					}
				}
			}
		})
	}
}

// An operator has moved a state away, and what comes after counts from one again.
func TestNoVersionComesAgain(t *testing.T) {
	_, d := inProcess(fakeaws.Config{})
	table := d.table(t, "autotagd")
	first := func() checkpoint.Version {
		v, err := replica(t, table, "a").Swap(t.Context(), scope, "", []byte("{}"))
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	gone := first()
	if _, err := dynamodb.NewFromConfig(d.config).DeleteItem(t.Context(), &dynamodb.DeleteItemInput{
		TableName: aws.String("autotagd"), Key: map[string]types.AttributeValue{
			"scope": &types.AttributeValueMemberS{Value: scope.String()}, "part": &types.AttributeValueMemberS{Value: "state"},
		},
	}); err != nil {
		t.Fatal(err)
	}
	if again := first(); again == gone {
		t.Errorf("both have the version %q", gone)
	}
	if _, err := checkpoint.NewDynamoDBStore(table, "a").Swap(t.Context(), scope, gone, []byte("no")); !errors.Is(err, checkpoint.ErrFenced) {
		t.Errorf("Swap on the version that is gone: %v, want ErrFenced", err)
	}
	if err := checkpoint.NewDynamoDBStore(table, "b").Claim(t.Context(), scope, checkpoint.Owner{Replica: "a", Version: gone}); !errors.Is(err, checkpoint.ErrTaken) {
		t.Errorf("Claim on it: %v, want ErrTaken", err)
	}
}

// One item that nobody of ours wrote keeps nobody from the others.
func TestLeasesBesideDamage(t *testing.T) {
	_, d := inProcess(fakeaws.Config{})
	s := replica(t, d.table(t, "autotagd"), "a")
	other := event.Scope{AccountID: "123456789012", Region: "us-east-1"}
	for _, key := range [][2]string{{"#replica", "b"}, {other.String(), "state"}} {
		if _, err := dynamodb.NewFromConfig(d.config).PutItem(t.Context(), &dynamodb.PutItemInput{TableName: aws.String("autotagd"), Item: map[string]types.AttributeValue{
			"scope": &types.AttributeValueMemberS{Value: key[0]}, "part": &types.AttributeValueMemberS{Value: key[1]},
			"attempt": &types.AttributeValueMemberS{Value: "X"}, "counter": &types.AttributeValueMemberS{Value: "X"},
		}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Beat(t.Context()); err != nil {
		t.Fatal(err)
	}
	if replicas, err := s.Replicas(t.Context()); err != nil || len(replicas) != 2 || replicas["a"] != 1 || replicas["b"] != 0 {
		t.Errorf("Replicas = %v, %v", replicas, err)
	}
	owners, err := s.Owners(t.Context(), []event.Scope{other, scope})
	var damaged *checkpoint.DamagedError
	if !errors.As(err, &damaged) || !strings.Contains(err.Error(), other.String()) {
		t.Errorf("Owners: %v, want a DamagedError of %v", err, other)
	}
	if _, told := owners[other]; told || owners[scope].Replica != "a" {
		t.Errorf("owners %v, want a's Scope alone", owners)
	}
}

func TestPartsHaveTheirLimits(t *testing.T) {
	_, d := inProcess(fakeaws.Config{})
	s := replica(t, d.table(t, "autotagd"), strings.Repeat("long-name-", 30))
	most := make([]byte, 399<<10)
	if err := s.Put(t.Context(), scope, []checkpoint.Part{{Name: jobName(1), Data: most}, {Name: seenPart, Data: most}}); err != nil {
		t.Errorf("parts of 399 KB: %v", err)
	}
	v, err := s.Swap(t.Context(), scope, "", most)
	if err != nil {
		t.Errorf("a state of 399 KB: %v", err)
	}
	more := make([]byte, 399<<10+1)
	_, swapped := s.Swap(t.Context(), scope, v, more)
	for _, err := range []error{swapped, s.Put(t.Context(), scope, []checkpoint.Part{{Name: seenPart, Data: more}})} {
		if err == nil || !strings.Contains(err.Error(), "an item has 400 at most") || !strings.Contains(err.Error(), scope.String()) || errors.Is(err, checkpoint.ErrFenced) {
			t.Errorf("a byte more: %v", err)
		}
	}
	for _, err := range []error{
		s.Put(t.Context(), scope, []checkpoint.Part{{Name: checkpoint.StatePart}}), s.Delete(t.Context(), scope, []string{checkpoint.StatePart}),
	} {
		if err == nil {
			t.Error("the state was written without a condition")
		}
	}
}

// What expires does so by AWS's time: a host may be wrong by years.
func TestWhatExpires(t *testing.T) {
	for _, offset := range []time.Duration{0, 3 * 365 * 24 * time.Hour, -3 * 365 * 24 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			f, table := slowly(fakeaws.Config{ClockOffset: offset})
			if err := table.Create(t.Context()); err != nil {
				t.Fatal(err)
			}
			s := replica(t, table, "a")
			v, err := s.Swap(t.Context(), scope, "", []byte("{}"))
			if err != nil {
				t.Fatal(err)
			}
			minute := "seen#" + f.Now().UTC().Format("20060102T1504Z")
			if err := s.Put(t.Context(), scope, []checkpoint.Part{{Name: jobName(1)}, {Name: minute}}); err != nil {
				t.Fatal(err)
			}
			if err := s.Beat(t.Context()); err != nil {
				t.Fatal(err)
			}
			for _, step := range []struct {
				days  int
				parts int
				alive bool
			}{{0, 2, true}, {2, 2, false}, {90, 2, false}, {96, 1, false}, {365, 1, false}, {370, 0, false}} {
				start := time.Date(2000, 1, 1, 0, 1, 0, 0, time.UTC)
				time.Sleep(time.Until(start.AddDate(0, 0, step.days)))
				l, err := s.Load(t.Context(), scope)
				if err != nil || l.Version != v || len(l.Parts) != step.parts {
					t.Errorf("clock off by %v, after %d days: version %q, %d parts, %v; want %d", offset, step.days, l.Version, len(l.Parts), err, step.parts)
				}
				if alive, err := s.Replicas(t.Context()); err != nil || (len(alive) > 0) != step.alive {
					t.Errorf("after %d days: replicas %v, %v", step.days, alive, err)
				}
			}
		})
	}
}

// A quiet Scope costs twelve writes an hour, and a busy one's parts fit into items.
func TestWhatIsWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, table := slowly(fakeaws.Config{})
		if err := table.Create(t.Context()); err != nil {
			t.Fatal(err)
		}
		l := started(t, replica(t, table, "a"))
		save(t, l)
		before := len(f.TableWrites(f.Scope(), table.Name))
		for n := range 4 * 60 { // an hour; a final pass each five minutes, head scans in between
			time.Sleep(15 * time.Second)
			l.HeadRead(at(n * 15))
			if n%20 == 0 {
				l.FloorRead(at(n * 15))
			}
			if l.Due(time.Now()) {
				save(t, l)
			}
		}
		writes := f.TableWrites(f.Scope(), table.Name)[before:]
		units := 0
		for _, w := range writes {
			units += w.Units()
		}
		t.Logf("quiet: %d writes an hour, %d write units, the state's item has %d bytes", len(writes), units, writes[0].Bytes)
		if len(writes) > 12 || units > 12 {
			t.Errorf("a quiet Scope: %d writes, %d write units an hour, want at most 12", len(writes), units)
		}

		// Busy: 20 creates a second for half an hour, and many deferred Jobs.
		deferred := 1000
		if os.Getenv("AUTOTAGD_SLOW") != "" {
			deferred = 10_000
		}
		settleBusy(l, 30, 20, deferred)
		began := time.Now()
		save(t, l)
		took := time.Since(began)
		largest, total, counts := map[string]int{}, map[string]int{}, map[string]int{}
		units = 0
		for _, w := range f.TableWrites(f.Scope(), table.Name)[before+len(writes):] {
			kind, _, _ := strings.Cut(w.Sort, "#")
			largest[kind] = max(largest[kind], w.Bytes)
			total[kind] += w.Bytes
			counts[kind]++
			units += w.Units()
		}
		t.Logf("busy: items %v, largest %v, bytes %v, %d write units, %v at %v a call", counts, largest, total, units, took, 8*time.Millisecond)
		if counts["seen"] != 30 || counts["job"] != deferred || counts["state"] != 1 {
			t.Errorf("items written: %v", counts)
		}
		if largest["seen"] > 20<<10 || largest["job"] > 4<<10 || largest["state"] > 4<<10 {
			t.Errorf("largest items: %v", largest)
		}
		began = time.Now()
		again, err := checkpoint.Read(t.Context(), checkpoint.NewDynamoDBStore(table, "b"), scope)
		if err != nil || len(again.Deferred) != deferred || again.Seen != 30*60*20 {
			t.Fatalf("read again: %d deferred, %d seen, %v", len(again.Deferred), again.Seen, err)
		}
		t.Logf("read again in %d calls, %v", len(f.Calls("Query")), time.Since(began))
	})
}

func settleBusy(l *checkpoint.Ledger, minutes, perSecond, deferred int) {
	for n := range minutes * 60 * perSecond {
		seconds := 7200 + n/perSecond
		id := fmt.Sprintf("c7f8a9d0-0000-4000-8000-%012d", n)
		l.Begin(event.Live, id, at(seconds))
		if n >= deferred {
			l.Done(id)
			continue
		}
		j := bigJob(id, seconds, n)
		l.Hold(id, []resource.Job{j})
		l.Defer(j)
	}
}

// bigJob is a Job as a deferral keeps it, with everything that it may have.
func bigJob(id string, seconds, n int) resource.Job {
	j := job(id, seconds, n)
	j.Event.Source = "lambda.amazonaws.com"
	j.Event.Name = "CreateFunction20150331"
	j.Resource = resource.Resource{
		ARN: fmt.Sprintf("arn:aws:lambda:eu-west-1:123456789012:function:acme-orders-production-worker-%d", n), ID: fmt.Sprintf("acme-orders-production-worker-%d", n),
		Type: "AWS::Lambda::Function", Service: "lambda", Scope: scope, TagAPI: resource.TagResources, IAMAction: "lambda:TagResource",
		Own: []resource.Call{{
			API:    "lambda:TagResource",
			Params: map[string]string{"arn": fmt.Sprintf("arn:aws:lambda:eu-west-1:123456789012:function:acme-orders-production-worker-%d", n)}, Read: "lambda:ListTags",
		}},
		Confidence: resource.Verified, Tags: map[string]string{"Environment": "production", "Project": "orders"},
	}
	j.Tags = []resource.Tag{{Key: "Owner", Value: "maria.lopez@example.com"}, {Key: "PrincipalId", Value: "AROAEXAMPLEEXAMPLE123:maria.lopez@example.com"}}
	j.Owner, j.Attempts, j.FirstTried = "maria.lopez@example.com", 17, at(seconds)
	j.LastReason = resource.AccessDenied
	j.LastError = "operation error Resource Groups Tagging API: TagResources, AccessDeniedException: User: arn:aws:sts::123456789012:assumed-role/autotagd/i-0a0b0c0d0e0f01234 is not authorized to perform: lambda:TagResource"
	return j
}
