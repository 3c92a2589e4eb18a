package whisper

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"math"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/stretchr/testify/require"
)

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := crypto.GenerateKey()
	require.NoError(t, err)
	return key
}

func TestSealOpen(t *testing.T) {
	signer, receiver := newKey(t), newKey(t)
	symmetric := bytes.Repeat([]byte{7}, SymmetricKeySize)
	for _, size := range []int{0, 1, 188, 189, 190, 253, 254, 255, 256, 65534, 65535, 65536, 70000} {
		for _, sign := range []*ecdsa.PrivateKey{nil, signer} {
			for _, to := range []*ecdsa.PublicKey{nil, &receiver.PublicKey} {
				draft := Draft{Payload: bytes.Repeat([]byte{0xa5}, size), Topic: TopicFor("chat"), Sign: sign, To: to}
				if to == nil {
					draft.Key = symmetric
				}
				sealed, err := Seal(context.Background(), draft)
				require.NoError(t, err)
				e, err := DecodeEnvelope(sealed.Raw())
				require.NoError(t, err)
				require.Equal(t, sealed, e, "sealed and decoded differ")

				var m *Message
				if to == nil {
					require.Zero(t, (len(e.Data)-16-12)%paddedTo)
					m, err = e.OpenSymmetric(symmetric)
				} else {
					m, err = e.OpenAsymmetric(receiver)
				}
				require.NoError(t, err)
				require.Equal(t, size, len(m.Payload))
				require.True(t, bytes.Equal(draft.Payload, m.Payload))
				require.Equal(t, to, m.To)
				if sign == nil {
					require.Nil(t, m.Signer)
				} else {
					require.Equal(t, signer.PublicKey, *m.Signer)
				}
			}
		}
	}
}

// A renewed envelope is another one with the same message.
func TestRenew(t *testing.T) {
	key := make([]byte, SymmetricKeySize)
	first, err := Seal(t.Context(), Draft{Payload: []byte("once more"), Topic: Topic{1, 2, 3, 4}, Key: key, Now: time.Unix(1_700_000_000, 0)})
	require.NoError(t, err)
	now := time.Unix(1_700_003_600, 0)
	again, err := Renew(t.Context(), first, Draft{TTL: 60, PoW: 0.1, Now: now})
	require.NoError(t, err)
	require.Equal(t, first.Message(), again.Message())
	require.NotEqual(t, first.Hash(), again.Hash())
	require.EqualValues(t, now.Unix(), again.Sent())
	require.GreaterOrEqual(t, again.PoW(now), 0.1)
	require.Equal(t, first.Topic, again.Topic)
	m, err := again.OpenSymmetric(key)
	require.NoError(t, err)
	require.Equal(t, "once more", string(m.Payload))
	decoded, err := DecodeEnvelope(again.Raw())
	require.NoError(t, err)
	require.Equal(t, again.Hash(), decoded.Hash())
	_, err = Renew(t.Context(), first, Draft{MaxSize: 10})
	require.ErrorIs(t, err, ErrTooLarge)
}

func TestSealRefuses(t *testing.T) {
	key := bytes.Repeat([]byte{1}, SymmetricKeySize)
	to := &newKey(t).PublicKey
	for name, d := range map[string]Draft{
		"no key":         {},
		"two keys":       {Key: key, To: to},
		"short key":      {Key: key[:16]},
		"large payload":  {Key: key, Payload: make([]byte, maxPayload+1)},
		"before 1970":    {Key: key, Now: time.Unix(-1, 0)},
		"after 32 bits":  {Key: key, TTL: math.MaxUint32},
		"year 2106, end": {Key: key, Now: time.Unix(math.MaxUint32, 0)},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Seal(context.Background(), d)
			require.Error(t, err)
		})
	}
}

func TestSealWorks(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	e, err := Seal(context.Background(), Draft{Key: make([]byte, 32), PoW: 0.5, TTL: 10, Now: now})
	require.NoError(t, err)
	require.GreaterOrEqual(t, e.PoW(now), 0.5)
	require.Less(t, e.PoW(now.Add(-5*time.Second)), e.PoW(now), "an envelope from the future counts for less")

	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = Seal(ctx, Draft{Key: make([]byte, 32), PoW: 1e12})
	require.ErrorIs(t, err, ErrWorkNotDone)
	_, err = Seal(context.Background(), Draft{Key: make([]byte, 32), PoW: 1e12, WorkTime: time.Nanosecond})
	require.ErrorIs(t, err, ErrWorkNotDone)
}

// Trap 1 of the genuine node: it slices out of range when a message that
// decrypts is shorter than its own size field says.
func TestTrap1PlaintextShorterThanItsSize(t *testing.T) {
	for name, plain := range map[string][]byte{
		"empty":                      {},
		"no size field":              {3},
		"half a size field":          {3, 1, 0},
		"payload missing":            {1, 9},
		"payload one short":          {1, 3, 'a', 'b'},
		"size of 16 MiB":             {3, 0xff, 0xff, 0xff, 1},
		"signed, no signature":       {signedFlag | 1, 0},
		"signed, signature too weak": append([]byte{signedFlag | 1, 0}, make([]byte, 64)...),
		"signed, invalid signature":  append([]byte{signedFlag | 1, 0}, bytes.Repeat([]byte{0xff}, 65)...),
		"signature eats the size":    append([]byte{signedFlag | 3, 0}, make([]byte, 65)...),
	} {
		t.Run(name, func(t *testing.T) {
			data, err := sealSymmetric(make([]byte, SymmetricKeySize), plain)
			require.NoError(t, err)
			_, err = (&Envelope{Data: data}).OpenSymmetric(make([]byte, SymmetricKeySize))
			require.ErrorIs(t, err, ErrCannotOpen)
		})
	}
}

// Trap 2 of the genuine node: ECIES ciphertexts of every short length and
// points off the curve reach its decryptor.
func TestTrap2AsymmetricGarbage(t *testing.T) {
	key := newKey(t)
	good, err := Seal(context.Background(), Draft{Payload: []byte("hello"), To: &key.PublicKey})
	require.NoError(t, err)
	for n := range len(good.Data) {
		_, err := (&Envelope{Data: good.Data[:n]}).OpenAsymmetric(key)
		require.ErrorIs(t, err, ErrCannotOpen, "%d bytes", n)
	}
	for _, first := range []byte{0, 2, 3, 4, 5, 6, 0xff} {
		off := bytes.Clone(good.Data)
		off[0] = first
		off[64] ^= 1
		_, err := (&Envelope{Data: off}).OpenAsymmetric(key)
		require.ErrorIs(t, err, ErrCannotOpen)
	}
	for _, e := range []*Envelope{{}, {Data: make([]byte, gcmNonceSize)}, {Data: make([]byte, 28)}, {Data: good.Data}} {
		_, err := e.OpenSymmetric(make([]byte, SymmetricKeySize))
		require.ErrorIs(t, err, ErrCannotOpen)
		_, err = e.OpenSymmetric(nil)
		require.ErrorIs(t, err, ErrCannotOpen)
	}
}

func FuzzParseMessage(f *testing.F) {
	key := newKey(f)
	for _, d := range []Draft{{Payload: []byte("hi")}, {Payload: []byte("hi"), Sign: key}, {Payload: make([]byte, 300), Padding: []byte{}}} {
		plain, err := d.plaintext()
		require.NoError(f, err)
		f.Add(plain)
	}
	f.Add([]byte{3, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, plain []byte) {
		m, err := parseMessage(plain)
		if err != nil {
			require.ErrorIs(t, err, ErrCannotOpen)
			return
		}
		require.LessOrEqual(t, len(m.Payload)+len(m.Padding), len(plain))
	})
}

func FuzzOpenAsymmetric(f *testing.F) {
	key, err := crypto.ToECDSA(bytes.Repeat([]byte{9}, 32))
	require.NoError(f, err)
	e, err := Seal(context.Background(), Draft{Payload: []byte("hi"), To: &key.PublicKey})
	require.NoError(f, err)
	f.Add(e.Data)
	f.Add(e.Data[:eciesOverhead])
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := (&Envelope{Data: data}).OpenAsymmetric(key); err != nil {
			require.ErrorIs(t, err, ErrCannotOpen)
		}
	})
}

// What no node would take is refused before any work is done for it.
func TestSealChecksSizeBeforeWork(t *testing.T) {
	draft := Draft{Payload: make([]byte, 3<<20), Key: make([]byte, 32), PoW: 1e9, MaxSize: DefaultMaxMessageSize}
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // so that work would end at once, with another error
	_, err := Seal(ctx, draft)
	require.ErrorIs(t, err, ErrTooLarge)
}
