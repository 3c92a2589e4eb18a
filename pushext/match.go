package pushext

import (
	"math"
	"sync"
	"time"

	"whisperpush/whisper"
)

// index finds the registrations that listen to a topic. A million channels have
// to fit in some tens of megabytes, and every archived envelope is looked up,
// nine of ten in vain: so a topic maps to the number of its first posting, and
// all postings lie in one arena, chained by topic. Only what can be woken is in
// it: registrations whose address was confirmed once, and channels in the mode
// Every; the rest is on disk.
//
// It is safe for concurrent use.
type index struct {
	// mu guards the following.
	mu       sync.RWMutex
	heads    table     // topic → its first posting
	postings []posting // [0] is unused, so that 0 ends a chain
	free     uint32    // chain of unused postings
	used     int       // postings in use
	slots    []slot
	spare    []uint32                  // unused slots
	byID     map[registrationID]uint32 // registration → slot
}

// posting is one channel of a registration.
type posting struct {
	next  uint32 // of the same topic, or of the free chain
	slot  uint32
	muted uint32 // Unix seconds until which it is silent
}

// slot is a registration as the index knows it.
type slot struct {
	id  registrationID
	end uint32 // Unix seconds until which it is woken
}

func newIndex() *index {
	return &index{
		heads:    newTable(),
		postings: make([]posting, 1),
		byID:     make(map[registrationID]uint32),
	}
}

// match calls fn for every registration that is to be woken for an envelope on
// topic t archived at now. fn must not call back into the registry.
func (x *index) match(t whisper.Topic, now time.Time, fn func(registrationID)) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if p := x.heads.get(topicKey(t)); p != 0 {
		x.walk(p, seconds(now), fn)
	}
}

func (x *index) walk(p, now uint32, fn func(registrationID)) {
	for ; p != 0; p = x.postings[p].next {
		post := &x.postings[p]
		if post.muted > now {
			continue
		}
		if s := &x.slots[post.slot]; s.end > now {
			fn(s.id)
		}
	}
}

// set puts a registration's channels in the place of those it had before, old.
func (x *index) set(id registrationID, end time.Time, old, channels []channel) {
	x.mu.Lock()
	defer x.mu.Unlock()
	at, known := x.byID[id]
	if known {
		for i := range old {
			if old[i].mode == every {
				x.drop(old[i].topic, at)
			}
		}
	} else {
		at = x.newSlot()
		x.byID[id] = at
	}
	x.slots[at] = slot{id: id, end: seconds(end)}
	for i := range channels {
		if channels[i].mode == every {
			x.add(channels[i].topic, posting{slot: at, muted: channels[i].muted})
		}
	}
}

// remove takes a registration and its channels, old, out of the index.
func (x *index) remove(id registrationID, old []channel) {
	x.mu.Lock()
	defer x.mu.Unlock()
	at, known := x.byID[id]
	if !known {
		return
	}
	for i := range old {
		if old[i].mode == every {
			x.drop(old[i].topic, at)
		}
	}
	delete(x.byID, id)
	x.slots[at] = slot{}
	x.spare = append(x.spare, at)
}

// size is the number of channels in the index.
func (x *index) size() int {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.used
}

func (x *index) newSlot() uint32 {
	if n := len(x.spare); n > 0 {
		at := x.spare[n-1]
		x.spare = x.spare[:n-1]
		return at
	}
	x.slots = append(x.slots, slot{})
	return uint32(len(x.slots) - 1)
}

func (x *index) add(t whisper.Topic, p posting) {
	at := x.free
	if at != 0 {
		x.free = x.postings[at].next
	} else {
		at = uint32(len(x.postings))
		x.postings = append(x.postings, posting{})
	}
	p.next = x.heads.swap(topicKey(t), at)
	x.postings[at] = p
	x.used++
}

// drop removes one posting of a topic: the one of a slot.
func (x *index) drop(t whisper.Topic, slot uint32) {
	key := topicKey(t)
	var before uint32
	for at := x.heads.get(key); at != 0; before, at = at, x.postings[at].next {
		p := &x.postings[at]
		if p.slot != slot {
			continue
		}
		switch {
		case before != 0:
			x.postings[before].next = p.next
		case p.next != 0:
			x.heads.set(key, p.next)
		default:
			x.heads.remove(key)
		}
		*p = posting{next: x.free}
		x.free = at
		x.used--
		return
	}
}

// topicKey makes a topic a number.
func topicKey(t whisper.Topic) uint32 {
	return uint32(t[0]) | uint32(t[1])<<8 | uint32(t[2])<<16 | uint32(t[3])<<24
}

// seconds is a time as the index keeps it.
func seconds(t time.Time) uint32 {
	return uint32(min(max(t.Unix(), 0), math.MaxUint32))
}
