package requests

import (
	"context"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/p2p/enode"

	"whisperpush/whisper"
)

// Envelopes finds archived envelopes, to answer a Fetch.
type Envelopes interface {
	// ByHash returns those that are archived, in no particular order, and the
	// hashes of those that are not.
	ByHash(ctx context.Context, hashes []common.Hash) (found []*whisper.Envelope, missing []common.Hash, err error)
}

// Sender sends envelopes to one peer as packets 127.
type Sender interface {
	SendDirect(ctx context.Context, peer enode.ID, envs ...*whisper.Envelope) error
	// Connected tells whether there is a link to the peer.
	Connected(peer enode.ID) bool
	// Source tells whom a limit on strangers counts for a peer that is connected:
	// the network it comes from, as node keys are free. *whisper.Node has it.
	Source(peer enode.ID) whisper.Source
	// Useful is told of each peer whose request was granted, and Proved of each
	// that sent one signed by a registration which proved an address once.
	Useful(peer enode.ID)
	Proved(peer enode.ID)
}
