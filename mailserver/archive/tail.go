package archive

import (
	"sort"
	"sync"
)

// tailBytes is how much of the end of the log stays in memory, for followers.
const tailBytes = 8 << 20

// tail is the end of the log in memory.
type tail struct {
	mu     sync.RWMutex // guards the following fields
	blocks []tailBlock  // ascending, without holes
	next   uint64       // the sequence after the last
	bytes  int
	more   chan struct{} // closed at the next push
	closed bool
}

type tailBlock struct {
	first uint64
	value []byte
}

func (t *tail) init() { t.more = make(chan struct{}) }

// reset forgets everything; last is the newest sequence in the log.
func (t *tail) reset(last uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.blocks, t.bytes, t.next = nil, 0, last+1
	close(t.more)
	t.more = make(chan struct{})
}

// push appends blocks, calls published while followers are locked out, and then
// wakes the followers.
func (t *tail) push(blocks []newBlock, published func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, b := range blocks {
		t.blocks = append(t.blocks, tailBlock{b.first, b.value})
		t.bytes += len(b.value)
		t.next = b.first + uint64(len(b.envs))
	}
	drop := 0
	for t.bytes > tailBytes && drop < len(t.blocks)-1 {
		t.bytes -= len(t.blocks[drop].value)
		t.blocks[drop].value = nil
		drop++
	}
	t.blocks = t.blocks[drop:]
	published()
	close(t.more)
	t.more = make(chan struct{})
}

func (t *tail) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	close(t.more)
	t.more = make(chan struct{})
}

// index returns the position of the last block that begins at or before seq.
func (t *tail) index(seq uint64) int {
	return sort.Search(len(t.blocks), func(i int) bool { return t.blocks[i].first > seq }) - 1
}

// block returns the block that begins with first, or nil.
func (t *tail) block(first uint64) []byte {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if i := t.index(first); i >= 0 && t.blocks[i].first == first {
		return t.blocks[i].value
	}
	return nil
}

// from returns blocks from the one that holds seq on, at most limit bytes of them
// but at least one. ok is false if the tail does not reach back to seq. If there
// are no such blocks yet, more is closed when there are.
func (t *tail) from(seq uint64, limit int) (blocks []tailBlock, more <-chan struct{}, ok bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if seq >= t.next {
		return nil, t.more, true
	}
	i := t.index(seq)
	if i < 0 {
		return nil, nil, false
	}
	for n := 0; i < len(t.blocks) && (n == 0 || n+len(t.blocks[i].value) <= limit); i++ {
		blocks = append(blocks, t.blocks[i])
		n += len(t.blocks[i].value)
	}
	return blocks, nil, true
}

func (t *tail) isClosed() bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.closed
}
