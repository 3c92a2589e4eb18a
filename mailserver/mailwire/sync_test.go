package mailwire

import (
	"bytes"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/rlp"
	"github.com/stretchr/testify/require"

	"whisperpush/whisper"
)

func syncEnvelope(t testing.TB, text string) *whisper.Envelope {
	t.Helper()
	e, err := whisper.Seal(t.Context(), whisper.Draft{Key: bytes.Repeat([]byte{7}, whisper.SymmetricKeySize), Payload: []byte(text), Now: time.Unix(1000, 0)})
	require.NoError(t, err)
	return e
}

// syncAnswer is a packet 124 as status-go writes it: [Envelopes, Cursor, Final, Error].
func syncAnswer(t testing.TB, cursor []byte, final bool, text string, envs ...*whisper.Envelope) []byte {
	t.Helper()
	list := []rlp.RawValue{}
	for _, e := range envs {
		list = append(list, e.Raw())
	}
	b, err := rlp.EncodeToBytes([]any{list, cursor, final, text})
	require.NoError(t, err)
	return b
}

func TestSyncRequest(t *testing.T) {
	b, err := SyncRequest{Lower: 1, Upper: 2, Limit: 3, Cursor: []byte{4}}.Encode()
	require.NoError(t, err)
	want := append([]byte{0xf8, 70, 1, 2, 0xb8, 64}, bytes.Repeat([]byte{0xff}, 64)...)
	require.Equal(t, append(want, 3, 4), []byte(b))
	for name, r := range map[string]SyncRequest{
		"no envelopes": {Upper: 1}, "too many": {Upper: 1, Limit: MaxSyncLimit + 1}, "backwards": {Lower: 2, Upper: 1, Limit: 1},
		"a long cursor": {Limit: 1, Cursor: make([]byte, MaxSyncCursor+1)},
	} {
		_, err := r.Encode()
		require.ErrorIs(t, err, ErrMalformed, name)
	}
}

func TestDecodeSyncResponse(t *testing.T) {
	one, two := syncEnvelope(t, "one"), syncEnvelope(t, "two")
	s, err := DecodeSyncResponse(syncAnswer(t, []byte("cursor"), true, "", one, two))
	require.NoError(t, err)
	require.Equal(t, SyncResponse{Envelopes: []*whisper.Envelope{one, two}, Cursor: []byte("cursor"), Final: true}, s)
	s, err = DecodeSyncResponse(syncAnswer(t, nil, false, "too\nbusy"+string(bytes.Repeat([]byte{'x'}, 1000))))
	require.NoError(t, err)
	require.NotContains(t, string(s.Refusal), "\n")
	require.LessOrEqual(t, len(s.Refusal), MaxRefusalText)

	s, err = DecodeSyncResponse([]byte{0xc5, 0xc1, 1, 0x80, 1, 0x80})
	require.NoError(t, err)
	require.Equal(t, SyncResponse{Damaged: 1, Cursor: []byte{}, Final: true}, s)

	many := make([]*whisper.Envelope, MaxSyncLimit+1)
	for i := range many {
		many[i] = one
	}
	for name, b := range map[string][]byte{
		"nothing": nil, "no list": {0x80}, "too short": {0xc1, 0xc0}, "too many": syncAnswer(t, nil, true, "", many...),
		"a long cursor": syncAnswer(t, make([]byte, MaxSyncCursor+1), true, ""),
		"final is 2":    {0xc4, 0xc0, 0x80, 2, 0x80},
	} {
		_, err := DecodeSyncResponse(b)
		require.ErrorIs(t, err, ErrMalformed, name)
	}
}

func FuzzDecodeSyncResponse(f *testing.F) {
	f.Add(syncAnswer(f, []byte("cursor"), true, "", syncEnvelope(f, "one"), syncEnvelope(f, "two")))
	f.Add(syncAnswer(f, nil, false, "refused"))
	f.Add([]byte{0xc4, 0xc0, 0x80, 1, 0x80})
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := DecodeSyncResponse(b)
		if err != nil {
			require.ErrorIs(t, err, ErrMalformed)
			require.Zero(t, s)
			return
		}
		require.LessOrEqual(t, len(s.Envelopes)+s.Damaged, MaxSyncLimit)
		require.LessOrEqual(t, len(s.Cursor), MaxSyncCursor)
		again, err := DecodeSyncResponse(syncAnswer(t, s.Cursor, s.Final, string(s.Refusal), s.Envelopes...))
		require.NoError(t, err)
		require.Equal(t, len(s.Envelopes), len(again.Envelopes))
		for i := range s.Envelopes {
			require.Equal(t, s.Envelopes[i].Hash(), again.Envelopes[i].Hash())
		}
	})
}
