package mailserver

import (
	"context"

	"github.com/ethereum/go-ethereum/p2p/enode"

	"whisperpush/desk"
	"whisperpush/whisper"
)

// Caller is where a request came from and where its answer goes: a peer of devp2p, or
// any other transport that carries envelopes both ways.
type Caller interface {
	// ID names the connection. At the desk it takes turns as one.
	ID() desk.ID
	// Source is the unit that a limit on strangers counts. It is asked once, when a
	// request comes.
	Source() whisper.Source
	// Send hands envelopes to the other side one by one, SendBatch in lists, and Complete
	// the end mark of an answer. They return when the other side has taken them, and fail
	// if it is gone or the context ends.
	Send(ctx context.Context, envs ...*whisper.Envelope) error
	SendBatch(ctx context.Context, envs []*whisper.Envelope) error
	Complete(ctx context.Context, mark []byte) error
	// Useful is called when a request was answered. Proved is called when a request was
	// made with a password that is not public.
	Useful()
	Proved()
	// Answered is called once for each request that was handed in, when nothing more will
	// be sent for it, whether it was answered, refused or dropped. It is not called for
	// requests that wait when the server stops.
	Answered()
}

// peer is the Caller for a peer of devp2p.
type peer struct {
	sender Sender
	node   enode.ID
}

func (p peer) ID() desk.ID            { return p.node }
func (p peer) Source() whisper.Source { return p.sender.Source(p.node) }
func (p peer) Useful()                { p.sender.Useful(p.node) }
func (p peer) Proved()                { p.sender.Proved(p.node) }
func (p peer) Answered()              { p.sender.Answered(p.node) }

func (p peer) Send(ctx context.Context, envs ...*whisper.Envelope) error {
	return p.sender.SendDirect(ctx, p.node, envs...)
}

func (p peer) SendBatch(ctx context.Context, envs []*whisper.Envelope) error {
	return p.sender.SendDirectBatch(ctx, p.node, envs)
}

func (p peer) Complete(ctx context.Context, mark []byte) error {
	return p.sender.SendRequestComplete(ctx, p.node, mark)
}
