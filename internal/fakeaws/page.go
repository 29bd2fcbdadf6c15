package fakeaws

import (
	"encoding/base64"
	"net/url"
	"sort"
	"strconv"
)

// page cuts sorted rows down to the page that an EC2 call asks for. It returns the nextToken member, if there is more. The
// token is bound to the other parameters.
func page[T any](c *call, rows []T, least, most int, key func(T) string) ([]T, []node, *answer) {
	fail := func(code, message string) ([]T, []node, *answer) {
		a := ec2Error(400, code, message)
		return nil, nil, &a
	}
	limit := 0
	if s := c.form.Get("MaxResults"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < least || n > most {
			return fail("InvalidParameterValue", "Value ( "+s+" ) for parameter maxResults is invalid. Expecting a value between "+strconv.Itoa(least)+" and "+strconv.Itoa(most)+".")
		}
		limit = n
	}
	form := make(map[string][]string)
	for k, v := range c.form {
		if k != "NextToken" {
			form[k] = v
		}
	}
	bound := digest(c.scope.String(), url.Values(form).Encode())[:16]
	if token := c.form.Get("NextToken"); token != "" {
		b, err := base64.StdEncoding.DecodeString(token)
		if err != nil || len(b) < len(bound) || string(b[:len(bound)]) != bound || c.badToken {
			return fail("InvalidNextToken", "The token is not valid")
		}
		after := string(b[len(bound):])
		rows = rows[sort.Search(len(rows), func(i int) bool { return key(rows[i]) > after }):]
	}
	if limit == 0 || len(rows) <= limit {
		return rows, nil, nil
	}
	rows = rows[:limit]
	token := base64.StdEncoding.EncodeToString([]byte(bound + key(rows[limit-1])))
	return rows, []node{el("nextToken", token)}, nil
}
