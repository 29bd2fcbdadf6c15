package fakeaws

import (
	"fmt"
	"maps"
)

// leftOut draws which of n parts of a batch are not done: never all, since DynamoDB then refuses the whole.
func (a *AWS) leftOut(c *call, n int) []bool {
	out := make([]bool, n)
	if c.partial {
		for i := range out {
			out[i] = a.rng.IntN(2) == 0
		}
		out[a.rng.IntN(n)] = false
	}
	return out
}

func (a *AWS) batchGetItem(c *call) (any, error) {
	type request struct {
		Keys                 []Item
		ConsistentRead       bool   `json:",omitempty"`
		ProjectionExpression string `json:",omitempty"`
		expressions
	}
	var in struct{ RequestItems map[string]*request }
	if err := c.strictly(&in); err != nil {
		return nil, err
	}
	if len(in.RequestItems) != 1 {
		return nil, invalid("the fake takes one table a batch")
	}
	items, left := []Item{}, []Item{}
	for name, r := range in.RequestItems {
		t, err := a.table(c, name)
		if err != nil {
			return nil, err
		}
		if n := len(r.Keys); n < 1 || n > 100 {
			return nil, invalid(fmt.Sprintf("Too many items requested for the BatchGetItem call: %d, want 1 to 100", n))
		}
		names := r.names(r.ProjectionExpression)
		if err := r.done(); err != nil {
			return nil, err
		}
		seen, size, out := map[itemKey]bool{}, 0, a.leftOut(c, len(r.Keys))
		for n, key := range r.Keys {
			k, err := t.onlyKey(key)
			if err != nil {
				return nil, err
			}
			if seen[k] {
				return nil, invalid("Provided list of item keys contains duplicates")
			}
			seen[k] = true
			i := t.get(k, c.now, r.ConsistentRead)
			if size += i.size(); out[n] || size > maxBatchBytes {
				left = append(left, key)
			} else if i != nil {
				items = append(items, i.only(names))
			}
		}
		if len(left) > 0 {
			r.Keys = left
			return object{"Responses": object{name: items}, "UnprocessedKeys": in.RequestItems}, nil
		}
		return object{"Responses": object{name: items}, "UnprocessedKeys": object{}}, nil
	}
	return nil, nil
}

func (a *AWS) batchWriteItem(c *call) (any, error) {
	type request struct {
		PutRequest    *struct{ Item Item } `json:",omitempty"`
		DeleteRequest *struct{ Key Item }  `json:",omitempty"`
	}
	var in struct{ RequestItems map[string][]request }
	if err := c.strictly(&in); err != nil {
		return nil, err
	}
	if len(in.RequestItems) != 1 {
		return nil, invalid("the fake takes one table a batch")
	}
	if len(c.body) > maxBatchBytes {
		return nil, invalid("Request size has exceeded the maximum allowed size")
	}
	left := map[string][]request{}
	for name, requests := range in.RequestItems {
		t, err := a.table(c, name)
		if err != nil {
			return nil, err
		}
		if n := len(requests); n < 1 || n > 25 {
			return nil, invalid(fmt.Sprintf("Too many items requested for the BatchWriteItem call: %d, want 1 to 25", n))
		}
		writes := map[itemKey]Item{}
		order := make([]itemKey, 0, len(requests))
		for _, r := range requests {
			var k itemKey
			var item Item
			switch {
			case r.PutRequest != nil && r.DeleteRequest == nil:
				item = maps.Clone(r.PutRequest.Item)
				if k, err = t.keyOf(item); err == nil {
					err = item.check()
				}
			case r.DeleteRequest != nil && r.PutRequest == nil:
				k, err = t.onlyKey(r.DeleteRequest.Key)
			default:
				err = invalid("Supplied AttributeValue has more than one datatypes set")
			}
			if err != nil {
				return nil, err
			}
			if _, twice := writes[k]; twice {
				return nil, invalid("Provided list of item keys contains duplicates")
			}
			writes[k] = item
			order = append(order, k)
		}
		out := a.leftOut(c, len(order))
		for n, k := range order {
			if out[n] {
				left[name] = append(left[name], requests[n])
				continue
			}
			t.put(c, k, writes[k])
		}
	}
	return object{"UnprocessedItems": left}, nil
}
