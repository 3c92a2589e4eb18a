package whisper

import (
	"context"
	"math"
	"time"

	"github.com/ethereum/go-ethereum/rlp"
)

// outgoing is a run of packets for one peer only, written in order.
type outgoing struct {
	code    uint64
	packets [][]byte
	done    chan error // capacity 1: how it went
}

// Settings a peer can be told about: bits of peer.untold.
const (
	tellPoW = 1 << iota
	tellBloom
)

// tell marks settings as changed, for writeLoop to tell the peer. Changes that
// come faster than they can be written are merged.
func (p *peer) tell(what uint32) {
	if what != 0 {
		p.untold.Or(what)
		p.signal()
	}
}

func (p *peer) signal() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// send writes packets to the peer and returns when they are written.
func (p *peer) send(ctx context.Context, code uint64, packets ...[]byte) error {
	o := &outgoing{code: code, packets: packets, done: make(chan error, 1)}
	select {
	case p.direct <- o:
	case <-p.ctx.Done():
		return ErrNotConnected
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-o.done:
		return err
	case <-p.ctx.Done():
		return ErrNotConnected
	case <-ctx.Done():
		return ctx.Err()
	}
}

// writer is the state of a peer's writeLoop.
type writer struct {
	*peer
	packet []byte    // under construction: room for a list head, then envelopes
	count  int       // envelopes in packet
	since  time.Time // when the oldest envelope in packet was accepted; zero: from the pool
	spare  []queued  // array for the relay queue

	// The pool is offered in the order of expiry, a packet at a time.
	offering []*Envelope // read from the pool, not yet written
	walking  bool        // there may be more in the pool after the second walked
	walked   uint32
	began    time.Time
}

// listHeadRoom is left free before the envelopes of a packet.
const listHeadRoom = 5

// writeLoop is the only writer of the link after the handshake. It first writes
// packets that are for this peer only, then newly accepted envelopes, then the
// pool. It returns when the link ends.
func (p *peer) writeLoop() {
	w := &writer{peer: p}
	for {
		select {
		case <-p.ctx.Done():
			return
		case o := <-p.direct:
			if !w.writeOutgoing(o) {
				return
			}
		case <-p.wake:
		}
		for more := true; more; {
			var ok bool
			if more, ok = w.step(); !ok {
				return
			}
		}
	}
}

// step writes the most urgent packets and tells whether there may be more. ok is
// false when the link is broken.
func (w *writer) step() (more, ok bool) {
	if w.ctx.Err() != nil {
		return false, false
	}
	select {
	case o := <-w.direct:
		return true, w.writeOutgoing(o)
	default:
	}
	if what := w.untold.Swap(0); what != 0 {
		return true, w.writeSettings(what)
	}
	if batch := w.relay.take(w.spare); len(batch) > 0 {
		ok := w.writeEnvelopes(batch)
		w.spare = keepSpare(batch)
		return true, ok
	}
	now := time.Now()
	if w.resync.Load() && now.Sub(w.began) >= resyncEvery {
		w.resync.Store(false)
		w.offering, w.walking, w.walked, w.began = nil, true, 0, now
	}
	if w.walking || len(w.offering) > 0 {
		return true, w.offer(now)
	}
	return false, true
}

// keepSpare returns the array of a written batch for reuse, unless a burst made
// it large.
func keepSpare(batch []queued) []queued {
	if cap(batch) > decodeBatch {
		return nil
	}
	clear(batch)
	return batch[:0]
}

func (w *writer) write(code uint64, payload []byte) bool {
	if writePacket(w.link, code, payload) != nil {
		return false // a link whose write failed ends
	}
	w.node.metrics.sent(w.node.handlers[code].name, len(payload))
	return true
}

func (w *writer) writeOutgoing(o *outgoing) bool {
	for _, payload := range o.packets {
		if !w.write(o.code, payload) {
			o.done <- ErrNotConnected
			return false
		}
	}
	o.done <- nil
	return true
}

func (w *writer) writeSettings(what uint32) bool {
	s := w.node.settings.Load()
	if what&tellPoW != 0 && !w.write(PoWPacket, rlp.AppendUint64(nil, math.Float64bits(s.minPoW))) {
		return false
	}
	return what&tellBloom == 0 || w.write(BloomPacket, encodeString(s.bloom[:]))
}

// encodeString returns a byte string as RLP.
func encodeString(content []byte) []byte {
	b, err := rlp.EncodeToBytes(content)
	if err != nil {
		panic("whisper: internal error: byte string without RLP: " + err.Error())
	}
	return b
}

// offer sends the next packet from the pool.
func (w *writer) offer(now time.Time) bool {
	if len(w.offering) == 0 {
		w.offering, w.walked = w.node.pool.after(w.walked, w.node.light.Load())
		w.walking = len(w.offering) > 0
	}
	wants := w.wants.Load()
	for len(w.offering) > 0 {
		e := w.offering[0]
		w.offering[0], w.offering = nil, w.offering[1:]
		if !wants.accepts(e, e.PoW(now)) {
			continue
		}
		if !w.add(queued{Envelope: e}, now) {
			return false
		}
		if w.count == 0 {
			break // a packet is out: newly accepted envelopes go first again
		}
	}
	return w.flush()
}

func (w *writer) writeEnvelopes(batch []queued) bool {
	now := time.Now()
	for _, q := range batch {
		if !w.add(q, now) {
			return false
		}
	}
	return w.flush()
}

// add puts an envelope into the packet, and writes the packet once it is large.
// It leaves out envelopes that the peer has, that have expired, or that are so
// large that the peer would close the link.
func (w *writer) add(q queued, now time.Time) bool {
	size := len(q.raw)
	if size+listHeadRoom > w.node.maxPacket() || int64(q.Expiry) < now.Unix() || !w.known.first(q.Envelope, now) {
		return true
	}
	if w.count > 0 && len(w.packet)+size > plausibleMaxPacket && !w.flush() {
		return false
	}
	if w.count == 0 {
		w.packet = append(w.packet[:0], make([]byte, listHeadRoom)...)
		w.since = q.since
	}
	w.packet = append(w.packet, q.raw...)
	w.count++
	return len(w.packet) < relayPacket || w.flush()
}

// flush writes the packet under construction.
func (w *writer) flush() bool {
	if w.count == 0 {
		return true
	}
	var head [listHeadRoom]byte
	h := appendListHead(head[:0], len(w.packet)-listHeadRoom)
	payload := w.packet[listHeadRoom-len(h):]
	copy(payload, h)
	if !w.write(MessagesPacket, payload) {
		return false
	}
	w.node.metrics.relayed(w.count, w.since)
	w.count = 0
	if cap(w.packet) > plausibleMaxPacket {
		w.packet = nil
	}
	return true
}

// maxPacket is the largest packet of envelopes that peers are assumed to accept.
func (n *Node) maxPacket() int {
	return max(plausibleMaxPacket, int(n.settings.Load().maxMessageSize))
}
