package postgres

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/rlp"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"whisperpush/mailserver/archive/foreign"
	"whisperpush/whisper"
)

// A table as status-go makes it is read whole and in order, in pages, and from any key on; another database is told.
func TestReadStatusTable(t *testing.T) {
	address, err := url.Parse(database(t))
	require.NoError(t, err)
	url := server.Superuser(strings.TrimPrefix(address.Path, "/")) // may create a table
	require.ErrorIs(t, ReadStatusTable(t.Context(), url, Options{}, nil, nil), ErrForeign)
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	defer conn.Close(background)
	_, err = conn.Exec(t.Context(), `CREATE TABLE envelopes (id BYTEA NOT NULL UNIQUE, data BYTEA NOT NULL, topic BYTEA NOT NULL, bloom BIT(512) NOT NULL);
		CREATE INDEX id_bloom_idx ON envelopes (id DESC, bloom); CREATE INDEX id_topic_idx ON envelopes (id DESC, topic)`)
	require.NoError(t, err)
	const count = 2*foreignPage + 7
	var want [][]byte
	for n := range uint32(count) {
		raw, err := rlp.EncodeToBytes([]any{1_600_000_050 + n, uint32(50), []byte{1, 2, 3, 4}, []byte("data"), uint64(n)})
		require.NoError(t, err)
		env, err := whisper.DecodeEnvelope(raw)
		require.NoError(t, err)
		hash := env.Hash()
		key := append(append(binary.BigEndian.AppendUint32(nil, env.Sent()), hash[:]...), env.Topic[:]...)
		_, err = conn.Exec(t.Context(), "INSERT INTO envelopes VALUES ($1, $2, $3, repeat('0', 512)::bit(512))", key, raw, env.Topic[:])
		require.NoError(t, err)
		want = append(want, key)
	}
	read := func(after []byte) (keys [][]byte) {
		require.NoError(t, ReadStatusTable(t.Context(), url, Options{}, after, func(key, raw []byte) error {
			keys = append(keys, bytes.Clone(key))
			return foreign.Check(key, raw)
		}))
		return keys
	}
	require.Equal(t, want, read(nil))
	require.Equal(t, want[900:], read(want[899]))
	require.Empty(t, read(want[count-1]))
	stop := errors.New("stop")
	require.ErrorIs(t, ReadStatusTable(t.Context(), url, Options{}, nil, func(_, _ []byte) error { return stop }), stop)
	require.ErrorIs(t, ReadStatusTable(t.Context(), "postgres://x:secret@127.0.0.1:1/x", Options{}, nil, nil), ErrAway)
	require.ErrorIs(t, ReadStatusTable(t.Context(), "http://x", Options{}, nil, nil), ErrURL)
}
