package main

import (
	"context"
	"os"
	"sync/atomic"
	"time"

	systemd "github.com/coreos/go-systemd/v22/daemon"
	"go.uber.org/zap"
)

const (
	readyTick  = 100 * time.Millisecond // how often a start looks whether it is ready
	statusTick = 5 * time.Second        // how often what `systemctl status` shows is renewed, unless the watchdog wants it sooner
)

// working is the Daemon at work, as systemd hears of it.
type working interface {
	Ready() error
	Healthy() error
	Summary() string
}

// notifier tells systemd how the Daemon at work is, by sd_notify(3): READY=1 when /-/ready says so, WATCHDOG=1 while /-/healthy does. Without
// $NOTIFY_SOCKET it says nothing.
type notifier struct {
	working func() working
	ready   atomic.Bool // READY=1 was said
	log     *zap.Logger // set by start
	broken  atomic.Bool // a failure was logged
}

func newNotifier(working func() working) *notifier {
	return &notifier{working: working, log: zap.NewNop()}
}

// start notifies until ctx ends, and then says that the daemon is ending. What it returns waits for that.
func (n *notifier) start(ctx context.Context, log *zap.Logger) (stop func()) {
	n.log = log
	if os.Getenv("NOTIFY_SOCKET") == "" {
		return func() {}
	}
	watchdog, err := systemd.SdWatchdogEnabled(false)
	if err != nil {
		log.Warn("the watchdog is off", zap.Error(err))
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		n.run(ctx, watchdog)
	}()
	return func() { cancel(); <-done }
}

func (n *notifier) run(ctx context.Context, watchdog time.Duration) {
	beat := statusTick
	if watchdog > 0 {
		beat = min(beat, watchdog/3)
	}
	said, sick, next := "", false, time.Now()
	for {
		d := n.working()
		waiting, healthy := d.Ready(), d.Healthy()
		if waiting == nil && !n.ready.Load() {
			n.send(systemd.SdNotifyReady)
			n.ready.Store(true)
			next = time.Now()
		}
		if !time.Now().Before(next) {
			next = time.Now().Add(beat)
			status := d.Summary()
			switch {
			case healthy != nil:
				status = "not healthy: " + healthy.Error()
			case waiting != nil:
				status = waiting.Error()
			}
			if status != said {
				said = status
				n.send("STATUS=" + status)
			}
			if healthy == nil && watchdog > 0 {
				n.send(systemd.SdNotifyWatchdog)
			}
			if healthy != nil && !sick && watchdog > 0 {
				n.log.Error("not healthy: systemd's watchdog will restart the daemon", zap.Error(healthy))
			}
			sick = healthy != nil
		}
		wait := time.Until(next)
		if !n.ready.Load() {
			wait = min(wait, readyTick)
		}
		select {
		case <-ctx.Done():
			n.send(systemd.SdNotifyStopping + "\nSTATUS=ending: what is in hand is tagged and saved")
			return
		case <-time.After(wait):
		}
	}
}

// reloading says that the configuration is being read again, and reloaded that this is over, however it ended.
func (n *notifier) reloading() {
	if n.ready.Load() {
		n.send(systemd.SdNotifyReloading + "\n" + systemd.SdNotifyMonotonicUsec())
	}
}

func (n *notifier) reloaded() {
	if n.ready.Load() {
		n.send(systemd.SdNotifyReady)
	}
}

// send says one thing. A daemon that systemd does not hear works all the same.
func (n *notifier) send(state string) {
	if _, err := systemd.SdNotify(false, state); err != nil && !n.broken.Swap(true) {
		n.log.Warn("systemd cannot be notified", zap.Error(err))
	}
}
