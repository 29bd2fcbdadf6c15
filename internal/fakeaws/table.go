package fakeaws

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/autotagd/autotagd/pkg/event"
)

// DynamoDB's limits.
const (
	maxItemBytes  = 400 << 10
	maxBatchBytes = 16 << 20
	maxQueryBytes = 1 << 20
	maxHashBytes  = 2048
	maxSortBytes  = 1024
)

// staleness is how old what an eventually consistent read shows can be. The fake shows the oldest that is allowed.
const staleness = time.Second

// An Attribute is one value of an item: 'S', a string; 'N', a number as DynamoDB writes it; 'B', bytes.
type Attribute struct {
	Kind  byte
	Value string
}

// An Item is a row of a table.
type Item map[string]Attribute

// TableWrite is one write that a table took, or refused because of its condition.
type TableWrite struct {
	Time      time.Time // AWS's
	Op        string    // the call; "TTL" when the table itself deleted an item that had expired
	AccessKey string
	Agent     string
	Hash      string // the item's partition key
	Sort      string // and its sort key
	Refused   bool   // by its condition
	Deleted   bool
	Bytes     int // of the item, as DynamoDB counts them
	// Attributes are the item's after it, without its bytes.
	Attributes map[string]string
}

// Units is what DynamoDB charges for it: a write unit for each KB begun.
func (w TableWrite) Units() int { return max(1, (w.Bytes+1023)/1024) }

// dynamoTable is a table. What reads it holds the lock of its AWS.
type dynamoTable struct {
	name, arn  string
	schema     []keySchemaElement
	attributes []attributeDefinition
	created    time.Time
	activeAt   time.Time
	ttl        string // the attribute; "" = off
	swept      time.Time
	items      map[itemKey]*stored
	writes     []TableWrite
}

type itemKey struct{ hash, sort string }

// stored is an item with as much of its past as an eventually consistent read may show.
type stored struct {
	now  Item // nil: deleted
	past []pastItem
}

// pastItem is what an item was until a time.
type pastItem struct {
	until time.Time
	item  Item
}

type keySchemaElement struct{ AttributeName, KeyType string }

type attributeDefinition struct{ AttributeName, AttributeType string }

// TableWrites returns every write to a table, in order.
func (a *AWS) TableWrites(s event.Scope, table string) []TableWrite {
	a.mu.Lock()
	defer a.mu.Unlock()
	if t := a.tables[tableKey{s, table}]; t != nil {
		return slices.Clone(t.writes)
	}
	return nil
}

// TableItems returns what is in a table, by partition key and sort key.
func (a *AWS) TableItems(s event.Scope, table string) []Item {
	a.mu.Lock()
	defer a.mu.Unlock()
	t := a.tables[tableKey{s, table}]
	if t == nil {
		return nil
	}
	t.expire(a.Now())
	var items []Item
	for _, k := range slices.SortedFunc(maps.Keys(t.items), itemKey.compare) {
		if i := t.items[k].now; i != nil {
			items = append(items, maps.Clone(i))
		}
	}
	return items
}

func (k itemKey) compare(o itemKey) int {
	if c := strings.Compare(k.hash, o.hash); c != 0 {
		return c
	}
	return strings.Compare(k.sort, o.sort)
}

type tableKey struct {
	scope event.Scope
	name  string
}

// keyOf reads an item's key. The error is DynamoDB's.
func (t *dynamoTable) keyOf(i Item) (itemKey, error) {
	var values []string
	for n, k := range t.schema {
		v, ok := i[k.AttributeName]
		if !ok {
			return itemKey{}, invalid("One of the required keys was not given a value")
		}
		if v.Kind != 'S' {
			return itemKey{}, invalid("One or more parameter values were invalid: Type mismatch for key " + k.AttributeName)
		}
		if most := []int{maxHashBytes, maxSortBytes}[n]; v.Value == "" || len(v.Value) > most {
			return itemKey{}, invalid(fmt.Sprintf("One or more parameter values were invalid: the key %s has %d bytes, want 1 to %d", k.AttributeName, len(v.Value), most))
		}
		values = append(values, v.Value)
	}
	return itemKey{values[0], strings.Join(values[1:], "")}, nil
}

// onlyKey is keyOf of what must have nothing else.
func (t *dynamoTable) onlyKey(i Item) (itemKey, error) {
	if len(i) != len(t.schema) {
		return itemKey{}, invalid("The provided key element does not match the schema")
	}
	return t.keyOf(i)
}

// get returns an item as a read sees it, nil if there is none.
func (t *dynamoTable) get(k itemKey, now time.Time, consistent bool) Item {
	s := t.items[k]
	if s == nil {
		return nil
	}
	if !consistent {
		for _, p := range s.past {
			if p.until.After(now.Add(-staleness)) {
				return p.item
			}
		}
	}
	return s.now
}

// put writes an item, or deletes it if i is nil, and notes who did.
func (t *dynamoTable) put(c *call, k itemKey, i Item) {
	s := t.items[k]
	if s == nil {
		s = &stored{}
		t.items[k] = s
	}
	s.past = slices.DeleteFunc(s.past, func(p pastItem) bool { return p.until.Before(c.now.Add(-staleness)) })
	s.past = append(s.past, pastItem{c.now, s.now})
	size := i.size()
	if i == nil {
		size = s.now.size()
	}
	s.now = i
	t.note(c, k, i, size, false)
}

// note appends to the list of writes.
func (t *dynamoTable) note(c *call, k itemKey, i Item, size int, refused bool) {
	w := TableWrite{
		Time: c.now, Op: c.op, AccessKey: c.keyID, Agent: c.agent, Hash: k.hash, Sort: k.sort, Refused: refused,
		Deleted: i == nil && !refused, Bytes: size,
	}
	for name, v := range i {
		if v.Kind != 'B' {
			if w.Attributes == nil {
				w.Attributes = map[string]string{}
			}
			w.Attributes[name] = v.Value
		}
	}
	t.writes = append(t.writes, w)
}

// expire deletes what is past its time, once a minute: AWS takes up to a few days, and spares what is five years past.
func (t *dynamoTable) expire(now time.Time) {
	if now.Sub(t.swept) < time.Minute {
		return
	}
	t.swept = now
	for k, s := range t.items {
		if s.now == nil && len(s.past) > 0 && s.past[len(s.past)-1].until.Before(now.Add(-staleness)) {
			delete(t.items, k)
			continue
		}
		at, ok := s.now[t.ttl]
		if t.ttl == "" || !ok || at.Kind != 'N' {
			continue
		}
		seconds, err := strconv.ParseInt(at.Value, 10, 64)
		if due := time.Unix(seconds, 0); err == nil && due.Before(now) && due.After(now.AddDate(-5, 0, 0)) {
			t.put(&call{now: now, op: "TTL"}, k, nil)
		}
	}
}

// size counts as DynamoDB does.
func (i Item) size() int {
	n := 0
	for name, v := range i {
		n += len(name)
		if v.Kind == 'N' {
			n += (len(v.Value)+1)/2 + 1
		} else {
			n += len(v.Value)
		}
	}
	return n
}

// only returns the named attributes; all for none.
func (i Item) only(names []string) Item {
	if names == nil || i == nil {
		return i
	}
	out := Item{}
	for _, n := range names {
		if v, ok := i[n]; ok {
			out[n] = v
		}
	}
	return out
}

// check refuses an item that DynamoDB would.
func (i Item) check() error {
	if i.size() > maxItemBytes {
		return invalid("Item size has exceeded the maximum allowed size")
	}
	for _, v := range i {
		if err := v.check(); err != nil {
			return err
		}
	}
	return nil
}

var number = regexp.MustCompile(`^-?[0-9]{1,38}$`)

func (v Attribute) check() error {
	if v.Kind == 'N' && !number.MatchString(v.Value) {
		return invalid("The parameter cannot be converted to a numeric value: " + v.Value)
	}
	return nil
}

// plus adds numbers, as ADD does.
func (v Attribute) plus(o Attribute) (Attribute, error) {
	if v.Kind != 'N' || o.Kind != 'N' {
		return v, invalid("An operand in the update expression has an incorrect data type")
	}
	x, ok1 := new(big.Int).SetString(v.Value, 10)
	y, ok2 := new(big.Int).SetString(o.Value, 10)
	if !ok1 || !ok2 {
		return v, invalid("The parameter cannot be converted to a numeric value")
	}
	return Attribute{'N', x.Add(x, y).String()}, nil
}

// MarshalJSON writes {"S": "..."}.
func (v Attribute) MarshalJSON() ([]byte, error) {
	if v.Kind == 'B' {
		return json.Marshal(map[string][]byte{"B": []byte(v.Value)})
	}
	return json.Marshal(map[string]string{string(v.Kind): v.Value})
}

// UnmarshalJSON is the reverse. The other types of DynamoDB are an error here.
func (v *Attribute) UnmarshalJSON(b []byte) error {
	var in struct {
		S, N *string
		B    *[]byte
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil {
		return err
	}
	switch {
	case in.S != nil && in.N == nil && in.B == nil:
		*v = Attribute{'S', *in.S}
	case in.N != nil && in.S == nil && in.B == nil:
		*v = Attribute{'N', *in.N}
	case in.B != nil && in.S == nil && in.N == nil:
		*v = Attribute{'B', string(*in.B)}
	default:
		return fmt.Errorf("an attribute value must have one of S, N and B: %.60s", b)
	}
	return nil
}
