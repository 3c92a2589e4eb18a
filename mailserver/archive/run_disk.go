package archive

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"

	"github.com/ethereum/go-ethereum/common"

	"whisperpush/durable"
	"whisperpush/whisper"
)

const (
	// bucketEntries is how many entries an index bucket holds on average.
	bucketEntries = 256
	// entrySize of the hash index: 8 bytes of the hash, 3 of the offset of the
	// sequence in the run, 1 of the position in its block.
	entrySize = 12
)

// bucketBits is how many bits name a bucket for n entries.
func bucketBits(n int) uint8 {
	return uint8(min(bits.Len(uint(n/bucketEntries)), 16))
}

func hashBucket(h common.Hash, bits uint8) uint32 {
	return binary.BigEndian.Uint32(h[:]) >> (32 - uint32(bits))
}

func topicBucket(t whisper.Topic, bits uint8) uint32 {
	// Senders choose topics; the multiplication spreads topics that are
	// numbered consecutively.
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
		var offset, sent uint32 // of the previous posting
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

// diskRun is a run on disk.
type diskRun struct {
	runHeader
	part   *partition
	filter filter // nil if there was no memory left for it: any hash may be in the run
}

func (r *diskRun) log() *partition { return r.part }

func (r *diskRun) bounds() (uint64, uint64) { return r.first, r.last }

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
