package node

// linkLimits is how the settings' maximum of peers is implemented. A third is for peers that the node dials itself, as
// in p2p.Server. Of the rest, whisper decides which stay, once a newcomer is connected. So p2p.Server admits more of
// them, for the moment until another link ends.
type linkLimits struct {
	peers     int // p2p.Config.MaxPeers
	dialRatio int // 1/dialRatio of the peers is dialled; p2p.Config.DialRatio
	pending   int // p2p.Config.MaxPendingPeers
	inbound   int // whisper.Config.MaxInbound; 0: no peer is admitted, and there is nothing to decide
}

const (
	// dialShare is the part of the peers that the node dials: one in so many.
	dialShare = 3
	// lobby is how many links above the limit are admitted for a moment. A link usually ends within milliseconds, but
	// takes up to 20 s if its other end reads nothing.
	lobby = 64
	// morePending is how many connections per peer may be in their first handshake at a time, within the bounds. A
	// stranger that sends nothing holds one for 5 s.
	morePending, minPending, maxPending = 4, 50, 1000
)

func newLinkLimits(most int) linkLimits {
	if most == 0 {
		return linkLimits{}
	}
	dialled := max(most/dialShare, 1)
	l := linkLimits{peers: most, dialRatio: dialShare, inbound: most - dialled, pending: max(minPending, min(morePending*most, maxPending))}
	if l.inbound == 0 {
		return l
	}
	l.dialRatio = (most + min(most, lobby) + dialled - 1) / dialled
	l.peers = l.dialRatio * dialled
	return l
}
