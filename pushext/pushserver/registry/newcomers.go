package registry

import (
	"cmp"
	"container/heap"
	"encoding/binary"
	"slices"

	"whisperpush/pushext/pushserver/registration"
)

// newcomer is what matters of a registration that never proved an address when one has to
// give way.
type newcomer struct {
	id       registration.ID
	source   [16]byte // fingerprint, as in the record
	linked   bool     // it has its link alone, and proves nothing else
	channels int
}

// newcomers are the registrations that never proved an address. They have room of their
// own. In it, those with a link alone, which costs nothing to make, give way before the
// others; of either kind, the oldest of the source with the most of them. So a source
// that floods pushes out its own, and a device that comes during a flood has time to
// prove an address.
type newcomers struct {
	byID     map[registration.ID]newcomer
	linked   queues
	proving  queues
	channels int              // of all
	shares   map[[16]byte]int // channels by source
}

func newNewcomers() *newcomers {
	return &newcomers{byID: make(map[registration.ID]newcomer), linked: newQueues(), proving: newQueues(), shares: make(map[[16]byte]int)}
}

func (n *newcomers) add(one newcomer) {
	n.byID[one.id] = one
	n.share(one.source, one.channels)
	n.kind(one.linked).add(one.source, one.id)
}

// remove forgets a newcomer; known is false if it was not one.
func (n *newcomers) remove(id registration.ID) (one newcomer, known bool) {
	if one, known = n.byID[id]; !known {
		return one, false
	}
	delete(n.byID, id)
	n.share(one.source, -one.channels)
	n.kind(one.linked).remove(one.source, id)
	return one, true
}

// share counts so many channels more for a source.
func (n *newcomers) share(source [16]byte, channels int) {
	n.channels += channels
	if n.shares[source] += channels; n.shares[source] == 0 {
		delete(n.shares, source)
	}
}

// channelsOf is how many channels the newcomers of a source hold.
func (n *newcomers) channelsOf(source [16]byte) int { return n.shares[source] }

func (n *newcomers) kind(linked bool) *queues {
	if linked {
		return &n.linked
	}
	return &n.proving
}

// first is the newcomer that gives way first, 0 if there is none.
func (n *newcomers) first() registration.ID {
	return cmp.Or(n.linked.first(), n.proving.first())
}

// firstOf is the newcomer of a source that gives way first, 0 if it has none.
func (n *newcomers) firstOf(source [16]byte) registration.ID {
	return cmp.Or(n.linked.firstOf(source), n.proving.firstOf(source))
}

// of is how many newcomers a source has.
func (n *newcomers) of(source [16]byte) int {
	return n.linked.of(source) + n.proving.of(source)
}

// queues are the ids of each source, oldest first, in a heap with the longest queue on
// top; of equally long ones, the one with the oldest id.
type queues struct {
	bySource map[[16]byte]*queue
	heap     queueHeap
}

type queue struct {
	source [16]byte
	ids    []registration.ID // ascending, and so by age
	at     int               // in the heap
}

func newQueues() queues { return queues{bySource: make(map[[16]byte]*queue)} }

func (q *queues) add(source [16]byte, id registration.ID) {
	of := q.bySource[source]
	if of == nil {
		of = &queue{source: source, ids: []registration.ID{id}}
		q.bySource[source] = of
		heap.Push(&q.heap, of)
		return
	}
	at, _ := slices.BinarySearch(of.ids, id)
	of.ids = slices.Insert(of.ids, at, id)
	heap.Fix(&q.heap, of.at)
}

func (q *queues) remove(source [16]byte, id registration.ID) {
	of := q.bySource[source]
	at, _ := slices.BinarySearch(of.ids, id)
	of.ids = slices.Delete(of.ids, at, at+1)
	if len(of.ids) == 0 {
		delete(q.bySource, source)
		heap.Remove(&q.heap, of.at)
		return
	}
	heap.Fix(&q.heap, of.at)
}

func (q *queues) first() registration.ID {
	if len(q.heap) == 0 {
		return 0
	}
	return q.heap[0].ids[0]
}

func (q *queues) firstOf(source [16]byte) registration.ID {
	if of := q.bySource[source]; of != nil {
		return of.ids[0]
	}
	return 0
}

func (q *queues) of(source [16]byte) int {
	if of := q.bySource[source]; of != nil {
		return len(of.ids)
	}
	return 0
}

// queueHeap implements heap.Interface.
type queueHeap []*queue

func (h queueHeap) Len() int { return len(h) }
func (h queueHeap) Less(i, j int) bool {
	if len(h[i].ids) != len(h[j].ids) {
		return len(h[i].ids) > len(h[j].ids)
	}
	return h[i].ids[0] < h[j].ids[0]
}
func (h queueHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].at, h[j].at = i, j
}
func (h *queueHeap) Push(x any) {
	of := x.(*queue)
	of.at = len(*h)
	*h = append(*h, of)
}
func (h *queueHeap) Pop() any {
	last := len(*h) - 1
	of := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return of
}

// A newcomer is found at a start by the value of its key at prefixDue: its
// source, whether it is over its link alone, and how many channels it has.
const newcomerSize = 16 + 1 + 4

// dueValue is what is kept at prefixDue: the newcomer, if it is one.
func (r *Record) dueValue() []byte {
	if r.class() != classFresh {
		return nil
	}
	b := append(make([]byte, 0, newcomerSize), r.source[:]...)
	if r.linkedOnly() {
		b = append(b, 1)
	} else {
		b = append(b, 0)
	}
	return binary.BigEndian.AppendUint32(b, uint32(len(r.Channels)))
}

// provenChannels is how many channels a registration holds if it proved an address,
// otherwise 0.
func (r *Record) provenChannels() int {
	if r.class() != classLive {
		return 0
	}
	return len(r.Channels)
}

// newcomer is how a registration that never proved an address is counted.
func (r *Record) newcomer() newcomer {
	return newcomer{id: r.ID, source: r.source, linked: r.linkedOnly(), channels: len(r.Channels)}
}

// linkedOnly reports that it is woken over its link, and proved nothing else.
func (r *Record) linkedOnly() bool { return !r.Proved && r.State == registration.Active }

// loadNewcomers loads the newcomers on disk.
func (r *Registry) loadNewcomers() error {
	r.newcomers = newNewcomers()
	v := r.settled()
	var before []registration.ID // keys of an earlier version, without a value
	err := v.scan([]byte{prefixDue, classFresh}, func(key, value []byte) bool {
		id := registration.ID(binary.BigEndian.Uint64(key[len(key)-8:]))
		if len(value) != newcomerSize {
			before = append(before, id)
			return true
		}
		r.newcomers.add(newcomer{
			id: id, source: [16]byte(value[:16]), linked: value[16] == 1, channels: int(binary.BigEndian.Uint32(value[17:])),
		})
		return true
	})
	if err != nil {
		return err
	}
	for _, id := range before {
		rec, err := v.read(id, true)
		if err != nil {
			return err
		}
		if rec != nil && rec.class() == classFresh {
			r.newcomers.add(rec.newcomer())
		}
	}
	return nil
}
