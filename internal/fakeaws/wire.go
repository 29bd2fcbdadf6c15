package fakeaws

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/autotagd/autotagd/pkg/event"
)

// object is a JSON object.
type object = map[string]any

// call is one request, read as far as every operation needs it.
type call struct {
	scope    event.Scope
	service  string // the signing name: cloudtrail, ec2, tagging, sts, organizations, account
	resource string // what the path of a REST call names
	op       string
	action   string // the IAM action
	agent    string
	keyID    string // the access key
	token    string // the session token
	body     []byte
	text     string     // path, query and body, unescaped: what a call names that is none of ours
	form     url.Values // of the query protocols
	now      time.Time  // AWS's time when it was served
	badToken bool       // a fault: this call's token is refused
	partial  bool       // a fault: this call leaves a part undone
}

// answer is what goes back. With reset set the connection breaks instead.
type answer struct {
	status int
	typ    string
	body   []byte
	reset  bool
	code   string // error code; "" for success
	header map[string]string
}

const jsonType = "application/x-amz-json-1.1"

func jsonOK(v any) answer {
	b, err := json.Marshal(v)
	if err != nil {
		panic("fakeaws: answer is not JSON: " + err.Error()) // a bug here, not bad input
	}
	return answer{status: 200, typ: jsonType, body: b}
}

func jsonError(status int, code, message string) answer {
	a := jsonOK(object{"__type": code, "message": message, "Message": message})
	a.status, a.code = status, code
	return a
}

const ec2Namespace = "http://ec2.amazonaws.com/doc/2016-11-15/"

func ec2OK(op string, members ...node) answer {
	root := el(op+"Response", append([]node{el("requestId", "00000000-0000-4000-8000-000000000000")}, members...)...)
	root.attr = ` xmlns="` + ec2Namespace + `"`
	return answer{status: 200, typ: "text/xml;charset=UTF-8", body: root.document()}
}

func ec2Error(status int, code, message string) answer {
	root := el("Response", el("Errors", el("Error", el("Code", code), el("Message", message))),
		el("RequestID", "00000000-0000-4000-8000-000000000000"))
	return answer{status: status, typ: "text/xml;charset=UTF-8", body: root.document(), code: code}
}

func stsError(status int, code, message string) answer {
	root := el("ErrorResponse", el("Error", el("Type", "Sender"), el("Code", code), el("Message", message)),
		el("RequestId", "00000000-0000-4000-8000-000000000000"))
	return answer{status: status, typ: "text/xml", body: root.document(), code: code}
}

// failure is an error in the protocol of the call's service.
func (c *call) failure(status int, code, message string) answer {
	switch c.service {
	case "ec2":
		return ec2Error(status, code, message)
	case "sts", "iam":
		return stsError(status, code, message)
	default:
		return jsonError(status, code, message)
	}
}

// strange answers a call that is none of ours: a service's own, of a resource that is there or, as far as one can tell from
// what the call names, is not. The caller holds the lock.
func (a *AWS) strange(c *call) answer {
	fail := restError
	switch {
	case c.service == "s3" || c.op != "" && c.form != nil:
		fail = stsError // REST in XML, and the query protocol
	case c.op != "":
		fail = jsonError
	}
	for _, r := range a.order {
		if r.exists() && r.Scope == c.scope && (named(c.text, r.ARN) || r.Service == c.service && named(c.text, r.ID)) {
			return fail(400, "UnknownOperationException", c.service+" has no "+c.op+" here")
		}
	}
	return fail(404, "ResourceNotFoundException", c.service+" finds nothing of that name")
}

// named reports whether text has the name as a whole.
func named(text, name string) bool {
	for {
		_, after, found := strings.Cut(text, name)
		if !found {
			return false
		}
		if after == "" || !strings.ContainsRune("-_./:", rune(after[0])) && !('0' <= after[0] && after[0] <= '9' || 'a' <= after[0] && after[0] <= 'z' || 'A' <= after[0] && after[0] <= 'Z') {
			return true
		}
		text = after
	}
}

// node is an XML element: a text or children.
type node struct {
	name, attr, text string
	children         []node
}

// el makes an element of a string, of an int, of a time, or of elements.
func el[T string | int | bool | time.Time | node](name string, content ...T) node {
	n := node{name: name}
	for _, c := range content {
		switch c := any(c).(type) {
		case string:
			n.text += c
		case int:
			n.text += strconv.Itoa(c)
		case bool:
			n.text += strconv.FormatBool(c)
		case time.Time:
			n.text += c.UTC().Format("2006-01-02T15:04:05.000Z")
		case node:
			n.children = append(n.children, c)
		}
	}
	return n
}

// list makes an element of item elements.
func list[T any](name string, of []T, item func(T) []node) node {
	n := node{name: name}
	for _, v := range of {
		n.children = append(n.children, node{name: "item", children: item(v)})
	}
	return n
}

func (n node) document() []byte {
	var b bytes.Buffer
	b.WriteString(`<?xml version="1.0" encoding="UTF-8"?>` + "\n")
	n.write(&b)
	return b.Bytes()
}

func (n node) write(b *bytes.Buffer) {
	b.WriteString("<" + n.name + n.attr + ">")
	_ = xml.EscapeText(b, []byte(n.text)) // a Buffer takes everything
	for _, c := range n.children {
		c.write(b)
	}
	b.WriteString("</" + n.name + ">")
}

// params returns the query protocols' list PREFIX.1, PREFIX.2, ...
func (c *call) params(prefix string) []string {
	var out []string
	for i := 1; ; i++ {
		k := prefix + "." + strconv.Itoa(i)
		if !c.form.Has(k) {
			return out
		}
		out = append(out, c.form.Get(k))
	}
}

// filters returns EC2's Filter.N.Name and its values.
func (c *call) filters() map[string][]string {
	out := make(map[string][]string)
	for i := 1; ; i++ {
		k := "Filter." + strconv.Itoa(i)
		if !c.form.Has(k + ".Name") {
			return out
		}
		out[c.form.Get(k+".Name")] = c.params(k + ".Value")
	}
}

// parse reads an HTTP request. The Region and the service come from the signature's scope, the account from the access key.
// The error, if any, is an answer.
func (a *AWS) parse(req *http.Request) (*call, *answer) {
	c := &call{agent: req.UserAgent(), token: req.Header.Get("X-Amz-Security-Token")}
	if req.Body != nil {
		b, err := io.ReadAll(req.Body)
		if err != nil {
			e := jsonError(400, "RequestTimeout", err.Error())
			return nil, &e
		}
		c.body = b
	}
	// AWS4-HMAC-SHA256 Credential=KEY/DATE/REGION/SERVICE/aws4_request, SignedHeaders=..., Signature=...
	_, credential, _ := strings.Cut(req.Header.Get("Authorization"), "Credential=")
	credential, _, _ = strings.Cut(credential, ",")
	parts := strings.Split(credential, "/")
	if len(parts) != 5 {
		e := jsonError(403, "MissingAuthenticationTokenException", "Missing Authentication Token")
		return nil, &e
	}
	c.keyID, c.service = parts[0], parts[3]
	c.scope = event.Scope{AccountID: a.accountOf(c.keyID), Region: parts[2]}
	if target := req.Header.Get("X-Amz-Target"); target != "" {
		c.op = target[strings.LastIndexByte(target, '.')+1:] // CloudTrail's prefix has dots in it, as botocore writes it
	} else if c.service == "apigateway" {
		c.op = map[string]string{http.MethodPut: "TagResource", http.MethodGet: "GetTags"}[req.Method]
		c.resource = strings.TrimPrefix(req.URL.Path, "/tags/")
	} else if c.service == "account" {
		c.op = map[string]string{"/listRegions": "ListRegions"}[req.URL.Path]
	} else if form, err := url.ParseQuery(string(c.body)); err == nil {
		c.form = form
		c.op = form.Get("Action")
	}
	c.text = req.URL.Path + "\n" + req.URL.RawQuery + "\n" + string(c.body)
	if plain, err := url.QueryUnescape(c.text); err == nil {
		c.text += "\n" + plain
	}
	prefix := c.service
	if prefix == "tagging" {
		prefix = "tag"
	}
	c.action = prefix + ":" + c.op
	if c.service == "apigateway" && c.op == "GetTags" {
		c.action = "apigateway:GET" // its actions are HTTP's
	}
	return c, a.notHere(c)
}

// notHere is the answer to a call in a Region where the service is not, or that is not enabled in the account.
func (a *AWS) notHere(c *call) *answer {
	var e answer
	switch {
	case c.service == "iam": // is global, and wants us-east-1 in the signature; not here, for tests of other Regions
		return nil
	case c.service == "organizations" || c.service == "account":
		if c.scope.Region == controlRegion(c.scope.Region) {
			return nil
		}
		e = c.failure(400, "InvalidSignatureException", "Credential should be scoped to a valid region.")
	case a.enabled(c.scope):
		return nil
	case c.service == "ec2" || c.service == "sts":
		e = c.failure(401, "AuthFailure", "AWS was not able to validate the provided access credentials")
	default:
		e = c.failure(403, "UnrecognizedClientException", "The security token included in the request is invalid.")
	}
	return &e
}

// AccessKey returns an access key that belongs to an account; any secret goes with it. It never expires: see NewKey. A key that
// is none of these belongs to the first account.
func AccessKey(accountID string) string { return "AKIAFAKE" + accountID }

func (a *AWS) accountOf(accessKey string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if k := a.keys[accessKey]; k != nil {
		return k.accountID
	}
	if id := strings.TrimPrefix(accessKey, "AKIAFAKE"); slices.Contains(a.cfg.Accounts, id) {
		return id
	}
	return a.cfg.Accounts[0]
}

func itoa(i int) string { return strconv.Itoa(i) }
