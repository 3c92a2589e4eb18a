package whisper

import (
	"io"
	"net"

	"github.com/ethereum/go-ethereum/p2p/enode"
)

// Link is a connection to another node on which both ends speak shh/6. What
// carries it, go-ethereum's p2p.Server or a program's own connection, is none of
// this package's business; so an app that only dials need not bring a server.
//
// One goroutine reads and one writes at a time; Disconnect may be called from
// any and more than once. A link whose read or write failed has ended. Two links
// are equal (==) only if they are the same.
type Link interface {
	// ID is the identity that the other end has proved.
	ID() enode.ID
	// RemoteAddr is where the other end is, as far as that is known.
	RemoteAddr() net.Addr
	// Inbound tells whether the other end opened the link, so that it counts among
	// the Config.MaxInbound that may have to give way to others.
	Inbound() bool
	// ReadPacket returns the next packet of the other end. Its payload is read
	// before the next call.
	ReadPacket() (Packet, error)
	// WritePacket returns when the payload's bytes are no longer needed.
	WritePacket(Packet) error
	// Disconnect ends the link for a reason, and with it what reads and writes.
	Disconnect(reason error)
}

// Packet is one message of shh/6 on a link.
type Packet struct {
	Code    uint64
	Size    uint32 // of Payload, in bytes
	Payload io.Reader
}

// discard reads what is left of the payload, to have the next packet.
func (p Packet) discard() { io.Copy(io.Discard, p.Payload) }
