package whisper

import (
	"net"
	"net/netip"
	"slices"
	"sync"
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
// Links with a request that is not answered yet are exempt, as far as share and
// askSource allow: the earliest first, and from one source at most half of them. When
// very many devices come back at once, those that wait for an answer get it, and the
// rest are turned away and come again. If each newcomer displaced the link that was
// unused for longest, nobody would be left when the answers are ready.
//
// Among links of the same kind, the one to close comes from the network with the
// most links here, and of those it is the one unused for longest. So somebody
// with all links from one network displaces only their own. Somebody with many
// networks displaces others only as fast as they connect, and displaces a link in
// use only while the links in use leave newcomers less than their share.
const (
	// linkGrace is how long a link is new: the time to show what it is for.
	linkGrace = 15 * time.Second
	// usefulHold is how long a link counts as used after it carried a new envelope,
	// or a request that was answered. Both are cheap to get.
	usefulHold = 2 * time.Minute
	// provedHold is how long a link counts as used after its peer has shown that it is
	// registered. A device that stays connected shows it every few minutes.
	provedHold = 15 * time.Minute
	// askHold is how long a link is kept for an unanswered request.
	askHold = 15 * time.Second
	// askSource is the divisor of the links kept for answers that gives one source's share.
	askSource = 2
	// newcomerShare is the divisor that gives the share of the inbound links left to
	// new ones. Neither links in use nor links that wait for answers take it.
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

// seat is the place of a link among the inbound ones, with what decides whether
// the link keeps it.
type seat struct {
	link   Link
	id     enode.ID
	source Source
	since  time.Time

	useful, proved atomic.Int64 // Unix ns of the last time; 0: never
	asks           asks

	counts  bool // the peer opened it, and it may be closed for another; guarded by Node.mu
	trusted bool // Node.Trust; guarded by Node.mu
}

// asks counts the requests that came over a link and are not answered yet.
type asks struct {
	mu    sync.Mutex // guards the following fields
	open  int
	since time.Time // when the first came since none was open
}

// asked notes a request.
func (a *asks) asked(now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.open++; a.open == 1 {
		a.since = now
	}
}

// answered notes that a request is finished.
func (a *asks) answered() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.open = max(a.open-1, 0)
}

// waits returns since when an answer has been awaited, and whether that is a reason to keep
// the link.
func (a *asks) waits(now time.Time) (since time.Time, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.since, a.open > 0 && now.Sub(a.since) < askHold
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

// share is how many links may be in use or wait for answers before newcomers get less than
// their share.
func (s *seats) share() int { return s.max - max(s.max/newcomerShare, 1) }

// waiting returns the links that are kept because their peers wait for answers.
func (s *seats) waiting(now time.Time) map[*seat]bool {
	type ask struct {
		*seat
		since time.Time
	}
	var all []ask
	for one := range s.taken {
		if since, ok := one.asks.waits(now); ok {
			all = append(all, ask{one, since})
		}
	}
	slices.SortFunc(all, func(a, b ask) int { return a.since.Compare(b.since) })
	kept := make(map[*seat]bool, len(all))
	bySource := make(map[Source]int)
	for _, one := range all {
		if len(kept) < s.share() && bySource[one.source] < max(s.share()/askSource, 1) {
			bySource[one.source]++
			kept[one.seat] = true
		}
	}
	return kept
}

// excess returns the link to close and its use. It returns nil if there are not too
// many links, or if none of them may be closed.
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
	kept := s.waiting(now)
	for one := range s.taken {
		if one.trusted {
			continue
		}
		u, last := one.use(now)
		count[u]++
		if kept[one] {
			continue
		}
		if w := worst[u]; w.seat == nil || s.worse(one, last, w.seat, w.last) {
			worst[u] = candidate{one, last}
		}
	}
	order := [uses]use{idle, fresh, useful, proved}
	if count[useful]+count[proved] > s.share() {
		order = [uses]use{idle, useful, proved, fresh}
	}
	for _, u := range order {
		if w := worst[u].seat; w != nil {
			return w, u
		}
	}
	return nil, idle
}

// worse reports whether, of two links with the same use, a is to be closed before b.
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

// Useful notes that the link to a peer has just been of use, for instance because
// a request of the peer was answered. It matters when there are more inbound
// links than Config.MaxInbound: idle ones are closed first. For links that carry
// new envelopes the node notes it itself.
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

// Answered notes that one request (packet 126) of a peer is finished: it was answered,
// refused or dropped. Until then, and for 15 s at most, the link is kept when there
// are more inbound links than Config.MaxInbound.
func (n *Node) Answered(id enode.ID) {
	if p := n.peer(id); p != nil {
		p.seat.asks.answered()
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
