package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"
)

// probe answers a health question: nil is yes, an error says what is wrong.
type probe func() error

// web is the HTTP port: metrics and health. It is read-only.
type web struct {
	server   *http.Server
	listener net.Listener
}

// listenWeb binds the port at once, so that an address in use is an error at start and not a line in a log.
func listenWeb(addr string, reg *prometheus.Registry, ready, healthy probe, log *zap.Logger) (*web, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("web.listen: %w; set web.listen to a free address, such as 127.0.0.1:0", err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{Registry: reg}))
	mux.Handle("GET /-/ready", answer(ready))
	mux.Handle("GET /-/healthy", answer(healthy))
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "autotagd\n\n/metrics\n/-/ready\n/-/healthy\n")
	})
	return &web{
		listener: l,
		server: &http.Server{
			Handler:           mux,
			ReadHeaderTimeout: 5 * time.Second,
			ReadTimeout:       10 * time.Second,
			WriteTimeout:      30 * time.Second,
			IdleTimeout:       2 * time.Minute,
			MaxHeaderBytes:    16 << 10,
			ErrorLog:          zap.NewStdLog(log.Named("web")),
		},
	}, nil
}

// Addr is where it listens, as HOST:PORT.
func (w *web) Addr() string { return w.listener.Addr().String() }

// Run serves until ctx ends, then lets requests in hand finish for at most two seconds.
func (w *web) Run(ctx context.Context) error {
	done := make(chan error, 1)
	go func() { done <- w.server.Serve(w.listener) }()
	select {
	case err := <-done:
		return fmt.Errorf("web: %w", err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if err := w.server.Shutdown(grace); err != nil {
		_ = w.server.Close() // a scraper that never reads its answer must not hold up the exit
	}
	if err := <-done; err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("web: %w", err)
	}
	return nil
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
