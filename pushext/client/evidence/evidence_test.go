package evidence

import (
	"bytes"
	"flag"
	"os"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/stretchr/testify/require"

	"whisperpush/mailserver/mailwire"
	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

var update = flag.Bool("update", false, "write testdata/withheld.json anew")

const golden = "testdata/withheld.json"

// signer is a server that signs what it is told to. Nobody else should use its key.
type signer struct {
	t      testing.TB
	secret [pushwire.LedgerSecretSize]byte
	topics []whisper.Topic
}

var key = hexutil.MustDecode("0x4545454545454545454545454545454545454545454545454545454545454545")

func (s signer) head(through, at uint64, hashes ...common.Hash) Head {
	pushKey, err := crypto.ToECDSA(key)
	require.NoError(s.t, err)
	l := pushwire.Ledger{Secret: s.secret, Head: pushwire.Head{
		Log: bytes.Repeat([]byte{0x10}, 16), Since: 100, Begun: 1000, Topics: pushwire.LedgerTopics(pushwire.TopicLeaves(s.secret, s.topics)),
		Through: through, At: at, Count: uint64(len(hashes)), Chain: pushwire.ChainBegin(pushwire.LedgerID(s.secret)),
	}}
	for _, h := range hashes {
		l.Chain = pushwire.ChainNext(l.Chain, h)
	}
	require.NoError(s.t, l.Sign(pushKey))
	return HeadOf(&l)
}

func (s signer) page(after, upTo, at uint64, hashes ...common.Hash) Page {
	pushKey, err := crypto.ToECDSA(key)
	require.NoError(s.t, err)
	p := &mailwire.Proof{After: after, At: at}
	end := mailwire.Cursor{Seq: upTo, Log: mailwire.LogID(bytes.Repeat([]byte{0x10}, 16))}
	statement := mailwire.StatementOf(end, p, hashes)
	signature, err := crypto.Sign(statement.Digest(), pushKey)
	require.NoError(s.t, err)
	copy(p.Signature[:], signature)
	return PageOf(end, p, hashes)
}

// withheld is what convicts: of three envelopes the server told two, and the third is in its
// archive between the heads.
func withheld(t testing.TB) (s signer, e Evidence) {
	s = signer{t, [pushwire.LedgerSecretSize]byte(bytes.Repeat([]byte{0x5c}, 16)), []whisper.Topic{{0x5a, 0x4e, 0xa1, 0x31}, {3: 1}}}
	raw, err := rlp.EncodeToBytes([]any{uint32(1_800_000_050), uint32(50), s.topics[0][:], bytes.Repeat([]byte{7}, 64), uint64(9)})
	require.NoError(t, err)
	envelope, err := whisper.DecodeEnvelope(raw)
	require.NoError(t, err)
	pushKey, err := crypto.ToECDSA(key)
	require.NoError(t, err)
	told := []common.Hash{{1}, {2}, {3}}
	before := s.head(110, 2000, told[0])
	return s, Evidence{
		PushKey: crypto.CompressPubkey(&pushKey.PublicKey), Ledger: pushwire.LedgerID(s.secret), Leaves: pushwire.TopicLeaves(s.secret, s.topics),
		Salt: pushwire.TopicSalt(s.secret, envelope.Topic), Before: &before, Hashes: told[1:], After: s.head(130, 4000, told...),
		Page: s.page(115, 120, 3000, common.Hash{2}, envelope.Hash()), Envelope: envelope.Raw(),
	}
}

func TestVerify(t *testing.T) {
	_, e := withheld(t)
	require.NoError(t, e.Verify())
	file, err := e.Encode()
	require.NoError(t, err)
	if *update {
		require.NoError(t, os.WriteFile(golden, append(file, '\n'), 0o644))
	}
	kept, err := os.ReadFile(golden)
	require.NoError(t, err)
	got, err := Decode(kept)
	require.NoError(t, err)
	require.NoError(t, got.Verify())
	require.Equal(t, &e, got)
}

// Whatever is missing, changed or of somewhere else, the file proves nothing.
func TestVerifyRefuses(t *testing.T) {
	hash := func(e *Evidence) common.Hash {
		envelope, err := whisper.DecodeEnvelope(e.Envelope)
		require.NoError(t, err)
		return envelope.Hash()
	}
	for name, change := range map[string]func(s signer, e *Evidence){
		"another server":      func(_ signer, e *Evidence) { e.PushKey = bytes.Clone(e.PushKey); e.PushKey[5]++ },
		"no push key":         func(_ signer, e *Evidence) { e.PushKey = nil },
		"another ledger":      func(_ signer, e *Evidence) { e.Ledger[0]++ },
		"a forged head":       func(_ signer, e *Evidence) { e.After.Through++ },
		"a forged first head": func(_ signer, e *Evidence) { e.Before.Count++ },
		"no signature":        func(_ signer, e *Evidence) { e.After.Signature = nil },
		"a forged answer":     func(_ signer, e *Evidence) { e.Page.After++ },
		"no first head":       func(_ signer, e *Evidence) { e.Before = nil },
		"a hash left out":     func(_ signer, e *Evidence) { e.Hashes = e.Hashes[1:] },
		"a hash exchanged":    func(_ signer, e *Evidence) { e.Hashes = []common.Hash{{2}, {4}} },
		"it was told": func(s signer, e *Evidence) {
			e.Hashes = []common.Hash{{2}, hash(e)}
			e.After = s.head(130, 4000, common.Hash{1}, common.Hash{2}, hash(e))
		},
		"another topic":         func(s signer, e *Evidence) { e.Salt = pushwire.TopicSalt(s.secret, s.topics[1]) },
		"a topic added":         func(_ signer, e *Evidence) { e.Leaves = append([]common.Hash{{1}}, e.Leaves...) },
		"no envelope":           func(_ signer, e *Evidence) { e.Envelope = e.Envelope[:20] },
		"not in the answer":     func(s signer, e *Evidence) { e.Page = s.page(115, 120, 3000, common.Hash{2}) },
		"before the first head": func(s signer, e *Evidence) { e.Page = s.page(109, 120, 3000, hash(e)) },
		"behind the last head":  func(s signer, e *Evidence) { e.Page = s.page(115, 131, 3000, hash(e)) },
		"before the ledger":     func(s signer, e *Evidence) { e.Page = s.page(115, 120, 999, hash(e)) },
		"after the last head":   func(s signer, e *Evidence) { e.Page = s.page(115, 120, 4001, hash(e)) },
		"of another log": func(s signer, e *Evidence) {
			e.Page.Log = bytes.Repeat([]byte{0x11}, 16)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, e := withheld(t)
			change(s, &e)
			require.ErrorIs(t, e.Verify(), ErrUnproved)
		})
	}
}

func FuzzDecode(f *testing.F) {
	_, e := withheld(f)
	file, err := e.Encode()
	require.NoError(f, err)
	f.Add(file)
	f.Add([]byte(`{"pushKey":"0x02","hashes":null,"after":{"signature":"0x"}}`))
	f.Add([]byte("null"))
	f.Fuzz(func(t *testing.T, file []byte) {
		got, err := Decode(file)
		if err != nil {
			return
		}
		if err := got.Verify(); err != nil {
			require.ErrorIs(t, err, ErrUnproved)
			return
		}
		again, err := got.Encode()
		require.NoError(t, err)
		got, err = Decode(again)
		require.NoError(t, err)
		require.NoError(t, got.Verify())
	})
}
