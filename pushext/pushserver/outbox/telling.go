package outbox

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"github.com/ethereum/go-ethereum/common"

	"whisperpush/durable"
	"whisperpush/pushext/pushserver/vault"
)

// prefixTelling is the first byte of the keys of what other shards are to be told.
const prefixTelling = 't'

// maxTellings bounds the tellings that wait for other shards, at up to 2 KiB each. Beyond
// it, shards are told once, and not again if that fails.
const maxTellings = 1024

// Telling says that a device of a group has seen envelopes. It is for the other shards
// that have devices of the group, and is on disk until they were told.
type Telling struct {
	Number uint64
	Group  []byte // the key under which all shards file the group
	Hashes []common.Hash
}

// tellings are the Tellings that wait. The zero value is empty.
type tellings struct {
	all   map[uint64]Telling // by number
	last  uint64             // number given out
	fresh []uint64           // not on disk yet
	done  []uint64           // still on disk, or about to be
}

// The record at prefixTelling|number(8, big-endian): the length of the group's key (1),
// the key, and the hashes.
func (t *Telling) record() []byte {
	b := append([]byte{byte(len(t.Group))}, t.Group...)
	for _, h := range t.Hashes {
		b = append(b, h[:]...)
	}
	return b
}

func tellingKey(number uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{prefixTelling}, number)
}

func decodeTelling(key, b []byte) (Telling, error) {
	if len(key) != 1+8 || len(b) < 1 || len(b) < 1+int(b[0]) || (len(b)-1-int(b[0]))%common.HashLength != 0 {
		return Telling{}, fmt.Errorf("record of what other shards are to be told has a key of %d bytes and %d bytes", len(key), len(b))
	}
	t := Telling{Number: binary.BigEndian.Uint64(key[1:]), Group: slices.Clone(b[1 : 1+b[0]])}
	for b = b[1+b[0]:]; len(b) > 0; b = b[common.HashLength:] {
		t.Hashes = append(t.Hashes, common.Hash(b[:common.HashLength]))
	}
	return t, nil
}

// readTellings reads what could not be told before.
func readTellings(s *vault.Vault) (t tellings, err error) {
	t.all = make(map[uint64]Telling)
	it := s.Scan(prefixTelling)
	defer it.Release()
	for it.Next() {
		one, err := decodeTelling(it.Key(), it.Value())
		if err != nil {
			return t, err
		}
		t.all[one.Number] = one
		t.last = max(t.last, one.Number)
	}
	if err := it.Release(); err != nil {
		return t, fmt.Errorf("read what other shards are to be told: %w", err)
	}
	return t, nil
}

// Tell keeps what other shards are to be told until Told; Synced says that it is on disk.
func (o *Outbox) Tell(group []byte, hashes []common.Hash) {
	o.mu.Lock()
	defer o.mu.Unlock()
	t := &o.tellings
	if len(t.all) >= maxTellings || len(hashes) == 0 {
		return
	}
	t.last++
	t.all[t.last] = Telling{t.last, group, hashes}
	t.fresh = append(t.fresh, t.last)
	signal(o.soon)
}

// Tellings returns what other shards are to be told, the oldest first.
func (o *Outbox) Tellings() []Telling {
	o.mu.Lock()
	defer o.mu.Unlock()
	list := make([]Telling, 0, len(o.tellings.all))
	for _, number := range slices.Sorted(maps.Keys(o.tellings.all)) {
		list = append(list, o.tellings.all[number])
	}
	return list
}

// Told says that the other shards were told.
func (o *Outbox) Told(number uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.tellings.all, number)
	o.tellings.done = append(o.tellings.done, number)
	signal(o.soon)
}

// collect puts the changes into a batch, and returns them.
func (t *tellings) collect(b *durable.Batch) (fresh, done []uint64) {
	for _, number := range t.fresh {
		if one, waits := t.all[number]; waits {
			b.Put(tellingKey(number), one.record())
		}
	}
	for _, number := range t.done {
		b.Delete(tellingKey(number))
	}
	fresh, done = t.fresh, t.done
	t.fresh, t.done = nil, nil
	return fresh, done
}

// restore follows a write that was given up.
func (t *tellings) restore(fresh, done []uint64) {
	t.fresh = append(fresh, t.fresh...)
	t.done = append(done, t.done...)
}
