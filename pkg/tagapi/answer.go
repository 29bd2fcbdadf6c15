package tagapi

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/protocol/restjson"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/encoding/cbor"
)

// maxDepth bounds how deep an answer is nested. Those of tag calls have five levels, at most ten.
const maxDepth = 64

// Answered reads the answer to a request of NewWrite. Its error is a *smithy.GenericAPIError when AWS gave one.
func (c *Call) Answered(status int, header http.Header, body []byte) error {
	if status/100 == 2 {
		return nil
	}
	return c.failure(status, header, body)
}

// Page reads the answer to a request of NewRead: tags, and the token of the next page if there is one. Its error is a
// *smithy.GenericAPIError when AWS gave one.
func (c *Call) Page(status int, header http.Header, body []byte) (tags map[string]string, more string, err error) {
	if c.Read == nil {
		return nil, "", c.unreadable()
	}
	tags = map[string]string{}
	if status/100 != 2 {
		err := c.failure(status, header, body)
		var api smithy.APIError
		if errors.As(err, &api) && slices.Contains(c.Read.Empty, api.ErrorCode()) {
			return tags, "", nil
		}
		return nil, "", err
	}
	answer, err := c.parse(body)
	if errors.Is(err, errRefusal) {
		return nil, "", c.failure(status, header, body)
	}
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w", c.Read.Name, err)
	}
	at := c.Read.Tags
	if c.Replace == ReplacesAll && member(answer, at.Path[0]) == nil { // not for certain an answer: see errRefusal
		return nil, "", fmt.Errorf("%s: no %s in the answer", c.Read.Name, at.Path[0])
	}
	if within := at.Path[:len(at.Path)-1]; c.Replace != KeepsOthers && c.inJSON() && len(walk(answer, within)) == 0 {
		// The resource that has tags is not in the answer: a list of those that were found. It is not one without tags.
		return nil, "", &smithy.GenericAPIError{
			Code: "ResourceNotFoundException", Message: fmt.Sprintf("%s found no such resource", c.Read.Name), Fault: smithy.FaultClient,
		}
	}
	last := ""
	for _, found := range walk(answer, at.Path) {
		object, ok := found.(map[string]any)
		switch {
		case !ok:
		case at.Key == "":
			for key, value := range object {
				if key != "" {
					tags[key] = text(value)
				}
			}
		default:
			if last = text(member(object, at.Key)); last != "" {
				tags[last] = text(member(object, at.Value))
			}
		}
	}
	switch next := c.Read.More; {
	case next == nil:
	case next.Flag == "":
		more = text(first(walk(answer, []string{next.Out})))
	case text(first(walk(answer, []string{next.Flag}))) == "true":
		if more = last; more == "" { // or these would count as all
			return nil, "", fmt.Errorf("%s: there are more tags, but none to go on from", c.Read.Name)
		}
	}
	return tags, more, nil
}

// errRefusal is what is wrong with an answer that is an error in spite of its status: S3 may notice after it has said 200. It
// must not count as no tags, which a call that replaces them would make true.
var errRefusal = errors.New("an error with the status of success")

// parse reads an answer of the service's protocol into maps, lists and texts.
func (c *Call) parse(body []byte) (map[string]any, error) {
	var v any
	var err error
	switch c.service.Protocol {
	case query, restXML:
		return c.parseXML(body)
	case cborRPC:
		var found cbor.Value
		if found, err = cbor.Decode(body); err == nil {
			v = fromCBOR(found, 0)
		}
	default:
		v, err = parseJSON(body)
	}
	if err != nil {
		return nil, err
	}
	object, ok := v.(map[string]any)
	if !ok {
		return nil, errors.New("the answer is no object")
	}
	return object, nil
}

func (c *Call) inJSON() bool {
	p := c.service.Protocol
	return p == json10 || p == json11 || p == restJSON
}

// parseJSON takes nothing, and null, for an object without members, as the SDKs do.
func parseJSON(body []byte) (v any, err error) {
	if len(bytes.TrimSpace(body)) == 0 {
		return map[string]any{}, nil
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("the answer goes on after its end")
	}
	if v == nil {
		return map[string]any{}, nil
	}
	return v, nil
}

// walk returns what stands at the end of a path. Lists on the way, and there, count as their elements.
func walk(v any, path []string) []any {
	if list, ok := v.([]any); ok {
		var all []any
		for _, inner := range list {
			all = append(all, walk(inner, path)...)
		}
		return all
	}
	if len(path) == 0 {
		return []any{v}
	}
	object, ok := v.(map[string]any)
	if !ok {
		return nil
	}
	inner := member(object, path[0])
	if inner == nil {
		return nil
	}
	return walk(inner, path[1:])
}

// member returns the member of an object, spelled as AWS's model has it or, failing that, in another case.
func member(object map[string]any, name string) any {
	if v, ok := object[name]; ok {
		return v
	}
	for _, key := range slices.Sorted(maps.Keys(object)) {
		if strings.EqualFold(key, name) {
			return object[key]
		}
	}
	return nil
}

func first(all []any) any {
	if len(all) == 0 {
		return nil
	}
	return all[0]
}

func text(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	case bool:
		return fmt.Sprint(v)
	}
	return ""
}

// parseXML reads a document into maps by element name, of texts, maps, and lists where a name occurs more than once. The
// root element is left out, and so is what the query protocol wraps a result in: <OPERATIONResponse><OPERATIONResult>.
func (c *Call) parseXML(body []byte) (map[string]any, error) {
	d := xml.NewDecoder(bytes.NewReader(body))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return nil, errors.New("the answer is no XML")
		}
		if err != nil {
			return nil, err
		}
		root, ok := token.(xml.StartElement)
		if !ok {
			continue
		}
		v, err := parseElement(d, 0)
		if err != nil {
			return nil, err
		}
		object, _ := v.(map[string]any) // none in an empty element
		switch {
		case root.Name.Local == "Error", root.Name.Local == "ErrorResponse":
			return object, errRefusal
		case c.service.Protocol == query && c.Read != nil:
			result, ok := object[c.Read.Name+"Result"]
			if !ok {
				return object, fmt.Errorf("no %sResult in the answer", c.Read.Name)
			}
			object, _ = result.(map[string]any)
		}
		return object, nil
	}
}

// parseElement reads the inside of an element that was begun.
func parseElement(d *xml.Decoder, depth int) (any, error) {
	if depth > maxDepth {
		return nil, errors.New("an answer nested too deep")
	}
	var b strings.Builder
	var object map[string]any
	for {
		token, err := d.Token()
		if err != nil {
			return nil, err
		}
		switch token := token.(type) {
		case xml.CharData:
			b.Write(token)
		case xml.StartElement:
			inner, err := parseElement(d, depth+1)
			if err != nil {
				return nil, err
			}
			if object == nil {
				object = map[string]any{}
			}
			switch old := object[token.Name.Local].(type) {
			case nil:
				object[token.Name.Local] = inner
			case []any:
				object[token.Name.Local] = append(old, inner)
			default:
				object[token.Name.Local] = []any{old, inner}
			}
		case xml.EndElement:
			if object != nil {
				return object, nil
			}
			return b.String(), nil
		}
	}
}

func fromCBOR(v cbor.Value, depth int) any {
	if depth > maxDepth {
		return nil
	}
	switch v := v.(type) {
	case cbor.Map:
		m := map[string]any{}
		for name, inner := range v {
			m[name] = fromCBOR(inner, depth+1)
		}
		return m
	case cbor.List:
		l := make([]any, len(v))
		for i, inner := range v {
			l[i] = fromCBOR(inner, depth+1)
		}
		return l
	case cbor.String:
		return string(v)
	case cbor.Bool:
		return bool(v)
	}
	return nil
}

// failure reads an answer that says no. Where the code stands depends on the protocol.
func (c *Call) failure(status int, header http.Header, body []byte) error {
	e := &smithy.GenericAPIError{Fault: smithy.FaultClient}
	if status >= http.StatusInternalServerError {
		e.Fault = smithy.FaultServer
	}
	object, _ := c.parse(body) // an answer that can't be read has its status and its headers
	switch c.service.Protocol {
	case query, restXML:
		if inner, ok := member(object, "Errors").(map[string]any); ok {
			object = inner
		}
		if inner, ok := member(object, "Error").(map[string]any); ok {
			object = inner
		}
		e.Code = text(member(object, "Code"))
	default:
		e.Code = header.Get("X-Amzn-ErrorType")
		for _, name := range [...]string{"__type", "code"} {
			if e.Code == "" {
				e.Code = text(member(object, name))
			}
		}
		e.Code = restjson.SanitizeErrorCode(e.Code)
	}
	e.Message = strings.TrimSpace(text(member(object, "message")))
	if e.Code == "" {
		return fmt.Errorf("no error code in the answer: HTTP status %d", status)
	}
	return e
}
