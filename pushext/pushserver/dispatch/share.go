package dispatch

import (
	"container/list"
	"time"
)

const (
	// siteHosts is how many hosts of one site may have as many attempts in flight as a host
	// may have; beyond that the site's hosts share them.
	siteHosts = 4
	// slowTurn gives slow sites one turn in so many while others wait.
	slowTurn = 4
	// answerTime is how long an attempt may be without an answer while others wait for its
	// place. Push services answer within a second; a slower host has more time only while
	// there is room.
	answerTime = time.Second
)

// share is the part of Delivery.MaxInFlight that lanes which strangers can multiply have
// in common: lanes to hosts that users name, or to links. However many there are, they
// hold back nobody outside it. Inside, sites take turns, each with a bound of its own.
//
// A stranger with very many sites could still fill it with attempts that nobody answers.
// So when it is full, an attempt that has waited for answerTime gives way to a site whose
// latest attempt was answered, and slow sites get one turn in slowTurn while others wait.
// Guarded by Dispatcher.mu.
type share struct {
	limit   int // attempts at once
	perSite int // of one site
	sites   map[string]*site

	flying  int
	flights list.List // of *flight, oldest first; those that gave way are not in it
	leaving int       // those that gave way and have not landed
	quick   waitlist[*site]
	slow    waitlist[*site]
	turn    int // since the latest of slow's
	timer   *time.Timer
}

func newShare(limit, perSite int) *share {
	return &share{limit: limit, perSite: perSite, sites: make(map[string]*site)}
}

// enter adds a lane to its site.
func (s *share) enter(l *lane, name string) {
	l.site = s.sites[name]
	if l.site == nil {
		l.site = &site{share: s, name: name}
		s.sites[name] = l.site
	}
	l.site.lanes++
}

// leave removes a lane that has nothing to do from its site.
func (s *share) leave(l *lane) {
	if l.site.lanes--; l.site.lanes == 0 {
		delete(s.sites, l.site.name)
	}
}

// offer queues a lane, which is not queued yet, at its site, and the site among the
// others.
func (s *share) offer(l *lane) {
	l.site.ready.push(l)
	s.line(l.site)
}

// line lets a site wait for a turn, if it has something to do and may do more.
func (s *share) line(of *site) {
	if of.inTurn || of.ready.len() == 0 || of.flying >= s.perSite {
		return
	}
	of.inTurn = true
	if of.slow {
		s.slow.push(of)
	} else {
		s.quick.push(of)
	}
}

// next is the lane whose turn it is, nil if none waits for one or there is no
// room. The caller calls line for its site afterwards.
func (s *share) next() *lane {
	if s.flying >= s.limit {
		return nil
	}
	of, ok := s.nextSite()
	if !ok {
		return nil
	}
	of.inTurn = false
	l, _ := of.ready.pop() // it has one, or it would not be in turn
	return l
}

func (s *share) nextSite() (*site, bool) {
	if s.turn++; s.turn >= slowTurn {
		if of, ok := s.slow.pop(); ok {
			s.turn = 0
			return of, true
		}
	}
	if of, ok := s.quick.pop(); ok {
		return of, true
	}
	s.turn = 0
	return s.slow.pop()
}

// take counts an attempt.
func (s *share) take(l *lane, now time.Time) *flight {
	f := &flight{lane: l, since: now}
	f.place = s.flights.PushBack(f)
	s.flying++
	l.site.flying++
	return f
}

// land counts an attempt as over, and judges its site if the attempt was made.
func (s *share) land(f *flight, now time.Time) {
	of := f.lane.site
	s.flying--
	of.flying--
	if f.cancel != nil {
		of.slow = now.Sub(f.since) >= answerTime
	}
	if f.place != nil {
		s.flights.Remove(f.place)
	} else {
		s.leaving--
	}
	s.line(of)
}

// giveWay ends attempts that were not answered in time, the oldest first, one for each
// quick site that waits for a place. It returns how long until there may be more of them,
// 0 if none is needed.
func (s *share) giveWay(now time.Time) time.Duration {
	for s.flying >= s.limit && s.leaving < s.quick.len() {
		front := s.flights.Front()
		if front == nil {
			return 0
		}
		f := front.Value.(*flight)
		if rest := f.since.Add(answerTime).Sub(now); rest > 0 {
			return rest
		}
		s.flights.Remove(front)
		f.place = nil
		f.lane.site.slow = true
		s.leaving++
		if f.cancel != nil {
			f.cancel()
		}
	}
	return 0
}
