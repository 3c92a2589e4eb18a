package whisper

import (
	"context"

	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/ethereum/go-ethereum/rlp"
)

// The Send methods write packets for one peer only, in the order of the calls,
// and return when they are written. They fail with the context's error, or
// with ErrNotConnected, which also means that the link ended meanwhile.

// SendDirect sends envelopes to one peer, each in a packet 127, and returns when
// all are written. The peer accepts them only if it trusts this node.
func (n *Node) SendDirect(ctx context.Context, id enode.ID, envs ...*Envelope) error {
	packets := make([][]byte, len(envs))
	for i, e := range envs {
		packets[i] = e.raw
	}
	return n.send(ctx, id, DirectPacket, packets...)
}

// SendDirectBatch sends envelopes to one peer in lists, an extension of
// status-go. It uses as few packets 127 as possible with at most 128
// KiB of envelopes each, unless a single envelope is larger.
func (n *Node) SendDirectBatch(ctx context.Context, id enode.ID, envs []*Envelope) error {
	return n.send(ctx, id, DirectPacket, packLists(envs)...)
}

// SendMessages sends envelopes to one peer, which is to accept and relay them,
// and returns when they are written. This node neither checks nor keeps them;
// a node that stays in the network uses Post.
func (n *Node) SendMessages(ctx context.Context, id enode.ID, envs ...*Envelope) error {
	return n.send(ctx, id, MessagesPacket, packLists(envs)...)
}

// packLists makes lists of envelopes, each at most relayPacket long unless a
// single envelope is larger.
func packLists(envs []*Envelope) [][]byte {
	var packets [][]byte
	for len(envs) > 0 {
		size, count := 0, 0
		for count < len(envs) && (count == 0 || size+len(envs[count].raw) <= relayPacket) {
			size += len(envs[count].raw)
			count++
		}
		packet := appendListHead(make([]byte, 0, listHeadRoom+size), size)
		for _, e := range envs[:count] {
			packet = append(packet, e.raw...)
		}
		packets, envs = append(packets, packet), envs[count:]
	}
	return packets
}

// SendRequest sends a mail request to one peer.
func (n *Node) SendRequest(ctx context.Context, id enode.ID, env *Envelope) error {
	return n.send(ctx, id, RequestPacket, env.raw)
}

// SendRequestComplete tells one peer that the answer to its mail request is
// complete. payload is the content of the RLP string.
func (n *Node) SendRequestComplete(ctx context.Context, id enode.ID, payload []byte) error {
	return n.send(ctx, id, RequestCompletePacket, encodeString(payload))
}

func (n *Node) send(ctx context.Context, id enode.ID, code uint64, packets ...[]byte) error {
	p := n.peer(id)
	if p == nil {
		return ErrNotConnected
	}
	return p.send(ctx, code, packets...)
}

// SendRequestPayload sends a mail request that is RLP without an envelope, an
// extension of status-go.
func (n *Node) SendRequestPayload(ctx context.Context, id enode.ID, payload rlp.RawValue) error {
	return n.send(ctx, id, RequestPacket, payload)
}

// SendSyncRequest asks a mailserver for envelopes as another mailserver does, an extension
// of status-go.
func (n *Node) SendSyncRequest(ctx context.Context, id enode.ID, payload rlp.RawValue) error {
	return n.send(ctx, id, SyncRequestPacket, payload)
}
