package wnode

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"whisperpush/whisper"
)

// archiveHealth remembers whether the archive took the newest envelopes, for /healthz: a node whose disk is full
// or broken relays on, but is no mail server.
type archiveHealth struct {
	whisper.Archiver
	failure atomic.Pointer[error] // of the newest attempt; nil: it went well
}

// Archive implements whisper.Archiver.
func (h *archiveHealth) Archive(ctx context.Context, envs []*whisper.Envelope, done func(error)) {
	h.Archiver.Archive(ctx, envs, func(err error) {
		switch {
		case err == nil:
			h.failure.Store(nil)
		case !errors.Is(err, context.Canceled): // a peer that left, or a node that stops, says nothing of the disk
			h.failure.Store(&err)
		}
		done(err)
	})
}

// healthy returns what is wrong with the node. It does not return at all while the node hangs.
func (s *server) healthy() error {
	s.whisper.Peers()
	return s.health.check()
}

// check returns what is wrong with the archive. There is nothing wrong with none.
func (h *archiveHealth) check() error {
	if h == nil {
		return nil
	}
	if failure := h.failure.Load(); failure != nil {
		return fmt.Errorf("the archive did not take the newest envelopes: %w", *failure)
	}
	return nil
}
