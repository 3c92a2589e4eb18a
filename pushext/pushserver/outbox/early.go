package outbox

import (
	"container/heap"
	"container/list"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"whisperpush/pushext/pushserver/registration"
)

const (
	// maxEarly bounds the remembered receipts that came before their match, and maxEarlyEach
	// those that one registration brought: as many as a Seen that names all it may, for each
	// device of the largest group.
	maxEarly     = 16384
	maxEarlyEach = 1024
	// earlyLife is how long such a receipt counts.
	earlyLife = 10 * time.Minute
)

// earlyReads remembers receipts that came before their envelope was matched: a device
// that sends a message says Seen for it at once, and may be faster than the archive. It
// is in memory: when it is full, or lost, the worst is a wake-up too many. Registrations
// share it, because hashes are free to make up: when it is full, the oldest receipt of
// the registration that brought most is forgotten. The zero value is ready.
type earlyReads struct {
	at     map[earlyRead]*list.Element // in the receipts of the registration that brought it
	shares map[registration.ID]*earlyShare
	most   earlyHeap // of shares
}

type earlyRead struct {
	id   registration.ID
	hash common.Hash
}

// earlyShare is what one registration brought.
type earlyShare struct {
	by       registration.ID
	receipts list.List // of earlyReceipt, the oldest first
	index    int       // in the heap
}

type earlyReceipt struct {
	earlyRead
	share *earlyShare
	at    time.Time
}

// add remembers that by has said that a registration need not be woken for an envelope.
func (r *earlyReads) add(by, id registration.ID, h common.Hash, now time.Time) {
	key := earlyRead{id, h}
	if e := r.at[key]; e != nil {
		r.drop(e) // it counts from now
	}
	if r.at == nil {
		r.at = make(map[earlyRead]*list.Element)
		r.shares = make(map[registration.ID]*earlyShare)
	}
	switch share := r.shares[by]; {
	case share != nil && share.receipts.Len() >= maxEarlyEach:
		r.drop(share.receipts.Front())
	case len(r.at) >= maxEarly:
		r.drop(r.most[0].receipts.Front())
	}
	share := r.shares[by] // it may have lost its last one
	if share == nil {
		share = &earlyShare{by: by}
		r.shares[by] = share
		heap.Push(&r.most, share)
	}
	r.at[key] = share.receipts.PushBack(earlyReceipt{key, share, now})
	heap.Fix(&r.most, share.index)
}

// has reports whether there is a receipt, even if it is too old.
func (r *earlyReads) has(id registration.ID, h common.Hash) bool {
	return r.at[earlyRead{id, h}] != nil
}

// take reports whether there was a receipt, and drops it.
func (r *earlyReads) take(id registration.ID, h common.Hash, now time.Time) bool {
	e, ok := r.at[earlyRead{id, h}]
	return ok && now.Sub(r.drop(e).at) < earlyLife
}

func (r *earlyReads) drop(e *list.Element) earlyReceipt {
	receipt := e.Value.(earlyReceipt)
	share := receipt.share
	delete(r.at, receipt.earlyRead)
	if share.receipts.Remove(e); share.receipts.Len() == 0 {
		heap.Remove(&r.most, share.index)
		delete(r.shares, share.by)
	} else {
		heap.Fix(&r.most, share.index)
	}
	return receipt
}

// earlyHeap has the share with the most receipts first. It implements
// heap.Interface.
type earlyHeap []*earlyShare

func (h earlyHeap) Len() int           { return len(h) }
func (h earlyHeap) Less(i, j int) bool { return h[i].receipts.Len() > h[j].receipts.Len() }

func (h earlyHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *earlyHeap) Push(x any) {
	share := x.(*earlyShare)
	share.index = len(*h)
	*h = append(*h, share)
}

func (h *earlyHeap) Pop() any {
	last := len(*h) - 1
	share := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return share
}
