package whisper

import (
	"io"
	"net"

	"github.com/ethereum/go-ethereum/p2p/enode"
)

// Link is a connection to another node on which both ends speak shh/6. This
// package does not depend on what carries it, go-ethereum's p2p.Server or a
// program's own connection. So an app that only dials does not link a
// server.
//
// One goroutine reads and one writes at a time. Disconnect may be called from
// any goroutine and more than once. A link whose read or write failed has ended.
// Two links are equal (==) only if they are the same.
type Link interface {
	// ID is the identity that the other end has proved.
	ID() enode.ID
	// RemoteAddr is where the other end is, as far as that is known.
	RemoteAddr() net.Addr
	// Inbound tells whether the other end opened the link. Such a link counts
	// towards Config.MaxInbound and may be closed for another.
	Inbound() bool
	// ReadPacket returns the next packet from the other end. Its payload must
	// be read before the next call.
	ReadPacket() (Packet, error)
	// WritePacket returns when the payload's bytes are no longer needed.
	WritePacket(Packet) error
	// Disconnect ends the link and any read or write under way. reason says why.
	Disconnect(reason error)
}

// Packet is one message of shh/6 on a link.
type Packet struct {
	Code    uint64
	Size    uint32 // of Payload, in bytes
	Payload io.Reader
}

// discard reads the rest of the payload, so that the next packet can be read.
func (p Packet) discard() { io.Copy(io.Discard, p.Payload) }
