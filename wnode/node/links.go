package node

// linkLimits is how the most peers that the settings allow come about. A third is for those that the node dials itself,
// as p2p.Server has it. Of the rest whisper decides who stays, when a newcomer is there already: so p2p.Server lets in
// more, for the moment in which another link ends.
type linkLimits struct {
	peers     int // p2p.Config.MaxPeers
	dialRatio int // p2p.Config.DialRatio: 1/dialRatio of peers is dialled
	pending   int // p2p.Config.MaxPendingPeers
	inbound   int // whisper.Config.MaxInbound; 0: nobody is let in, and there is nothing to decide
}

const (
	// dialShare is the part of the peers that the node dials: one of so many.
	dialShare = 3
	// lobby is how many links more than may stay are let in for a moment. A link that ends usually takes
	// milliseconds, but up to 20 s if its other end reads nothing.
	lobby = 64
	// morePending is how many connections for each peer may be in their first handshake at one time, within bounds. A
	// stranger who says nothing holds one for 5 s.
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
