package event

import (
	"fmt"
	"strings"
	"time"
)

// Scope is one AWS account in one Region: the unit of polling, of rate limits and of checkpoints.
type Scope struct {
	AccountID string `json:"account_id"`
	Region    string `json:"region"`
}

// String returns "ACCOUNT/REGION", as error texts and logs show a Scope.
func (s Scope) String() string { return s.AccountID + "/" + s.Region }

// ARN is an Amazon Resource Name, split at its first five colons.
type ARN struct {
	Partition, Service, Region, AccountID, Resource string
}

// ParseARN splits s. It fails unless s has the six parts of an ARN and names a partition, a service and a resource.
func ParseARN(s string) (ARN, error) {
	parts := strings.SplitN(s, ":", 6)
	if len(parts) != 6 || parts[0] != "arn" || parts[1] == "" || parts[2] == "" || parts[5] == "" {
		return ARN{}, fmt.Errorf("not an ARN: %.80q; want arn:PARTITION:SERVICE:REGION:ACCOUNT:RESOURCE", s)
	}
	return ARN{parts[1], parts[2], parts[3], parts[4], parts[5]}, nil
}

// String joins the parts again.
func (a ARN) String() string {
	return strings.Join([]string{"arn", a.Partition, a.Service, a.Region, a.AccountID, a.Resource}, ":")
}

// Partition returns the partition a Region belongs to: aws, aws-cn, aws-us-gov or one of the isolated ones.
func Partition(region string) string {
	for _, p := range [...]struct{ prefix, partition string }{
		{"cn-", "aws-cn"},
		{"us-gov-", "aws-us-gov"},
		{"us-isob-", "aws-iso-b"},
		{"us-isof-", "aws-iso-f"},
		{"eu-isoe-", "aws-iso-e"},
		{"us-iso-", "aws-iso"},
		{"eusc-", "aws-eusc"},
	} {
		if strings.HasPrefix(region, p.prefix) {
			return p.partition
		}
	}
	return "aws"
}

// Span is a stretch of event time in one Scope, in whole seconds, both ends included, as LookupEvents takes it.
type Span struct {
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`
	// Names restricts the Span to these event names; none means every create event.
	Names []string `json:"names,omitempty"`
}

// Cursor is a final pass by name that is under way: where a restart goes on.
type Cursor struct {
	Span Span `json:"span"`
	// Catalog identifies the set of names the pass goes through; with another set the pass begins anew.
	Catalog string `json:"catalog"`
	// Name is the last name, in sorted order, that is read and settled.
	Name string `json:"name"`
}

// Marks say how far a Scope has been read and settled.
type Marks struct {
	Floor     time.Time `json:"floor"`
	Watermark time.Time `json:"watermark"`
	Backlog   []Span    `json:"backlog,omitempty"` // oldest first
	Cursor    *Cursor   `json:"cursor,omitempty"`
	Spellings Spellings `json:"spellings,omitzero"`
}

// Spellings are event names that the catalog lacks but for their date (CreateFunction20150331), as a Scope's events show them.
// Only a reading of all writes can find a new one, so this says what readings by name went past.
type Spellings struct {
	Names []string `json:"names,omitempty"`
	// WholeTo is up to where final passes have read all writes.
	WholeTo time.Time `json:"whole_to,omitzero"`
	// NamedFrom is the oldest time of the backlog that is or was read by name; zero when none was.
	NamedFrom time.Time `json:"named_from,omitzero"`
}

// IsZero reports whether there is nothing to keep.
func (s Spellings) IsZero() bool {
	return len(s.Names) == 0 && s.WholeTo.IsZero() && s.NamedFrom.IsZero()
}

// Stream tells the two ways events come in. Each settles on its own, so that new events never wait for old ones.
type Stream uint8

// The streams.
const (
	Live    Stream = iota // final passes and head scans
	Backlog               // spans of the past
)

// Verdict is what the ledger knows of an EventID.
type Verdict uint8

// The verdicts.
const (
	New     Verdict = iota // hand it on
	InHand                 // handed on and not settled yet
	Settled                // settled, perhaps by an earlier process
)
