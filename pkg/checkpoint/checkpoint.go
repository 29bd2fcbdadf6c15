// Package checkpoint keeps what must survive a crash: how far each Scope has been read and settled, and what is left to do.
//
// The Ledger is one Scope's State in memory. The poller tells it what it reads, the daemon how each Job ended, and it
// works out how far the marks may move; Save makes that durable in a Store. Nothing is promised by what is in memory,
// only by what is saved, so this holds of every saved State and of whatever a crash in the middle of a save leaves:
//
//   - an event that was begun is settled durably, or it will be read again. Settled durably means that its id is in a
//     seen# part, and each of its Jobs ended, is in a job# part, or is covered by a denial record in `state`;
//     read again means that it lies at or after the Floor, beyond the cursor, or in a backlog span;
//   - neither mark goes back, and neither moves past an event that was begun before the move and isn't settled;
//   - a damaged or newer part is an error, never 'none yet'.
package checkpoint

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/autotagd/autotagd/pkg/event"
	"github.com/autotagd/autotagd/pkg/resource"
)

// Store keeps one State per Scope, in parts. Different Scopes may be used at the same time; of one Scope one call at a
// time. A call that fails has done anything between nothing and all of it, and may be repeated. A Store does not retry what
// failed; a batch of which the other side has done a part is no failure, and a Store goes on with the rest until ctx ends.
type Store interface {
	// Load reads every part, consistently with all calls of this process that have returned. A Scope that was never
	// saved gives a Loaded without State, perhaps with other parts, left by a crash during the first save. A part that
	// can't be trusted is a *DamagedError or a *NewerError.
	Load(ctx context.Context, s event.Scope) (Loaded, error)
	// Put writes parts other than StatePart, each once, whole, over what is there. They are durable when it returns nil.
	Put(ctx context.Context, s event.Scope, parts []Part) error
	// Swap replaces StatePart. It is durable when the error is nil. ErrFenced: old is not what is stored, or another has the
	// Scope by now (see Leases), and nothing was written. After any other error the write may have happened: Load before
	// going on. No two writes have the same Version.
	Swap(ctx context.Context, s event.Scope, old Version, state []byte) (Version, error)
	// Delete removes parts; one that isn't there is no error. A part may come back after a crash unless the error is nil.
	Delete(ctx context.Context, s event.Scope, names []string) error
	// Locate names a part as an operator would look for it: a path, a table item.
	Locate(s event.Scope, part string) string
}

// Version identifies one write of StatePart; "" is that of a Scope never saved.
type Version string

// Part is one named piece of a State. Its Data is not to be changed once it is handed over.
type Part struct {
	Name string
	Data []byte
}

// Loaded is everything stored of a Scope.
type Loaded struct {
	State   []byte // nil when Version is ""
	Version Version
	Parts   []Part // all but the state
}

// StatePart is the name of the only part that is written conditionally.
const StatePart = "state"

const (
	seenPrefix   = "seen#"
	jobPrefix    = "job#"
	minuteLayout = "20060102T1504Z"
)

// ErrFenced means that another holder has written this Scope's state since it was loaded. This one must stop.
var ErrFenced = errors.New("another holder has written this Scope's state")

// DamagedError is a part whose content can't be trusted. It is never taken for a Scope that was not saved yet.
type DamagedError struct {
	Part    string
	Place   string // as Locate gives it
	Problem string
}

// Error says which part, what is wrong with it, and what an operator can do.
func (e *DamagedError) Error() string {
	remedy := "move it away: autotagd then begins this Scope anew, poll.start back; `autotagd run --since TIME` reads what lies before"
	switch {
	case strings.HasPrefix(e.Part, seenPrefix):
		remedy = "move it away: the events of that minute are then handled once more, which changes no tag that is right"
	case strings.HasPrefix(e.Part, jobPrefix):
		remedy = "move it away: one resource is then not tried again, unless `autotagd run --since TIME` reads its event once more"
	case e.Part != StatePart:
		remedy = "move it away: autotagd did not make it"
	}
	return fmt.Sprintf("checkpoint %s is damaged: %s; restore it from a backup, or %s", e.Place, e.Problem, remedy)
}

// NewerError is a part that a newer release wrote.
type NewerError struct {
	Place       string // as Locate gives it
	Format, Max int
}

// Error says what to run instead.
func (e *NewerError) Error() string {
	return fmt.Sprintf("checkpoint %s was written by a newer autotagd (format %d, this one reads up to %d): run the newer release, or move it away to begin anew",
		e.Place, e.Format, e.Max)
}

// eventKey stands for an EventID: 16 bytes of its SHA-256.
type eventKey [16]byte

func keyOf(id string) eventKey {
	if !utf8.ValidString(id) {
		id = string([]rune(id)) // as it will be once it was JSON
	}
	sum := sha256.Sum256([]byte(id))
	return eventKey(sum[:16])
}

// jobPart names the part that a deferred Job is kept in. Hashes, so that nothing from a Record becomes a file name.
func jobPart(j resource.Job) string {
	e, r := keyOf(j.Event.ID), keyOf(j.Key())
	return jobPrefix + hex.EncodeToString(e[:]) + "#" + hex.EncodeToString(r[:])
}

func seenPart(minute int64) string {
	return seenPrefix + time.Unix(minute*60, 0).UTC().Format(minuteLayout)
}

// minuteOfPart is the reverse of seenPart; false for a name that seenPart never makes.
func minuteOfPart(name string) (int64, bool) {
	t, err := time.Parse(minuteLayout, strings.TrimPrefix(name, seenPrefix))
	if err != nil || seenPart(t.Unix()/60) != name {
		return 0, false
	}
	return t.Unix() / 60, true
}

// minuteOf numbers the minute that t lies in.
func minuteOf(t time.Time) int64 { return t.Unix() / 60 }

// validPart reports whether name is one that a Ledger makes.
func validPart(name string) bool {
	if name == StatePart {
		return true
	}
	if strings.HasPrefix(name, seenPrefix) {
		_, ok := minuteOfPart(name)
		return ok
	}
	rest, ok := strings.CutPrefix(name, jobPrefix)
	a, b, two := strings.Cut(rest, "#")
	return ok && two && isKey(a) && isKey(b)
}

func isKey(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == len(eventKey{}) && s == strings.ToLower(s)
}
