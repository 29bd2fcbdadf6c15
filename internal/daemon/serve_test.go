package daemon

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/autotagd/autotagd/internal/fakeaws"
)

// afterDaemon has a life come after another in the same process.
func afterDaemon(r *running) func(*Options) {
	return func(o *Options) { o.After = r.daemon }
}

// spans is how many spans the backlog of the first Scope has.
func spans(r *running) int { return r.daemon.fleet.all()[0].ledger.Summary().Spans }

// What --since asks for is read once, however often the configuration is read again meanwhile.
func TestSinceIsNotAppliedAgainAfterAReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, "{global_region: off, poll: {start: 1m, rate: 0.1}}", fakeaws.Config{})
		since := func(o *Options) { o.Since = time.Now().Add(-30 * 24 * time.Hour) }
		first := w.start(since)
		time.Sleep(15 * time.Second)
		if spans(first) == 0 {
			t.Fatal("--since added nothing to the backlog")
		}
		time.Sleep(6 * time.Hour)
		if n := spans(first); n > 0 {
			t.Fatalf("after hours the backlog still has %d spans", n)
		}
		first.stop()
		second := w.start(since, afterDaemon(first))
		time.Sleep(15 * time.Second)
		if n := spans(second); n > 0 {
			t.Errorf("after a reload the backlog has %d spans again", n)
		}
		second.stop()
		third := w.start(since)
		time.Sleep(15 * time.Second)
		if spans(third) == 0 {
			t.Error("after a restart, which --since is meant for, the backlog is empty")
		}
		third.stop()
	})
}

// A Scope that AWS never answered in has nothing in its backlog when a reload comes: the next Daemon puts it there.
func TestSinceIsNotLostByAReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, "{global_region: off, poll: {start: 1m, rate: 0.1}}", fakeaws.Config{})
		since := func(o *Options) { o.Since = time.Now().Add(-30 * 24 * time.Hour) }
		w.cloud.SetFaults("LookupEvents", fakeaws.Faults{ServerError: 1})
		first := w.start(since)
		time.Sleep(10 * time.Second)
		first.stop()
		w.cloud.Heal()
		second := w.start(since, afterDaemon(first))
		time.Sleep(15 * time.Second)
		if spans(second) == 0 {
			t.Error("after a reload that came before AWS answered, the backlog is empty")
		}
		second.stop()
	})
}

// AWS counts attempts whoever makes them: a reload gives a Scope no second burst.
func TestReloadsKeepToTheRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, "{global_region: off, poll: {rate: 0.5, interval: 1s}}", fakeaws.Config{})
		r := w.start()
		for range 5 {
			time.Sleep(5500 * time.Millisecond)
			r.stop()
			r = w.start(afterDaemon(r))
		}
		time.Sleep(5 * time.Second)
		r.stop()
		if n := len(w.cloud.Calls("LookupEvents")); n < 10 {
			t.Fatalf("%d calls show little", n)
		}
		w.pace(0.5)
	})
}

// servePort serves the port until ctx ends.
func servePort(ctx context.Context, port *Port) error {
	ok := func() error { return nil }
	return newWeb(webOptions{
		Listener: port.lend(), Registry: prometheus.NewRegistry(), Ready: ok, Healthy: ok, Page: http.NotFoundHandler(), Log: zap.NewNop(),
	}).Run(ctx)
}

// A port that goes from one server to the next refuses nobody and drops no request.
func TestPortGoesOn(t *testing.T) {
	t.Parallel()
	port, err := listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer port.Close()
	const clients = 4
	asked := make(chan error)
	stop := make(chan struct{})
	for i := range clients {
		go func() {
			client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: i%2 == 0}}
			defer client.CloseIdleConnections()
			for {
				select {
				case <-stop:
					asked <- nil
					return
				default:
				}
				resp, err := client.Get(fmt.Sprintf("http://%s/-/ready", port.listener.Addr()))
				if err == nil {
					_, err = io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
				}
				if err != nil {
					asked <- err
					return
				}
			}
		}()
	}
	for range 20 {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		if err := servePort(ctx, port); err != nil {
			t.Fatal(err)
		}
		cancel()
	}
	close(stop)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- servePort(ctx, port) }() // for those whose last request waits in the port's queue
	for range clients {
		if err := <-asked; err != nil {
			t.Error(err)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}
