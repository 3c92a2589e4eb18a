package wnode

import (
	"context"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
)

// hangups is what SIGHUP means for the running command.
type hangups struct {
	taken atomic.Bool // the command uses SIGHUP itself; otherwise it ends the command
	asked chan struct{}
}

type hangupsKey struct{}

// withHangups calls stop at SIGHUP, unless the command uses reloads. release restores the signal.
func withHangups(ctx context.Context, stop func()) (_ context.Context, release func()) {
	h := &hangups{asked: make(chan struct{}, 1)}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGHUP)
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-done:
				return
			case <-signals:
			}
			if !h.taken.Load() {
				stop()
				continue
			}
			select {
			case h.asked <- struct{}{}:
			default: // a request is pending, and will read what is there by then
			}
		}
	}()
	return context.WithValue(ctx, hangupsKey{}, h), func() {
		signal.Stop(signals)
		close(done)
		<-ended
	}
}

// reloads has a value for each SIGHUP from now on.
func reloads(ctx context.Context) <-chan struct{} {
	h, ok := ctx.Value(hangupsKey{}).(*hangups)
	if !ok {
		return nil
	}
	h.taken.Store(true)
	return h.asked
}
