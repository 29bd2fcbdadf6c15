package catalog

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/autotagd/autotagd/pkg/event"
)

// bySearch looks for ARNs of the row's form anywhere in the response. It is for records that differ from AWS's models in
// the name of a member. One ARN is an answer; several are not, since one of them may be what the resource was made from.
func (u *rules) bySearch(r *event.Record) []named {
	if u.template.text == "" || !bytes.Contains(r.ResponseElements, []byte(`"arn:`)) {
		return nil
	}
	var response any
	if json.Unmarshal(r.ResponseElements, &response) != nil {
		return nil
	}
	var found []named
	walkStrings(response, func(s string) {
		a, err := event.ParseARN(s)
		if err != nil || !u.template.matches(a) || countSeparators(s) != countSeparators(u.template.text) {
			return
		}
		n := named{s, tail(a)}
		if len(found) == 0 || found[0] != n {
			found = append(found, n)
		}
	})
	if len(found) != 1 {
		return nil
	}
	return found
}

func countSeparators(s string) int { return strings.Count(s, "/") + strings.Count(s, ":") }

func walkStrings(v any, visit func(string)) {
	switch v := v.(type) {
	case string:
		visit(v)
	case []any:
		for _, element := range v {
			walkStrings(element, visit)
		}
	case map[string]any:
		for _, member := range v {
			walkStrings(member, visit)
		}
	}
}
