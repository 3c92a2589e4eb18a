package pushext

import "time"

// listeners collects registrations for a new index; several collect side by
// side, each a part of them.
type listeners struct {
	slots    []slot
	topics   []uint32  // as keys
	postings []posting // of the same place in topics; slot counts from slots[0]
}

// add is set of an index that holds nothing under id yet.
func (l *listeners) add(id registrationID, end time.Time, channels []channel) {
	at := uint32(len(l.slots))
	l.slots = append(l.slots, slot{id: id, end: seconds(end)})
	for i := range channels {
		if c := &channels[i]; c.mode == every {
			l.topics = append(l.topics, topicKey(c.topic))
			l.postings = append(l.postings, posting{slot: at, muted: c.muted})
		}
	}
}

// buildIndex returns the index of all parts, which is the one that set would
// have made of them in order. Setting a million channels one by one misses the
// caches with nearly every one: so they are dealt first, in order, to as many
// regions of the table as the caches can write to side by side, and each region
// fits into them.
func buildIndex(parts []listeners) *index {
	x := newIndex()
	var slots int
	var ends [regions]int // first the size of each region, then where it goes on
	for i := range parts {
		slots += len(parts[i].slots)
		x.used += len(parts[i].topics)
		for _, key := range parts[i].topics {
			ends[x.heads.region(key)]++
		}
	}
	next := 1 // postings[0] is unused
	for i, n := range ends {
		ends[i], next = next, next+n
	}
	x.postings = make([]posting, next)
	x.slots = make([]slot, 0, slots)
	x.byID = make(map[registrationID]uint32, slots)
	keys := make([]uint32, next)
	for i := range parts {
		first := uint32(len(x.slots))
		x.slots = append(x.slots, parts[i].slots...)
		for j, key := range parts[i].topics {
			end := &ends[x.heads.region(key)]
			p := parts[i].postings[j]
			p.slot += first
			keys[*end], x.postings[*end] = key, p
			*end++
		}
	}
	for at, s := range x.slots {
		x.byID[s.id] = uint32(at)
	}
	x.heads.reserve(x.used)
	for at := 1; at < next; at++ {
		x.postings[at].next = x.heads.swap(keys[at], uint32(at))
	}
	x.heads.reserve(x.heads.used) // many may listen to one topic
	return x
}
