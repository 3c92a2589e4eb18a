package outbox

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"whisperpush/durable"
	"whisperpush/pushext"
	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushserver/vault"
)

const (
	// twinLife is how long the fingerprint of a message is kept at least; at most it is kept
	// for twice as long.
	twinLife = 30 * 24 * time.Hour
	// maxTwins bounds the fingerprints of one generation, some 30 bytes of disk
	// each; two generations are kept. Each stands for an envelope in the archive,
	// which takes more.
	maxTwins = 4 << 20
	// twinSweep is how many fingerprints one write forgets.
	twinSweep = 4096
)

// keyTwins holds the generation of fingerprints that is written now (4 bytes),
// since when (8, Unix ms), and how many it has (8), all big-endian.
var keyTwins = []byte{vault.Meta, 'w'}

// twin is the keyed fingerprint of what an envelope carries: its topic and its encrypted
// data. Time, lifetime and nonce are left out, because anybody can mine an old envelope
// again with others, under another hash. The topic is part of it: otherwise a copy on
// another topic, where nobody listens for it, would silence the message.
type twin [16]byte

func twinOf(s *vault.Vault, e pushext.Entry) twin {
	return s.Fingerprint([]byte{prefixTwin}, e.Topic[:], e.Data)
}

// twins remember the messages that devices were woken for, so that an old
// envelope that somebody mined again wakes nobody. A fingerprint becomes durable
// with the cursor that passes its envelope, in one batch: a crash before that reads
// the envelope again, and must not take it for its own twin.
type twins struct {
	generation uint32
	since      time.Time
	count      uint64

	fresh map[twin]uint64 // receive sequences of those not on disk yet
	queue []twin          // the same, ascending by sequence

	// now and before have the fingerprints on disk, of the generation being written and of
	// the one before it, once whole is set. Most messages are not repetitions, and need no
	// look at the disk.
	now, before sieve
	whole       bool
}

// of returns the sieve of a generation, nil if it does not count any more.
func (t *twins) of(generation uint32) *sieve {
	switch generation {
	case t.generation:
		return &t.now
	case t.generation - 1:
		return &t.before
	}
	return nil
}

// unknown reports that a fingerprint is not on disk.
func (t *twins) unknown(f twin) bool { return t.whole && !t.now.has(f) && !t.before.has(f) }

// readTwins continues with the generation of the run before.
func readTwins(s *vault.Vault, now time.Time) (t twins, err error) {
	t = twins{since: now, fresh: make(map[twin]uint64)}
	value, err := s.Get(keyTwins)
	switch {
	case errors.Is(err, durable.ErrNotFound):
		return t, nil
	case err != nil:
		return t, fmt.Errorf("read the generation of message fingerprints: %w", err)
	case len(value) != 4+8+8:
		return t, fmt.Errorf("the generation of message fingerprints has %d bytes, want 20", len(value))
	}
	t.generation = binary.BigEndian.Uint32(value)
	t.since = registration.FromMillis(binary.BigEndian.Uint64(value[4:]))
	t.count = binary.BigEndian.Uint64(value[12:])
	return t, nil
}

func twinKey(generation uint32, f twin) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{prefixTwin}, generation), f[:]...)
}

// Repeated reports whether devices were woken for the same message under
// another receive sequence, and remembers it if not. The follower calls it, in the
// order of the log, for envelopes that somebody listens to. An entry without
// data is never a repetition.
func (o *Outbox) Repeated(e pushext.Entry) (bool, error) {
	if len(e.Data) == 0 {
		return false, nil
	}
	f := twinOf(o.store, e)
	o.mu.Lock()
	seq, fresh := o.twins.fresh[f]
	generation := o.twins.generation
	if !fresh && o.twins.unknown(f) {
		o.twins.note(f, e.Seq)
		o.mu.Unlock()
		return false, nil
	}
	o.mu.Unlock()
	if fresh {
		return seq != e.Seq, nil
	}
	for back := range min(generation, 1) + 1 {
		value, err := o.store.Get(twinKey(generation-back, f))
		switch {
		case errors.Is(err, durable.ErrNotFound):
		case err != nil:
			return false, fmt.Errorf("look for an earlier copy of a message: %w", err)
		case len(value) == 8:
			return binary.BigEndian.Uint64(value) != e.Seq, nil
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.twins.note(f, e.Seq)
	return false, nil
}

// note remembers a fingerprint until it is on disk.
func (t *twins) note(f twin, seq uint64) {
	t.fresh[f] = seq
	t.queue = append(t.queue, f)
}

// collect puts the fingerprints that the cursor has passed into a batch, and
// returns them.
func (t *twins) collect(b *durable.Batch, cursor uint64, now time.Time) []twin {
	n := 0
	for n < len(t.queue) && t.fresh[t.queue[n]] <= cursor {
		n++
	}
	if n == 0 {
		return nil
	}
	if t.count >= maxTwins || now.Sub(t.since) >= twinLife {
		t.generation, t.since, t.count = t.generation+1, now, 0
		t.before, t.now = t.now, sieve{}
	}
	done := t.queue[:n:n]
	t.queue = t.queue[n:]
	for _, f := range done {
		b.Put(twinKey(t.generation, f), binary.BigEndian.AppendUint64(nil, t.fresh[f]))
	}
	t.count += uint64(n)
	record := binary.BigEndian.AppendUint32(nil, t.generation)
	record = binary.BigEndian.AppendUint64(record, registration.Millis(t.since))
	b.Put(keyTwins, binary.BigEndian.AppendUint64(record, t.count))
	return done
}

// settle follows the write of what collect returned: from now on the disk knows.
func (t *twins) settle(done []twin) {
	for _, f := range done {
		t.now.add(f)
		delete(t.fresh, f)
	}
}

// Recall reads which fingerprints are on disk, so that later messages need no look there.
// It takes a second for some millions; until it is done, the disk is asked.
func (o *Outbox) Recall(ctx context.Context) error {
	it := o.store.ScanOnce(durable.Prefix([]byte{prefixTwin}))
	defer it.Release()
	type found struct {
		generation uint32
		twin       twin
	}
	some := make([]found, 0, twinSweep)
	for more := true; more; {
		if err := ctx.Err(); err != nil {
			return err
		}
		some = some[:0]
		for len(some) < twinSweep && more {
			if more = it.Next(); more && len(it.Key()) == 1+4+len(twin{}) {
				some = append(some, found{binary.BigEndian.Uint32(it.Key()[1:]), twin(it.Key()[5:])})
			}
		}
		o.mu.Lock()
		for _, one := range some {
			if s := o.twins.of(one.generation); s != nil {
				s.add(one.twin)
			}
		}
		o.mu.Unlock()
	}
	if err := it.Release(); err != nil {
		return fmt.Errorf("read message fingerprints: %w", err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.twins.whole = true
	return nil
}

// restore follows a write that was given up.
func (t *twins) restore(done []twin) { t.queue = append(done, t.queue...) }

// sweepTwins forgets the generations before the two that count.
func (o *Outbox) sweepTwins() error {
	o.mu.Lock()
	generation := o.twins.generation
	o.mu.Unlock()
	for {
		var b durable.Batch
		it := o.store.Scan(prefixTwin)
		for b.Len() < twinSweep && it.Next() {
			if key := it.Key(); len(key) != 1+4+len(twin{}) || binary.BigEndian.Uint32(key[1:])+1 < generation {
				b.Delete(key)
				continue
			}
			break
		}
		if err := it.Release(); err != nil {
			return fmt.Errorf("read message fingerprints: %w", err)
		}
		if b.Len() == 0 {
			return nil
		}
		if err := o.store.Write(&b); err != nil {
			return fmt.Errorf("forget message fingerprints: %w", err)
		}
	}
}
