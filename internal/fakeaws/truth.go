package fakeaws

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/autotagd/autotagd/pkg/event"
)

// TagWrite is one key written to one resource.
type TagWrite struct {
	Time       time.Time
	Caller     string // ARN of who wrote
	Ours       bool   // it came in over the API, that is from the program under test, and not from the simulated account
	Key, Value string
	// Had and Old are what the key was before; Since is when it became that, for those who read it.
	Had   bool
	Old   string
	Since time.Time
}

// Resource is one thing in the fake account and the truth about it. What the fake hands out is a copy.
type Resource struct {
	Scope   event.Scope // where it lives
	ARN     string
	ID      string // as EC2's calls take it; elsewhere the name
	Type    string // ec2: "instance", "volume", ...; elsewhere "sqs", "s3", ...
	Service string
	// Parent is the instance of a volume or interface, the image of a snapshot, else "".
	Parent string
	// EventID and EventName are of the event that made it. A launch's volumes and an image's snapshots carry the launch's
	// or image's event, although that record does not name them.
	EventID   string
	EventName string
	CreatedAt time.Time
	VisibleAt time.Time // of the event, in LookupEvents
	DeletedAt time.Time // zero while it exists

	Who         Who // whose it is
	PrincipalID string
	// Repeats are later callers of the same upsert (PutRule said twice): whichever event is seen first names the owner.
	Repeats []Who
	// Upsert is set where the same call is also an update: then no key is to be written where one of them is there.
	Upsert bool
	// OwnCallOnly is set for kinds that only their service's own tag call reaches.
	OwnCallOnly bool
	// NoCall is set for kinds that no call tags, but as a side effect: no Owner is to be expected.
	NoCall bool

	AtCreation map[string]string // tags given by the creating call
	Tags       map[string]string // now
	Writes     []TagWrite        // every write after creation, oldest first

	consistentAt time.Time // API calls do not find it before
	everTagged   bool
	denyAction   string // IAM action that tagging it needs
	readyAt      time.Time
	attrs        map[string]string // what descriptions show
	since        map[string]time.Time
}

func (r *Resource) exists() bool { return r.DeletedAt.IsZero() }

func (r *Resource) copy() Resource {
	c := *r
	c.AtCreation, c.Tags, c.Writes = maps.Clone(r.AtCreation), maps.Clone(r.Tags), slices.Clone(r.Writes)
	c.Repeats, c.attrs, c.since = slices.Clone(r.Repeats), nil, nil
	return c
}

// write sets one key. The caller holds the lock.
func (r *Resource) write(now time.Time, caller string, ours bool, key, value string) {
	old, had := r.Tags[key]
	since := r.since[key]
	if had && since.Before(r.consistentAt) {
		since = r.consistentAt
	}
	r.Writes = append(r.Writes, TagWrite{now, caller, ours, key, value, had, old, since})
	if !had || old != value {
		r.since[key] = now
	}
	r.Tags[key] = value
	r.everTagged = true
}

// Owners returns the pairs of Owner and PrincipalId that r may rightly carry; none if it is nobody's.
func (r *Resource) Owners() [][2]string {
	if r.Who.Owner == "" {
		return nil
	}
	owners := [][2]string{{r.Who.Owner, r.PrincipalID}}
	for _, w := range r.Repeats {
		owners = append(owners, [2]string{w.Owner, w.PrincipalID(r.Scope.AccountID)})
	}
	return owners
}

// Resources returns every resource there ever was, in the order of creation.
func (a *AWS) Resources() []Resource { return a.ResourcesFrom(0) }

// ResourcesFrom is Resources without the first n.
func (a *AWS) ResourcesFrom(n int) []Resource {
	a.mu.Lock()
	defer a.mu.Unlock()
	var all []Resource
	for _, r := range a.order[n:] {
		all = append(all, r.copy())
	}
	return all
}

// Resource returns the resource of an ARN or id.
func (a *AWS) Resource(id string) (Resource, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if r := a.byARN[id]; r != nil {
		return r.copy(), true
	}
	for _, r := range a.order {
		if r.ID == id {
			return r.copy(), true
		}
	}
	return Resource{}, false
}

// Problem is something that should not be so, found by Audit.
type Problem struct {
	Resource Resource
	What     string // "untagged", "wrong owner", "overwritten", "mixed", "touched", "wrong key"
	Detail   string
}

// String is one line for a person.
func (p Problem) String() string {
	return fmt.Sprintf("%s: %s (%s by %s, event %s): %s", p.What, p.Resource.ARN, p.Resource.EventName, p.Resource.Who.name, p.Resource.EventID, p.Detail)
}

// readBeforeWrite is how old a read of a resource's tags may be when autotagd writes: a tag set by somebody else within that
// time can be overwritten without having been seen. The second more is for slow answers.
const readBeforeWrite = 31 * time.Second

// Audit compares every resource with what it should be under the default configuration (Owner and PrincipalId, existing tags
// kept, nothing for what services made). Resources deleted by now are checked for what was done to them, not for missing
// tags; neither are those whose event became visible less than grace ago.
func (a *AWS) Audit(grace time.Duration) []Problem {
	now := a.Now()
	var problems []Problem
	all := a.Resources()
	deleted := map[string]bool{} // ids of images that are gone: only they said which snapshots they were made of
	for _, r := range all {
		if r.Type == "image" && !r.exists() {
			deleted[r.ID] = true
		}
	}
	for _, r := range all {
		report := func(what, format string, args ...any) {
			problems = append(problems, Problem{r, what, fmt.Sprintf(format, args...)})
		}
		owners := r.Owners()
		for _, w := range r.Writes {
			switch {
			case !w.Ours:
			case w.Key != "Owner" && w.Key != "PrincipalId":
				report("wrong key", "%s=%q", w.Key, w.Value)
			case len(owners) == 0:
				report("touched", "%s=%q, but it is nobody's", w.Key, w.Value)
			case !slices.ContainsFunc(owners, func(o [2]string) bool { return w.Value == o[w.index()] }):
				report("wrong owner", "%s=%q, want one of %q", w.Key, w.Value, owners)
			case r.Upsert && r.mixes(w):
				report("mixed", "%s=%q is added to another's tags by what need not have made it", w.Key, w.Value)
			case w.Had && w.Old != w.Value && w.Time.Sub(w.Since) > readBeforeWrite:
				report("overwritten", "%s was %q since %s, is %q since %s", w.Key, w.Old, w.Since.Format(time.TimeOnly), w.Value, w.Time.Format(time.TimeOnly))
			}
		}
		if !r.exists() || len(owners) == 0 || r.NoCall || deleted[r.Parent] || r.VisibleAt.Add(grace).After(now) {
			continue
		}
		if !r.Upsert || !r.others("Owner", "PrincipalId") {
			for _, key := range [...]string{"Owner", "PrincipalId"} {
				if _, has := r.Tags[key]; !has {
					report("untagged", "no %s, want one of %q", key, owners)
				}
			}
		}
		if got := [2]string{r.Tags["Owner"], r.Tags["PrincipalId"]}; !r.others("Owner", "PrincipalId") && got[0] != "" && got[1] != "" && !slices.Contains(owners, got) {
			report("wrong owner", "tags of two: %q, want one of %q", got, owners)
		}
	}
	return problems
}

// mixes reports whether w added a key where somebody else had set the other one, long enough before to be seen. The first
// version of a parameter says of itself that it is one: there each key is for itself.
func (r *Resource) mixes(w TagWrite) bool {
	if r.EventName == "PutParameter" {
		return false
	}
	other := [...]string{"PrincipalId", "Owner"}[w.index()]
	if _, ok := r.AtCreation[other]; ok {
		return w.Time.Sub(r.CreatedAt) > readBeforeWrite
	}
	return slices.ContainsFunc(r.Writes, func(o TagWrite) bool { return !o.Ours && o.Key == other && w.Time.Sub(o.Time) > readBeforeWrite })
}

func (w TagWrite) index() int {
	if w.Key == "Owner" {
		return 0
	}
	return 1
}

// others reports whether somebody but the program under test set one of the keys.
func (r *Resource) others(keys ...string) bool {
	for _, k := range keys {
		if _, ok := r.AtCreation[k]; ok {
			return true
		}
	}
	return slices.ContainsFunc(r.Writes, func(w TagWrite) bool { return !w.Ours && slices.Contains(keys, w.Key) })
}
