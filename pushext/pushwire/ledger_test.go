package pushwire

import (
	"testing"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/stretchr/testify/require"
)

// A head is the signer's word, as a whole.
func TestHeadIsSigned(t *testing.T) {
	l := vectorLedger()
	key := crypto.CompressPubkey(&vectorPushKey.PublicKey)
	id := LedgerID(l.Secret)
	require.True(t, l.SignedBy(key, id, l.Signature))
	require.False(t, l.SignedBy(crypto.CompressPubkey(&vectorRegistrationKey.PublicKey), id, l.Signature))
	require.False(t, l.SignedBy(key, l.Topics, l.Signature))
	for name, change := range map[string]func(*Head){
		"log": func(h *Head) { h.Log = h.Log[:15] }, "since": func(h *Head) { h.Since++ },
		"begun": func(h *Head) { h.Begun++ }, "topics": func(h *Head) { h.Topics[0]++ }, "through": func(h *Head) { h.Through++ },
		"at": func(h *Head) { h.At++ }, "count": func(h *Head) { h.Count++ }, "chain": func(h *Head) { h.Chain[0]++ },
	} {
		h := l.Head
		change(&h)
		require.False(t, h.SignedBy(key, id, l.Signature), name)
	}
}

// A ledger cannot tell more than its chain has.
func TestLedgerTellsNoMoreThanItHas(t *testing.T) {
	rep := Reply{ID: vectorID, Ledger: vectorLedger()}
	rep.Ledger.Told = append(vectorHashes, vectorHashes...)
	b, err := EncodeReply(rep)
	require.NoError(t, err)
	_, err = DecodeReply(b)
	require.ErrorIs(t, err, ErrMalformed)
}
