package outbox

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"whisperpush/durable"
	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushserver/vault"
)

// This file is for taking the records of an outbox to other stores, where registrations
// may have other ids.

// Kind is the kind of an entry of the outbox.
type Kind byte

// The kinds of entries.
const (
	Unknown Kind = iota
	OfDevice
	OfChain // the start of one: the id of its registration follows the prefix; sealed under its key
	OfTwin
	OfTelling
)

// KindOf returns the kind of the entry with a key. Single records, under vault.Meta, are
// Unknown to it.
func KindOf(key []byte) Kind {
	switch {
	case len(key) == 1+8 && key[0] == Prefix:
		return OfDevice
	case len(key) == 1+8+8 && key[0] == registration.PrefixChain:
		return OfChain
	case len(key) == 1+4+len(twin{}) && key[0] == prefixTwin:
		return OfTwin
	case len(key) == 1+8 && key[0] == prefixTelling:
		return OfTelling
	}
	return Unknown
}

// Keys of the single records.
var (
	KeyRun    = keyRun
	KeyBreaks = keyBreaks
	KeyMoved  = keyMoved
	KeyTwins  = keyTwins
)

// Rename returns the record of a device as it is under another id. The error says that
// the record is damaged.
func Rename(v *vault.Vault, from, to registration.ID, value []byte) ([]byte, error) {
	d, chain, err := openDevice(v, from, value)
	if err != nil {
		return nil, err
	}
	if len(chain) > 0 {
		chain = v.Seal(Key(to), chain)
	}
	return d.appendRecord(nil, d.reserved, chain), nil
}

// Plain returns the record of a device with its chain unsealed: the same bytes, however
// often it was sealed.
func Plain(v *vault.Vault, id registration.ID, value []byte) ([]byte, error) {
	d, chain, err := openDevice(v, id, value)
	if err != nil {
		return nil, err
	}
	return d.appendRecord(nil, d.reserved, chain), nil
}

func openDevice(v *vault.Vault, id registration.ID, value []byte) (d *device, chain []byte, err error) {
	if d, err = decodeDevice(id, value); err == nil && len(d.sealed) > 0 {
		chain, err = v.Open(Key(id), d.sealed)
	}
	return d, chain, err
}

// Waiting is how many envelopes the record of a device has that it has not fetched.
func Waiting(id registration.ID, value []byte) int {
	d, err := decodeDevice(id, value)
	if err != nil {
		return 0
	}
	unread, _ := d.unread()
	return unread
}

// Twin decodes the key and the value of a twin: its generation, its fingerprint, and the
// receive sequence of the first envelope with it.
func Twin(key, value []byte) (generation uint32, id [16]byte, seq uint64, err error) {
	if KindOf(key) != OfTwin || len(value) != 8 {
		return 0, id, 0, fmt.Errorf("the record of a message has a key of %d bytes and %d bytes", len(key), len(value))
	}
	return binary.BigEndian.Uint32(key[1:]), [16]byte(key[5:]), binary.BigEndian.Uint64(value), nil
}

// TwinKey returns the key of a twin, as Twin decodes it.
func TwinKey(generation uint32, id [16]byte) []byte { return twinKey(generation, id) }

// TwinsOf is what the keys of a generation begin with.
func TwinsOf(generation uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{prefixTwin}, generation)
}

// Generation decodes the value of KeyTwins: the generation being written, since when
// (Unix ms), and how many twins it has.
func Generation(value []byte) (generation uint32, since, count uint64, err error) {
	if len(value) != 4+8+8 {
		return 0, 0, 0, fmt.Errorf("the generation of message fingerprints has %d bytes, want 20", len(value))
	}
	return binary.BigEndian.Uint32(value), binary.BigEndian.Uint64(value[4:]), binary.BigEndian.Uint64(value[12:]), nil
}

// GenerationValue undoes Generation.
func GenerationValue(generation uint32, since, count uint64) []byte {
	b := binary.BigEndian.AppendUint32(nil, generation)
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, since), count)
}

// TellingIn returns the key of a telling of a shard in the store of all registrations: its number is congruent to the
// shard's.
func TellingIn(shard, shards int, key []byte) []byte {
	return tellingKey(binary.BigEndian.Uint64(key[1:])*uint64(shards) + uint64(shard))
}

// Runs returns the value of KeyRun for one store that takes the place of several: no
// number that any of them may have given out is given out again.
func Runs(values [][]byte) (sum []byte, err error) {
	var crashes uint64
	var running byte
	for _, value := range values {
		if len(value) != len(runRecord(0, 0)) {
			return nil, fmt.Errorf("record of the outbox's run has %d bytes, want %d", len(value), len(runRecord(0, 0)))
		}
		crashes, running = max(crashes, binary.BigEndian.Uint64(value)), max(running, value[8])
	}
	return runRecord(crashes, running), nil
}

// KeyAhead holds how far the log was matched for parts of the registrations, where that
// is further than the cursor: the number of parts (1), and for each of them the sequence
// (8, big-endian) up to which the log was matched for the registrations whose ids are
// congruent to its number. Shards that became one store leave it until the cursor has
// passed all of them.
var KeyAhead = []byte{vault.Meta, 'j'}

// ahead is KeyAhead. The zero value is none.
type ahead []uint64

// AheadValue is the value of KeyAhead.
func AheadValue(cursors []uint64) []byte {
	b := []byte{byte(len(cursors))}
	for _, c := range cursors {
		b = binary.BigEndian.AppendUint64(b, c)
	}
	return b
}

// ParseAhead undoes AheadValue.
func ParseAhead(value []byte) (cursors []uint64, err error) {
	if len(value) < 1 || len(value) != 1+8*int(value[0]) {
		return nil, fmt.Errorf("record of what was matched ahead of the cursor has %d bytes", len(value))
	}
	for b := value[1:]; len(b) > 0; b = b[8:] {
		cursors = append(cursors, binary.BigEndian.Uint64(b))
	}
	return cursors, nil
}

// readAhead reads KeyAhead, if the cursor has not passed it.
func readAhead(s *vault.Vault, cursor uint64) (ahead, error) {
	value, err := s.Get(KeyAhead)
	switch {
	case errors.Is(err, durable.ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read what was matched ahead of the cursor: %w", err)
	}
	a, err := ParseAhead(value)
	if err != nil || !ahead(a).before(cursor) {
		return nil, err
	}
	return a, nil
}

// before tells whether anything was matched beyond a cursor.
func (a ahead) before(cursor uint64) bool { return len(a) > 0 && cursor < slices.Max(a) }

// has tells whether a match was recorded before. One that was asked for has no sequence.
func (a ahead) has(m Match) bool {
	return len(a) > 0 && m.Seq != 0 && m.Seq <= a[uint64(m.ID)%uint64(len(a))]
}
