package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	toolkit "github.com/prometheus/exporter-toolkit/web"
	"go.uber.org/zap"
	"go.uber.org/zap/exp/zapslog"
	"golang.org/x/net/netutil"
)

// What clients of the web port may take, whoever they are: the daemon shares its memory, its descriptors and its exit with them.
const (
	webHeaderWait  = 5 * time.Second // for the head of a request, and for a TLS handshake
	webReadWait    = 10 * time.Second
	webWriteWait   = 30 * time.Second // /metrics of 1,700 Scopes is some ten MB
	webIdleWait    = 2 * time.Minute
	webHeaderBytes = 16 << 10
	// webConnections are served at once; others wait until one of these ends. It leaves most of the usual 1,024 descriptors to AWS.
	webConnections = 256
	// webScrapes of /metrics are made at once; others are told to come back.
	webScrapes = 8
	// webGrace is for requests in hand at the end.
	webGrace = 2 * time.Second
	webLook  = 5 * time.Millisecond // how often it is looked whether there are any
)

// probe answers a health question: nil is yes, an error says what is wrong.
type probe func() error

// webOptions are what the web port is made of.
type webOptions struct {
	Listener       net.Listener // closed by the web port
	ConfigFile     string       // "": neither TLS nor a password; see CheckWebConfig
	Registry       *prometheus.Registry
	Ready, Healthy probe
	Page           http.Handler // what is at /
	Log            *zap.Logger
}

// web is the HTTP port: the status page, metrics and health. It is read-only.
type web struct {
	server     *http.Server
	listener   net.Listener
	configFile string
	log        *slog.Logger // the toolkit's

	mu   sync.Mutex // guards busy
	busy map[net.Conn]struct{}
}

// newWeb makes what serves the port. It starts nothing.
func newWeb(o webOptions) *web {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(o.Registry, promhttp.HandlerOpts{Registry: o.Registry, MaxRequestsInFlight: webScrapes}))
	mux.Handle("GET /-/ready", answer(o.Ready))
	mux.Handle("GET /-/healthy", answer(o.Healthy))
	mux.Handle("GET /{$}", o.Page)
	log := o.Log.Named("web")
	w := &web{
		listener:   netutil.LimitListener(o.Listener, webConnections),
		configFile: o.ConfigFile,
		log:        slog.New(zapslog.NewHandler(log.Core(), zapslog.WithName("web"))),
		server: &http.Server{
			Handler:           mux,
			ReadHeaderTimeout: webHeaderWait,
			ReadTimeout:       webReadWait,
			WriteTimeout:      webWriteWait,
			IdleTimeout:       webIdleWait,
			MaxHeaderBytes:    webHeaderBytes,
			ErrorLog:          zap.NewStdLog(log),
		},
		busy: map[net.Conn]struct{}{},
	}
	w.server.ConnState = w.note
	return w
}

// note keeps busy the connections that have a request in hand, or have yet to say what they want.
func (w *web) note(c net.Conn, state http.ConnState) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if state == http.StateNew || state == http.StateActive {
		w.busy[c] = struct{}{}
	} else {
		delete(w.busy, c)
	}
}

func (w *web) idle() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.busy) == 0
}

// Addr is where it listens, as HOST:PORT.
func (w *web) Addr() string { return w.listener.Addr().String() }

// Run serves until ctx ends, then lets requests in hand finish for a moment. Who has connected is still answered: the server's own Shutdown
// would drop who has not said yet what he wants, and after a reload the port goes on.
func (w *web) Run(ctx context.Context) error {
	defer w.listener.Close() // serving closes it too, once it has begun
	done := make(chan error, 1)
	go func() { done <- w.serve() }()
	select {
	case err := <-done:
		return fmt.Errorf("web: %w", err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), webGrace)
	defer cancel()
	_ = w.listener.Close()
	err := <-done
	w.server.SetKeepAlivesEnabled(false)
	for !w.idle() && grace.Err() == nil {
		time.Sleep(webLook)
	}
	if err := w.server.Shutdown(grace); err != nil {
		_ = w.server.Close() // a scraper that never reads its answer must not hold up the exit
	}
	if err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("web: %w", err)
	}
	return nil
}

// serve returns when the server is closed, or at once where the configuration file cannot be used any more.
func (w *web) serve() error {
	if w.configFile == "" {
		return w.server.Serve(w.listener)
	}
	return toolkit.Serve(w.listener, w.server, &toolkit.FlagConfig{WebConfigFile: &w.configFile}, w.log)
}

func answer(p probe) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		if err := p(); err != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprintln(w, err)
			return
		}
		fmt.Fprintln(w, "ok")
	})
}
