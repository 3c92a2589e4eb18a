package client

import (
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/stretchr/testify/require"

	"whisperpush/whisper"
)

// What the sender signed tells the time whatever envelope it comes in; whatever else
// tells one is a claim.
func TestComposedTime(t *testing.T) {
	key, err := crypto.GenerateKey()
	require.NoError(t, err)
	sent := time.UnixMilli(1_800_000_000_123)
	chats := []Chat{family()}
	for length := range 600 { // every length of padding
		draft := Compose(family(), make([]byte, length), key, sent)
		e, err := whisper.Seal(t.Context(), draft)
		require.NoError(t, err)
		p := preview(chats, e)
		require.True(t, sent.Equal(p.Sent), "%s", p.Sent)
		require.False(t, p.Claimed)
		require.Equal(t, draft.Payload, p.Payload)
		m, err := e.OpenSymmetric(family().Key)
		require.NoError(t, err)
		plain := 1 + 1 + len(m.Payload) + len(m.Padding) + signatureSize
		if length > 0xff {
			plain++
		}
		require.Zero(t, plain%paddedTo, "all messages have one of a few sizes")

		if length == 0 {
			again, err := whisper.Renew(t.Context(), e, whisper.Draft{Now: sent.Add(time.Hour)})
			require.NoError(t, err)
			copied := preview(chats, again)
			require.True(t, sent.Equal(copied.Sent), "who copies it changes nothing")
			require.Equal(t, p.Message, copied.Message)
			require.NotEqual(t, p.Hash, copied.Hash)
		}
	}
	plain, err := whisper.Seal(t.Context(), Compose(family(), []byte("x"), nil, sent))
	require.NoError(t, err)
	require.True(t, preview(chats, plain).Claimed, "nobody signed it")
	stamped := Compose(family(), []byte("x"), key, sent)
	stamped.Sign = nil
	forged, err := whisper.Seal(t.Context(), stamped)
	require.NoError(t, err)
	require.True(t, preview(chats, forged).Claimed, "any member could have written that")
	other, err := whisper.Seal(t.Context(), whisper.Draft{Payload: []byte("x"), Topic: family().Topic, Key: family().Key, Sign: key, Now: sent})
	require.NoError(t, err)
	require.True(t, preview(chats, other).Claimed, "of another program")
	require.True(t, preview(chats, other).Sent.Equal(sent.Truncate(time.Second)))
}

func TestChatID(t *testing.T) {
	one, other := family(), family()
	other.Key = make([]byte, whisper.SymmetricKeySize)
	other.Key[0]++
	require.NotEqual(t, one.ID(), other.ID(), "the same topic and another key")
	other = family()
	other.Name = "relatives"
	require.Equal(t, one.ID(), other.ID(), "a name is the user's")
	require.Equal(t, family().Topic, one.ID().Topic())
	require.Regexp(t, `^0x[0-9a-f]{8}\.[0-9a-f]{16}$`, one.ID().String())
	key, err := crypto.GenerateKey()
	require.NoError(t, err)
	person := Chat{Topic: one.Topic, Identity: key}
	require.NotEqual(t, one.ID(), person.ID())
}
