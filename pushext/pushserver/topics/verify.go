package topics

import (
	"errors"
	"fmt"
)

// errUnsound means that an index contradicts itself.
var errUnsound = errors.New("index of topics is unsound")

// Verify checks that every posting is in the chain of its topic, which must be
// linked both ways, and in the chain of its registration, and that there are no
// others. It locks the index while it runs, so it is for tests. The error wraps
// errUnsound.
func (x *Index) Verify() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.postings.len()*linkSize != len(x.links) {
		return fmt.Errorf("%w: %d postings, %d bytes of links", errUnsound, x.postings.len(), len(x.links))
	}
	slots := make(map[uint32]uint32) // of postings that a topic leads to
	topics := 0
	for i := range x.heads.size() {
		word := x.heads.word(i)
		if word == 0 {
			continue
		}
		topics++
		before := uint32(0)
		for at := uint32(word); at != 0; at = x.postings.get(at).next {
			want := link{first: before == 0, before: before, mate: x.links.get(at).mate}
			if want.first {
				want.before = uint32(word >> 32)
			}
			if l := x.links.get(at); l != want {
				return fmt.Errorf("%w: posting %d is linked by %+v, want %+v", errUnsound, at, l, want)
			}
			slots[at], before = x.postings.get(at).slot, at
		}
	}
	if topics != x.heads.used || len(slots) != x.used {
		return fmt.Errorf("%w: %d topics of %d, %d postings of %d are found", errUnsound, topics, x.heads.used, len(slots), x.used)
	}
	for _, slot := range x.byID {
		for at := x.slots.first(slot); at != 0; at = x.links.get(at).mate {
			if of, ok := slots[at]; !ok || of != slot {
				return fmt.Errorf("%w: posting %d of slot %d is no topic's", errUnsound, at, slot)
			}
			delete(slots, at)
		}
	}
	if len(slots) > 0 {
		return fmt.Errorf("%w: %d postings are no registration's", errUnsound, len(slots))
	}
	free := 0
	for at := x.free; at != 0; at = x.postings.get(at).next {
		free++
	}
	if x.postings.len()-1 != x.used+free {
		return fmt.Errorf("%w: %d postings, of which %d are used and %d free", errUnsound, x.postings.len()-1, x.used, free)
	}
	return nil
}
