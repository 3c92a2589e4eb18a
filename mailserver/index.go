package mailserver

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"sync"

	"github.com/ethereum/go-ethereum/common"
	"github.com/syndtr/goleveldb/leveldb"

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

// posting is one envelope in a topic's list.
type posting struct {
	offset uint32 // of the sequence in the run
	sent   uint32
	at     uint8
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

// group turns places, in any order, into picks.
func group(places []place) []pick {
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
			picks = append(picks, pick{first: first, at: ats[len(ats)-1 : len(ats)]})
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

// memoryRun indexes the end of a partition's log that no run on disk covers.
type memoryRun struct {
	part  *partition
	first uint64

	mu               sync.RWMutex // guards the following fields
	last             uint64       // first-1 while empty
	hashes           map[common.Hash]place
	topics           map[whisper.Topic]*[]posting
	spans            []span
	minSent, maxSent uint32
	maxExpiry        uint32
}

func newMemoryRun(p *partition, first uint64) *memoryRun {
	return &memoryRun{
		part: p, first: first, last: first - 1,
		hashes: make(map[common.Hash]place), topics: make(map[whisper.Topic]*[]posting),
		minSent: math.MaxUint32,
	}
}

func (r *memoryRun) log() *partition { return r.part }

func (r *memoryRun) count() int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return int(r.last - r.first + 1)
}

func (r *memoryRun) bounds() (first, last uint64) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.first, r.last
}

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

// add indexes the block that begins with first. It is visible at once.
func (r *memoryRun) add(first uint64, envs []*whisper.Envelope) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := span{first: first, minSent: math.MaxUint32}
	for i, e := range envs {
		seq, sent := first+uint64(i), e.Sent()
		r.hashes[e.Hash()] = place{seq, uint8(i)}
		list := r.topics[e.Topic]
		if list == nil {
			list = new([]posting)
			r.topics[e.Topic] = list
		}
		*list = append(*list, posting{offset: uint32(seq - r.first), sent: sent, at: uint8(i)})
		s.minSent, s.maxSent = min(s.minSent, sent), max(s.maxSent, sent)
		r.maxExpiry = max(r.maxExpiry, e.Expiry)
	}
	r.spans = append(r.spans, s)
	r.minSent, r.maxSent = min(r.minSent, s.minSent), max(r.maxSent, s.maxSent)
	r.last = first + uint64(len(envs)) - 1
}

func (r *memoryRun) lookup(h common.Hash) ([]place, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if p, ok := r.hashes[h]; ok {
		return []place{p}, nil
	}
	return nil, nil
}

func (r *memoryRun) find(m *match) ([]pick, int, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if m.everything() {
		return spansToPicks(r.spans, r.last, m), 0, nil
	}
	var places []place
	scanned := 0
	collect := func(list *[]posting) {
		if list == nil {
			return
		}
		scanned += len(*list)
		for _, p := range *list {
			if seq := r.first + uint64(p.offset); seq > m.after && seq < m.before && m.sent(p.sent, p.sent) {
				places = append(places, place{seq, p.at})
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
		for t, list := range r.topics {
			if m.topic(t) {
				collect(list)
			}
		}
	}
	return group(places), scanned, nil
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
func (r *memoryRun) encode(prev uint64) (runHeader, filter, *leveldb.Batch) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	n := int(r.last - r.first + 1)
	h := runHeader{
		first: r.first, last: r.last, prev: prev,
		minSent: r.minSent, maxSent: r.maxSent, maxExpiry: r.maxExpiry,
		hashBits: bucketBits(len(r.hashes)), topicBits: bucketBits(n),
	}
	batch := new(leveldb.Batch)

	// Keys must ascend: directory, filter, hashes, header, topics.
	directory := make([]byte, 0, 6*len(r.spans))
	previous := span{first: r.first}
	for _, s := range r.spans {
		directory = binary.AppendUvarint(directory, s.first-previous.first)
		directory = binary.AppendVarint(directory, int64(s.minSent)-int64(previous.minSent))
		directory = binary.AppendUvarint(directory, uint64(s.maxSent-s.minSent))
		previous = s
	}
	batch.Put(appendKey(nil, r.last, kindDirectory), directory)

	f := newFilter(len(r.hashes))
	buckets := make([][]byte, 1<<h.hashBits)
	for hash, p := range r.hashes {
		f.add(hash)
		b := &buckets[hashBucket(hash, h.hashBits)]
		*b = append(*b, hash[:8]...)
		*b = binary.BigEndian.AppendUint32(*b, uint32(p.seq-r.first)<<8|uint32(p.at))
	}
	batch.Put(appendKey(nil, r.last, kindFilter), f)
	for i, b := range buckets {
		batch.Put(bucketKey(r.last, kindHashes, uint32(i)), b)
	}

	batch.Put(appendKey(nil, r.last, kindHeader), h.encode())

	buckets = make([][]byte, 1<<h.topicBits)
	var list []byte
	for topic, postings := range r.topics {
		list = list[:0]
		var last posting
		for _, p := range *postings {
			list = binary.AppendUvarint(list, uint64(p.offset-last.offset))
			list = append(list, p.at)
			list = binary.AppendVarint(list, int64(p.sent)-int64(last.sent))
			last = p
		}
		b := &buckets[topicBucket(topic, h.topicBits)]
		*b = append(*b, topic[:]...)
		*b = binary.AppendUvarint(*b, uint64(len(list)))
		*b = append(*b, list...)
	}
	for i, b := range buckets {
		batch.Put(bucketKey(r.last, kindTopics, uint32(i)), b)
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
	if err == leveldb.ErrNotFound {
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
	return group(places), scanned, nil
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
