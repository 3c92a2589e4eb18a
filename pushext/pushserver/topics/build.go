package topics

import (
	"slices"
	"sync"
	"time"

	"whisperpush/pushext/pushserver/registration"
)

// Part collects some of the registrations for a new index; several Parts collect at
// the same time. Channels are dealt to regions of the index's table as they come.
// Setting a million of them one by one in any order would miss the caches nearly
// every time, but a region fits into the caches, and different regions can be set at
// the same time.
type Part struct {
	slots    slots
	mul      uint64 // of the table
	byRegion [regions][][]dealt
}

// dealt is a channel that waits to be put into the index.
type dealt struct {
	key   uint32 // its topic
	slot  uint32 // counted within its Part
	muted uint32
}

// dealtChunk is how many channels a region gets room for at a time, so that nothing
// is copied when more come.
const dealtChunk = 1024

// NewParts returns Parts that can be filled at the same time, for Build.
func NewParts(parts int) []Part {
	l := make([]Part, parts)
	mul := newTable().mul
	for i := range l {
		l[i].mul = mul
	}
	return l
}

// Add is Index.Set for a registration that the index does not hold yet.
func (l *Part) Add(id registration.ID, end time.Time, channels []registration.Channel) {
	at := uint32(l.slots.len())
	l.slots = append(l.slots, make([]byte, SlotSize)...)
	l.slots.set(at, slot{id: id, end: Seconds(end)})
	for i := range channels {
		c := &channels[i]
		if c.Mode != registration.Every {
			continue
		}
		key := topicKey(c.Topic)
		chunks := &l.byRegion[region(key, l.mul)]
		n := len(*chunks)
		if n == 0 || len((*chunks)[n-1]) == dealtChunk {
			*chunks = append(*chunks, make([]dealt, 0, dealtChunk))
			n++
		}
		(*chunks)[n-1] = append((*chunks)[n-1], dealt{key: key, slot: at, muted: c.Muted})
	}
}

// Build returns the index of all parts, which NewParts made: the same index
// that Set would have made of them in order. As many goroutines as there are
// parts each fill a range of the regions.
func Build(parts []Part) *Index {
	x := New()
	if len(parts) == 0 {
		return x
	}
	x.heads.mul = parts[0].mul
	firsts := make([]uint32, len(parts)) // slots
	size := SlotSize
	var starts [regions + 1]int // postings
	for i := range parts {
		firsts[i] = uint32(size / SlotSize)
		size += len(parts[i].slots)
		for r := range parts[i].byRegion {
			for _, chunk := range parts[i].byRegion[r] {
				starts[r+1] += len(chunk)
			}
		}
	}
	starts[0] = 1 // postings[0] is unused
	for r := range regions {
		starts[r+1] += starts[r]
	}
	x.used = starts[regions] - 1
	x.postings = newArray(starts[regions] * PostingSize)
	x.links = newArray(starts[regions] * linkSize)
	x.slots = slices.Grow(x.slots, size)
	x.heads.reserve(x.used)

	shards := len(parts)
	if x.heads.size() < regions {
		shards = 1
	}
	late := make([][]uint32, shards)
	fresh := make([]int, shards)
	var building sync.WaitGroup
	for i := range shards {
		from, to := regions*i/shards, regions*(i+1)/shards
		building.Go(func() { late[i], fresh[i] = x.buildRegions(parts, firsts, starts[from], from, to) })
	}
	building.Go(func() {
		for i := range parts {
			x.slots = append(x.slots, parts[i].slots...)
		}
		x.IndexSlots()
	})
	building.Wait()
	for i := range shards {
		x.heads.used += fresh[i]
	}
	for _, ats := range late {
		for _, at := range ats {
			key := x.postings.get(at).next
			x.chain(at, key, x.heads.swap(key, at))
		}
	}
	for at := range uint32(x.used) {
		x.join(at+1, x.postings.get(at+1).slot)
	}
	x.heads.reserve(x.heads.used) // there may be fewer topics than channels
	return x
}

// buildRegions puts what waits in the regions from ≤ r < to into postings, from
// number at on, and into the table, and touches nothing else of the index.
// Channels whose place in the table lies beyond are late: they are left out of the
// table and have their key as next. fresh is how many topics were new to the
// table.
func (x *Index) buildRegions(parts []Part, firsts []uint32, at, from, to int) (late []uint32, fresh int) {
	end := x.heads.size() * to / regions
	for r := from; r < to; r++ {
		for i := range parts {
			for _, chunk := range parts[i].byRegion[r] {
				for _, w := range chunk {
					next, ok := x.heads.swapBelow(end, w.key, uint32(at))
					if !ok {
						late = append(late, uint32(at))
					} else if next == 0 {
						fresh++
					}
					x.postings.set(uint32(at), posting{slot: firsts[i] + w.slot, muted: w.muted})
					if ok {
						x.chain(uint32(at), w.key, next)
					} else {
						x.postings.setNext(uint32(at), w.key)
					}
					at++
				}
			}
		}
	}
	return late, fresh
}

// chain puts a posting before the former first one of its topic, next; 0: there is
// none.
func (x *Index) chain(at, key, next uint32) {
	x.postings.setNext(at, next)
	x.links.setFirst(at, key)
	if next != 0 {
		x.links.setBefore(next, at)
	}
}

// IndexSlots fills byID, which must be empty.
func (x *Index) IndexSlots() {
	x.byID = make(map[registration.ID]uint32, x.slots.len())
	for at := range uint32(x.slots.len()) {
		if id := x.slots.get(at).id; id != 0 {
			x.byID[id] = at
		}
	}
}
