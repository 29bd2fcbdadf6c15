package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"go.uber.org/zap"

	"github.com/autotagd/autotagd/internal/awsclient"
	"github.com/autotagd/autotagd/internal/fakeaws"
	"github.com/autotagd/autotagd/pkg/checkpoint"
)

// plug is the way to AWS of one life. Once it is pulled no request arrives and no answer comes back.
type plug struct {
	client *fakeaws.Client
	key    string // the access key of the table's calls; "": the tests' own
	pulled atomic.Bool
	// apart is set while nothing gets through to DynamoDB, and nothing from there.
	apart atomic.Bool
	// hole is set while what does not get through is swallowed, as a cut network does: no error tells.
	hole atomic.Bool
	// stuck is what was sent to DynamoDB meanwhile, and may yet arrive.
	stuck requests
	// sees, if set, is shown what is about to be sent to DynamoDB.
	sees atomic.Pointer[func(sent []byte)]
	// heard, if set, is shown what gets through: each request as it leaves, and its answer if one came.
	heard func(r *http.Request, do func(*http.Request) (*http.Response, error)) (*http.Response, error)
}

func (p *plug) Do(r *http.Request) (*http.Response, error) {
	table := strings.HasPrefix(r.URL.Host, "dynamodb.")
	off := func() bool { return p.pulled.Load() || table && p.apart.Load() }
	if sees := p.sees.Load(); table && sees != nil {
		(*sees)(body(r))
	}
	if off() {
		if table {
			p.stuck.add(r)
		}
		return nil, p.silence(r)
	}
	do := func(r *http.Request) (*http.Response, error) {
		out, err := p.client.Do(r)
		if off() {
			return nil, p.silence(r)
		}
		return out, err
	}
	if p.heard != nil {
		return p.heard(r, do)
	}
	return do(r)
}

// silence is all that comes of a request that does not get through.
func (p *plug) silence(r *http.Request) error {
	if p.hole.Load() {
		select {
		case <-r.Context().Done():
			return r.Context().Err()
		case <-time.After(30 * time.Second): // http.Client's own patience
		}
	}
	return errors.New("the plug is pulled")
}

// savesState reports whether a request to DynamoDB writes a state.
func savesState(sent []byte) bool { return bytes.Contains(sent, []byte(`"#data"`)) }

// body returns what a request sends, and leaves it there.
func body(r *http.Request) []byte {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return nil // whoever waited for it has gone
	}
	r.Body = io.NopCloser(bytes.NewReader(b))
	return b
}

// requests are kept on their way.
type requests struct {
	mu  sync.Mutex
	all []*http.Request
}

func (q *requests) add(r *http.Request) {
	r = r.Clone(context.WithoutCancel(r.Context()))
	body(r)
	q.mu.Lock()
	defer q.mu.Unlock()
	q.all = append(q.all, r)
}

func (q *requests) take() []*http.Request {
	q.mu.Lock()
	defer q.mu.Unlock()
	all := q.all
	q.all = nil
	return all
}

// arrive has some of the requests that are stuck reach DynamoDB after all, in any order. Nobody waits for their answers any more.
func (p *plug) arrive(rng *rand.Rand) (n int) {
	all := p.stuck.take()
	for _, i := range rng.Perm(len(all)) {
		if rng.IntN(2) == 0 {
			continue
		}
		n++
		if out, err := p.client.Do(all[i]); err == nil {
			_ = out.Body.Close()
		}
	}
	return n
}

// table is the world's table, as a life sees it that has a way to AWS of its own.
func (w *world) table(h aws.HTTPClient) checkpoint.Table {
	w.t.Helper()
	region, key := w.cloud.Scope().Region, "AKIATEST"
	if p, ok := h.(*plug); ok && p.key != "" {
		key = p.key
	}
	clients, err := awsclient.FromConfig(aws.Config{
		Region: region, Credentials: credentials.NewStaticCredentialsProvider(key, "secret", ""),
	}, awsclient.Options{Version: "test", Log: zap.New(w.core), HTTP: h})
	if err != nil {
		w.t.Fatal(err)
	}
	return checkpoint.Table{Name: "autotagd", Region: region, Calls: checkpoint.DynamoDB(clients.DynamoDB(region))}
}

// claimed returns a store that owns the world's Scopes, whoever did before.
func (w *world) claimed(h aws.HTTPClient, replica string) checkpoint.Store {
	w.t.Helper()
	store := checkpoint.NewDynamoDBStore(w.table(h), replica)
	for attempt := 0; ; attempt++ {
		owners, err := store.Owners(w.t.Context(), w.cloud.Scopes())
		for s, seen := range owners {
			err = errors.Join(err, store.Claim(w.t.Context(), s, seen))
		}
		if err == nil {
			return store
		}
		if attempt > 50 {
			w.t.Fatal(err)
		}
	}
}

// Invariant 1 over DynamoDB: each life ends at any moment, with requests on their way, and another replica goes on.
func TestReplicasThatEndAtAnyMoment(t *testing.T) {
	t.Parallel()
	seed := seedOf(t)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, seed, "{global_region: off}", fakeaws.Config{Consistency: 10 * time.Second, Duplicates: 0.02})
		if err := w.table(w.cloud.HTTPClient()).Create(t.Context()); err != nil {
			t.Fatal(err)
		}
		busy := faults
		busy.Partial = 0.1
		w.cloud.SetFaults("", busy)
		w.cloud.SetFaults("Query", fakeaws.Faults{}) // a start that cannot read its State ends, for whoever runs it to try again
		life := func(h aws.HTTPClient, replica string) *running {
			return w.start(func(o *Options) { o.Store = w.claimed(h, replica) })
		}
		working, stopWork := context.WithCancel(t.Context())
		worked := make(chan error, 1)
		go func() { worked <- w.cloud.Live(working, fakeaws.Traffic{Creates: 0.3, Writes: 0.1}) }()
		for n := range 6 {
			p := &plug{client: w.cloud.HTTPClient()}
			r := life(p, fmt.Sprint("replica-", n))
			time.Sleep(time.Duration(w.rng.Int64N(int64(2 * time.Minute))))
			p.pulled.Store(true)
			r.cancel()
			<-r.done // its last save fails; that is the point
		}
		stopWork()
		if err := <-worked; err != nil {
			t.Fatal(err)
		}
		r := life(w.cloud.HTTPClient(), "the last")
		time.Sleep(45 * time.Minute)
		w.cloud.Heal() // for the last save, which is tried once
		r.stop()
		w.audit()
		for _, write := range w.cloud.TableWrites(w.cloud.Scope(), "autotagd") {
			if !strings.Contains(write.Agent, "autotagd/test") {
				t.Fatalf("written by %s", write.Agent)
			}
		}
	})
}

// What a table costs that nothing happens in: the figure that the documentation gives.
func TestAQuietScopeWritesTwelveTimesAnHour(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, "{global_region: off}", fakeaws.Config{})
		if err := w.table(w.cloud.HTTPClient()).Create(t.Context()); err != nil {
			t.Fatal(err)
		}
		r := w.start(func(o *Options) { o.Store = w.claimed(w.cloud.HTTPClient(), "a") })
		time.Sleep(2 * time.Hour)
		before := len(w.cloud.TableWrites(w.cloud.Scope(), "autotagd"))
		time.Sleep(6 * time.Hour)
		writes := w.cloud.TableWrites(w.cloud.Scope(), "autotagd")[before:]
		r.stop()
		units := 0
		for _, write := range writes {
			units += write.Units()
		}
		t.Logf("in six hours %d writes, %d write units", len(writes), units)
		if len(writes) > 6*12+1 || units > len(writes) {
			t.Errorf("%d writes and %d write units in six hours, want 12 an hour of one unit", len(writes), units)
		}
	})
}
