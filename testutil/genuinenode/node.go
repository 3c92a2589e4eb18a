package genuinenode

import (
	"context"
	"crypto/ecdsa"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/p2p/enode"
)

// Info is what a node is and holds.
type Info struct {
	Enode          string
	ID             enode.ID
	MinPoW         float64
	MaxMessageSize uint32        // bytes
	Bloom          hexutil.Bytes // 64 bytes; nil for a full node that never set one
	Light          bool
	Pool           int // envelopes in the pool
	Peers          int // devp2p links, whether or not Whisper works on them
}

// Info asks the node what it is and holds.
func (n *Node) Info(ctx context.Context) (info Info, err error) {
	return info, n.call(ctx, "info", params{}, &info)
}

// Peer is a devp2p link of the node.
type Peer struct {
	ID    string
	Enode string
	Name  string
	Caps  []string
}

// Peers lists the node's devp2p links.
func (n *Node) Peers(ctx context.Context) (peers []Peer, err error) {
	return peers, n.call(ctx, "peers", params{}, &peers)
}

// AddPeer makes the node dial url and keep a link to it, and waits until the
// Whisper handshake is over as far as the node sees. If the link is refused the
// node tries again after 35 s; the context bounds the wait.
func (n *Node) AddPeer(ctx context.Context, url string) error {
	peer, err := enode.ParseV4(url)
	if err != nil {
		return fmt.Errorf("genuine node: add peer %q: %w", url, err)
	}
	if err := n.call(ctx, "addPeer", params{Enode: url}, nil); err != nil {
		return err
	}
	return n.WaitPeer(ctx, peer.ID())
}

// RemovePeer makes the node drop the link to url, if any, and stop dialling it.
func (n *Node) RemovePeer(ctx context.Context, url string) error {
	return n.call(ctx, "removePeer", params{Enode: url}, nil)
}

// WaitPeer waits until the node has a working Whisper link to id, whoever dialled.
func (n *Node) WaitPeer(ctx context.Context, id enode.ID) error {
	if err := n.await(ctx, func() bool { return n.peers[id].up }); err != nil {
		return fmt.Errorf("genuine node: no Whisper link to %s: %w", id.TerminalString(), err)
	}
	return nil
}

// WaitPeerGone waits until a link to id ended, and returns the genuine node's own
// reason, empty if it had none.
func (n *Node) WaitPeerGone(ctx context.Context, id enode.ID) (reason string, err error) {
	err = n.await(ctx, func() bool {
		s := n.peers[id]
		reason = s.reason
		return !s.up && s.ends > 0
	})
	if err != nil {
		return "", fmt.Errorf("genuine node: link to %s not ended: %w", id.TerminalString(), err)
	}
	return reason, nil
}

// Connected reports whether the node has a working Whisper link to id now.
func (n *Node) Connected(id enode.ID) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.peers[id].up
}

// TrustPeer makes the node accept direct messages (packet 127) from id, which
// must be connected, until the link ends.
func (n *Node) TrustPeer(ctx context.Context, id enode.ID) error {
	return n.call(ctx, "trustPeer", params{Peer: &id}, nil)
}

// SetBloom sets and announces the node's bloom filter of 64 bytes. The former
// filter is tolerated for 10 s more.
func (n *Node) SetBloom(ctx context.Context, bloom []byte) error {
	return n.call(ctx, "setBloom", params{Bloom: bloom}, nil)
}

// SetLight makes the node a light client or a full one; peers learn this at their
// next handshake.
func (n *Node) SetLight(ctx context.Context, light bool) error {
	return n.call(ctx, "setLight", params{Light: light}, nil)
}

// SetMinPoW sets and announces the least PoW the node accepts. The former
// minimum is tolerated for 10 s more.
func (n *Node) SetMinPoW(ctx context.Context, pow float64) error {
	return n.call(ctx, "setMinPoW", params{PoW: pow}, nil)
}

// SetMaxMessageSize sets the largest packet and envelope the node accepts, in
// bytes, at most 10 MiB.
func (n *Node) SetMaxMessageSize(ctx context.Context, size uint32) error {
	return n.call(ctx, "setMaxMessageSize", params{Size: size}, nil)
}

// SymKey derives a symmetric key from a password as the genuine node does, which
// takes it some tens of milliseconds.
func (n *Node) SymKey(ctx context.Context, password string) ([]byte, error) {
	var key hexutil.Bytes
	err := n.call(ctx, "symKey", params{Password: password}, &key)
	return key, err
}

// Via is the way an envelope leaves the node.
type Via string

// The ways.
const (
	Pool    Via = ""        // into the pool, to every peer that wants it (packet 1)
	Direct  Via = "direct"  // to one peer (packet 127)
	Request Via = "request" // to one peer (packet 126), which the node trusts from then on
	Nowhere Via = "none"    // nowhere: it is only made
)

// Post is a message to make and send. It is encrypted to SymKey or To.
type Post struct {
	SymKey  []byte           // 32 bytes
	To      *ecdsa.PublicKey // the recipient
	SignKey *ecdsa.PrivateKey
	Topic   [4]byte
	Payload []byte
	Padding []byte  // nil: random, to a multiple of 256
	TTL     uint32  // seconds; 0: 50
	PoW     float64 // target; 0: no proof of work
	// PoWSeconds is how long the node may work for it; 0: 5. Not reaching the
	// target is an error.
	PoWSeconds uint32
	Via        Via
	Peer       enode.ID // for Direct and Request
}

func (p Post) params() params {
	out := params{SymKey: p.SymKey, Topic: p.Topic[:], Payload: p.Payload, Padding: p.Padding, TTL: p.TTL, PoW: p.PoW,
		PoWSeconds: p.PoWSeconds, Via: p.Via, Peer: &p.Peer}
	if p.To != nil {
		out.PublicKey = crypto.FromECDSAPub(p.To)
	}
	if p.SignKey != nil {
		out.SignKey = crypto.FromECDSA(p.SignKey)
	}
	return out
}

// Sent is an envelope that the node made or passed on.
type Sent struct {
	Hash     common.Hash
	Envelope hexutil.Bytes // its RLP
}

// Post makes a message and sends it. From the pool, it reaches the peers within
// 300 ms after Post returns.
func (n *Node) Post(ctx context.Context, p Post) (sent Sent, err error) {
	return sent, n.call(ctx, "post", p.params(), &sent)
}

// Send sends an envelope given by its RLP. For the pool, it must pass the node's
// own checks.
func (n *Node) Send(ctx context.Context, envelope []byte, via Via, peer enode.ID) (sent Sent, err error) {
	return sent, n.call(ctx, "send", params{Envelope: envelope, Via: via, Peer: &peer}, &sent)
}

// MailRequest asks a mailserver for what it archived. The answers arrive as
// messages to subscriptions with AllowP2P.
type MailRequest struct {
	Mailserver enode.ID // must be connected
	SymKey     []byte   // made from the mailserver's password
	SignKey    *ecdsa.PrivateKey
	// Lower and Upper bound the sent time, Unix seconds, both inclusive.
	Lower, Upper uint32
	Bloom        []byte // 64 bytes; nil: the 8 byte form, which asks for everything
	Payload      []byte // if set, sent instead of the fields above
	PoW          float64
}

// RequestMail sends a mail request as the genuine mail client does, and trusts
// the mailserver from then on.
func (n *Node) RequestMail(ctx context.Context, r MailRequest) (Sent, error) {
	payload := r.Payload
	if payload == nil {
		payload = binary.BigEndian.AppendUint32(nil, r.Lower)
		payload = binary.BigEndian.AppendUint32(payload, r.Upper)
		payload = append(payload, r.Bloom...)
	}
	return n.Post(ctx, Post{SymKey: r.SymKey, SignKey: r.SignKey, Payload: payload, PoW: r.PoW, Via: Request, Peer: r.Mailserver})
}

// Filter says which messages a subscription wants: those that SymKey or
// PrivateKey opens.
type Filter struct {
	SymKey     []byte
	PrivateKey *ecdsa.PrivateKey
	Signer     *ecdsa.PublicKey // nil: anybody or nobody
	Topics     [][4]byte        // none: all
	MinPoW     float64
	AllowP2P   bool // also direct messages; on a light client the only way to get any
}

// Message is a decrypted message.
type Message struct {
	Hash      common.Hash // of its envelope
	Topic     hexutil.Bytes
	Payload   hexutil.Bytes
	Padding   hexutil.Bytes
	Signer    hexutil.Bytes // public key, 65 bytes, or nil
	Recipient hexutil.Bytes // public key, 65 bytes, or nil
	Sent      uint32        // Unix seconds
	TTL       uint32        // seconds
	PoW       PoW
}

// PoW is a proof of work, possibly infinite.
type PoW float64

// UnmarshalJSON reads the IEEE 754 bits.
func (p *PoW) UnmarshalJSON(b []byte) error {
	var bits hexutil.Uint64
	err := json.Unmarshal(b, &bits)
	*p = PoW(math.Float64frombits(uint64(bits)))
	return err
}

// Subscription is a filter installed in a node.
type Subscription struct {
	node *Node
	id   string
}

// Subscribe installs a filter. A node that has a bloom filter widens it by the
// topics and announces it.
func (n *Node) Subscribe(ctx context.Context, f Filter) (*Subscription, error) {
	p := params{SymKey: f.SymKey, PoW: f.MinPoW, AllowP2P: f.AllowP2P}
	for i := range f.Topics {
		p.Topics = append(p.Topics, f.Topics[i][:])
	}
	if f.PrivateKey != nil {
		p.PrivateKey = crypto.FromECDSA(f.PrivateKey)
	}
	if f.Signer != nil {
		p.Signer = crypto.FromECDSAPub(f.Signer)
	}
	s := &Subscription{node: n}
	if err := n.call(ctx, "subscribe", p, &s.id); err != nil {
		return nil, err
	}
	return s, nil
}

// Next waits for the next message. The order of messages that arrive within a few
// milliseconds is not kept, because the genuine filter does not keep it.
func (s *Subscription) Next(ctx context.Context) (Message, error) {
	var msg Message
	err := s.node.await(ctx, func() bool {
		queue := s.node.inbox[s.id]
		if len(queue) == 0 {
			return false
		}
		msg, s.node.inbox[s.id] = queue[0], queue[1:]
		return true
	})
	if err != nil {
		return msg, fmt.Errorf("genuine node: no message: %w", err)
	}
	return msg, nil
}

// Take returns the messages that arrived and were not taken yet, without waiting.
func (s *Subscription) Take() []Message {
	s.node.mu.Lock()
	defer s.node.mu.Unlock()
	queue := s.node.inbox[s.id]
	delete(s.node.inbox, s.id)
	return queue
}

// Close removes the filter.
func (s *Subscription) Close(ctx context.Context) error {
	return s.node.call(ctx, "unsubscribe", params{Filter: s.id}, nil)
}

// PoolHashes lists the envelopes in the node's pool, in no particular order.
func (n *Node) PoolHashes(ctx context.Context) (hashes []common.Hash, err error) {
	return hashes, n.call(ctx, "pool", params{}, &hashes)
}
