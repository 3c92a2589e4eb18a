package client

import (
	"crypto/ecdsa"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/stretchr/testify/require"

	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

// Who rings is nobody that the server knows, and the proof is for this server.
func TestNotifyIsUnlinkable(t *testing.T) {
	s := startScripted(t)
	root := make([]byte, pushwire.RootSize)
	by := Capability{Handle: [pushwire.HandleSize]byte{1}, Holder: "bob", Secret: pushwire.Capability(root, "bob")}
	signers := map[string]string{} // kinds of requests by who signed them
	s.answer = func(req pushwire.Request, from *ecdsa.PublicKey) (pushwire.Reply, []*whisper.Envelope, bool) {
		signers[string(crypto.CompressPubkey(from))] += req.Body.Kind().String()
		return accepted(1), nil, true
	}
	d := s.open(t, nil)
	require.NoError(t, d.Register(t.Context(), route()))
	hash := common.Hash{7}
	for range 2 {
		require.NoError(t, d.Notify(t.Context(), by, hash, pushwire.NotifyMention))
	}
	require.Len(t, signers, 3, "the device, and a key for each ring")

	seen := s.seen()
	require.Len(t, seen, 3)
	body := seen[1].Body.(*pushwire.Notify)
	require.True(t, body.Verify(root, d.binding(t).Server))
	require.False(t, body.Verify(root, [pushwire.PushKeySize]byte{}))
	require.Equal(t, hash, body.Hash)

	require.NoError(t, d.Close())
	require.ErrorIs(t, d.Notify(t.Context(), by, hash, pushwire.NotifyMention), ErrClosed)
}
