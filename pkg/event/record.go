// Package event reads CloudTrail records: from LookupEvents, from files, from EventBridge.
//
// It is pure: no network, no clock. A record is other people's data. Nothing in one, however malformed, large or deep,
// panics; a member of the wrong type reads as absent. Keys are compared without regard to case, one object is taken where
// a list is expected and the reverse, because AWS's services write the same member in all these ways.
package event

import (
	"encoding/json"
	"time"
)

// Record is one CloudTrail record, decoded only as far as needed. Members that are absent or of the wrong type are zero.
type Record struct {
	EventID            string
	EventSource        string // the service: ec2.amazonaws.com
	EventName          string // the call: RunInstances
	EventType          string
	EventCategory      string
	EventTime          time.Time // UTC; zero when absent or unreadable
	AWSRegion          string
	RecipientAccountID string
	SourceIPAddress    string
	UserAgent          string
	ErrorCode          string // a failed call has one, or an ErrorMessage
	ErrorMessage       string
	SharedEventID      string
	ReadOnly           bool
	UserIdentity       UserIdentity

	// RequestParameters and ResponseElements are as written; read them with Lookup.
	RequestParameters, ResponseElements json.RawMessage

	raw value // the whole record, for Lookup
}

// UserIdentity is the caller, as AWS wrote it.
type UserIdentity struct {
	Present        bool // the record has a userIdentity object at all
	Type           string
	PrincipalID    string
	ARN            string
	AccountID      string
	UserName       string
	InvokedBy      string
	SourceIdentity string // sessionContext.sourceIdentity
	SessionIssuer  SessionIssuer
	OnBehalfOf     OnBehalfOf
}

// SessionIssuer is who issued the session's credentials: the role, for an assumed role.
type SessionIssuer struct {
	Type, UserName, PrincipalID, ARN, AccountID string
}

// OnBehalfOf names a user of IAM Identity Center.
type OnBehalfOf struct {
	UserID, IdentityStoreARN string
}
