// Package topics finds the registrations that listen to a topic. Nine look-ups in ten
// find none, and touch only one cache line.
//
// An Index is filled one registration at a time by Set, or at once from Parts by Build,
// or from an Image of an earlier one. Its memory is four arrays without pointers
// (arrays.go, table.go), so that the garbage collector has nothing to scan and a
// snapshot is a copy.
package topics

import (
	"math"
	"sync"
	"time"

	"whisperpush/pushext/pushserver/registration"
	"whisperpush/whisper"
)

// Index finds the registrations that listen to a topic. A million channels have to
// fit in some tens of megabytes. Every archived envelope is looked up, and nine times
// in ten nobody listens. So a topic maps to the number of its first posting, and all
// postings lie in one arena, chained by topic. Data that a look-up does not need is
// kept apart: the links back in that chain, and a chain of the postings of each
// registration. They let a registration be removed at a cost that does not depend on
// how many listen to its topics, which matters because nothing is matched meanwhile.
// The index holds only what can be woken: registrations whose address was confirmed
// once, and channels in the mode Every. The rest is on disk.
//
// It is safe for concurrent use.
type Index struct {
	// mu guards the following.
	mu       sync.RWMutex
	heads    table                      // topic → its first posting
	postings postings                   // number 0 is unused, so that 0 ends a chain
	links    links                      // of each posting
	free     uint32                     // chain of unused postings
	used     int                        // postings in use
	slots    slots                      // number 0 is unused
	spare    uint32                     // chain of unused slots
	byID     map[registration.ID]uint32 // registration → slot
}

func New() *Index {
	return &Index{
		heads:    newTable(),
		postings: make(postings, PostingSize),
		links:    make(links, linkSize),
		slots:    make(slots, SlotSize),
		byID:     make(map[registration.ID]uint32),
	}
}

// Match calls fn for every registration to be woken for an envelope on topic t
// that was archived at now. fn must not call back into the index.
func (x *Index) Match(t whisper.Topic, now time.Time, fn func(registration.ID)) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if p := x.heads.get(topicKey(t)); p != 0 {
		x.walk(p, Seconds(now), fn)
	}
}

func (x *Index) walk(p, now uint32, fn func(registration.ID)) {
	for p != 0 {
		post := x.postings.get(p)
		p = post.next
		if post.muted > now {
			continue
		}
		if s := x.slots.get(post.slot); s.end > now {
			fn(s.id)
		}
	}
}

// Set replaces a registration's channels.
func (x *Index) Set(id registration.ID, end time.Time, channels []registration.Channel) {
	x.mu.Lock()
	defer x.mu.Unlock()
	at, known := x.byID[id]
	if known {
		x.clear(at)
	} else {
		at = x.newSlot()
		x.byID[id] = at
	}
	x.slots.set(at, slot{id: id, end: Seconds(end)})
	for i := range channels {
		if channels[i].Mode == registration.Every {
			x.add(topicKey(channels[i].Topic), posting{slot: at, muted: channels[i].Muted})
		}
	}
}

// Remove removes a registration and its channels from the index.
func (x *Index) Remove(id registration.ID) {
	x.mu.Lock()
	defer x.mu.Unlock()
	at, known := x.byID[id]
	if !known {
		return
	}
	x.clear(at)
	delete(x.byID, id)
	x.slots.set(at, slot{end: x.spare})
	x.spare = at
}

// Registrations is the number of registrations in the index.
func (x *Index) Registrations() int {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return len(x.byID)
}

// Size is the number of channels in the index.
func (x *Index) Size() int {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.used
}

func (x *Index) newSlot() uint32 {
	at := x.spare
	if at != 0 {
		x.spare = x.slots.get(at).end
	} else {
		at = uint32(x.slots.len())
		x.slots = append(x.slots, make([]byte, SlotSize)...)
	}
	return at
}

// add puts a posting before the others of its topic.
func (x *Index) add(key uint32, p posting) {
	at := x.free
	if at != 0 {
		x.free = x.postings.get(at).next
	} else {
		at = uint32(x.postings.len())
		x.postings = append(x.postings, make([]byte, PostingSize)...)
		x.links = append(x.links, make([]byte, linkSize)...)
	}
	x.postings.set(at, p)
	x.chain(at, key, x.heads.swap(key, at))
	x.join(at, p.slot)
	x.used++
}

// join puts a posting before the others of its registration.
func (x *Index) join(at, slot uint32) {
	x.links.setMate(at, x.slots.first(slot))
	x.slots.setFirst(slot, at)
}

// clear removes the postings of a slot.
func (x *Index) clear(slot uint32) {
	for at := x.slots.first(slot); at != 0; {
		l, next := x.links.get(at), x.postings.get(at).next
		switch {
		case !l.first:
			x.postings.setNext(l.before, next)
			if next != 0 {
				x.links.setBefore(next, l.before)
			}
		case next != 0:
			x.heads.set(l.before, next)
			x.links.setFirst(next, l.before)
		default:
			x.heads.remove(l.before)
		}
		x.postings.set(at, posting{next: x.free})
		x.free = at
		x.used--
		at = l.mate
	}
}

// topicKey returns a topic as a number.
func topicKey(t whisper.Topic) uint32 {
	return uint32(t[0]) | uint32(t[1])<<8 | uint32(t[2])<<16 | uint32(t[3])<<24
}

// Seconds returns a time in the form that the index keeps.
func Seconds(t time.Time) uint32 {
	return uint32(min(max(t.Unix(), 0), math.MaxUint32))
}
