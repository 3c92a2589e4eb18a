package door

import (
	"container/list"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"whisperpush/whisper"
)

// strangersShare is the part of all seats that registrations which proved an address leave to
// strangers: one in so many.
const strangersShare = 4

// seats are the places of one kind. Every newcomer gets one; when there are too many, one gives
// way. Every operation takes the same time however many there are.
type seats struct {
	gaveWay prometheus.Counter

	mu      sync.Mutex // guards the following
	max     int
	taken   int
	classes [2]class // strangers, and registrations that proved an address
}

const (
	strangers = iota
	proven
)

// seat is one place. Its fields are guarded by seats.mu.
type seat struct {
	source whisper.Source
	leave  func() // ends what uses the seat; it does not block, and may be called once more
	class  int
	group  *group
	at     *list.Element // nil: the seat is free
}

// class has the seats of one class by source.
type class struct {
	taken   int
	groups  map[whisper.Source]*group
	byCount map[int]map[*group]struct{} // groups by how many seats they have
	most    int
}

type group struct {
	source whisper.Source
	seats  list.List // of *seat, the oldest first
}

func newSeats(most int, gaveWay prometheus.Counter) *seats {
	s := &seats{max: most, gaveWay: gaveWay}
	for i := range s.classes {
		s.classes[i] = class{groups: make(map[whisper.Source]*group), byCount: make(map[int]map[*group]struct{})}
	}
	return s
}

// take returns a seat for source, and makes another one give way if there are too many. leave is
// called when this seat gives way.
func (s *seats) take(source whisper.Source, leave func()) *seat {
	one := &seat{source: source, leave: leave}
	s.mu.Lock()
	s.classes[strangers].add(one)
	s.taken++
	var gone *seat
	if s.taken > s.max {
		gone = s.excess()
		s.remove(gone)
	}
	s.mu.Unlock()
	if gone != nil {
		s.gaveWay.Inc()
		gone.leave()
	}
	return one
}

// resize changes the number of seats; those above it give way.
func (s *seats) resize(most int) {
	s.mu.Lock()
	var gone []*seat
	for s.max = most; s.taken > s.max; {
		one := s.excess()
		s.remove(one)
		gone = append(gone, one)
	}
	s.mu.Unlock()
	for _, one := range gone {
		s.gaveWay.Inc()
		one.leave()
	}
}

// excess returns the seat that gives way. The caller holds mu, and there is a seat.
func (s *seats) excess() *seat {
	from := &s.classes[strangers]
	if from.taken <= max(1, s.max/strangersShare) && s.classes[proven].taken > 0 {
		from = &s.classes[proven]
	}
	return from.greediest().seats.Front().Value.(*seat)
}

// prove notes that the holder of a seat is not a stranger.
func (s *seats) prove(one *seat) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if one.at == nil || one.class == proven {
		return
	}
	s.classes[strangers].remove(one)
	one.class = proven
	s.classes[proven].add(one)
}

// free gives a seat back. It may have given way before.
func (s *seats) free(one *seat) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remove(one)
}

func (s *seats) remove(one *seat) {
	if one.at != nil {
		s.classes[one.class].remove(one)
		s.taken--
	}
}

// count is how many seats are taken.
func (s *seats) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.taken
}

func (c *class) add(one *seat) {
	g := c.groups[one.source]
	if g == nil {
		g = &group{source: one.source}
		c.groups[one.source] = g
	}
	one.group, one.at = g, g.seats.PushBack(one)
	c.taken++
	c.moved(g, g.seats.Len()-1)
}

func (c *class) remove(one *seat) {
	g := one.group
	g.seats.Remove(one.at)
	one.group, one.at = nil, nil
	c.taken--
	c.moved(g, g.seats.Len()+1)
	if g.seats.Len() == 0 {
		delete(c.groups, g.source)
	}
}

// moved updates byCount after a group had before seats.
func (c *class) moved(g *group, before int) {
	if set := c.byCount[before]; set != nil {
		delete(set, g)
		if len(set) == 0 {
			delete(c.byCount, before)
		}
	}
	if now := g.seats.Len(); now > 0 {
		if c.byCount[now] == nil {
			c.byCount[now] = make(map[*group]struct{})
		}
		c.byCount[now][g] = struct{}{}
		c.most = max(c.most, now)
	}
	for c.most > 0 && c.byCount[c.most] == nil {
		c.most-- // by one: a group changes by one seat at a time
	}
}

// greediest is a group with the most seats.
func (c *class) greediest() *group {
	for g := range c.byCount[c.most] {
		return g
	}
	return nil
}
