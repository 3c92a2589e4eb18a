package pushserver

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"whisperpush/durable"
	"whisperpush/pushext/pushserver/outbox"
	"whisperpush/pushext/pushserver/registry"
	"whisperpush/pushext/pushserver/vault"
)

// TestRecover: whatever of the database is damaged, a recovery makes one that can
// be opened, gives no registration id again and forgets no match.
func TestRecover(t *testing.T) {
	key := bytes.Repeat([]byte{7}, vault.DiskKeySize)
	dir := filepath.Join(t.TempDir(), "push")
	s, err := vault.Open(dir, key, durable.Options{})
	require.NoError(t, err)
	const registrations = 300
	for id := range uint64(registrations) {
		var b durable.Batch
		at := binary.BigEndian.AppendUint64([]byte{registry.PrefixRecord}, id+1)
		b.Put(at, s.Seal(at, bytes.Repeat([]byte{byte(id)}, 200)))
		b.Put(outbox.KeyCursor, binary.BigEndian.AppendUint64(nil, id))
		b.Put(registry.KeyNextID, binary.BigEndian.AppendUint64(nil, id+2))
		require.NoError(t, s.Write(&b))
	}
	require.NoError(t, s.Close())

	_, sound, err := Recover(t.Context(), dir, key, nil)
	require.NoError(t, err)
	require.True(t, sound)

	// Lost: everything that the database has once.
	db, err := durable.Open(dir, durable.Options{})
	require.NoError(t, err)
	var b durable.Batch
	for _, k := range [][]byte{vault.KeyFormat, vault.KeyCheck, outbox.KeyCursor, registry.KeyNextID} {
		b.Delete(k)
	}
	require.NoError(t, db.Write(&b))
	require.NoError(t, db.Close())
	_, err = vault.Open(dir, key, durable.Options{})
	require.ErrorIs(t, err, vault.ErrFormat)
	_, _, err = Recover(t.Context(), dir, bytes.Repeat([]byte{8}, vault.DiskKeySize), nil)
	require.ErrorIs(t, err, vault.ErrDiskKey, "a wrong key must not seal what comes")

	// And damaged.
	journals, err := filepath.Glob(filepath.Join(dir, "*.ldb"))
	require.NoError(t, err)
	require.NotEmpty(t, journals)
	data, err := os.ReadFile(journals[0])
	require.NoError(t, err)
	data[len(data)/2] ^= 1
	require.NoError(t, os.WriteFile(journals[0], data, 0o600))
	_, err = vault.Open(dir, key, durable.Options{})
	require.Error(t, err)
	r, sound, err := Recover(t.Context(), dir, key, nil)
	require.NoError(t, err)
	require.False(t, sound)
	require.NotEmpty(t, r.Losses)
	require.DirExists(t, r.Aside)

	s, err = vault.Open(dir, key, durable.Options{})
	require.NoError(t, err)
	cursor, err := s.Get(outbox.KeyCursor)
	require.NoError(t, err)
	require.Zero(t, binary.BigEndian.Uint64(cursor), "what is archived is matched again")
	next, err := s.Get(registry.KeyNextID)
	require.NoError(t, err)
	require.Greater(t, binary.BigEndian.Uint64(next), uint64(registrations))
	require.NoError(t, s.Close())

	_, sound, err = Recover(t.Context(), dir, key, nil)
	require.NoError(t, err)
	require.True(t, sound, "once is enough")
}
