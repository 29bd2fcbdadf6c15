package event

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// ErrNotRecord is wrapped by every error that says why some bytes are no CloudTrail record.
var ErrNotRecord = errors.New("not a CloudTrail record")

// Parse reads one bare record: a JSON object that has at least one of eventID, eventName and eventSource. In everything
// else it is lenient. The Record keeps b, which must not change afterwards. Errors wrap ErrNotRecord.
func Parse(b []byte) (*Record, error) {
	v := valueOf(b)
	if v == nil {
		return nil, fmt.Errorf("%w: %s", ErrNotRecord, whyInvalid(b))
	}
	return parseValue(v)
}

// whyInvalid says what is wrong with bytes that are not valid JSON.
func whyInvalid(b []byte) string {
	var any json.RawMessage
	if err := json.Unmarshal(b, &any); err != nil {
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			return fmt.Sprintf("not JSON: %s, at byte %d", Printable(err.Error(), 200), syntax.Offset)
		}
		return "not JSON: " + Printable(err.Error(), 200)
	}
	return "not JSON"
}

func (v value) typeName() string {
	switch v[0] {
	case '[':
		return "list"
	case '"':
		return "string"
	case 't', 'f':
		return "boolean"
	case 'n':
		return "null"
	case '{':
		return "object"
	}
	return "number"
}

// parseValue makes a Record of a JSON value.
func parseValue(v value) (*Record, error) {
	if !v.is('{') {
		return nil, fmt.Errorf("%w: a JSON %s, want an object", ErrNotRecord, v.typeName())
	}
	r := &Record{raw: v}
	for key, val := range v.members() {
		switch lower(key) {
		case "eventid":
			set(&r.EventID, val)
		case "eventsource":
			set(&r.EventSource, val)
		case "eventname":
			set(&r.EventName, val)
		case "eventtype":
			set(&r.EventType, val)
		case "eventcategory":
			set(&r.EventCategory, val)
		case "eventtime":
			if r.EventTime.IsZero() {
				s, _ := val.scalar()
				r.EventTime = parseTime(s)
			}
		case "awsregion":
			set(&r.AWSRegion, val)
		case "recipientaccountid":
			set(&r.RecipientAccountID, val)
		case "sourceipaddress":
			set(&r.SourceIPAddress, val)
		case "useragent":
			set(&r.UserAgent, val)
		case "errorcode":
			set(&r.ErrorCode, val)
			if text, _ := val.scalar(); r.ErrorCode == "" && !val.isNull() && !val.holdsNothing() {
				r.ErrorCode = cmp.Or(text, "unreadable") // a failure, whatever its form
			}
		case "errormessage":
			set(&r.ErrorMessage, val)
		case "sharedeventid":
			set(&r.SharedEventID, val)
		case "readonly":
			s, _ := val.scalar() // some write "true", a string
			r.ReadOnly = r.ReadOnly || strings.EqualFold(s, "true")
		case "useridentity":
			if val.is('{') && !r.UserIdentity.Present {
				r.UserIdentity = parseIdentity(val)
			}
		case "requestparameters":
			if !val.isNull() && r.RequestParameters == nil {
				r.RequestParameters = json.RawMessage(val)
			}
		case "responseelements":
			if !val.isNull() && r.ResponseElements == nil {
				r.ResponseElements = json.RawMessage(val)
			}
		}
	}
	if r.EventID == "" && r.EventName == "" && r.EventSource == "" {
		return nil, fmt.Errorf("%w: it has no eventID, no eventName and no eventSource", ErrNotRecord)
	}
	return r, nil
}

func parseIdentity(v value) UserIdentity {
	u := UserIdentity{Present: true}
	for key, val := range v.members() {
		switch lower(key) {
		case "type":
			set(&u.Type, val)
		case "principalid":
			set(&u.PrincipalID, val)
		case "arn":
			set(&u.ARN, val)
		case "accountid":
			set(&u.AccountID, val)
		case "username":
			set(&u.UserName, val)
		case "invokedby":
			set(&u.InvokedBy, val)
		case "sourceidentity": // its usual place is the sessionContext
			set(&u.SourceIdentity, val)
		case "sessioncontext":
			for key, val := range val.members() {
				switch lower(key) {
				case "sourceidentity":
					set(&u.SourceIdentity, val)
				case "sessionissuer":
					for key, val := range val.members() {
						switch lower(key) {
						case "type":
							set(&u.SessionIssuer.Type, val)
						case "username":
							set(&u.SessionIssuer.UserName, val)
						case "principalid":
							set(&u.SessionIssuer.PrincipalID, val)
						case "arn":
							set(&u.SessionIssuer.ARN, val)
						case "accountid":
							set(&u.SessionIssuer.AccountID, val)
						}
					}
				}
			}
		case "onbehalfof":
			for key, val := range val.members() {
				switch lower(key) {
				case "userid":
					set(&u.OnBehalfOf.UserID, val)
				case "identitystorearn":
					set(&u.OnBehalfOf.IdentityStoreARN, val)
				}
			}
		}
	}
	return u
}

// set gives *s the text of val, unless it has one or val is no string: the first member with a value wins. What AWS has
// hidden is not there.
func set(s *string, val value) {
	if *s != "" {
		return
	}
	if text := val.text(); text != hidden {
		*s = text
	}
}

// lower returns an ASCII key in lower case, for comparison; "" for one longer than any we look for.
func lower(key string) string {
	if len(key) > len("recipientAccountId") {
		return ""
	}
	return strings.ToLower(key)
}

// Times as AWS writes them come first; the others are those of tools that records have passed through. A fraction of a
// second is accepted in each. A time without a zone is UTC.
var timeLayouts = [...]string{
	time.RFC3339,
	"2006-01-02 15:04:05",
	"2006-01-02T15:04:05",
	"2006-01-02 15:04:05Z07:00",
	"2006-01-02T15:04:05Z0700",
	"2006-01-02 15:04:05Z0700",
	"2006-01-02 15:04:05 Z0700",
	"2006-01-02 15:04:05 MST",
	"2006-01-02 15:04:05 -0700 MST",
}

// parseTime reads a time in any of several forms, among them seconds or milliseconds since 1970; the zero Time if none fits.
func parseTime(s string) time.Time {
	const longest = 64
	s = strings.TrimSpace(s)
	if s == "" || len(s) > longest {
		return time.Time{}
	}
	for _, layout := range timeLayouts {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC()
		}
	}
	const (
		firstMillis = 1e11 // as seconds this were the year 5138
		lastMillis  = 253402300799999
	)
	n, err := strconv.ParseFloat(s, 64)
	switch {
	case err != nil || !(n > 0 && n <= lastMillis): // also not a number
		return time.Time{}
	case n >= firstMillis:
		return time.UnixMilli(int64(n)).UTC()
	}
	return time.UnixMilli(int64(n * 1000)).UTC()
}
