package mailserver

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"sync"

	"github.com/ethereum/go-ethereum/common"

	"whisperpush/durable"
	"whisperpush/whisper"
)

const (
	// runRecords is how many envelopes one run of the index covers. A topic query
	// reads one bucket of each run; a crash costs reading one run's log again.
	runRecords = 1 << 16
	// maxRunRecords bounds the index in memory when it cannot be written.
	maxRunRecords = 2 * runRecords
	// bucketEntries is how many entries an index bucket holds on average.
	bucketEntries = 256
	// entrySize of the hash index: 8 bytes of the hash, 3 of the offset of the
	// sequence in the run, 1 of the position in its block.
	entrySize = 12
	// filterBits is the size in bits, per envelope, of a run's hash filter.
	filterBits = 10
	// filterProbes is how many of them each hash sets.
	filterProbes = 7
)

// place says where in the log an envelope is: at is its position in the block
// that begins with sequence seq-at.
type place struct {
	seq uint64
	at  uint8
}

// pick names the records wanted from one block, ascending; at nil means all that
// were sent in the query's time.
type pick struct {
	first uint64
	at    []uint8
}

// span is a block as the directory knows it.
type span struct {
	first            uint64
	minSent, maxSent uint32
}

// segment is a part of the index: a run on disk or the one in memory.
type segment interface {
	// span is what it covers; first > last if it is empty.
	bounds() (first, last uint64)
	// sentRange is the range of sent times in it.
	sentRange() (lower, upper uint32)
	// find returns the picks that match m, ascending, and how many entries of the
	// index were looked at.
	find(m *match) (picks []pick, scanned int, err error)
	// lookup returns where envelopes with this hash may be.
	lookup(h common.Hash) ([]place, error)
	// log returns the partition whose log it indexes.
	log() *partition
}

// match is a query as the index sees it.
type match struct {
	lower, upper uint32
	after        uint64 // sequences > after …
	before       uint64 // … and < before
	topics       []whisper.Topic
	bloom        *whisper.Bloom
}

func (m *match) everything() bool { return len(m.topics) == 0 && m.bloom == nil }

func (m *match) topic(t whisper.Topic) bool {
	return (len(m.topics) == 0 || slices.Contains(m.topics, t)) && (m.bloom == nil || m.bloom.Covers(t.Bloom()))
}

func (m *match) sent(lower, upper uint32) bool { return lower <= m.upper && upper >= m.lower }

// placesToPicks turns places, in any order, into picks.
func placesToPicks(places []place) []pick {
	slices.SortFunc(places, func(a, b place) int {
		if a.seq < b.seq {
			return -1
		}
		return 1
	})
	ats := make([]uint8, 0, len(places))
	var picks []pick
	for _, p := range places {
		first := p.seq - uint64(p.at)
		ats = append(ats, p.at)
		if n := len(picks); n > 0 && picks[n-1].first == first {
			picks[n-1].at = picks[n-1].at[:len(picks[n-1].at)+1]
		} else {
			picks = append(picks, pick{first: first, at: ats[len(ats)-1:]})
		}
	}
	return picks
}

// spansToPicks picks whole blocks.
func spansToPicks(spans []span, last uint64, m *match) (picks []pick) {
	for i, s := range spans {
		end := last
		if i+1 < len(spans) {
			end = spans[i+1].first - 1
		}
		if end > m.after && s.first < m.before && m.sent(s.minSent, s.maxSent) {
			picks = append(picks, pick{first: s.first})
		}
	}
	return picks
}

// memoryRun indexes the end of a partition's log that no run on disk covers, and
// in the run that is written to also what is on its way into the log: sequences
// above Archive.Last, which readers pass over.
//
// It holds no pointers for each envelope, so that the garbage collector has
// nothing to look at.
type memoryRun struct {
	part  *partition
	first uint64

	mu               sync.RWMutex                 // guards the following fields
	entries          []entry                      // by sequence, from first on
	hashes           map[common.Hash]uint32       // to entries
	topics           map[whisper.Topic]entryIndex // the topic's newest entry
	spans            []span
	minSent, maxSent uint32
	maxExpiry        uint32
}

// entry is one envelope in a memoryRun.
type entry struct {
	topic whisper.Topic
	older entryIndex // the one before it on its topic
	sent  uint32
	at    uint8 // its position in its block
}

// entryIndex is an index into memoryRun.entries, plus one; 0 is none.
type entryIndex uint32

// newMemoryRun returns an empty run with room for size envelopes.
func newMemoryRun(p *partition, first uint64, size int) *memoryRun {
	return &memoryRun{
		part: p, first: first,
		entries: make([]entry, 0, size),
		hashes:  make(map[common.Hash]uint32, size), topics: make(map[whisper.Topic]entryIndex),
		minSent: math.MaxUint32,
	}
}

func (r *memoryRun) log() *partition { return r.part }

func (r *memoryRun) count() int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return len(r.entries)
}

func (r *memoryRun) bounds() (first, last uint64) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.first, r.nextSeq() - 1
}

// next returns the sequence that the next envelope gets.
func (r *memoryRun) next() uint64 {
	_, last := r.bounds()
	return last + 1
}

// nextSeq is next with the lock held.
func (r *memoryRun) nextSeq() uint64 { return r.first + uint64(len(r.entries)) }

func (r *memoryRun) sentRange() (lower, upper uint32) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.minSent, r.maxSent
}

// has reports whether the run holds h.
func (r *memoryRun) has(h common.Hash) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	_, ok := r.hashes[h]
	return ok
}

// add indexes e, the record at a position of a block, as the next sequence.
func (r *memoryRun) add(e *whisper.Envelope, at uint8) {
	r.mu.Lock()
	defer r.mu.Unlock()
	sent := e.Sent()
	if at == 0 {
		r.spans = append(r.spans, span{first: r.nextSeq(), minSent: sent, maxSent: sent})
	}
	s := &r.spans[len(r.spans)-1]
	s.minSent, s.maxSent = min(s.minSent, sent), max(s.maxSent, sent)
	r.minSent, r.maxSent = min(r.minSent, sent), max(r.maxSent, sent)
	r.maxExpiry = max(r.maxExpiry, e.Expiry)
	r.hashes[e.Hash()] = uint32(len(r.entries))
	r.entries = append(r.entries, entry{topic: e.Topic, older: r.topics[e.Topic], sent: sent, at: at})
	r.topics[e.Topic] = entryIndex(len(r.entries))
}

// removeLast undoes the adding of envs, which are whole blocks, the last ones. The
// range of times stays as wide as they made it.
func (r *memoryRun) removeLast(envs []*whisper.Envelope) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range slices.Backward(envs) {
		last := r.entries[len(r.entries)-1]
		r.entries = r.entries[:len(r.entries)-1]
		delete(r.hashes, e.Hash())
		if last.older == 0 {
			delete(r.topics, last.topic)
		} else {
			r.topics[last.topic] = last.older
		}
		if last.at == 0 {
			r.spans = r.spans[:len(r.spans)-1]
		}
	}
}

// place returns where the entry with index i is.
func (r *memoryRun) place(i uint32) place {
	return place{r.first + uint64(i), r.entries[i].at}
}

func (r *memoryRun) lookup(h common.Hash) ([]place, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if i, ok := r.hashes[h]; ok {
		return []place{r.place(i)}, nil
	}
	return nil, nil
}

func (r *memoryRun) find(m *match) ([]pick, int, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if m.everything() {
		return spansToPicks(r.spans, r.nextSeq()-1, m), 0, nil
	}
	var places []place
	scanned := 0
	collect := func(i entryIndex) {
		for ; i != 0; i = r.entries[i-1].older {
			scanned++
			sent := r.entries[i-1].sent
			if p := r.place(uint32(i - 1)); p.seq > m.after && p.seq < m.before && m.sent(sent, sent) {
				places = append(places, p)
			}
		}
	}
	if len(m.topics) > 0 {
		for i, t := range m.topics {
			if m.topic(t) && !slices.Contains(m.topics[:i], t) {
				collect(r.topics[t])
			}
		}
	} else {
		scanned = len(r.topics)
		for t, newest := range r.topics {
			if m.topic(t) {
				collect(newest)
			}
		}
	}
	return placesToPicks(places), scanned, nil
}

// bucketBits is how many bits name a bucket if n entries are spread over buckets.
func bucketBits(n int) uint8 {
	return uint8(min(bits.Len(uint(n/bucketEntries)), 16))
}

func hashBucket(h common.Hash, bits uint8) uint32 {
	return binary.BigEndian.Uint32(h[:]) >> (32 - uint32(bits))
}

func topicBucket(t whisper.Topic, bits uint8) uint32 {
	// Topics are chosen by senders; the multiplication spreads what they count up.
	return binary.BigEndian.Uint32(t[:]) * 0x9e3779b1 >> (32 - uint32(bits))
}

// encode puts the whole run into a batch. prev is the last sequence of the run
// before it. The run must not change any more.
func (r *memoryRun) encode(prev uint64) (runHeader, filter, *durable.Batch) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	h := runHeader{
		first: r.first, last: r.nextSeq() - 1, prev: prev,
		minSent: r.minSent, maxSent: r.maxSent, maxExpiry: r.maxExpiry,
		hashBits: bucketBits(len(r.hashes)), topicBits: bucketBits(len(r.entries)),
	}
	batch := new(durable.Batch)

	// Keys must ascend: directory, filter, hashes, header, topics.
	directory := make([]byte, 0, 6*len(r.spans))
	previous := span{first: r.first}
	for _, s := range r.spans {
		directory = binary.AppendUvarint(directory, s.first-previous.first)
		directory = binary.AppendVarint(directory, int64(s.minSent)-int64(previous.minSent))
		directory = binary.AppendUvarint(directory, uint64(s.maxSent-s.minSent))
		previous = s
	}
	batch.Put(appendKey(nil, h.last, kindDirectory), directory)

	f := newFilter(len(r.hashes))
	buckets := make([][]byte, 1<<h.hashBits)
	for hash, i := range r.hashes {
		f.add(hash)
		b := &buckets[hashBucket(hash, h.hashBits)]
		*b = append(*b, hash[:8]...)
		*b = binary.BigEndian.AppendUint32(*b, i<<8|uint32(r.entries[i].at))
	}
	batch.Put(appendKey(nil, h.last, kindFilter), f)
	for i, b := range buckets {
		batch.Put(bucketKey(h.last, kindHashes, uint32(i)), b)
	}

	batch.Put(appendKey(nil, h.last, kindHeader), h.encode())

	buckets = make([][]byte, 1<<h.topicBits)
	var (
		list     []byte
		postings []uint32 // of one topic, the newest first
	)
	for topic, newest := range r.topics {
		postings = postings[:0]
		for i := newest; i != 0; i = r.entries[i-1].older {
			postings = append(postings, uint32(i-1))
		}
		list = list[:0]
		var offset, sent uint32 // of the one before it
		for _, i := range slices.Backward(postings) {
			list = binary.AppendUvarint(list, uint64(i-offset))
			list = append(list, r.entries[i].at)
			list = binary.AppendVarint(list, int64(r.entries[i].sent)-int64(sent))
			offset, sent = i, r.entries[i].sent
		}
		b := &buckets[topicBucket(topic, h.topicBits)]
		*b = append(*b, topic[:]...)
		*b = binary.AppendUvarint(*b, uint64(len(list)))
		*b = append(*b, list...)
	}
	for i, b := range buckets {
		batch.Put(bucketKey(h.last, kindTopics, uint32(i)), b)
	}
	return h, f, batch
}

// diskRun is a run that was written.
type diskRun struct {
	runHeader
	part   *partition
	filter filter // nil if there was no memory left for it: everything may be in it
}

func (r *diskRun) log() *partition             { return r.part }
func (r *diskRun) bounds() (uint64, uint64)    { return r.first, r.last }
func (r *diskRun) sentRange() (uint32, uint32) { return r.minSent, r.maxSent }
func (r *diskRun) damaged(what string) error {
	return fmt.Errorf("%w: index run %d…%d: %s", durable.ErrCorrupted, r.first, r.last, what)
}

// get reads a value that every run has.
func (r *diskRun) get(key []byte) ([]byte, error) {
	v, err := r.part.get(key)
	if err == durable.ErrNotFound {
		return nil, r.damaged("part missing")
	}
	return v, err
}

func (r *diskRun) lookup(h common.Hash) ([]place, error) {
	if r.filter != nil && !r.filter.has(h) {
		return nil, nil
	}
	b, err := r.get(bucketKey(r.last, kindHashes, hashBucket(h, r.hashBits)))
	if err != nil {
		return nil, err
	}
	if len(b)%entrySize != 0 {
		return nil, r.damaged("hash bucket")
	}
	want := binary.BigEndian.Uint64(h[:])
	var places []place
	for ; len(b) > 0; b = b[entrySize:] {
		if binary.BigEndian.Uint64(b) == want {
			v := binary.BigEndian.Uint32(b[8:])
			places = append(places, place{r.first + uint64(v>>8), uint8(v)})
		}
	}
	return places, nil
}

func (r *diskRun) find(m *match) ([]pick, int, error) {
	if m.everything() {
		b, err := r.get(appendKey(nil, r.last, kindDirectory))
		if err != nil {
			return nil, 0, err
		}
		spans, err := r.spans(b)
		return spansToPicks(spans, r.last, m), 0, err
	}
	var places []place
	scanned := 0
	bucket := func(i uint32, wanted func(whisper.Topic) bool) error {
		b, err := r.get(bucketKey(r.last, kindTopics, i))
		if err != nil {
			return err
		}
		for len(b) > 0 {
			if len(b) < whisper.TopicSize {
				return r.damaged("topic bucket")
			}
			topic := whisper.Topic(b[:whisper.TopicSize])
			size, k := binary.Uvarint(b[whisper.TopicSize:])
			if k <= 0 || size > uint64(len(b)-whisper.TopicSize-k) {
				return r.damaged("topic bucket")
			}
			list := b[whisper.TopicSize+k:][:size]
			b = b[whisper.TopicSize+k+int(size):]
			scanned++
			if !wanted(topic) {
				continue
			}
			var n int
			if places, n, err = r.postings(places, list, m); err != nil {
				return err
			}
			scanned += n
		}
		return nil
	}
	if len(m.topics) > 0 {
		byBucket := make(map[uint32][]whisper.Topic, len(m.topics))
		for _, t := range m.topics {
			if m.topic(t) {
				i := topicBucket(t, r.topicBits)
				byBucket[i] = append(byBucket[i], t)
			}
		}
		for i, topics := range byBucket {
			if err := bucket(i, func(t whisper.Topic) bool { return slices.Contains(topics, t) }); err != nil {
				return nil, scanned, err
			}
		}
	} else {
		for i := range uint32(1) << r.topicBits {
			if err := bucket(i, m.topic); err != nil {
				return nil, scanned, err
			}
		}
	}
	return placesToPicks(places), scanned, nil
}

// postings appends the places of one topic's list that match m.
func (r *diskRun) postings(places []place, list []byte, m *match) (_ []place, n int, err error) {
	var offset, sent int64
	for len(list) > 0 {
		d, k := binary.Uvarint(list)
		if k <= 0 || len(list) < k+2 {
			return places, n, r.damaged("postings")
		}
		at := list[k]
		s, j := binary.Varint(list[k+1:])
		if j <= 0 {
			return places, n, r.damaged("postings")
		}
		list = list[k+1+j:]
		offset, sent = offset+int64(d), sent+s
		n++
		if seq := r.first + uint64(offset); seq > m.after && seq < m.before && m.sent(uint32(sent), uint32(sent)) {
			places = append(places, place{seq, at})
		}
	}
	return places, n, nil
}

func (r *diskRun) spans(b []byte) (spans []span, err error) {
	last := span{first: r.first}
	for len(b) > 0 {
		first, i := binary.Uvarint(b)
		if i <= 0 {
			return nil, r.damaged("directory")
		}
		lower, j := binary.Varint(b[i:])
		if j <= 0 {
			return nil, r.damaged("directory")
		}
		width, k := binary.Uvarint(b[i+j:])
		if k <= 0 {
			return nil, r.damaged("directory")
		}
		b = b[i+j+k:]
		last = span{first: last.first + first, minSent: uint32(int64(last.minSent) + lower)}
		last.maxSent = last.minSent + uint32(width)
		spans = append(spans, last)
	}
	return spans, nil
}

// filter is a bloom filter of hashes. Hashes are uniform already, so their own
// bytes are the probes.
type filter []byte

func newFilter(n int) filter { return make(filter, max(n*filterBits/8, 8)) }

func (f filter) probe(h common.Hash, visit func(i uint64) bool) bool {
	a, b := binary.BigEndian.Uint64(h[8:]), binary.BigEndian.Uint64(h[16:])|1
	size := uint64(len(f)) * 8
	for range filterProbes {
		if !visit(a % size) {
			return false
		}
		a += b
	}
	return true
}

func (f filter) add(h common.Hash) {
	f.probe(h, func(i uint64) bool { f[i/8] |= 1 << (i % 8); return true })
}

func (f filter) has(h common.Hash) bool {
	return f.probe(h, func(i uint64) bool { return f[i/8]&(1<<(i%8)) != 0 })
}
