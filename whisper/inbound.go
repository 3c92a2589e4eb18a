package whisper

import (
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/ethereum/go-ethereum/p2p/enode"
)

// A link that somebody opened to this node costs them nothing, and there are only
// Config.MaxInbound of them. So a link is kept for what it is used for: when there
// are too many, one gives way to the newcomer.
//
//   - First one that is idle: of no use for longer than its last use counts, or
//     since it is there.
//   - Else one that is new, as long as links in use leave the newcomers their share.
//   - Else the one in use whose use weighs least.
//
// Of those that are alike it is one of the network with the most links here, and
// there the one whose last use is the longest ago. Who has all links from one
// network therefore displaces himself; who has many networks displaces others only
// as fast as they connect, and nobody who has shown what they came for.
const (
	// linkGrace is how long a link is new: the time to show what it is for.
	linkGrace = 15 * time.Second
	// usefulHold is how long a link counts as used after it carried an envelope that
	// was new, or a request that was answered. Both can be had for little.
	usefulHold = 2 * time.Minute
	// provedHold is how long it does after its peer has shown that it is registered.
	// A device that stays connected shows it every few minutes.
	provedHold = 15 * time.Minute
	// newcomerShare is the part of all inbound links that those in use leave to new
	// ones: one of so many.
	newcomerShare = 4
)

// use says of what use a link is, in the order of what it weighs.
type use int

const (
	idle use = iota
	fresh
	useful
	proved
	uses
)

// String is the value of the metrics' label.
func (u use) String() string { return [uses]string{"idle", "new", "useful", "proved"}[u] }

// seat is a link as far as it takes the place of another.
type seat struct {
	link   Link
	id     enode.ID
	source Source
	since  time.Time

	useful, proved atomic.Int64 // Unix ns of the last time; 0: never

	counts  bool // it was opened by the peer, and does not stay in any case; guarded by Node.mu
	trusted bool // Node.Trust; guarded by Node.mu
}

// use tells of what use the link is at a time, and when that was last shown.
func (s *seat) use(now time.Time) (u use, last time.Time) {
	usefulAt, provedAt := time.Unix(0, s.useful.Load()), time.Unix(0, s.proved.Load())
	last = s.since
	for _, at := range []time.Time{usefulAt, provedAt} {
		if at.After(last) {
			last = at
		}
	}
	switch {
	case now.Sub(provedAt) < provedHold:
		return proved, provedAt
	case now.Sub(usefulAt) < usefulHold:
		return useful, usefulAt
	case now.Sub(s.since) < linkGrace:
		return fresh, last
	}
	return idle, last
}

// seats are the links that others opened, but for those that p2p.Server lets in
// beyond its limit.
type seats struct {
	max      int // 0: no limit
	taken    map[*seat]struct{}
	bySource map[Source]int
}

func newSeats(most int) seats {
	return seats{max: most, taken: make(map[*seat]struct{}), bySource: make(map[Source]int)}
}

func (s *seats) add(one *seat) {
	s.taken[one] = struct{}{}
	s.bySource[one.source]++
}

func (s *seats) remove(one *seat) {
	if _, ok := s.taken[one]; !ok {
		return
	}
	delete(s.taken, one)
	if s.bySource[one.source]--; s.bySource[one.source] == 0 {
		delete(s.bySource, one.source)
	}
}

// excess returns the link that is to give way, and of what use it is; nil if there
// are not too many, or none that may.
func (s *seats) excess(now time.Time) (*seat, use) {
	if s.max == 0 || len(s.taken) <= s.max {
		return nil, idle
	}
	type candidate struct {
		*seat
		last time.Time
	}
	var worst [uses]candidate
	var count [uses]int
	for one := range s.taken {
		if one.trusted {
			continue
		}
		u, last := one.use(now)
		count[u]++
		if w := worst[u]; w.seat == nil || s.worse(one, last, w.seat, w.last) {
			worst[u] = candidate{one, last}
		}
	}
	order := [uses]use{idle, fresh, useful, proved}
	if count[useful]+count[proved] > s.max-max(s.max/newcomerShare, 1) {
		order = [uses]use{idle, useful, proved, fresh}
	}
	for _, u := range order {
		if w := worst[u].seat; w != nil {
			return w, u
		}
	}
	return nil, idle
}

// worse tells which of two links that are alike in their use gives way.
func (s *seats) worse(a *seat, lastA time.Time, b *seat, lastB time.Time) bool {
	if ofA, ofB := s.bySource[a.source], s.bySource[b.source]; ofA != ofB {
		return ofA > ofB
	}
	return lastA.Before(lastB)
}

// admit gives a new link a seat and returns which link gives way to it; nil: none.
// The caller holds mu.
func (n *Node) admit(one *seat, now time.Time) *seat {
	if !one.counts {
		return nil
	}
	n.inbound.add(one)
	gone, u := n.inbound.excess(now)
	if gone == nil {
		return nil
	}
	n.inbound.remove(gone)
	n.metrics.evicted[u].Inc()
	return gone
}

// Useful notes that the link to a peer has just been of use, for instance that a
// request of the peer was answered. It matters when there are more inbound links
// than Config.MaxInbound: idle ones give way first. What takes part in the relay of
// envelopes counts by itself.
func (n *Node) Useful(id enode.ID) {
	if p := n.peer(id); p != nil {
		p.seat.useful.Store(time.Now().UnixNano())
	}
}

// Proved notes that a peer has just proved what not everybody can, for instance by
// a request that is signed by a registration that exists. Its link gives way to
// others last, for a quarter of an hour.
func (n *Node) Proved(id enode.ID) {
	if p := n.peer(id); p != nil {
		p.seat.proved.Store(time.Now().UnixNano())
	}
}

// newSeat describes a new link.
func (n *Node) newSeat(link Link, now time.Time) *seat {
	return &seat{
		link: link, id: link.ID(), source: n.source(addressOf(link), link.ID()), since: now,
		counts: link.Inbound(),
	}
}

// addressOf is where the other end of a link is; invalid if it has no address.
func addressOf(link Link) netip.Addr {
	if tcp, ok := link.RemoteAddr().(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr()
	}
	return netip.Addr{}
}
