// Package transfer copies everything that a push server keeps from one store to the shards of a cluster, and from those to
// one store.
//
// The id of a registration is congruent to the number of its shard, modulo the number of shards, and the registration key
// determines the shard. So registrations keep their ids when [Unite] brings them together, and get new ones when [Divide]
// parts them: nothing outside a push database refers to an id. Records with the id in their key are resealed under the new
// key, as seals are bound to keys. Fingerprints stay, because their inputs are not kept, and so does the fingerprint key.
//
// Each store has its own place in the log. If the shards' places differ, the one store continues at the earliest of them and
// notes how far each shard had come (outbox.KeyAhead). What shards still had to tell each other, a claim to an address or
// what was seen, is settled when the one store is opened (Server.Start). Ledgers end, as they do when a server was away for
// more than a minute: a device is given another one with its next request.
//
// Everything written is counted and summed, and compared with what is read back ([Sums]).
package transfer

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"whisperpush/durable"
	"whisperpush/pushext/pushserver/outbox"
	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushserver/registry"
	"whisperpush/pushext/pushserver/vault"
)

var (
	// ErrUnknown means that there is a record that this version does not know.
	ErrUnknown = errors.New("there is a record that this version of the program does not know")
	// ErrUnsettled means that a store that was made of shards has not been opened since.
	ErrUnsettled = errors.New("the registrations were brought together and no server has run with them since; start it once, and stop it")
	// ErrDiffer means that what was read back differs from what was written.
	ErrDiffer = errors.New("the copy of the registrations is not what it should be")
)

// Put takes a record of a shard, or of shard 0 if there is only one store. It must copy what it keeps.
type Put func(shard int, key, value []byte) error

// Report says what was copied.
type Report struct {
	Registrations int      // including remembered ones that ended
	Outboxes      int      // devices that the outbox knows
	Waiting       int      // envelopes in it that their devices have not fetched
	Records       int      // written, of any kind
	Damaged       int      // unreadable records, which are left out
	Cursors       []uint64 // of each store that was written; none: the log was never followed
}

// keyProbe is what pushserver.Server.Probe writes.
var keyProbe = []byte{vault.Meta, 'p'}

// meta are the single records of a store, by the second byte of their keys.
type meta map[byte][]byte

// metaOf reads the single records of a store.
func metaOf(s durable.Store) (meta, error) {
	m := meta{}
	it := s.Scan(durable.Prefix([]byte{vault.Meta}))
	defer it.Release()
	for it.Next() {
		key := it.Key()
		if len(key) != 2 {
			return nil, fmt.Errorf("%w: its key is %x", ErrUnknown, key)
		}
		m[key[1]] = bytes.Clone(it.Value())
	}
	if err := it.Release(); err != nil {
		return nil, fmt.Errorf("read the push database: %w", err)
	}
	for second := range m {
		known := false
		for _, key := range [][]byte{
			vault.KeyFormat, vault.KeyCheck, vault.KeyWrap, registry.KeyNextID, registry.KeySnapshot, keyProbe,
			outbox.KeyCursor, outbox.KeyRun, outbox.KeyBreaks, outbox.KeyMoved, outbox.KeyTwins, outbox.KeyAhead,
		} {
			known = known || key[1] == second
		}
		if !known {
			return nil, fmt.Errorf("%w: its key is %x", ErrUnknown, []byte{vault.Meta, second})
		}
	}
	return m, nil
}

// get returns a record by its key.
func (m meta) get(key []byte) []byte { return m[key[1]] }

// cursor returns the place in the log.
func (m meta) cursor() (at uint64, ok bool, err error) {
	value := m.get(outbox.KeyCursor)
	if value == nil {
		return 0, false, nil
	}
	if len(value) != 8 {
		return 0, false, fmt.Errorf("cursor record has %d bytes, want 8", len(value))
	}
	return binary.BigEndian.Uint64(value), true, nil
}

// filedUnder returns the id that a key ends with.
func filedUnder(key []byte) registration.ID {
	return registration.ID(binary.BigEndian.Uint64(key[len(key)-8:]))
}

// idBehind returns the id that follows the prefix of a key.
func idBehind(key []byte) registration.ID { return registration.ID(binary.BigEndian.Uint64(key[1:])) }

// plainOf returns the content of a record without its seal, which differs each time.
func plainOf(v *vault.Vault, key, value []byte) ([]byte, error) {
	switch {
	case registry.KindOf(key) == registry.Sealed, outbox.KindOf(key) == outbox.OfChain,
		bytes.Equal(key, vault.KeyCheck), bytes.Equal(key, vault.KeyWrap):
		return v.Open(key, value)
	case outbox.KindOf(key) == outbox.OfDevice:
		return outbox.Plain(v, idBehind(key), value)
	}
	return value, nil
}
