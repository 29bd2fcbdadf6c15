package tagapi

import (
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // what S3's protocol asks for, against errors of transmission
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/aws/smithy-go/encoding/cbor"
	"github.com/aws/smithy-go/encoding/httpbinding"

	"github.com/autotagd/autotagd/pkg/resource"
)

// NewWrite returns the request that puts tags on the resource that params name. A call that replaces the set takes all that
// are to be there afterwards. The endpoint is a URL without a path, or with one to put before the request's. It fails when a
// parameter is missing, is none of its type, or would lead to another path than the call's.
func (c *Call) NewWrite(ctx context.Context, endpoint string, params map[string]string, tags []resource.Tag) (*http.Request, error) {
	return c.request(ctx, endpoint, &c.Write, params, tags, "")
}

// NewRead returns the request for a page of the tags of the resource that params name: the first, or the one that more, from the page
// before, is the token of.
func (c *Call) NewRead(ctx context.Context, endpoint string, params map[string]string, more string) (*http.Request, error) {
	if c.Read == nil {
		return nil, c.unreadable()
	}
	return c.request(ctx, endpoint, c.Read, params, nil, more)
}

func (c *Call) unreadable() error {
	return fmt.Errorf("no call reads the tags that %s of %s writes", c.API, c.Service)
}

// message is a request that is being put together.
type message struct {
	op     *Op
	labels map[string]string // of the path
	query  url.Values
	header http.Header
	body   map[string]any // of a document
	form   url.Values     // of the query protocol
	each   map[string]any // what stands in each tag beside key and value
}

func (c *Call) request(ctx context.Context, endpoint string, op *Op, params map[string]string, tags []resource.Tag, more string) (*http.Request, error) {
	at, err := url.Parse(endpoint)
	if err != nil {
		return nil, fmt.Errorf("endpoint of %s: %w", c.Service, err)
	}
	if at.Host == "" {
		return nil, fmt.Errorf("endpoint of %s: no host in %q", c.Service, endpoint)
	}
	template, fixed, _ := strings.Cut(op.URI, "?")
	m := message{
		op: op, labels: map[string]string{}, header: http.Header{},
		body: map[string]any{}, form: url.Values{}, each: map[string]any{},
	}
	if m.query, err = url.ParseQuery(fixed); err != nil {
		return nil, fmt.Errorf("%s: %w", op.Name, err)
	}
	for name, value := range c.service.Headers {
		m.header.Set(name, value)
	}
	for _, member := range op.In {
		value := member.Value
		if member.From != "" {
			value = params[member.From]
			if value == "" && member.Optional {
				continue
			}
			if value == "" {
				return nil, fmt.Errorf("%s: no value for parameter %s", op.Name, member.From)
			}
		}
		if err := m.set(member, value); err != nil {
			return nil, err
		}
	}
	if more != "" && op.More != nil {
		if err := m.set(op.More.In, more); err != nil {
			return nil, err
		}
	}
	path, err := expand(template, m.labels)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op.Name, err)
	}
	body, err := c.body(&m, tags)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op.Name, err)
	}
	req, err := http.NewRequestWithContext(ctx, op.Method, endpoint, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op.Name, err)
	}
	raw := strings.TrimSuffix(at.EscapedPath(), "/") + path
	if at.Path, err = url.PathUnescape(raw); err != nil {
		return nil, fmt.Errorf("%s: %w", op.Name, err)
	}
	// A plus is a space to some services and a plus to others.
	query := strings.ReplaceAll(m.query.Encode(), "+", "%20")
	req.URL = &url.URL{Scheme: at.Scheme, User: at.User, Host: at.Host, Path: at.Path, RawPath: raw, RawQuery: query}
	if op.MD5 {
		sum := md5.Sum(body) //nolint:gosec // see above
		m.header.Set("Content-Md5", base64.StdEncoding.EncodeToString(sum[:]))
	}
	req.Header = m.header
	return req, nil
}

// expand puts values into the places of a path: {NAME}, or {NAME+}, which takes slashes as they are.
func expand(template string, labels map[string]string) (string, error) {
	var b strings.Builder
	for rest := template; ; {
		literal, after, found := strings.Cut(rest, "{")
		b.WriteString(literal)
		if !found {
			return b.String(), nil
		}
		name, tail, _ := strings.Cut(after, "}")
		name, slashes := strings.CutSuffix(name, "+")
		value, ok := labels[name]
		if !ok {
			return "", fmt.Errorf("nothing for {%s} of %s", name, template)
		}
		for part := range strings.SplitSeq(value, "/") {
			if part == "." || part == ".." { // servers and proxies make another path of it, however it is escaped
				return "", fmt.Errorf("parameter %s: %q in a path", name, part)
			}
		}
		b.WriteString(httpbinding.EscapePath(value, !slashes))
		rest = tail
	}
}

// set puts a value where the member belongs.
func (m *message) set(member Member, value string) error {
	typed, err := typedValue(member.Type, value)
	if err != nil {
		return fmt.Errorf("%s: parameter %s: %w", m.op.Name, member.Name, err)
	}
	if member.Type != "list" {
		value = fmt.Sprint(typed) // true, whatever the spelling
	}
	switch member.At {
	case "uri":
		m.labels[member.Name] = value
	case "query":
		m.query.Set(member.Name, value)
	case "header":
		m.header.Set(member.Name, value)
	case "tag":
		m.each[member.Name] = typed
	default:
		m.body[member.Name] = typed
		m.form.Set(member.Name, value)
	}
	return nil
}

func typedValue(kind, value string) (any, error) {
	switch kind {
	case "":
		return value, nil
	case "list":
		return []any{value}, nil
	case "long", "integer":
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%.40q is no number", value)
		}
		return n, nil
	case "boolean":
		b, err := strconv.ParseBool(value)
		if err != nil {
			return nil, fmt.Errorf("%.40q is neither true nor false", value)
		}
		return b, nil
	}
	return nil, fmt.Errorf("unknown type %q", kind)
}

// body writes the request's body, and the headers that go with the protocol.
func (c *Call) body(m *message, tags []resource.Tag) ([]byte, error) {
	s := c.service
	switch s.Protocol {
	case json10, json11:
		m.header.Set("X-Amz-Target", s.Target+"."+m.op.Name)
		m.header.Set("Content-Type", "application/x-amz-"+s.Protocol)
		m.put(tags)
		return json.Marshal(m.body)
	case restJSON:
		m.put(tags)
		if len(m.body) == 0 {
			return nil, nil
		}
		m.header.Set("Content-Type", "application/json")
		return json.Marshal(m.body)
	case cborRPC:
		m.header.Set("Smithy-Protocol", "rpc-v2-cbor")
		m.header.Set("Content-Type", "application/cbor")
		m.header.Set("Accept", "application/cbor")
		m.put(tags)
		return cbor.Encode(toCBOR(m.body)), nil
	case query:
		m.header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
		m.form.Set("Action", m.op.Name)
		m.form.Set("Version", s.Target)
		m.putForm(tags)
		return []byte(m.form.Encode()), nil
	case restXML:
		if m.op.Root == "" {
			return nil, nil
		}
		m.header.Set("Content-Type", "application/xml")
		return m.document(s.Target, tags)
	}
	return nil, fmt.Errorf("unknown protocol %q", s.Protocol)
}

// put puts tags into the document's body.
func (m *message) put(tags []resource.Tag) {
	if tags == nil {
		return
	}
	at := m.op.Tags
	var value any
	if at.Key == "" {
		all := map[string]any{}
		for _, tag := range tags {
			all[tag.Key] = tag.Value
		}
		value = all
	} else {
		list := make([]any, len(tags))
		for i, tag := range tags {
			list[i] = m.tag(tag)
		}
		value = list
	}
	last := len(at.Path) - 1
	for i := last; i > 0; i-- {
		value = map[string]any{at.Path[i]: value}
	}
	m.body[at.Path[0]] = value
}

func (m *message) tag(tag resource.Tag) map[string]any {
	one := map[string]any{m.op.Tags.Key: tag.Key, m.op.Tags.Value: tag.Value}
	for name, value := range m.each {
		one[name] = value
	}
	return one
}

// putForm puts tags into the form of a query: Tags.member.1.Key=...
func (m *message) putForm(tags []resource.Tag) {
	prefix := strings.Join(m.op.Tags.Path, ".")
	for i, tag := range tags {
		for name, value := range m.tag(tag) {
			m.form.Set(fmt.Sprintf("%s.%d.%s", prefix, i+1, name), fmt.Sprint(value))
		}
	}
}

// document writes the XML of a request, which has nothing but tags.
func (m *message) document(namespace string, tags []resource.Tag) ([]byte, error) {
	var b bytes.Buffer
	e := xml.NewEncoder(&b)
	root := xml.StartElement{Name: xml.Name{Local: m.op.Root}, Attr: []xml.Attr{{Name: xml.Name{Local: "xmlns"}, Value: namespace}}}
	open := []xml.StartElement{root}
	path := m.op.Tags.Path
	for _, name := range path[:len(path)-1] {
		open = append(open, xml.StartElement{Name: xml.Name{Local: name}})
	}
	for _, element := range open {
		if err := e.EncodeToken(element); err != nil {
			return nil, err
		}
	}
	for _, tag := range tags {
		element := xml.StartElement{Name: xml.Name{Local: path[len(path)-1]}}
		if err := e.EncodeToken(element); err != nil {
			return nil, err
		}
		for _, part := range [...]struct{ name, text string }{{m.op.Tags.Key, tag.Key}, {m.op.Tags.Value, tag.Value}} {
			if err := e.EncodeElement(part.text, xml.StartElement{Name: xml.Name{Local: part.name}}); err != nil {
				return nil, err
			}
		}
		if err := e.EncodeToken(element.End()); err != nil {
			return nil, err
		}
	}
	for i := len(open) - 1; i >= 0; i-- {
		if err := e.EncodeToken(open[i].End()); err != nil {
			return nil, err
		}
	}
	if err := e.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func toCBOR(v any) cbor.Value {
	switch v := v.(type) {
	case map[string]any:
		m := cbor.Map{}
		for name, inner := range v {
			m[name] = toCBOR(inner)
		}
		return m
	case []any:
		l := make(cbor.List, len(v))
		for i, inner := range v {
			l[i] = toCBOR(inner)
		}
		return l
	case string:
		return cbor.String(v)
	case bool:
		return cbor.Bool(v)
	case int64:
		if v < 0 {
			return cbor.NegInt(uint64(-v))
		}
		return cbor.Uint(uint64(v))
	}
	return &cbor.Nil{}
}
