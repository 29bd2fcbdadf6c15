// Package tagapi knows how AWS's services' own tag calls are made: what a request for one looks like, where it goes, and
// where the answer has the tags.
//
// There are some 330 of them, of a few shapes, in six protocols. Instead of an SDK module for each of 310 services, which
// would make the binary five to seven times as large, they are two tables, services.jsonl and calls.jsonl, that calls.py makes of
// AWS's own service models (docs/tag-calls.md has the figures). Nothing here touches the network: awsclient signs and sends.
//
// A test compares every request with the one that botocore writes for the same call, and every answer with what botocore
// reads in it.
package tagapi

import (
	"bytes"
	"cmp"
	_ "embed"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
)

//go:generate ../../test/moto/.venv/bin/python calls.py

//go:embed services.jsonl
var serviceLines []byte

//go:embed calls.jsonl
var callLines []byte

// Table has every tag call. It is safe for concurrent use.
type Table struct {
	read func() map[name]*Call
}

// name is what the catalog calls a call: two services can have one of the same API name (lex:TagResource).
type name struct{ service, api string }

// Call is one service's own call that tags, and the one that reads tags, if it has one.
type Call struct {
	Service string   `json:"service"` // as in the catalog: the SDK for Python's name
	API     string   `json:"api"`     // "prefix:Operation", as in the catalog
	Via     string   `json:"via"`     // the service that makes the call, if it is another one
	Write   Op       `json:"write"`
	Read    *Op      `json:"read"`
	Replace Replaces `json:"replaces"`

	service *Service
}

// Replaces says that a write is the whole new set of tags, not some more.
type Replaces string

// How a write treats tags that it does not name.
const (
	KeepsOthers Replaces = ""    // they stay
	ReplacesAll Replaces = "all" // they go; AWS's own (aws:...) have to be said again too
	ReplacesOwn Replaces = "own" // they go, but for AWS's own, which may not be said
)

// Service is how requests to a service are addressed, signed and written.
type Service struct {
	Name     string            `json:"service"`
	ID       string            `json:"id"`      // of its SDK: AWS_ENDPOINT_URL_<ID> addresses it
	Signing  string            `json:"signing"` // its name in signatures
	Protocol string            `json:"protocol"`
	Target   string            `json:"target"`  // of X-Amz-Target; a query's Version; an XML document's name space
	Headers  map[string]string `json:"headers"` // of every request
	Hosts    map[string]string `json:"hosts"`   // see Host
}

// The protocols: https://smithy.io/2.0/aws/protocols/.
const (
	json10   = "json-1.0"
	json11   = "json-1.1"
	restJSON = "rest-json"
	restXML  = "rest-xml"
	query    = "query"
	cborRPC  = "cbor"
)

// Op is one operation of a service.
type Op struct {
	Name       string   `json:"op"`
	Method     string   `json:"method"`
	URI        string   `json:"uri"`
	HostPrefix string   `json:"host_prefix"`
	Action     string   `json:"action"` // IAM's, of a read; a row of the catalog has that of its write
	In         []Member `json:"in"`
	Root       string   `json:"root"` // of the XML document
	Tags       Tags     `json:"tags"` // where a write's request has them, or a read's answer
	MD5        bool     `json:"md5"`  // the request needs a checksum
	More       *More    `json:"more"` // how a read's next page is had
	Empty      []string `json:"empty"`
}

// Member is a place in a request.
type Member struct {
	From  string `json:"from"`  // the parameter that stands there
	Value string `json:"value"` // or a constant
	At    string `json:"at"`    // uri, query, header, body; or tag: in each tag of a write
	Name  string `json:"name"`
	Type  string `json:"type"` // of its value: string if empty; list (of one string), long, integer, boolean
	// Optional is set when a request can go without the parameter.
	Optional bool `json:"optional"`
}

// Tags is a place of tags: the path to each, and what its key and value are called; without these, the path to a map.
type Tags struct {
	Path  []string `json:"path"`
	Key   string   `json:"key"`
	Value string   `json:"value"`
}

// More is how the next page of a read is had: by a token of the answer, or, where there is a flag, by the last key.
type More struct {
	In   Member `json:"in"`
	Out  string `json:"out"`
	Flag string `json:"flag"`
}

// New returns the calls of this release. Their tables are read when the first is asked for.
func New() *Table { return &Table{read: sync.OnceValue(read)} }

func read() map[name]*Call {
	services := map[string]*Service{}
	for line := range lines[Service](serviceLines) {
		services[line.Name] = line
	}
	calls := make(map[name]*Call, 400)
	for line := range lines[Call](callLines) {
		line.service = services[cmp.Or(line.Via, line.Service)]
		calls[name{line.Service, line.API}] = line
	}
	return calls
}

// lines reads one JSON object a line. It panics where one is malformed: they are this package's own, and its tests read them.
func lines[T any](b []byte) iter.Seq[*T] {
	return func(yield func(*T) bool) {
		d := json.NewDecoder(bytes.NewReader(b))
		d.DisallowUnknownFields()
		for d.More() {
			line := new(T)
			if err := d.Decode(line); err != nil {
				panic(fmt.Sprintf("tagapi: a malformed table: %v", err))
			}
			if !yield(line) {
				return
			}
		}
	}
}

// Lookup returns the call that the catalog names so, or nil.
func (t *Table) Lookup(service, api string) *Call { return t.read()[name{service, api}] }

// Of returns the names of a service's calls, sorted.
func (t *Table) Of(service string) []string {
	var apis []string
	for n := range t.read() {
		if n.service == service {
			apis = append(apis, n.api)
		}
	}
	slices.Sort(apis)
	return apis
}

// All returns every call, by service and name.
func (t *Table) All() []*Call {
	return slices.SortedFunc(maps.Values(t.read()), func(a, b *Call) int {
		return strings.Compare(a.Service+" "+a.API, b.Service+" "+b.API)
	})
}

// SDKService returns how the call's service is addressed and signed.
func (c *Call) SDKService() *Service { return c.service }

// ReadAPI names the call that reads the tags, as the catalog would: "prefix:Operation". It is "" when there is none.
func (c *Call) ReadAPI() string {
	if c.Read == nil {
		return ""
	}
	prefix, _, _ := strings.Cut(c.API, ":")
	return prefix + ":" + c.Read.Name
}

// Params returns the names of the parameters that a request takes, those for tags apart: sorted, none twice. It can go
// without the optional ones.
func (c *Call) Params() (required, optional []string) {
	ops := []*Op{&c.Write}
	if c.Read != nil {
		ops = append(ops, c.Read)
	}
	for _, op := range ops {
		for _, m := range op.In {
			switch {
			case m.From == "":
			case m.Optional:
				optional = append(optional, m.From)
			default:
				required = append(required, m.From)
			}
		}
	}
	slices.Sort(required)
	slices.Sort(optional)
	optional = slices.DeleteFunc(optional, func(name string) bool { return slices.Contains(required, name) })
	return slices.Compact(required), slices.Compact(optional)
}
