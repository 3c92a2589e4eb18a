package registry

import (
	"bytes"
	"encoding/binary"
	"math"
	"time"

	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushwire"
)

// Reasons why a registration ended, as its device is told.
const (
	reasonExpired      = "its lifetime is over"
	reasonUnregistered = "unregistered by the device"
	reasonMoved        = "its address was confirmed by another registration"
	reasonAnew         = "registered again"
	reasonEvicted      = "gave way to another registration"
)

// Unregister ends a registration. Its key and version stay, so that no older request
// brings it back.
func (r *Registry) Unregister(key [33]byte, version uint64, now time.Time) (rec *Record, err error) {
	err = r.apply(func(c *decision) error {
		rec, err = c.unregister(key, version, now)
		return err
	})
	return rec, err
}

// unregister decides. With an error it returns the record held.
func (c *decision) unregister(key [33]byte, version uint64, now time.Time) (held *Record, err error) {
	old, err := c.lookup(key)
	switch {
	case err != nil:
		return nil, err
	case old == nil:
		return nil, registration.Refuse(pushwire.NotRegistered, "there is no registration under this key")
	case old.State == registration.Terminated && version == old.Version:
		return old, nil // said before
	case version <= old.Version:
		return old, registration.Refuse(pushwire.Stale, "version %d is not above %d, which the server holds", version, old.Version)
	}
	rec := old.clone()
	rec.Version = version
	rec.bury(registration.Terminated, reasonUnregistered, now, c.terms.Load().limits.Tombstone)
	c.put(edit{old: old, next: rec})
	c.after = append(c.after, func() { c.m.ended.WithLabelValues("unregistered").Inc() })
	return rec, nil
}

// Kill ends a registration because its provider said that its addresses are gone. at is
// since when they are gone, or when the attempt that found out began: if the device
// registered after that, the verdict is about an older address and nothing happens. The
// addresses are forgotten; the device learns why with its next request.
func (r *Registry) Kill(id registration.ID, reason string, at time.Time) {
	err := r.apply(func(c *decision) error {
		old, err := c.read(id, true)
		if err != nil || old == nil || !old.Live() || old.State == registration.Dead || at.Before(old.Registered) {
			return err
		}
		rec := old.clone()
		rec.die(reason)
		c.put(edit{old: old, next: rec})
		c.after = append(c.after, func() { c.m.ended.WithLabelValues("provider").Inc() })
		return nil
	})
	if err != nil {
		r.log.Error("a registration whose address is dead cannot be ended; it will be when its provider says so again", "registration", uint64(id), "err", err)
	}
}

// sweepBatch bounds how many registrations one write of sweep ends.
const sweepBatch = 256

// Sweep ends what is over: registrations whose lifetime ended become tombstones; those
// never confirmed and old tombstones are removed. It is to be called every minute or so.
func (r *Registry) Sweep(now time.Time) error {
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

// sweepClass ends some of a class, and returns how many it looked at.
func (r *Registry) sweepClass(class byte, now time.Time) (n int, err error) {
	err = r.apply(func(c *decision) error {
		n, err = c.sweepClass(class, now)
		return err
	})
	return n, err
}

func (c *decision) sweepClass(class byte, now time.Time) (int, error) {
	excess := 0
	if class == classTomb {
		excess = c.count[classTomb] - c.terms.Load().limits.Tombstones
	}
	due, err := c.due(class, now, excess)
	if err != nil {
		return 0, err
	}
	ended := 0
	for _, key := range due {
		id := registration.ID(binary.BigEndian.Uint64(key[len(key)-8:]))
		old, err := c.read(id, true)
		switch {
		case err != nil:
			return 0, err
		case old == nil:
			c.delete(key)
			c.discard(id)
			continue
		case class == classLive:
			next := old.clone()
			next.bury(registration.Expired, reasonExpired, now, c.terms.Load().limits.Tombstone)
			c.put(edit{old: old, next: next})
		default:
			c.put(edit{old: old, reason: reasonExpired})
		}
		ended++
	}
	c.after = append(c.after, func() {
		switch class {
		case classFresh:
			c.m.ended.WithLabelValues("unconfirmed").Add(float64(ended))
		case classLive:
			c.m.ended.WithLabelValues("expired").Add(float64(ended))
		}
	})
	return len(due), nil
}

// discard removes a registration whose record is damaged. Its channels may
// still be in the index.
func (c *decision) discard(id registration.ID) {
	if plain, err := c.open(PrefixListening, id); err == nil {
		rec := &Record{Registration: registration.Registration{ID: id}}
		if rec.decodeListening(plain) == nil {
			c.counted(rec, -1)
		}
	}
	c.after = append(c.after, func() { c.index.Remove(id) })
	c.delete(idKey(PrefixRecord, id))
	c.delete(idKey(PrefixListening, id))
}

// due lists the keys at prefixDue of a class, the oldest first: those that are due, and
// excess of them in any case, at most sweepBatch.
func (c *decision) due(class byte, now time.Time, excess int) (keys [][]byte, err error) {
	end := dueKey(int(class), now, math.MaxUint64)
	err = c.scan([]byte{prefixDue, class}, func(key, _ []byte) bool {
		if bytes.Compare(key, end) > 0 && len(keys) >= excess {
			return false
		}
		keys = append(keys, bytes.Clone(key))
		return len(keys) < sweepBatch
	})
	return keys, err
}
