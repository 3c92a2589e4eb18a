package archive

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/stretchr/testify/require"

	"whisperpush/whisper"
)

func TestRecoverArchive(t *testing.T) {
	noLeaks(t)
	dir := t.TempDir()
	a := openArchive(t, dir, Options{})
	const n = 2000
	for i := range uint64(n / 20) {
		var envs []*whisper.Envelope
		for j := range uint64(20) {
			envs = append(envs, testEnvelope(i*20+j, topicOf(j), 100, 50, 500))
		}
		require.NoError(t, store(a, envs...))
	}
	require.NoError(t, a.Close())
	journals, err := filepath.Glob(filepath.Join(dir, partitionName(1), "*.log"))
	require.NoError(t, err)
	require.Len(t, journals, 1)
	data, err := os.ReadFile(journals[0])
	require.NoError(t, err)
	data[len(data)/2] ^= 1
	require.NoError(t, os.WriteFile(journals[0], data, 0o600))

	a = openArchive(t, dir, Options{})
	require.Len(t, a.Damage(), 1)
	require.Empty(t, readAll(t, a))
	before := a.Last()
	require.NoError(t, store(a, numbered(1<<40)))
	require.NoError(t, a.Close())

	moves := make(map[uint64]uint64)
	moved := func(old []uint64, first uint64) error {
		for i, seq := range old {
			moves[seq] = first + uint64(i)
		}
		return nil
	}
	recovered, err := Recover(t.Context(), dir, Options{}, moved, nil)
	require.NoError(t, err)
	require.Len(t, recovered, 1)
	require.NotEmpty(t, recovered[0].Losses)
	require.Greater(t, recovered[0].Envelopes, n/2)
	require.DirExists(t, filepath.Join(dir, recovered[0].Kept))

	again, err := Recover(t.Context(), dir, Options{}, nil, nil)
	require.NoError(t, err)
	require.Empty(t, again, "once is enough")
	a = openArchive(t, dir, Options{})
	records := readAll(t, a)
	require.Len(t, records, recovered[0].Envelopes+1)
	require.Equal(t, before+1, records[0].Seq, "a follower sees them as late arrivals")
	require.Len(t, moves, recovered[0].Envelopes)
	at := make(map[uint64]common.Hash)
	for _, rec := range records {
		at[rec.Seq] = rec.Hash
	}
	for old, now := range moves { // testEnvelope i had the sequence i+1
		i := old - 1
		require.Equal(t, testEnvelope(i, topicOf(i%20), 100, 50, 500).Hash(), at[now], "and is told which")
	}
}

// TestRecoverFindsDamage: what lies in the middle of a partition, where opening the
// archive does not look, is found as well, and a sound archive is left alone.
func TestRecoverFindsDamage(t *testing.T) {
	noLeaks(t)
	dir := t.TempDir()
	a := openArchive(t, dir, Options{runRecords: 500})
	const n = 2000
	for i := range uint64(n) {
		require.NoError(t, store(a, testEnvelope(i, topicOf(i%7), 100, 50, 500)))
		if i == n/2 { // moves the journal into a table
			require.NoError(t, a.Close())
			a = openArchive(t, dir, Options{runRecords: 500})
		}
	}
	require.NoError(t, a.Close())
	recovered, err := Recover(t.Context(), dir, Options{}, nil, nil)
	require.NoError(t, err)
	require.Empty(t, recovered)

	tables, err := filepath.Glob(filepath.Join(dir, partitionName(1), "*.ldb"))
	require.NoError(t, err)
	require.NotEmpty(t, tables)
	data, err := os.ReadFile(tables[0])
	require.NoError(t, err)
	data[len(data)/2] ^= 1
	require.NoError(t, os.WriteFile(tables[0], data, 0o600))
	recovered, err = Recover(t.Context(), dir, Options{}, nil, nil)
	require.NoError(t, err)
	require.Len(t, recovered, 1)
	require.GreaterOrEqual(t, recovered[0].Envelopes, n-2*blockRecords)
	a = openArchive(t, dir, Options{})
	require.Len(t, readAll(t, a), recovered[0].Envelopes)
}
