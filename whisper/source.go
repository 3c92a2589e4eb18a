package whisper

import (
	"net/netip"

	"github.com/ethereum/go-ethereum/p2p/enode"
)

// Prefix lengths, in bits, of the networks that count as one stranger. Node keys
// are free; networks are not. A provider gives a customer a /48 of IPv6, and a
// customer that rents many IPv4 addresses gets them from the same /24.
const (
	sourceBits4 = 24
	sourceBits6 = 48
)

// Source is the unit that a limit on strangers counts: the network of a peer's
// address, as a short text that serves only as a map key. It identifies people,
// so it is never logged and never a label.
type Source string

// SourceOf returns the source of a peer at an address. A peer that comes from
// this computer or a private network is its own source: such an address belongs
// to a proxy or to another program of the operator, and a limit would affect
// everybody who uses it.
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

// Source returns the source of a connected peer. A peer that is no longer
// connected is its own source.
func (n *Node) Source(peer enode.ID) Source {
	if p := n.peer(peer); p != nil {
		return p.seat.source
	}
	return n.source(netip.Addr{}, peer)
}
