package pushwire

import (
	"testing"

	"github.com/ethereum/go-ethereum/common"
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

// What the body names is told by its number, and no number is beyond the body.
func TestLedgerNamesWhatTheBodyHas(t *testing.T) {
	rep := Reply{ID: vectorID, To: vectorAccount[:], Body: &FetchReply{Later: vectorHashes}, Ledger: vectorLedger()}
	rep.Ledger.Told = vectorHashes
	b, err := EncodeReply(rep)
	require.NoError(t, err)
	got, err := DecodeReply(b)
	require.NoError(t, err)
	require.Equal(t, vectorHashes, got.Ledger.Told)
	rep.Body = nil
	long, err := EncodeReply(rep)
	require.NoError(t, err)
	require.Less(t, len(b), len(long)+2*hashSize, "they are there once")
	for _, told := range []any{uint(0), []byte{0}, []byte{1, 2}, make([]byte, 33)} {
		l := ledgerTail()
		l[10] = []any{told}
		_, err := DecodeReply(raw(t, []any{uint(2), vectorID[:], uint(0), "", uint(2), "", uint(0), []any{}, "", l}))
		require.Error(t, err)
	}
}

// From how many messages on a reply to a Fetch is of the next size, with a ledger that tells
// of them and without one.
func TestSizesWithALedger(t *testing.T) {
	class := func(ledger bool, n int) int {
		var hashes []common.Hash
		for i := range n {
			hashes = append(hashes, common.Hash{byte(i), 1})
		}
		rep := Reply{ID: vectorID, State: Active, To: vectorAccount[:], Body: &FetchReply{Sent: hashes, Owed: new(Owed)}}
		if ledger {
			rep.Ledger = vectorLedger()
			rep.Ledger.Since, rep.Ledger.Through, rep.Ledger.Count, rep.Ledger.Told = 1<<30, 1<<30, 1000, hashes
		}
		b, err := EncodeReply(rep)
		require.NoError(t, err)
		return len(b) + messageOverhead + len(Padding(len(b)))
	}
	require.Equal(t, 1<<10, class(false, 26))
	require.Equal(t, 4<<10, class(false, 27))
	require.Equal(t, 1<<10, class(true, 20))
	require.Equal(t, 4<<10, class(true, 21))
}
