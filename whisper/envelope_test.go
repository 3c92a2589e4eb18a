package whisper

import (
	"bytes"
	"context"
	"math"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/stretchr/testify/require"
)

func encode(t testing.TB, v any) []byte {
	t.Helper()
	b, err := rlp.EncodeToBytes(v)
	require.NoError(t, err)
	return b
}

func sealed(t testing.TB, payload string) *Envelope {
	t.Helper()
	e, err := Seal(context.Background(), Draft{Payload: []byte(payload), Key: make([]byte, 32), Topic: TopicFor("test")})
	require.NoError(t, err)
	return e
}

func TestDecodeEnvelopeRefuses(t *testing.T) {
	long := uint64(math.MaxUint32) + 1
	topic, data := []byte{1, 2, 3, 4}, []byte("data")
	for name, raw := range map[string][]byte{
		"nothing":          {},
		"a string":         encode(t, "envelope"),
		"an empty list":    {0xc0},
		"four elements":    encode(t, []any{uint64(2), uint64(1), topic, data}),
		"six elements":     encode(t, []any{uint64(2), uint64(1), topic, data, uint64(0), uint64(0)}),
		"large expiry":     encode(t, []any{long, uint64(1), topic, data, uint64(0)}),
		"large TTL":        encode(t, []any{uint64(1), long, topic, data, uint64(0)}),
		"short topic":      encode(t, []any{uint64(2), uint64(1), topic[:3], data, uint64(0)}),
		"long topic":       encode(t, []any{uint64(2), uint64(1), append(topic, 5), data, uint64(0)}),
		"list as data":     encode(t, []any{uint64(2), uint64(1), topic, []any{}, uint64(0)}),
		"leading zero":     {0xcb, 0x82, 0, 1, 1, 0x84, 1, 2, 3, 4, 0x80, 0x80},
		"followed by more": append(bytes.Clone(sealed(t, "x").Raw()), 0x80),
		"cut short":        sealed(t, "x").Raw()[:100],
		"size of 2^63":     {0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := DecodeEnvelope(raw)
			require.ErrorIs(t, err, ErrMalformed)
		})
	}
}

func TestDecodeEnvelopesKeepsTheGood(t *testing.T) {
	a, b := sealed(t, "a"), sealed(t, "b")
	list := encode(t, []any{rlp.RawValue(a.Raw()), "no envelope", []any{}, rlp.RawValue(b.Raw())})
	envelopes, bad, err := DecodeEnvelopes(list)
	require.NoError(t, err)
	require.Equal(t, 2, bad)
	require.Equal(t, []*Envelope{a, b}, envelopes)

	for _, list := range [][]byte{nil, {0x80}, append(bytes.Clone(list), 0), list[:len(list)-1], {0xc2, 0xb8, 0xff}} {
		_, _, err := DecodeEnvelopes(list)
		require.ErrorIs(t, err, ErrMalformed)
	}
}

func TestDecodeEnvelopeAllocates(t *testing.T) {
	raw := sealed(t, "x").Raw()
	require.LessOrEqual(t, testing.AllocsPerRun(100, func() {
		if _, err := DecodeEnvelope(raw); err != nil {
			t.Error(err)
		}
	}), 1.0, "an envelope is one allocation")
	e, now := sealed(t, "x"), time.Now()
	require.Zero(t, testing.AllocsPerRun(100, func() { e.PoW(now) }))
}

// Trap 3 of the genuine node: lifetimes at the edge of their range.
func TestTrap3Lifetimes(t *testing.T) {
	for _, c := range []struct {
		name        string
		expiry, ttl uint32
		sent        uint32
	}{
		{"no lifetime", 1000, 0, 1000},
		{"lifetime longer than time itself", 10, 11, 0},
		{"end of time", math.MaxUint32, 1, math.MaxUint32 - 1},
		{"all of time", math.MaxUint32, math.MaxUint32, 0},
		{"zero", 0, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			e, err := DecodeEnvelope(encode(t, []any{c.expiry, c.ttl, []byte{1, 2, 3, 4}, []byte("data"), uint64(7)}))
			require.NoError(t, err)
			require.Equal(t, c.sent, e.Sent())
			for _, now := range []int64{0, 10, 1000, math.MaxUint32} {
				pow := e.PoW(time.Unix(now, 0))
				require.False(t, math.IsInf(pow, 0) || math.IsNaN(pow) || pow < 0, "PoW %g", pow)
			}
		})
	}
}

func FuzzDecodeEnvelope(f *testing.F) {
	f.Add(sealed(f, "hello").Raw())
	f.Add([]byte{0xc0})
	f.Add(encode(f, []any{uint32(1), uint32(2), []byte{1, 2, 3, 4}, []byte{}, uint64(math.MaxUint64)}))
	f.Fuzz(func(t *testing.T, raw []byte) {
		e, err := DecodeEnvelope(raw)
		if err != nil {
			require.ErrorIs(t, err, ErrMalformed)
			return
		}
		require.Equal(t, crypto.Keccak256Hash(raw), e.Hash())
		again := encode(t, []any{e.Expiry, e.TTL, e.Topic, e.Data, e.Nonce})
		require.Equal(t, raw, again, "an envelope has one encoding")
		e.PoW(time.Unix(int64(e.Expiry), 0))
		_, _ = e.OpenSymmetric(make([]byte, SymmetricKeySize))
	})
}

func FuzzDecodeEnvelopes(f *testing.F) {
	f.Add(encode(f, []any{rlp.RawValue(sealed(f, "a").Raw()), rlp.RawValue(sealed(f, "b").Raw())}))
	f.Add(encode(f, []any{"a", []any{}}))
	f.Fuzz(func(t *testing.T, list []byte) {
		envelopes, bad, err := DecodeEnvelopes(list)
		if err != nil {
			require.ErrorIs(t, err, ErrMalformed)
			return
		}
		n, err := rlp.CountValues(list[len(list)-contentSize(t, list):])
		require.NoError(t, err)
		require.Equal(t, n, len(envelopes)+bad)
	})
}

func contentSize(t *testing.T, list []byte) int {
	content, _, err := rlp.SplitList(list)
	require.NoError(t, err)
	return len(content)
}
