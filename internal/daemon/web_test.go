package daemon

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

// startPort runs a web port until t ends.
func startPort(t *testing.T, o webOptions, change func(*web)) *web {
	t.Helper()
	port, err := listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { port.Close() })
	o.Listener = port.lend()
	if o.Registry == nil {
		o.Registry = prometheus.NewRegistry()
	}
	if o.Ready == nil {
		o.Ready = func() error { return nil }
	}
	if o.Healthy == nil {
		o.Healthy = func() error { return nil }
	}
	if o.Page == nil {
		o.Page = http.NotFoundHandler()
	}
	o.Log = zap.NewNop()
	w := newWeb(o)
	if change != nil {
		change(w)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return w
}

// Clients that connect and say nothing take no more than their share of descriptors, and for a while only.
func TestWebHasRoomAgainAfterSilentClients(t *testing.T) {
	t.Parallel()
	w := startPort(t, webOptions{}, func(w *web) { w.server.ReadHeaderTimeout = time.Second })
	for range webConnections + 50 {
		c, err := net.Dial("tcp", w.Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	client := &http.Client{Timeout: 20 * time.Second}
	resp, err := client.Get("http://" + w.Addr() + "/-/healthy")
	if err != nil {
		t.Fatalf("after %d silent connections: %v", webConnections+50, err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("%d", resp.StatusCode)
	}
}

// A head without end is refused, and so is every method that would change something.
func TestWebRefuses(t *testing.T) {
	t.Parallel()
	w := startPort(t, webOptions{}, nil)
	for name, c := range map[string]struct{ request, want string }{
		"a long head":  {"GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + strings.Repeat("x", 2*webHeaderBytes) + "\r\n\r\n", "HTTP/1.1 431 "},
		"POST":         {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 405 "},
		"PUT":          {"PUT /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 405 "},
		"DELETE":       {"DELETE /-/ready HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 405 "},
		"TRACE":        {"TRACE / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 405 "},
		"its debugger": {"GET /debug/requests HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 404 "}, // a library's, on the default mux
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, err := net.Dial("tcp", w.Addr())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
				t.Fatal(err)
			}
			go io.WriteString(conn, c.request) // it may be cut off
			line, err := bufio.NewReader(conn).ReadString('\n')
			if err != nil || !strings.HasPrefix(line, c.want) {
				t.Errorf("%q, %v, want %s", line, err, c.want)
			}
		})
	}
}
