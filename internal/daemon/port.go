package daemon

import (
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/autotagd/autotagd/pkg/config"
)

// Port is the web port. It may outlive the Daemon that serves it: after a reload the next one serves it, and who connects between the two
// waits a moment and is not refused.
type Port struct{ listener *net.TCPListener }

// OpenPort binds web.listen at once, so that an address in use is an error at a start and not a line in a log. A dry run, which may
// run beside the real daemon, then takes any port.
func OpenPort(cfg *config.Config) (*Port, error) {
	p, err := listen(cfg.Web.Listen)
	if errors.Is(err, syscall.EADDRINUSE) && cfg.DryRun {
		return listen("127.0.0.1:0")
	}
	return p, err
}

func listen(addr string) (*Port, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("web.listen: %w; set web.listen to a free address, such as 127.0.0.1:0", err)
	}
	return &Port{l.(*net.TCPListener)}, nil
}

// Close unbinds it.
func (p *Port) Close() error { return p.listener.Close() }

// lend gives the port to one server, until that closes what it got.
func (p *Port) lend() net.Listener {
	_ = p.listener.SetDeadline(time.Time{}) // of one that is closed Accept fails
	return &lent{TCPListener: p.listener}
}

// lent is a Port while one server has it.
type lent struct {
	*net.TCPListener
	closed atomic.Bool
}

// Accept implements net.Listener.
func (l *lent) Accept() (net.Conn, error) {
	c, err := l.TCPListener.Accept()
	if err != nil && l.closed.Load() {
		return nil, net.ErrClosed
	}
	return c, err
}

// Close ends an Accept that waits, and leaves the port bound.
func (l *lent) Close() error {
	if l.closed.Swap(true) {
		return net.ErrClosed
	}
	return l.TCPListener.SetDeadline(time.Now())
}
