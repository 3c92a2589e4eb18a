package desk

import (
	"container/list"
	"time"

	"golang.org/x/time/rate"

	"whisperpush/whisper"
)

// Indices of room.classes.
const (
	strangers = iota
	proven
	classes
)

// class is the strangers or the proven peers. Each has a share of every limit.
type class struct {
	index int
	turns int       // the most turns it may hold
	ring  list.List // of *group: those with a request that can be served, in turn
	idle  list.List // of *peer: those with nothing here, the longest idle first
	waits map[*group]struct{}
	sums
}

// groupKey says which peers share an allowance. Strangers share by source. Proven
// peers share by account, or by source if they all prove the same thing, such as a
// password.
type groupKey struct {
	class   int
	account bool
	name    string
}

// group is the peers that share the allowance of one.
type group struct {
	key     groupKey
	class   *class
	members int       // peers
	ready   list.List // of *peer: those with a request that can be served, in turn
	place   *list.Element
	waits   map[*peer]struct{}
	told    *rate.Limiter // refusals
	telling int           // refusals on their way
	sums
}

// sums counts what peers have at the desk.
type sums struct {
	waiting int // requests that wait
	held    int // turns
	lent    int // turns that were lent
}

func (s *sums) add(o sums, sign int) {
	s.waiting += sign * o.waiting
	s.held += sign * o.held
	s.lent += sign * o.lent
}

// peer is one that has requests here, or had some a short while ago.
type peer struct {
	id     ID
	source whisper.Source
	until  time.Time // it is proven until then
	group  *group
	bucket *rate.Limiter
	asks   []any
	turn   *Turn // of the request that is being served; nil: none
	slow   bool  // its last request waited long for the peer to read
	in     *list.List
	at     *list.Element
	// telling is set while a refusal is on its way.
	telling bool
}

func (p *peer) sums() sums {
	s := sums{waiting: len(p.asks)}
	if p.turn != nil && p.turn.held {
		s.held = 1
	}
	if p.turn != nil && p.turn.place != nil {
		s.lent = 1
	}
	return s
}

// change changes a peer and updates the sums and its place in the lists. Every change
// to something that sums counts or place looks at goes through it.
func (r *room) change(p *peer, do func()) {
	before := p.group
	r.count(p, -1)
	do()
	r.count(p, 1)
	r.place(p)
	if before != p.group {
		r.rank(before)
	}
	r.rank(p.group)
}

func (r *room) count(p *peer, sign int) {
	s, g := p.sums(), p.group
	r.waiting += sign * s.waiting
	r.asking += sign * min(s.waiting, 1)
	r.free -= sign * s.held
	g.add(s, sign)
	g.class.add(s, sign)
	mark(g.waits, p, sign > 0 && s.waiting > 0)
	mark(g.class.waits, g, g.waiting > 0)
}

func mark[K comparable](set map[K]struct{}, k K, in bool) {
	if in {
		set[k] = struct{}{}
	} else {
		delete(set, k)
	}
}

// place puts a peer at the end of the list it belongs in, unless it is there already:
// that of the idle peers, or that of the peers with a request that can be served.
func (r *room) place(p *peer) {
	var in *list.List
	switch {
	case p.turn != nil:
	case len(p.asks) > 0:
		in = &p.group.ready
	case !p.telling:
		in = &p.group.class.idle
	}
	if p.in == in {
		return
	}
	if p.in != nil {
		p.in.Remove(p.at)
	}
	if p.in, p.at = in, nil; in != nil {
		p.at = in.PushBack(p)
	}
}

// rank puts a group into its class's ring, or takes it out.
func (r *room) rank(g *group) {
	most := max(1, r.limits.Turns/sourceTurns)
	switch in := g.ready.Len() > 0 && g.held < most; {
	case in && g.place == nil:
		g.place = g.class.ring.PushBack(g)
	case !in && g.place != nil:
		g.class.ring.Remove(g.place)
		g.place = nil
	}
}

// peer returns the record of a peer.
func (r *room) peer(id ID, source whisper.Source, now time.Time) *peer {
	p := r.peers[id]
	if p == nil {
		r.forget()
		p = &peer{id: id, source: source, bucket: rate.NewLimiter(rate.Limit(r.limits.Rate), r.limits.Burst)}
		r.peers[id] = p
		r.join(p, groupKey{class: strangers, name: string(source)})
		r.place(p)
		return p
	}
	p.source = source
	switch key := p.group.key; {
	case key.class == proven && now.After(p.until):
		r.move(p, groupKey{class: strangers, name: string(source)})
	case !key.account:
		r.move(p, groupKey{class: key.class, name: string(source)})
	}
	return p
}

// forget makes room for one more peer: it removes the peer that has been idle for
// longest from the class with more idle peers.
func (r *room) forget() {
	if len(r.peers) < maxPeers {
		return
	}
	idle := &r.classes[strangers].idle
	if other := &r.classes[proven].idle; other.Len() > idle.Len() {
		idle = other
	}
	if first := idle.Front(); first != nil {
		p := first.Value.(*peer)
		idle.Remove(first)
		r.leave(p)
		delete(r.peers, p.id)
	}
}

func (r *room) join(p *peer, key groupKey) {
	g := r.groups[key]
	if g == nil {
		g = &group{key: key, class: &r.classes[key.class], waits: make(map[*peer]struct{}), told: rate.NewLimiter(refusalsPerSource, refusalsPerSource)}
		r.groups[key] = g
	}
	g.members++
	p.group = g
}

func (r *room) leave(p *peer) {
	if p.group.members--; p.group.members == 0 {
		delete(r.groups, p.group.key)
	}
}

func (r *room) move(p *peer, key groupKey) {
	if p.group.key == key {
		return
	}
	r.change(p, func() {
		r.leave(p)
		r.join(p, key)
	})
}

// admit lets a request wait, or turns it or another one away. It returns the request
// to drop, nil if there is none.
func (r *room) admit(p *peer, ask any, now time.Time) *refusal {
	if !p.bucket.AllowN(now, 1) {
		wait := time.Duration((1 - p.bucket.TokensAt(now)) / float64(p.bucket.Limit()) * float64(time.Second))
		return r.turnAway(&refusal{peer: p, ask: ask, why: &Busy{wait, LimitRate}}, now)
	}
	if len(p.asks) >= r.limits.PerPeer {
		return r.turnAway(&refusal{peer: p, ask: ask, why: &Busy{Retry, LimitPeer}}, now)
	}
	limit, loser := Limit(""), p
	switch {
	case p.group.waiting >= r.limits.PerSource:
		limit, loser = LimitSource, p.group.greediest(p)
	case r.waiting >= r.limits.Queue:
		limit, loser = LimitQueue, r.greediest(p)
	}
	out := ask
	if loser != p {
		r.change(loser, func() {
			last := len(loser.asks) - 1
			out = loser.asks[last]
			loser.asks[last] = nil
			loser.asks = loser.asks[:last]
		})
	}
	if loser != p || limit == "" {
		r.change(p, func() { p.asks = append(p.asks, ask) })
	}
	if limit == "" {
		return nil
	}
	return r.turnAway(&refusal{peer: loser, ask: out, why: &Busy{Retry, limit}}, now)
}

// greediest returns the peer whose newest request makes room for one of p: p itself
// if no peer has enough more waiting than p.
func (r *room) greediest(p *peer) *peer {
	c := p.group.class
	other := &r.classes[proven-c.index]
	if share := r.limits.Queue / placeShare; c.waiting < max(1, share) && other.waiting > 0 {
		return other.greediest().greediest(nil) // the other class has taken of the share of p's class
	}
	most := c.greediest()
	switch {
	case most == nil || most == p.group:
		return p.group.greediest(p)
	case most.waiting > p.group.waiting+1:
		return most.greediest(nil)
	}
	return p
}

// greediest returns the group with the most waiting requests, nil if none wait.
func (c *class) greediest() (most *group) {
	for g := range c.waits {
		if most == nil || g.waiting > most.waiting {
			most = g
		}
	}
	return most
}

// greediest returns the peer with the most waiting requests. It returns p unless
// another peer has more than p would have with one more.
func (g *group) greediest(p *peer) *peer {
	most := p
	for other := range g.waits {
		if most == nil || most == p && len(other.asks) > len(p.asks)+1 || most != p && len(other.asks) > len(most.asks) {
			most = other
		}
	}
	return most
}

// next takes the next request to be served, if there is one and a turn for it. The
// classes alternate, as long as each leaves the other its share.
func (r *room) next() (p *peer, ask any) {
	for i := range classes {
		c := &r.classes[(r.favoured+i)%classes]
		first := c.ring.Front()
		if first == nil || c.held >= c.turns {
			continue
		}
		r.favoured = proven - c.index
		g := first.Value.(*group)
		p = g.ready.Front().Value.(*peer)
		r.change(p, func() {
			ask = p.asks[0]
			p.asks[0] = nil
			p.asks = p.asks[1:]
			p.turn = &Turn{room: r, peer: p, held: true}
		})
		if g.place != nil {
			g.class.ring.MoveToBack(g.place)
		}
		return p, ask
	}
	return nil, nil
}

// load is Desk.Load.
func (r *room) load(source whisper.Source) float64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := &r.classes[strangers]
	load := float64(len(c.waits)) / float64(r.limits.Queue)
	if g := r.groups[groupKey{class: strangers, name: string(source)}]; g != nil {
		load = max(load, float64(g.waiting)/float64(r.limits.PerSource))
	}
	return min(load, 1)
}
