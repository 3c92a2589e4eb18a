package whisper

import (
	"net/netip"

	"github.com/ethereum/go-ethereum/p2p/enode"
)

// Prefix lengths, in bits, of the networks that count as one stranger. Node
// keys are free; networks are not. A provider gives a customer a /48 of IPv6,
// and hands IPv4 addresses out of one /24 to whoever rents many.
const (
	sourceBits4 = 24
	sourceBits6 = 48
)

// Source is whom a limit on strangers counts: the network a peer's address is
// in, as a short text that is a map key only. It identifies people: it is never
// logged and never a label.
type Source string

// SourceOf returns the source of a peer at an address. A peer that comes from
// this computer or a private network is its own source: behind such an address
// is a proxy or a program of the operator's, and a limit would hit everyone who
// uses it.
func SourceOf(addr netip.Addr, peer enode.ID) Source {
	addr = addr.Unmap().WithZone("")
	if !addr.IsValid() || addr.IsLoopback() || addr.IsPrivate() || addr.IsLinkLocalUnicast() || addr.IsUnspecified() {
		return Source(peer[:])
	}
	bits := sourceBits6
	if addr.Is4() {
		bits = sourceBits4
	}
	network, err := addr.Prefix(bits)
	if err != nil {
		return Source(peer[:])
	}
	return Source(network.String())
}

// Source returns the source of a connected peer. A peer that is not connected
// any more is its own source.
func (n *Node) Source(peer enode.ID) Source {
	if p := n.peer(peer); p != nil {
		return p.seat.source
	}
	return n.source(netip.Addr{}, peer)
}
