package whisper

import (
	"bytes"
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ethereum/go-ethereum/p2p/enode"
)

// peer is one link on which the handshake is complete. Two goroutines work on
// it: Run of the protocol reads (handler.go), writeLoop writes (broadcast.go).
type peer struct {
	node *Node
	id   enode.ID
	seat *seat
	link Link
	ctx  context.Context // ends with the link

	trusted atomic.Bool
	light   bool
	wants   atomic.Pointer[wants]
	known   knownSet

	// Owned by the reader.
	buffer        []byte    // for packets whose bytes nobody keeps
	scratch       []weighed // for a batch
	byteBudget    budget
	messageBudget budget

	relay  relayQueue
	direct chan *outgoing
	wake   chan struct{} // capacity 1: there is something to write
	untold atomic.Uint32 // settings that the peer has yet to be told
	resync atomic.Bool   // the peer wants more than before: offer it the pool again
}

// wants is what a peer accepts. It is never changed, only replaced.
type wants struct {
	minPoW float64
	bloom  Bloom
	all    bool // bloom is full
}

func newWants(minPoW float64, bloom Bloom) *wants {
	return &wants{minPoW: minPoW, bloom: bloom, all: bloom == FullBloom()}
}

// accepts tells whether an envelope with that proof of work is worth sending.
func (w *wants) accepts(e *Envelope, pow float64) bool {
	return pow >= w.minPoW && (w.all || w.bloom.Covers(e.Topic.Bloom()))
}

// more tells whether w accepts anything that former did not.
func (w *wants) more(former *wants) bool {
	return w.minPoW < former.minPoW || !former.bloom.Covers(w.bloom)
}

func newPeer(n *Node, ctx context.Context, at *seat, theirs status) *peer {
	now := time.Now()
	p := &peer{
		node:          n,
		id:            at.id,
		seat:          at,
		link:          at.link,
		ctx:           ctx,
		light:         theirs.light,
		byteBudget:    newBudget(float64(n.peerBytes), now),
		messageBudget: newBudget(float64(n.peerMessages), now),
		direct:        make(chan *outgoing, directQueue),
		wake:          make(chan struct{}, 1),
	}
	p.wants.Store(newWants(theirs.minPoW, theirs.bloom))
	p.resync.Store(true) // a new peer is offered the pool
	p.signal()
	return p
}

// accept replaces what the peer accepts. If it accepts more than before, the pool
// is offered again at the node's next tick, so that a flood of changes makes the
// node walk the pool once a second at most.
func (p *peer) accept(edit func(*wants)) {
	former := p.wants.Load()
	next := *former
	edit(&next)
	p.wants.Store(newWants(next.minPoW, next.bloom))
	if next.more(former) {
		p.resync.Store(true)
	}
}

// tick runs once a second.
func (p *peer) tick(now time.Time) {
	p.known.age(now)
	if p.resync.Load() {
		p.signal()
	}
}

// throttle waits until the peer is within its budget again.
func (p *peer) throttle(b *budget, n int) {
	if p.trusted.Load() {
		return
	}
	wait := b.spend(n, time.Now())
	if wait == 0 {
		return
	}
	p.node.metrics.throttled.Add(wait.Seconds())
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-p.ctx.Done():
	}
}

// PeerInfo describes a connected peer.
type PeerInfo struct {
	ID      enode.ID `json:"id"`
	Version uint     `json:"version"`
	MinPoW  float64  `json:"minPow"`  // least proof of work it accepts
	Full    bool     `json:"full"`    // it wants every topic
	Light   bool     `json:"light"`   // it passes nothing on
	Trusted bool     `json:"trusted"` // its direct messages are taken
	Queued  int      `json:"queued"`  // envelopes waiting to be written
}

func (p *peer) info() PeerInfo {
	w := p.wants.Load()
	return PeerInfo{
		ID: p.id, Version: ProtocolVersion, MinPoW: w.minPoW, Full: w.all,
		Light: p.light, Trusted: p.trusted.Load(), Queued: p.relay.len(),
	}
}

// queued is an envelope on its way to a peer.
type queued struct {
	*Envelope
	since time.Time // when it was accepted
}

// relayQueue holds the envelopes to be relayed to one peer. When it is full, the
// oldest is dropped.
type relayQueue struct {
	mu        sync.Mutex // guards the following fields
	envelopes []queued
	bytes     int
}

func (q *relayQueue) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.envelopes)
}

// add appends those envelopes of a batch that a peer wants, and returns how many
// of the oldest were dropped.
func (q *relayQueue) add(batch []weighed, w *wants, since time.Time) (added, dropped int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, e := range batch {
		if w.accepts(e.Envelope, e.pow) {
			q.envelopes = append(q.envelopes, queued{e.Envelope, since})
			q.bytes += len(e.raw)
			added++
		}
	}
	for len(q.envelopes) > relayQueueEnvelopes || q.bytes > relayQueueBytes {
		q.bytes -= len(q.envelopes[0].raw)
		q.envelopes[0] = queued{}
		q.envelopes = q.envelopes[1:]
		dropped++
	}
	return added, dropped
}

// take empties the queue. If it held something, spare becomes its next array.
func (q *relayQueue) take(spare []queued) []queued {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.envelopes) == 0 {
		return nil
	}
	taken := q.envelopes
	q.envelopes, q.bytes = spare, 0
	return taken
}

// writePacket writes one packet and returns when its bytes are no longer needed.
func writePacket(link Link, code uint64, payload []byte) error {
	return link.WritePacket(Packet{Code: code, Size: uint32(len(payload)), Payload: bytes.NewReader(payload)})
}
