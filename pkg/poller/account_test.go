package poller

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/autotagd/autotagd/pkg/event"
)

// account is a model of one Scope's events: creates, and other writes that are made up as they are read. Everything
// follows from the seed and the number of an event, so days of it take no room.
type account struct {
	seed            uint64
	from            time.Time
	writes, creates float64 // other writes and creates a second
	mean            time.Duration
	longest         time.Duration
	names           []string // of creates, commonest first
	cum             []float64
	byName          map[string][]int // numbers of creates, in order
	made            int              // creates in byName
	coarse          time.Duration    // events happen at multiples of this: many in one second
	quiet           func(sample) bool
}

// sample is one event of the account.
type sample struct {
	Event
	visible time.Time
	number  int
}

const catalogSize, commonSize = 1376, 60

func catalogNames() (catalog, common []string) {
	for i := range catalogSize {
		catalog = append(catalog, fmt.Sprintf("Create%04d", i))
	}
	return catalog, catalog[:commonSize]
}

func known(source, name string) bool { return strings.HasPrefix(name, "Create") }

func newAccount(seed uint64, from time.Time, writes, creates float64, length time.Duration) *account {
	a := &account{
		seed: seed, from: from, writes: writes - creates, creates: creates, mean: 150 * time.Second, longest: 15 * time.Minute,
		byName: map[string][]int{},
	}
	all, _ := catalogNames()
	// Most creates have common names, a few rare ones.
	for i := range 100 {
		w := 1 / float64(i+1)
		j := i
		if i >= 50 {
			j = i * 13
			w /= 10
		}
		a.names = append(a.names, all[j])
		a.cum = append(a.cum, w)
	}
	sum := 0.0
	for i, w := range a.cum {
		sum += w
		a.cum[i] = sum
	}
	for i := range a.cum {
		a.cum[i] /= sum
	}
	a.made = int(length.Seconds() * creates)
	for k := range a.made {
		n := a.bare(k).Name
		a.byName[n] = append(a.byName[n], k)
	}
	return a
}

func mix(x uint64) uint64 { // splitmix64
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

func unit(x uint64) float64 { return (float64(x>>11) + 0.5) / (1 << 53) }

func (a *account) rnd(stream, k int) float64 {
	return unit(mix(a.seed ^ mix(uint64(k)) ^ uint64(stream)<<56))
}

// delay is lognormal with sigma 0.7: 1 % take longer than ten minutes.
func (a *account) delay(stream, k int) time.Duration {
	const sigma = 0.7
	z := math.Sqrt2 * math.Erfinv(2*a.rnd(stream, k)-1)
	return min(time.Duration(float64(a.mean)*math.Exp(sigma*z-sigma*sigma/2)), a.longest)
}

func (a *account) at(stream, k int, density float64) time.Time {
	return a.from.Add(time.Duration((float64(k) + a.rnd(stream, k)) / density * float64(time.Second)))
}

func (a *account) create(k int) sample {
	s := a.bare(k)
	s.ID = "c" + strconv.Itoa(k)
	return s
}

// bare is a create without its id.
func (a *account) bare(k int) sample {
	at := a.at(1, k, a.creates)
	i := sort.SearchFloat64s(a.cum, a.rnd(2, k))
	return a.sample(k, at, a.names[min(i, len(a.names)-1)], a.delay(3, k))
}

// never is when events that did not happen become visible.
const never = 1000 * 24 * time.Hour

func (a *account) sample(k int, at time.Time, name string, delay time.Duration) sample {
	s := sample{number: k, Event: Event{Source: "ec2.amazonaws.com", Name: name, Time: at.Truncate(max(a.coarse, time.Second)), Raw: "{}"}}
	if a.quiet != nil && a.quiet(s) {
		delay = never
	}
	s.visible = s.Time.Add(delay)
	if s.visible.Before(at) {
		s.visible = at
	}
	return s
}

func (a *account) other(k int) sample {
	return a.sample(k, a.at(4, k, a.writes), "ModifyThing", a.delay(5, k))
}

// walk is a stream of events, newest first, from number k down.
type walk struct {
	k, low int
	get    func(k int) sample
	cur    sample
	ok     bool
}

func (w *walk) settle(start, end, asOf time.Time) {
	w.ok = false
	for ; w.k >= w.low; w.k-- {
		s := w.get(w.k)
		if s.Time.Before(start) {
			w.k = w.low - 1
			return
		}
		if s.Time.After(end) || s.visible.After(asOf) {
			continue
		}
		w.cur, w.ok = s, true
		return
	}
}

// lookup answers a request as CloudTrail does. The token holds the set of the first page and the parameters.
func (a *account) lookup(now time.Time, name string, start, end time.Time, token string) (events []sample, next string, valid bool) {
	asOf, i, j := now, -1, -1
	params := fmt.Sprintf("%s|%d|%d", name, start.Unix(), end.Unix())
	if token != "" {
		f := strings.SplitN(token, "|", 4)
		if len(f) != 4 || f[3] != params {
			return nil, "", false
		}
		ns, _ := strconv.ParseInt(f[0], 10, 64)
		asOf = time.Unix(0, ns)
		i, _ = strconv.Atoi(f[1])
		j, _ = strconv.Atoi(f[2])
	}
	number := func(density float64) int {
		return int(end.Add(2*time.Second+a.coarse).Sub(a.from).Seconds()*density) + 1
	}
	ws := []*walk{{k: -1}, {k: -1}}
	if name != "" {
		list := a.byName[name]
		ws[0] = &walk{k: sort.Search(len(list), func(n int) bool { return list[n] > number(a.creates) }) - 1, get: func(k int) sample { return a.bare(list[k]) }}
	} else {
		ws[0] = &walk{k: min(number(a.creates), a.made-1), get: a.bare}
		if a.writes > 0 {
			ws[1] = &walk{k: number(a.writes), get: a.other}
		}
	}
	if token != "" {
		ws[0].k, ws[1].k = i, j
	}
	for len(events) <= pageSize {
		for _, w := range ws {
			w.settle(start, end, asOf)
		}
		w := ws[0]
		if !w.ok || ws[1].ok && ws[1].cur.Time.After(w.cur.Time) {
			w = ws[1]
		}
		if !w.ok {
			return events, "", true
		}
		if len(events) == pageSize {
			return events, fmt.Sprintf("%d|%d|%d|%s", asOf.UnixNano(), ws[0].k, ws[1].k, params), true
		}
		w.cur.ID = "c" + strconv.Itoa(w.cur.number)
		if w == ws[1] {
			w.cur.ID = "w" + strconv.Itoa(w.cur.number)
		}
		events = append(events, w.cur)
		w.k--
	}
	panic("not reached")
}

// book is a Ledger that settles at once or when told, and checks the poller against the account: no mark is reported
// before every event that it covers was begun.
type book struct {
	mu       sync.Mutex
	t        testing.TB
	a        *account
	fresh    bool
	marks    event.Marks
	lookback time.Duration
	ids      map[string]time.Time // live, begun
	old      map[string]bool      // backlog, begun
	hold     bool                 // events stay in hand
	inHand   map[string]bool
	resets   []event.Marks
	parts    []event.Span
	oldest   time.Time       // of the backlog; older is given up
	unlisted map[string]bool // names that nobody can ask for before they were seen
	checkTo  int             // creates before this number were begun, once covered by the Floor
	heads    int
}

func newBook(t testing.TB, a *account) *book {
	return &book{t: t, a: a, fresh: true, lookback: 30 * time.Minute, ids: map[string]time.Time{}, old: map[string]bool{}, inHand: map[string]bool{}}
}

func (b *book) Fresh() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.fresh
}

func (b *book) Marks() event.Marks {
	b.mu.Lock()
	defer b.mu.Unlock()
	m := b.marks
	m.Backlog = slices.Clone(m.Backlog)
	return m
}

func (b *book) Reset(_ context.Context, m event.Marks) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.resets = append(b.resets, m)
	m.Backlog = slices.Clone(m.Backlog)
	b.marks = m
	b.fresh = false
	b.skipTo(m.Floor)
	return nil
}

// skipTo leaves out of the check what lies before the Floor at a start.
func (b *book) skipTo(floor time.Time) {
	for b.checkTo < b.a.made && b.a.bare(b.checkTo).Time.Before(floor) {
		b.checkTo++
	}
}

func (b *book) Begin(s event.Stream, id string, at time.Time) event.Verdict {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s == event.Backlog {
		b.old[id] = true
		return event.New
	}
	if _, known := b.ids[id]; known {
		if b.inHand[id] {
			return event.InHand
		}
		return event.Settled
	}
	b.ids[id] = at
	if b.hold {
		b.inHand[id] = true
	}
	return event.New
}

func (b *book) FloorRead(end time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.t.Helper()
	if !end.After(b.marks.Floor) {
		b.t.Errorf("Floor %v after %v: it goes back or stands", end, b.marks.Floor)
	}
	for ; b.checkTo < b.a.made; b.checkTo++ {
		s := b.a.create(b.checkTo)
		if s.Time.After(end) {
			break
		}
		if _, begun := b.ids[s.ID]; !begun && s.visible.Sub(s.Time) <= b.lookback && !b.unlisted[s.Name] {
			b.t.Errorf("Floor moved to %v, but %s %s of %v (visible %v) was not handed on", end, s.ID, s.Name, s.Time, s.visible)
		}
	}
	b.marks.Floor = end
	b.marks.Cursor = nil
	for id, at := range b.ids {
		if at.Before(end) {
			delete(b.ids, id)
		}
	}
}

func (b *book) HeadRead(end time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.t.Helper()
	b.heads++
	if end.Before(b.marks.Watermark) {
		b.t.Errorf("Watermark goes back from %v to %v", b.marks.Watermark, end)
	}
	b.marks.Watermark = end
}

func (b *book) NameRead(c event.Cursor) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if old := b.marks.Cursor; old != nil && old.Span.End.Equal(c.Span.End) && old.Name >= c.Name {
		b.t.Errorf("Cursor goes from %s back to %s", old.Name, c.Name)
	}
	for _, k := range b.a.upTo(c) {
		if _, begun := b.ids[k.ID]; !begun && k.visible.Sub(k.Time) <= b.lookback {
			b.t.Errorf("Cursor at %s, but %s %s of %v was not handed on", c.Name, k.ID, k.Name, k.Time)
		}
	}
	b.marks.Cursor = &c
}

// upTo lists the events of the Cursor's last name.
func (a *account) upTo(c event.Cursor) []sample {
	var out []sample
	list := a.byName[c.Name]
	from := sort.Search(len(list), func(i int) bool { return !a.bare(list[i]).Time.Before(c.Span.Start) })
	for _, k := range list[from:] {
		s := a.create(k)
		if s.Time.After(c.Span.End) {
			break
		}
		out = append(out, s)
	}
	return out
}

func (b *book) BacklogRead(part event.Span) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.t.Helper()
	b.parts = append(b.parts, part)
	for k := sort.Search(b.a.made, func(k int) bool { return !b.a.bare(k).Time.Before(part.Start) }); k < b.a.made; k++ {
		s := b.a.create(k)
		if s.Time.After(part.End) {
			break
		}
		if !b.old[s.ID] && !s.Time.Before(b.oldest) && s.visible.Sub(s.Time) <= b.lookback && !b.unlisted[s.Name] && (part.Names == nil || slices.Contains(part.Names, s.Name)) {
			b.t.Errorf("backlog read to %v, but %s %s of %v was not handed on", part.End, s.ID, s.Name, s.Time)
		}
	}
	for i, s := range b.marks.Backlog {
		if !slices.Equal(s.Names, part.Names) || part.Start.After(s.Start) || part.End.Before(s.Start) {
			continue
		}
		b.marks.Backlog[i].Start = part.End
		if !part.End.Before(s.End) {
			b.marks.Backlog = slices.Delete(b.marks.Backlog, i, i+1)
		}
		return
	}
}

// headsRead is how many head scans were read.
func (b *book) headsRead() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.heads
}

func (b *book) AddBacklog(s event.Span) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.marks.Backlog = append(b.marks.Backlog, s)
	slices.SortFunc(b.marks.Backlog, func(x, y event.Span) int { return x.Start.Compare(y.Start) })
}

func (b *book) Spelled(s event.Spellings) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.marks.Spellings = s
}
