package daemon

import (
	"bytes"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/autotagd/autotagd/pkg/checkpoint"
	"github.com/autotagd/autotagd/pkg/event"
)

// What a simulation's watch knows of each life's reading: which LookupEvents calls left it, and what came of them.

// byNameStride is how much longer the last events can take where a Scope is read by name: a final pass each hour.
const byNameStride = 2 * time.Hour

// creations are event names by service, where only these are made and read.
type creations map[string][]string

// drawOnly has some simulations make and read so few names, among so many other writes, that they are read by name.
func (s *shape) drawOnly(rng *rand.Rand) {
	if rng.IntN(5) > 0 || s.length > simHours || len(s.regions)*s.accounts > 2 { // four Scopes of so many calls cost too much
		return
	}
	s.only = pickOf(rng, creations{"sqs": {"CreateQueue"}, "sns": {"CreateTopic"}},
		creations{"sqs": {"CreateQueue"}, "logs": {"CreateLogGroup"}, "dynamodb": {"CreateTable"}, "secretsmanager": {"CreateSecret"}})
	s.writes = max(s.writes, 0.6)
	s.rate = pickOf(rng, 0.1, 1) // so that a pass by name takes long, and a restart goes on in the middle of it
}

func (c creations) services() []string {
	var services []string
	for s := range c {
		services = append(services, s)
	}
	slices.Sort(services)
	return services
}

func (c creations) names() []string {
	var names []string
	for _, s := range c.services() {
		names = append(names, c[s]...)
	}
	return names
}

// holder is a life in a Scope.
type holder struct {
	life  string
	scope event.Scope
}

type reads struct {
	accounts map[string]string // by access key of a role
	own      string            // of every other key
	calls    map[holder][]time.Time
	fenced   map[holder]int
	expired  map[holder]expiry
	roleless map[string]time.Time // by life: when STS last failed to give a role
}

// expiry is a row of calls that were refused because their credentials had ended.
type expiry struct {
	n     int
	since time.Time
}

func newReads(w *world) reads {
	return reads{
		accounts: map[string]string{}, own: w.cloud.Scope().AccountID, calls: map[holder][]time.Time{}, fenced: map[holder]int{},
		expired: map[holder]expiry{}, roleless: map[string]time.Time{},
	}
}

var (
	credential = regexp.MustCompile(`Credential=([^/]+)/[0-9]+/([^/]+)/`)
	accessKey  = regexp.MustCompile(`<AccessKeyId>([^<]+)<`)
	lookupEnd  = regexp.MustCompile(`"EndTime":([0-9.]+)`)
)

// hears returns what a life's plug shows its requests to.
func (w *watch) hears(life string) func(*http.Request, func(*http.Request) (*http.Response, error)) (*http.Response, error) {
	return func(r *http.Request, do func(*http.Request) (*http.Response, error)) (*http.Response, error) {
		trail, sts := strings.HasPrefix(r.URL.Host, "cloudtrail."), strings.HasPrefix(r.URL.Host, "sts.")
		if !trail && !sts || r.Body == nil {
			return do(r)
		}
		sent, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		r.Body = io.NopCloser(bytes.NewReader(sent))
		var h holder
		if c := credential.FindStringSubmatch(r.Header.Get("Authorization")); trail && c != nil {
			h = w.called(life, c[1], c[2])
		}
		out, err := do(r)
		if sts && (err != nil || out.StatusCode != http.StatusOK) {
			w.withoutRole(life)
		}
		if err != nil {
			return out, err
		}
		answer, err := io.ReadAll(out.Body)
		if err != nil {
			return nil, err
		}
		out.Body = io.NopCloser(bytes.NewReader(answer))
		if trail {
			w.refused(h, bytes.Contains(answer, []byte("ExpiredToken")))
		}
		switch {
		case out.StatusCode != http.StatusOK:
		case sts:
			w.assumed(string(sent), answer)
		default:
			w.shown(life, sent, answer)
		}
		return out, nil
	}
}

// called notes a LookupEvents call.
func (w *watch) called(life, key, region string) holder {
	w.mu.Lock()
	defer w.mu.Unlock()
	account, role := w.reads.accounts[key]
	if !role {
		account = w.reads.own
	}
	h := holder{life, event.Scope{AccountID: account, Region: region}}
	w.reads.calls[h] = append(w.reads.calls[h], w.cloud.Now())
	return h
}

// withoutRole notes that STS gave a life no role.
func (w *watch) withoutRole(life string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reads.roleless[life] = w.cloud.Now()
}

// refused notes whether a call was refused because its credentials had ended: who can have new ones does not go on with those.
func (w *watch) refused(h holder, expired bool) {
	const long = 3 * time.Minute
	w.mu.Lock()
	defer w.mu.Unlock()
	e, now := w.reads.expired[h], w.cloud.Now()
	switch {
	case !expired:
		e = expiry{}
	case e.n == 0:
		e = expiry{1, now}
	default:
		e.n++
	}
	if e.n >= 3 && now.Sub(e.since) > long && w.reads.roleless[h.life].Before(e.since) {
		w.problem(nil, "%s goes on in %s with credentials that AWS says have ended, since %s", h.life, h.scope, e.since.UTC().Format(time.TimeOnly))
		e = expiry{}
	}
	w.reads.expired[h] = e
}

// assumed notes whose a role's key is.
func (w *watch) assumed(sent string, answer []byte) {
	form, err := url.ParseQuery(sent)
	key := accessKey.FindSubmatch(answer)
	if err != nil || key == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reads.accounts[string(key[1])] = strings.Split(form.Get("RoleArn")+"::::", ":")[4]
}

// shown notes the create events in an answer, and whether that was to a head scan: what ends at least half a lookback ago is
// another read, and what begins nowhere is a look at how dense events are.
func (w *watch) shown(life string, sent, answer []byte) {
	end := lookupEnd.FindSubmatch(sent)
	if end == nil {
		return
	}
	var seconds float64
	if _, err := fmt.Sscan(string(end[1]), &seconds); err != nil {
		w.t.Errorf("LookupEvents with EndTime %s: %v", end[1], err)
	}
	now := w.cloud.Now()
	head := bytes.Contains(sent, []byte(`"StartTime":`)) && now.Sub(time.Unix(int64(seconds), 0)) <= w.lookback/2
	w.mu.Lock()
	defer w.mu.Unlock()
	w.learn()
	for id := range eventIDs(answer) {
		c := w.events[string(id)]
		if c == nil {
			continue
		}
		c.read = now
		if head && c.arrived[life].IsZero() {
			c.arrived[life] = now
		}
	}
}

// eventIDs finds the events of an answer. A regular expression would take longer than all else in a simulation.
func eventIDs(answer []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for {
			_, rest, found := bytes.Cut(answer, []byte(`"EventId":"`))
			id, rest, whole := bytes.Cut(rest, []byte(`"`))
			if !found || !whole || !yield(id) {
				return
			}
			answer = rest
		}
	}
}

// fenced hears of a state that a store refused: a Scope can be lost now and then, but who claims before it begins isn't refused
// again and again.
func (w *watch) fenced(id event.Scope, life string) {
	const often = 20
	w.mu.Lock()
	defer w.mu.Unlock()
	h := holder{life, id}
	if w.reads.fenced[h]++; w.reads.fenced[h] == often {
		w.problem(nil, "%s was refused %d times to save the state of %s: it does not hold what it begins", life, often, id)
	}
}

// pace looks for lives that called LookupEvents faster than the rate in any Scope: invariant 4, also where holders take turns.
// The caller holds mu.
func (w *watch) pace() {
	least := time.Duration(float64(time.Second)/w.cfg.Poll.Rate) - 20*time.Millisecond
	for h, calls := range w.reads.calls {
		for i := 1; i < len(calls); i++ {
			if d := calls[i].Sub(calls[i-1]); d < least {
				w.problem(nil, "%s calls LookupEvents in %s at %s and %s after: want at least %s between", h.life, h.scope, calls[i-1].UTC().Format(time.TimeOnly), d, least)
				break
			}
		}
	}
}

// heldAlone looks for Scopes that were taken from a replica at work, and for lives that read what has long been another's:
// invariant 5. The caller holds mu.
func (w *watch) heldAlone() {
	const (
		takes    = 20 * time.Second // from a look at the leases to a claim
		notices  = 15 * time.Second // after its lease ran out
		allowed  = 2                // calls that were on their way
		replicas = "#replica"
	)
	type owned struct {
		from  time.Time
		owner string
	}
	owners, beats := map[string][]owned{}, map[string][]time.Time{}
	for _, write := range w.cloud.TableWrites(w.cloud.Scope(), "autotagd") {
		switch {
		case write.Refused:
		case write.Hash == replicas && !write.Deleted:
			beats[write.Sort] = append(beats[write.Sort], write.Time)
		case write.Sort == checkpoint.StatePart:
			before := ""
			if past := owners[write.Hash]; len(past) > 0 {
				before = past[len(past)-1].owner
			}
			now := write.Attributes["owner"]
			if now == before {
				continue
			}
			owners[write.Hash] = append(owners[write.Hash], owned{write.Time, now})
			if now != "" && len(beats[now]) == 0 {
				w.problem(nil, "%s claims %s at %s, before anybody could see that it is at work", now, write.Hash, write.Time.UTC().Format(time.TimeOnly))
			}
			if now != "" && before != "" && slices.ContainsFunc(beats[before], func(beat time.Time) bool {
				age := write.Time.Sub(beat)
				return age < w.lease && age > takes
			}) {
				w.problem(nil, "%s takes %s from %s, which is at work", now, write.Hash, before)
			}
		}
	}
	for h, calls := range w.reads.calls {
		past, late := owners[h.scope.String()], 0
		for _, at := range calls {
			i, _ := slices.BinarySearchFunc(past, at, func(o owned, at time.Time) int { return o.from.Compare(at) })
			if i == 0 {
				continue
			}
			if is := past[i-1]; is.owner != "" && is.owner != h.life && at.Sub(is.from) > notices {
				if late++; late > allowed {
					w.problem(nil, "%s reads %s at %s, which is %s's since %s; the table says %v", h.life, h.scope, at.UTC().Format(time.TimeOnly), is.owner, is.from.UTC().Format(time.TimeOnly), past[max(0, i-4):i])
					break
				}
			}
		}
	}
}
