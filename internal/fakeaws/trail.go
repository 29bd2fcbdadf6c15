package fakeaws

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"math"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/autotagd/autotagd/pkg/event"
)

// trailEvent is one management event of a Scope. A busy account has millions and shows few, so they are small: the record is
// written when LookupEvents shows it, but for raw ones.
type trailEvent struct {
	at, visible  int64  // Unix nanoseconds; at is a whole second, as CloudTrail has it
	seq          uint64 // breaks ties among the events of one second
	id           string
	source, name string
	readOnly     bool
	// One of: the record itself; the call that it tells of; for the many that nothing hangs on, who made it and a name.
	raw  string
	call *apiCall
	who  *Who
	note string

	answer []byte // as LookupEvents shows it, kept when it is shown again and again
}

func (e *trailEvent) record(s event.Scope) string {
	switch {
	case e.raw != "":
		return e.raw
	case e.call != nil:
		return e.call.record()
	default:
		return apiCall{
			scope: s, id: e.id, at: time.Unix(0, e.at), source: e.source, name: e.name, readOnly: e.readOnly, who: *e.who,
			request: object{"name": e.note},
		}.record()
	}
}

func (e *trailEvent) user() string {
	switch {
	case e.call != nil:
		return e.call.who.username()
	case e.who != nil:
		return e.who.username()
	default:
		return ""
	}
}

func (e *trailEvent) before(o *trailEvent) bool {
	return e.at < o.at || e.at == o.at && e.seq < o.seq
}

// trail is one Scope's events in the order of time, whole and by the attributes that are asked for most.
type trail struct {
	scope       event.Scope
	all, writes []*trailEvent
	byName      map[string][]*trailEvent
	seq         uint64
}

func newTrail(s event.Scope) *trail {
	return &trail{scope: s, byName: make(map[string][]*trailEvent)}
}

func (t *trail) add(e *trailEvent) {
	t.seq++
	e.seq = t.seq
	t.all = insert(t.all, e)
	if !e.readOnly {
		t.writes = insert(t.writes, e)
	}
	t.byName[e.name] = insert(t.byName[e.name], e)
}

// insert keeps the order; almost every event is the newest.
func insert(s []*trailEvent, e *trailEvent) []*trailEvent {
	if n := len(s); n == 0 || s[n-1].before(e) {
		return append(s, e)
	}
	i := sort.Search(len(s), func(i int) bool { return e.before(s[i]) })
	return slices.Insert(s, i, e)
}

// forget drops what is older than the retention. It is called now and then, not at each event.
func (t *trail) forget(oldest time.Time) {
	cut := func(s []*trailEvent) []*trailEvent {
		i := sort.Search(len(s), func(i int) bool { return s[i].at >= oldest.UnixNano() })
		if i < len(s)/8 { // copying millions again and again takes longer than all else
			return s[i:]
		}
		return slices.Clone(s[i:])
	}
	t.all, t.writes = cut(t.all), cut(t.writes)
	for name, s := range t.byName {
		if s = cut(s); len(s) == 0 {
			delete(t.byName, name)
		} else {
			t.byName[name] = s
		}
	}
}

// visibility draws how late an event is shown: lognormal, with the configured mean and at most six times that. The median
// is at 0.84 of the mean, and one in a hundred is later than 3.4 times the mean.
func (a *AWS) visibility() time.Duration {
	const sigma = 0.6
	mean := a.cfg.Visibility
	if mean <= 0 {
		return 0
	}
	d := time.Duration(float64(mean) * math.Exp(sigma*a.rng.NormFloat64()-sigma*sigma/2))
	return min(d, 6*mean)
}

// PutRecord puts a CloudTrail record, as a test wrote it, into a Scope's trail, to be shown from visibleAt on. What
// LookupEvents says of it beside the record itself is taken from the record where that can be read. It returns the EventID
// that LookupEvents gives it.
func (a *AWS) PutRecord(scope event.Scope, raw string, visibleAt time.Time) string {
	var r struct {
		EventID, EventSource, EventName, EventTime string
		ReadOnly                                   bool
	}
	_ = json.Unmarshal([]byte(raw), &r) // a hostile record is the point: what can't be read is left empty
	at, err := time.Parse(time.RFC3339, r.EventTime)
	if err != nil {
		at = a.Now()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if r.EventID == "" {
		r.EventID = a.uuid()
	}
	a.trail(scope).add(&trailEvent{
		at: at.Truncate(time.Second).UnixNano(), visible: visibleAt.UnixNano(), id: r.EventID, source: r.EventSource, name: r.EventName,
		readOnly: r.ReadOnly, raw: raw,
	})
	return r.EventID
}

// Event is what a checker may know of one event in a trail.
type Event struct {
	ID, Source, Name string
	Time, Visible    time.Time
	ReadOnly         bool
	Raw              string
}

// Events returns a Scope's events, oldest first, whether visible by now or not.
func (a *AWS) Events(scope event.Scope) []Event {
	a.mu.Lock()
	defer a.mu.Unlock()
	t := a.trail(scope)
	out := make([]Event, len(t.all))
	for i, e := range t.all {
		out[i] = Event{e.id, e.source, e.name, time.Unix(0, e.at).UTC(), time.Unix(0, e.visible).UTC(), e.readOnly, e.record(scope)}
	}
	return out
}

// Shown returns when LookupEvents had an event in an answer, though that may not have arrived. Config.Showings must be set.
func (a *AWS) Shown(id string) []time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.shown[id])
}

type lookupInput struct {
	StartTime, EndTime *float64
	EventCategory      string
	LookupAttributes   []struct{ AttributeKey, AttributeValue string }
	MaxResults         *int
	NextToken          string
}

// lookupToken is a NextToken. The set of events that a walk shows is frozen at its first page.
type lookupToken struct {
	AsOf   int64  // Unix nanoseconds
	At     int64  // time of the last event shown, likewise
	Seq    uint64 // and its number
	Params string // digest of the other parameters
}

const (
	lookupPage  = 50
	lookupRange = 90*24*time.Hour + time.Minute // the minute is for the call's own way
)

func (a *AWS) lookupEvents(c *call) answer {
	var in lookupInput
	if err := json.Unmarshal(c.body, &in); err != nil {
		return jsonError(400, "SerializationException", err.Error())
	}
	now := c.now
	start, end := now.Add(-90*24*time.Hour), now
	if in.StartTime != nil {
		start = epoch(*in.StartTime)
	}
	if in.EndTime != nil {
		end = epoch(*in.EndTime)
	}
	limit := lookupPage
	if in.MaxResults != nil {
		limit = *in.MaxResults
	}
	switch {
	case limit < 1 || limit > lookupPage:
		return jsonError(400, "InvalidMaxResultsException", "A max results value must be between 1 and 50.")
	case end.Before(start), in.StartTime != nil && now.Sub(start) > lookupRange:
		return jsonError(400, "InvalidTimeRangeException", "The specified time range is not valid.")
	case len(in.LookupAttributes) > 1:
		return jsonError(400, "InvalidLookupAttributesException", "You can specify only one lookup attribute.")
	case in.EventCategory != "" && in.EventCategory != "insight":
		return jsonError(400, "InvalidEventCategoryException", "The event category is not valid.")
	}
	key, value := "", ""
	if len(in.LookupAttributes) == 1 {
		key, value = in.LookupAttributes[0].AttributeKey, in.LookupAttributes[0].AttributeValue
		if !slices.Contains([]string{"EventId", "EventName", "ReadOnly", "Username", "ResourceType", "ResourceName", "EventSource", "AccessKeyId"}, key) || value == "" {
			return jsonError(400, "InvalidLookupAttributesException", "The lookup attribute is not valid: "+key)
		}
	}
	token := lookupToken{AsOf: now.UnixNano(), At: math.MaxInt64, Seq: math.MaxUint64}
	in2 := in
	in2.NextToken = ""
	params, _ := json.Marshal(in2) // cannot fail: numbers and strings
	wantParams := digest(c.scope.String(), string(params))
	if in.NextToken != "" {
		b, err := base64.StdEncoding.DecodeString(in.NextToken)
		if err != nil || json.Unmarshal(b, &token) != nil || token.Params != wantParams {
			return jsonError(400, "InvalidNextTokenException", "The token is not valid, or was made for other parameters.")
		}
		if c.badToken {
			return jsonError(400, "InvalidNextTokenException", "The token has expired.")
		}
	}
	token.Params = wantParams
	if in.EventCategory == "insight" {
		return lookupAnswer(nil, "")
	}

	goOn := func() string {
		b, _ := json.Marshal(token) // cannot fail: numbers and a string
		return base64.StdEncoding.EncodeToString(b)
	}
	if a.chance(a.cfg.EmptyPages) {
		return lookupAnswer(nil, goOn())
	}
	t := a.trail(c.scope)
	from, match := t.choose(key, value)
	oldest, newest := start.UnixNano(), min(end.UnixNano(), token.At)
	last := sort.Search(len(from), func(i int) bool { return from[i].at > newest })
	page := make([][]byte, 0, limit)
	more := false
	for i := last - 1; i >= 0; i-- {
		e := from[i]
		if e.at < oldest {
			break
		}
		if e.visible > token.AsOf || e.at == token.At && e.seq >= token.Seq || !match(e) {
			continue
		}
		if len(page) == limit {
			more = true
			break
		}
		token.At, token.Seq = e.at, e.seq
		page = append(page, t.show(e, a.cfg.Showings))
		if a.cfg.Showings {
			a.shown[e.id] = append(a.shown[e.id], now)
		}
		if a.chance(a.cfg.Duplicates) && len(page) < limit {
			page = append(page, t.show(e, a.cfg.Showings))
		}
	}
	if more {
		return lookupAnswer(page, goOn())
	}
	return lookupAnswer(page, "")
}

// lookupAnswer puts an answer together from events that are JSON already. A next of "" is none.
func lookupAnswer(page [][]byte, next string) answer {
	body := append([]byte(`{"Events":[`), bytes.Join(page, []byte{','})...)
	body = append(body, ']')
	if next != "" {
		body = append(body, `,"NextToken":"`+next+`"`...) // base64
	}
	return answer{status: 200, typ: jsonType, body: append(body, '}')}
}

// choose returns the smallest sorted list that has every event of an attribute, and what still has to be asked of each.
func (t *trail) choose(key, value string) ([]*trailEvent, func(*trailEvent) bool) {
	all := func(*trailEvent) bool { return true }
	switch key {
	case "":
		return t.all, all
	case "EventName":
		return t.byName[value], all
	case "ReadOnly":
		if strings.EqualFold(value, "false") {
			return t.writes, all
		}
		return t.all, func(e *trailEvent) bool { return e.readOnly }
	case "EventId":
		return t.all, func(e *trailEvent) bool { return e.id == value }
	case "EventSource":
		return t.all, func(e *trailEvent) bool { return e.source == value }
	case "Username":
		return t.all, func(e *trailEvent) bool { return e.user() == value }
	default: // AccessKeyId, ResourceType, ResourceName: in the record somewhere
		return t.all, func(e *trailEvent) bool { return strings.Contains(e.record(t.scope), `"`+value+`"`) }
	}
}

// show returns an event as LookupEvents does.
func (t *trail) show(e *trailEvent, keep bool) []byte {
	if e.answer != nil {
		return e.answer
	}
	readOnly := "false"
	if e.readOnly {
		readOnly = "true"
	}
	o := object{
		"EventId": e.id, "EventName": e.name, "EventSource": e.source, "EventTime": e.at / int64(time.Second), "ReadOnly": readOnly,
		"Resources": []object{}, "CloudTrailEvent": e.record(t.scope),
	}
	if user := e.user(); user != "" {
		o["Username"] = user
	}
	b := jsonOK(o).body
	if keep {
		e.raw, e.answer = e.record(t.scope), b
	}
	return b
}

// epoch turns awsJson's seconds since 1970, with a fraction, into a time.
func epoch(seconds float64) time.Time {
	whole, fraction := math.Modf(seconds)
	return time.Unix(int64(whole), int64(math.Round(fraction*1e3))*1e6).UTC()
}
