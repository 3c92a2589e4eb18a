package outbox

import (
	"encoding/binary"
	"errors"
	"fmt"

	"whisperpush/durable"
	"whisperpush/pushext/pushserver/vault"
)

// keyMoved holds ranges of sequences (first and last, 8 bytes each, big-endian),
// ascending: envelopes after the cursor that were matched all the same, because they were
// archived again after a recovery.
var keyMoved = []byte{vault.Meta, 'a'}

// seqRange is a range of receive sequences.
type seqRange struct{ first, last uint64 }

// seqRanges are ascending and apart.
type seqRanges []seqRange

func (s seqRanges) has(seq uint64) bool {
	for _, one := range s {
		if one.first <= seq && seq <= one.last {
			return true
		}
	}
	return false
}

// add appends seq, which is above all that there are.
func (s seqRanges) add(seq uint64) seqRanges {
	if n := len(s); n > 0 && s[n-1].last+1 == seq {
		s[n-1].last = seq
		return s
	}
	return append(s, seqRange{seq, seq})
}

// movedRanges reads keyMoved, without what the cursor has passed.
func movedRanges(s *vault.Vault, cursor uint64) (list seqRanges, err error) {
	value, err := s.Get(keyMoved)
	switch {
	case errors.Is(err, durable.ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read what was archived again: %w", err)
	case len(value)%16 != 0:
		return nil, fmt.Errorf("record of what was archived again has %d bytes", len(value))
	}
	for ; len(value) > 0; value = value[16:] {
		one := seqRange{binary.BigEndian.Uint64(value), binary.BigEndian.Uint64(value[8:])}
		if one.last > cursor {
			list = append(list, one)
		}
	}
	return list, nil
}
