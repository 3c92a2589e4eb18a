package registration

import (
	"encoding/binary"

	"whisperpush/pushext/pushwire"
)

// PrefixChain is the first byte of ChainKey.
const PrefixChain = 'c'

// ChainKey is the key of a sealed record with the start of the chain that the
// Register of a version gave. The record exists until the first wake-up under the
// chain is recorded, which deletes it.
func ChainKey(id ID, version uint64) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64([]byte{PrefixChain}, uint64(id)), version)
}

// Start is the start of a chain.
type Start = [pushwire.ChainSize]byte
