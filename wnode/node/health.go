package node

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"whisperpush/whisper"
)

// archiveHealth remembers whether the archive took the newest envelopes, for /healthz: a node whose disk is full or
// broken relays on, but is no longer a mailserver.
type archiveHealth struct {
	whisper.Archiver
	failure atomic.Pointer[error] // of the newest attempt; nil: it succeeded

	// probe writes to the archive's disk, and parts lists the parts set aside; nil in tests that need neither.
	probe  func() error
	parts  func() []string
	probed atomic.Int64 // Unix nanoseconds of the latest probe
}

// probeEvery is how often a failed archive is probed without an envelope to store. Without probes, a node that receives
// no mail would stay unhealthy long after there is room again.
const probeEvery = 5 * time.Second

// Archive implements whisper.Archiver.
func (h *archiveHealth) Archive(ctx context.Context, envs []*whisper.Envelope, done func(error)) {
	h.Archiver.Archive(ctx, envs, func(err error) {
		switch {
		case err == nil:
			h.failure.Store(nil)
		case !errors.Is(err, context.Canceled): // a peer that left, or a node that stops, says nothing about the disk
			h.failure.Store(&err)
		}
		done(err)
	})
}

// healthy returns what is wrong with the node. It never returns while the node hangs.
func (n *Node) healthy() error {
	n.whisper.Peers()
	if n.store != nil {
		return nil // a restart does not repair a database
	}
	return n.health.check()
}

// remark is what an operator should know of a healthy node: a restart does not bring back a part of the archive that is
// set aside.
func (n *Node) remark() string {
	if n.health == nil || n.health.parts == nil {
		return ""
	}
	return AsideRemark(n.health.parts())
}

// AsideRemark says which parts of the archive are set aside and what to do; empty if none is.
func AsideRemark(parts []string) string {
	if len(parts) == 0 {
		return ""
	}
	return fmt.Sprintf("damaged parts of the archive are set aside and their mail is not served (%s); stop the node and run wnode recover", strings.Join(parts, ", "))
}

// check returns what is wrong with the archive, nil if there is no archive.
func (h *archiveHealth) check() error {
	if h == nil {
		return nil
	}
	failure := h.failure.Load()
	if failure != nil && h.probe != nil {
		now, last := time.Now().UnixNano(), h.probed.Load()
		if now-last >= int64(probeEvery) && h.probed.CompareAndSwap(last, now) && h.probe() == nil {
			h.failure.CompareAndSwap(failure, nil)
			failure = h.failure.Load()
		}
	}
	if failure != nil {
		return fmt.Errorf("the archive did not take the newest envelopes: %w", *failure)
	}
	return nil
}
