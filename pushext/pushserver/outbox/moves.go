package outbox

import (
	"encoding/binary"
	"errors"
	"fmt"

	"whisperpush/durable"
	"whisperpush/pushext/pushserver/vault"
)

// Moves tells the push database that envelopes were archived again under other sequences,
// as a recovery of the archive does, so that nobody is woken a second time for them. The
// database is open meanwhile; nobody else may have it open.
type Moves struct {
	store   *vault.Vault
	cursor  uint64
	matched seqRanges
}

// NewMoves reads from an open database what was moved before. Close closes it.
func NewMoves(s *vault.Vault) (*Moves, error) {
	m := &Moves{store: s}
	value, err := s.Get(KeyCursor)
	switch {
	case errors.Is(err, durable.ErrNotFound): // the log was never followed
	case err != nil:
		return nil, fmt.Errorf("read cursor: %w", err)
	case len(value) != 8:
		return nil, fmt.Errorf("cursor record has %d bytes, want 8", len(value))
	default:
		m.cursor = binary.BigEndian.Uint64(value)
	}
	m.matched, err = movedRanges(s, m.cursor)
	return m, err
}

// Add says that the envelopes that had the sequences old now have those from first on,
// which are above all there were. It is on disk when Add returns.
func (m *Moves) Add(old []uint64, first uint64) error {
	for i, seq := range old {
		if seq <= m.cursor || m.matched.has(seq) {
			m.matched = m.matched.add(first + uint64(i))
		}
	}
	if len(m.matched) == 0 {
		return nil
	}
	value := make([]byte, 0, 16*len(m.matched))
	for _, one := range m.matched {
		value = binary.BigEndian.AppendUint64(value, one.first)
		value = binary.BigEndian.AppendUint64(value, one.last)
	}
	var b durable.Batch
	b.Put(keyMoved, value)
	if err := m.store.Write(&b); err != nil {
		return fmt.Errorf("write what was archived again: %w", err)
	}
	return nil
}

// Close closes the database.
func (m *Moves) Close() error { return m.store.Close() }
