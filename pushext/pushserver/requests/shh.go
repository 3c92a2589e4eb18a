package requests

import (
	"context"

	"github.com/ethereum/go-ethereum/p2p/enode"

	"whisperpush/desk"
	"whisperpush/whisper"
)

// Sender sends envelopes to one peer of devp2p as packets 127. *whisper.Node is one.
type Sender interface {
	SendDirect(ctx context.Context, peer enode.ID, envs ...*whisper.Envelope) error
	// Connected reports whether there is a link to the peer.
	Connected(peer enode.ID) bool
	// Source is the unit that a limit on strangers counts for a connected peer:
	// the network it comes from, as node keys are free.
	Source(peer enode.ID) whisper.Source
	// Useful is called for each peer whose request was granted. Proved is
	// called for each peer whose request was signed by a registration that once
	// proved an address.
	Useful(peer enode.ID)
	Proved(peer enode.ID)
	// Answered is called for each request when nothing more will be sent for it.
	Answered(peer enode.ID)
}

// Peer is the Caller for a peer of devp2p, whose requests are packets 126.
type Peer struct {
	Sender Sender
	Node   enode.ID
}

// ID implements Caller.
func (p Peer) ID() desk.ID { return p.Node }

// Source implements Caller.
func (p Peer) Source() whisper.Source { return p.Sender.Source(p.Node) }

// Up implements Caller.
func (p Peer) Up() bool { return p.Sender.Connected(p.Node) }

// Stays implements Caller.
func (p Peer) Stays() bool { return true }

// Send implements Caller.
func (p Peer) Send(ctx context.Context, envs ...*whisper.Envelope) error {
	return p.Sender.SendDirect(ctx, p.Node, envs...)
}

// Useful implements Caller.
func (p Peer) Useful() { p.Sender.Useful(p.Node) }

// Proved implements Caller.
func (p Peer) Proved() { p.Sender.Proved(p.Node) }

// Answered implements Caller.
func (p Peer) Answered() { p.Sender.Answered(p.Node) }
