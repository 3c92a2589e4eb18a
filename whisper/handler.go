package whisper

import (
	"errors"
	"io"
	"math"
	"runtime/debug"
	"time"

	"github.com/ethereum/go-ethereum/rlp"
)

// handler is what a node does with one packet code.
type handler struct {
	name   string                              // label of its metrics
	limit  func(*settings) uint32              // largest payload in bytes
	keeps  bool                                // handle keeps the payload
	handle func(p *peer, payload []byte) error // an error is counted, the link stays
}

func atMost(size uint32) func(*settings) uint32 {
	return func(*settings) uint32 { return size }
}

func oneEnvelope(s *settings) uint32 { return s.maxMessageSize + envelopeOverhead }

// packetHandlers returns the packets this node understands once the handshake is over.
func (n *Node) packetHandlers() map[uint64]handler {
	handlers := map[uint64]handler{
		MessagesPacket:        {name: "messages", limit: atMost(maxMessagesPacket), handle: n.handleMessages},
		PoWPacket:             {name: "pow", limit: atMost(maxSettingPacket), handle: n.handlePoW},
		BloomPacket:           {name: "bloom", limit: atMost(maxSettingPacket), handle: n.handleBloom},
		RequestCompletePacket: {name: "request_complete", limit: atMost(maxRequestCompletePacket), keeps: true, handle: n.handleRequestComplete},
		RequestPacket:         {name: "request", limit: oneEnvelope, keeps: true, handle: n.handleRequest},
		DirectPacket:          {name: "direct", limit: atMost(maxMessagesPacket), keeps: true, handle: n.handleDirect},
	}
	if sync, ok := n.direct.(SyncHandler); ok {
		handlers[SyncResponsePacket] = handler{name: "sync_response", limit: atMost(maxMessagesPacket), keeps: true, handle: func(p *peer, payload []byte) error {
			if !p.trusted.Load() {
				return errNotTrusted
			}
			sync.HandleSyncResponse(p.id, payload)
			return nil
		}}
	}
	return handlers
}

// readLoop handles the packets of a peer until the link ends. Nothing that a peer
// sends makes the node close the link: a relay cannot know what every other node
// will object to, and a garbled packet says nothing about the next one.
func (p *peer) readLoop() error {
	for {
		packet, err := p.link.ReadPacket()
		if err != nil {
			return err
		}
		if err := p.read(packet); err != nil {
			return err
		}
	}
}

// read handles one packet. An error means that the link is broken.
func (p *peer) read(packet Packet) error {
	defer packet.discard()
	h, ok := p.node.handlers[packet.Code]
	if !ok { // a second status, or an extension
		p.node.metrics.ignored(packet.Size)
		p.throttle(&p.byteBudget, int(packet.Size))
		return nil
	}
	p.node.metrics.received(h.name, packet.Size)
	if packet.Size > h.limit(p.node.settings.Load()) {
		p.node.metrics.refusePacket(h.name)
		p.throttle(&p.byteBudget, int(packet.Size))
		return nil
	}
	payload := p.room(int(packet.Size), h.keeps)
	if _, err := io.ReadFull(packet.Payload, payload); err != nil {
		return err
	}
	p.throttle(&p.byteBudget, len(payload))
	if err := h.guarded(p, payload); err != nil {
		p.node.metrics.refusePacket(h.name)
		p.node.log.Debug("refused a packet", "packet", h.name, "bytes", len(payload), "err", err)
	}
	return nil
}

// guarded handles a packet and turns a panic into an error, so that a bug does not
// let a stranger end the process.
func (h handler) guarded(p *peer, payload []byte) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			p.node.metrics.panics.WithLabelValues(h.name).Inc()
			p.node.log.Error("panic while handling a packet", "packet", h.name, "panic", cause, "stack", string(debug.Stack()))
			err = errPanic
		}
	}()
	return h.handle(p, payload)
}

var errPanic = errors.New("whisper: a panic while handling a packet")

// room returns the buffer for a payload: a new one if the handler keeps the
// payload, otherwise the peer's.
func (p *peer) room(size int, keep bool) []byte {
	switch {
	case keep || size > keptReadBuffer:
		return make([]byte, size)
	case cap(p.buffer) < size:
		p.buffer = make([]byte, min(2*size, keptReadBuffer))
	}
	return p.buffer[:size]
}

func (n *Node) handleMessages(p *peer, payload []byte) error {
	return readEnvelopes(payload, decodeBatch, func(envelopes []*Envelope, bad int) {
		n.metrics.refuse(ErrMalformed, bad)
		n.ingest(p, envelopes)
	})
}

func (n *Node) handlePoW(p *peer, payload []byte) error {
	bits, rest, err := rlp.SplitUint64(payload)
	if err != nil || len(rest) != 0 {
		return malformed("minimum proof of work of %d bytes", len(payload))
	}
	pow := math.Float64frombits(bits)
	if err := checkPoW(pow); err != nil {
		return err
	}
	p.accept(func(w *wants) { w.minPoW = pow })
	return nil
}

func (n *Node) handleBloom(p *peer, payload []byte) error {
	bloom, rest, err := rlp.SplitString(payload)
	if err != nil || len(rest) != 0 || len(bloom) != BloomSize {
		return malformed("bloom filter of %d bytes", len(payload))
	}
	p.accept(func(w *wants) { w.bloom = Bloom(bloom) })
	return nil
}

var (
	errNoMailserver = errors.New("whisper: a mail request, but this node is no mailserver")
	errNotTrusted   = errors.New("whisper: a direct message from a peer that is not trusted")
)

func (n *Node) handleRequest(p *peer, payload []byte) error {
	if n.requests == nil {
		return errNoMailserver
	}
	p.seat.asks.asked(time.Now())
	n.requests.HandleRequest(p.id, payload)
	return nil
}

func (n *Node) handleRequestComplete(p *peer, payload []byte) error {
	content, rest, err := rlp.SplitString(payload)
	if err != nil || len(rest) != 0 {
		return malformed("end mark of %d bytes", len(payload))
	}
	if n.direct != nil {
		n.direct.HandleRequestComplete(p.id, content)
	}
	return nil
}

// handleDirect takes one envelope or, from status-go, a list of them. They come
// from an archive, so their size is checked, but not their expiry or proof of
// work. A subscription checks the message that it opens like any other.
func (n *Node) handleDirect(p *peer, payload []byte) error {
	if !p.trusted.Load() {
		return errNotTrusted
	}
	if e, err := DecodeEnvelope(payload); err == nil {
		n.deliverDirect(p, e)
		return nil
	}
	return readEnvelopes(payload, decodeBatch, func(envelopes []*Envelope, bad int) {
		n.metrics.refuse(ErrMalformed, bad)
		for _, e := range envelopes {
			n.deliverDirect(p, e)
		}
	})
}

// Deliver hands subscriptions an envelope that came from an archive rather than over the node's own links, as if a trusted
// peer had sent it as a direct message. The only error is ErrTooLarge.
func (n *Node) Deliver(e *Envelope) error {
	if e.Size() > int(n.settings.Load().maxMessageSize) {
		n.metrics.refuse(ErrTooLarge, 1)
		return ErrTooLarge
	}
	n.subscriptions.match(e, 0, true, time.Now())
	return nil
}

func (n *Node) deliverDirect(p *peer, e *Envelope) {
	if e.Size() > int(n.settings.Load().maxMessageSize) {
		n.metrics.refuse(ErrTooLarge, 1)
		return
	}
	if n.direct != nil {
		n.direct.HandleDirect(p.id, e)
	}
	n.subscriptions.match(e, 0, true, time.Now())
}
