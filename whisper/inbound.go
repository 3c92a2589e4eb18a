package whisper

import (
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/ethereum/go-ethereum/p2p/enode"
)

// Opening a link to this node costs a stranger nothing, and there are only
// Config.MaxInbound of them. So links are kept by what they are used for. When
// there are too many, one of them is closed, in this order:
//
//   - a link that is idle: its last use no longer counts, or it was never used and
//     is no longer new;
//   - a link that is new, as long as the links in use leave newcomers their share;
//   - the link in use whose use ranks lowest.
//
// Among links of the same kind, it is one from the network with the most links
// here, and of those the one unused for longest. Somebody with all links from one
// network therefore displaces their own. Somebody with many networks displaces
// others only as fast as they connect, and a link in use only while the links in
// use leave newcomers less than their share.
const (
	// linkGrace is how long a link is new: the time to show what it is for.
	linkGrace = 15 * time.Second
	// usefulHold is how long a link counts as used after it carried an envelope that
	// was new, or a request that was answered. Both can be had for little.
	usefulHold = 2 * time.Minute
	// provedHold is how long a link counts as used after its peer has shown that it is
	// registered.
	// A device that stays connected shows it every few minutes.
	provedHold = 15 * time.Minute
	// newcomerShare is the share of the inbound links that is left to new ones: one
	// in newcomerShare.
	newcomerShare = 4
)

// use says what a link has been used for, in ascending rank.
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

// seat is the place that a link takes among the inbound ones, with what decides
// whether it keeps it.
type seat struct {
	link   Link
	id     enode.ID
	source Source
	since  time.Time

	useful, proved atomic.Int64 // Unix ns of the last time; 0: never

	counts  bool // the peer opened it, and it may be closed for another; guarded by Node.mu
	trusted bool // Node.Trust; guarded by Node.mu
}

// use returns what the link counts as used for at a time, and when it was last
// used for that.
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

// seats are the links that others opened, except those that p2p.Server lets in
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

// excess returns the link to close and its use. It returns nil if there are not too
// many, or if none of them may be closed.
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

// worse tells whether, of two links with the same use, a is closed before b.
func (s *seats) worse(a *seat, lastA time.Time, b *seat, lastB time.Time) bool {
	if ofA, ofB := s.bySource[a.source], s.bySource[b.source]; ofA != ofB {
		return ofA > ofB
	}
	return lastA.Before(lastB)
}

// admit gives a new link a seat and returns the link to close for it, which may be
// the new one; nil: none. The caller holds mu.
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
// than Config.MaxInbound: idle ones are closed first. The node itself notes links
// that carry new envelopes.
func (n *Node) Useful(id enode.ID) {
	if p := n.peer(id); p != nil {
		p.seat.useful.Store(time.Now().UnixNano())
	}
}

// Proved notes that a peer has just proved something that not everybody can, for
// instance by a request signed with the key of an existing registration. For a
// quarter of an hour its link is among the last to be closed for another.
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

// addressOf returns the address of a link's other end; invalid if it has none.
func addressOf(link Link) netip.Addr {
	if tcp, ok := link.RemoteAddr().(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr()
	}
	return netip.Addr{}
}
