package mailserver

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/p2p/enode"

	"whisperpush/mailserver/archive"
	"whisperpush/mailserver/mailwire"
	"whisperpush/whisper"
)

// memoryStore is a Store of a few lines, to test the server apart from LevelDB
// and with failures.
type memoryStore struct {
	mu      sync.Mutex
	id      mailwire.LogID
	records []archive.Record
	fail    error
	panics  any
}

func (m *memoryStore) add(envs ...*whisper.Envelope) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range envs {
		m.records = append(m.records, archive.Record{
			Seq: uint64(len(m.records) + 1), Hash: e.Hash(), Topic: e.Topic, Sent: e.Sent(), Received: time.Now(), Envelope: e,
		})
	}
}

func (m *memoryStore) Last() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return uint64(len(m.records))
}

func (m *memoryStore) ID() [mailwire.LogIDSize]byte { return m.id }

func (m *memoryStore) HashAt(seq uint64) (h common.Hash, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if seq == 0 || seq > uint64(len(m.records)) {
		return h, false
	}
	return m.records[seq-1].Hash, true
}

func (m *memoryStore) Query(ctx context.Context, q archive.Query) (archive.Page, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.panics != nil {
		panic(m.panics)
	}
	if m.fail != nil {
		return archive.Page{}, m.fail
	}
	if q.MaxRows <= 0 || q.MaxBytes <= 0 || q.MaxScan <= 0 {
		panic("query without limits")
	}
	records := slices.Clone(m.records)
	if q.Descending {
		slices.Reverse(records)
	}
	var (
		page          archive.Page
		bytes, looked int
		last          uint64
	)
	for _, r := range records {
		if r.Seq <= q.After || q.Before > 0 && r.Seq >= q.Before {
			continue
		}
		size := len(r.Envelope.Raw())
		if looked == q.MaxScan || len(page.Records) == q.MaxRows || len(page.Records) > 0 && bytes+size > q.MaxBytes {
			page.Next = last
			break
		}
		looked, last = looked+1, r.Seq
		if r.Sent < q.Lower || r.Sent > q.Upper ||
			len(q.Topics) > 0 && !slices.Contains(q.Topics, r.Topic) ||
			q.Bloom != nil && !q.Bloom.Covers(r.Topic.Bloom()) {
			continue
		}
		page.Records, bytes = append(page.Records, r), bytes+size
	}
	return page, nil
}

func (m *memoryStore) ByHash(ctx context.Context, hashes []common.Hash) (found []archive.Record, missing []common.Hash, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, h := range hashes {
		i := slices.IndexFunc(m.records, func(r archive.Record) bool { return r.Hash == h })
		if i < 0 {
			missing = append(missing, h)
			continue
		}
		found = append(found, m.records[i])
	}
	return found, missing, m.fail
}

// sent is one thing that a peer was sent.
type sent struct {
	envs  []*whisper.Envelope
	batch bool
	end   *mailwire.Complete
}

// recorder is a Sender that remembers. A peer in gates takes nothing before its
// channel is closed.
type recorder struct {
	mu    sync.Mutex
	sent  map[enode.ID][]sent
	gates map[enode.ID]chan struct{}
	fail  error
	used  []enode.ID       // of Useful
	knows []enode.ID       // of Proved
	done  map[enode.ID]int // of Answered

	networks map[enode.ID]whisper.Source // of Source
}

func (r *recorder) put(ctx context.Context, peer enode.ID, s sent) error {
	r.mu.Lock()
	gate := r.gates[peer]
	r.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fail != nil {
		return r.fail
	}
	if r.sent == nil {
		r.sent = make(map[enode.ID][]sent)
	}
	r.sent[peer] = append(r.sent[peer], s)
	return nil
}

func (r *recorder) SendDirect(ctx context.Context, peer enode.ID, envs ...*whisper.Envelope) error {
	return r.put(ctx, peer, sent{envs: envs})
}

func (r *recorder) SendDirectBatch(ctx context.Context, peer enode.ID, envs []*whisper.Envelope) error {
	return r.put(ctx, peer, sent{envs: envs, batch: true})
}

func (r *recorder) SendRequestComplete(ctx context.Context, peer enode.ID, payload []byte) error {
	end, err := mailwire.DecodeComplete(payload)
	if err != nil {
		return err
	}
	return r.put(ctx, peer, sent{end: &end})
}

func (r *recorder) Useful(peer enode.ID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.used = append(r.used, peer)
}

func (r *recorder) Proved(peer enode.ID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.knows = append(r.knows, peer)
}

func (r *recorder) Answered(peer enode.ID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.done == nil {
		r.done = make(map[enode.ID]int)
	}
	r.done[peer]++
}

// Source is the peer itself unless networks has another.
func (r *recorder) Source(peer enode.ID) whisper.Source {
	if source, ok := r.networks[peer]; ok {
		return source
	}
	return whisper.Source(peer[:])
}

// take returns what the peer was sent since the last time: hashes of envelopes
// in order, and end marks.
func (r *recorder) take(peer enode.ID) (hashes []common.Hash, ends []mailwire.Complete) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.sent[peer] {
		for _, e := range s.envs {
			hashes = append(hashes, e.Hash())
		}
		if s.end != nil {
			ends = append(ends, *s.end)
		}
	}
	delete(r.sent, peer)
	return hashes, ends
}
