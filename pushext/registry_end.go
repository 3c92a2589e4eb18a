package pushext

import (
	"bytes"
	"encoding/binary"
	"math"
	"time"

	"github.com/syndtr/goleveldb/leveldb"

	"whisperpush/pushext/pushwire"
)

// Reasons why a registration ended, as its device is told.
const (
	reasonExpired      = "its lifetime is over"
	reasonUnregistered = "unregistered by the device"
	reasonMoved        = "its address was confirmed by another registration"
	reasonAnew         = "registered anew"
	reasonEvicted      = "gave way to another registration"
)

// unregister ends a registration; what stays is the key and the version, so
// that no older request brings it back.
func (r *registry) unregister(key [33]byte, version uint64, now time.Time) (*record, error) {
	r.change.Lock()
	defer r.change.Unlock()
	old, err := r.lookup(key)
	switch {
	case err != nil:
		return nil, err
	case old == nil:
		return nil, refuse(pushwire.NotRegistered, "there is no registration under this key")
	case old.state == unregistered && version == old.version:
		return old, nil // said before
	case version <= old.version:
		return old, refuse(pushwire.Stale, "version %d is not above %d, which the server holds", version, old.version)
	}
	rec := old.clone()
	rec.version = version
	rec.bury(unregistered, reasonUnregistered, now, r.limits.Tombstone)
	var b leveldb.Batch
	if err := r.commit(&b, edit{old: old, next: rec}); err != nil {
		return old, err
	}
	r.m.ended.WithLabelValues("unregistered").Inc()
	return rec, nil
}

// kill ends a registration because its provider said that its addresses are
// gone. at is since when, or when the attempt that found out began: if the
// device registered after it, the verdict is about an older address and
// nothing happens. The addresses are forgotten; the device learns why with its
// next request.
func (r *registry) kill(id registrationID, reason string, at time.Time) {
	r.change.Lock()
	defer r.change.Unlock()
	old, err := r.read(id, true)
	if err == nil && (old == nil || !old.live() || old.state == dead || at.Before(old.registered)) {
		return
	}
	if err == nil {
		rec := old.clone()
		rec.die(reason)
		var b leveldb.Batch
		err = r.commit(&b, edit{old: old, next: rec})
	}
	if err != nil {
		r.log.Error("a registration whose address is dead cannot be ended; it will be when its provider says so again", "registration", uint64(id), "err", err)
		return
	}
	r.m.ended.WithLabelValues("provider").Inc()
}

// sweepBatch bounds how many registrations one write of sweep ends.
const sweepBatch = 256

// sweep ends what is over: registrations whose lifetime ended become
// tombstones, those never confirmed and old tombstones go. It is to be called
// every minute or so.
func (r *registry) sweep(now time.Time) error {
	for class := byte(0); class < classes; class++ {
		for {
			n, err := r.sweepClass(class, now)
			if err != nil {
				return err
			}
			if n < sweepBatch {
				break
			}
		}
	}
	return r.sweepChallenged(now)
}

func (r *registry) sweepClass(class byte, now time.Time) (int, error) {
	r.change.Lock()
	defer r.change.Unlock()
	excess := 0
	if class == classTomb {
		excess = r.count[classTomb] - r.limits.Tombstones
	}
	due, err := r.due(class, now, excess)
	if err != nil {
		return 0, err
	}
	var b leveldb.Batch
	var edits []edit
	for _, key := range due {
		id := registrationID(binary.BigEndian.Uint64(key[len(key)-8:]))
		old, err := r.read(id, true)
		switch {
		case err != nil:
			return 0, err
		case old == nil:
			b.Delete(key)
			r.discard(&b, id)
			continue
		case class == classLive:
			next := old.clone()
			next.bury(expired, reasonExpired, now, r.limits.Tombstone)
			edits = append(edits, edit{old: old, next: next})
		default:
			edits = append(edits, edit{old: old, reason: reasonExpired})
		}
	}
	if len(due) == 0 {
		return 0, nil
	}
	if err := r.commit(&b, edits...); err != nil {
		return 0, err
	}
	switch class {
	case classFresh:
		r.m.ended.WithLabelValues("unconfirmed").Add(float64(len(edits)))
	case classLive:
		r.m.ended.WithLabelValues("expired").Add(float64(len(edits)))
	}
	return len(due), nil
}

// discard removes a registration whose record is damaged. Its channels may
// still be in the index. The caller holds change.
func (r *registry) discard(b *leveldb.Batch, id registrationID) {
	if plain, err := r.open(prefixListening, id); err == nil {
		rec := &record{registration: registration{id: id}}
		if rec.decodeListening(plain) == nil {
			r.index.remove(id, rec.channels)
			r.channels -= len(rec.channels)
			r.count[rec.class()]--
		}
	}
	b.Delete(idKey(prefixRecord, id))
	b.Delete(idKey(prefixListening, id))
}

// due lists the keys at prefixDue of a class that are due, the oldest first,
// and so many more as are in excess, at most sweepBatch.
func (r *registry) due(class byte, now time.Time, excess int) ([][]byte, error) {
	it := r.store.scan(prefixDue, class)
	defer it.Release()
	end := dueKey(int(class), now, math.MaxUint64)
	var keys [][]byte
	for len(keys) < sweepBatch && it.Next() {
		if bytes.Compare(it.Key(), end) > 0 && len(keys) >= excess {
			break
		}
		keys = append(keys, bytes.Clone(it.Key()))
	}
	return keys, it.Error()
}
