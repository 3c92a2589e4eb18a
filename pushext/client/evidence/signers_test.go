package evidence

import (
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/stretchr/testify/require"

	"whisperpush/pushext/pushwire"
)

// A server does not get away by taking another push key: what the former one signed while it was
// answered to, and what the next one signed, exclude each other all the same.
func TestVerifyOverTwoPushKeys(t *testing.T) {
	former, err := crypto.ToECDSA(key)
	require.NoError(t, err)
	next, err := crypto.GenerateKey()
	require.NoError(t, err)
	stranger, err := crypto.GenerateKey()
	require.NoError(t, err)
	const until = 3 // Unix seconds; the answer is of then, and the later head of after
	encoded := func(s pushwire.Succession, err error) hexutil.Bytes {
		require.NoError(t, err)
		b, err := pushwire.EncodeSuccession(s)
		require.NoError(t, err)
		return b
	}
	file := func() *Evidence {
		s, e := withheld(t)
		after := pushwire.Ledger{Secret: s.secret, Head: pushwire.Head{
			Log: e.After.Log, Since: e.After.Since, Begun: e.After.Begun, Topics: e.After.Topics, Through: e.After.Through, At: e.After.At, Count: e.After.Count, Chain: e.After.Chain,
		}}
		require.NoError(t, after.Sign(next))
		e.After, e.PushKey = HeadOf(&after), crypto.CompressPubkey(&next.PublicKey)
		e.Successions = []hexutil.Bytes{encoded(pushwire.NewSuccession(former, next, 1, until))}
		return &e
	}
	e := file()
	require.NoError(t, e.Verify())
	text, err := e.Encode()
	require.NoError(t, err)
	again, err := Decode(text)
	require.NoError(t, err)
	require.NoError(t, again.Verify())
	for name, change := range map[string]func(e *Evidence){
		"nothing joins the keys":            func(e *Evidence) { e.Successions = nil },
		"the next key has not signed":       func(e *Evidence) { e.Successions[0][len(e.Successions[0])-1]++ },
		"it leads to another":               func(e *Evidence) { e.Successions[0] = encoded(pushwire.NewSuccession(former, stranger, 1, until)) },
		"it comes from another":             func(e *Evidence) { e.Successions[0] = encoded(pushwire.NewSuccession(stranger, next, 1, until)) },
		"the overlap was over":              func(e *Evidence) { e.Successions[0] = encoded(pushwire.NewSuccession(former, next, 1, until-1)) },
		"it is no succession":               func(e *Evidence) { e.Successions[0] = []byte{0xc0} },
		"it is named twice":                 func(e *Evidence) { e.Successions = append(e.Successions, e.Successions[0]) },
		"there are more than may be":        func(e *Evidence) { e.Successions = make([]hexutil.Bytes, MaxSuccessions+1) },
		"the former key is the one named":   func(e *Evidence) { e.PushKey = crypto.CompressPubkey(&former.PublicKey) },
		"the server told of the envelope":   func(e *Evidence) { e.Hashes = []common.Hash{e.Page.Hashes[1], e.Hashes[1]} },
		"a stranger's key is named at last": func(e *Evidence) { e.PushKey = crypto.CompressPubkey(&stranger.PublicKey) },
	} {
		t.Run(name, func(t *testing.T) {
			e := file()
			change(e)
			require.ErrorIs(t, e.Verify(), ErrUnproved)
		})
	}
}
