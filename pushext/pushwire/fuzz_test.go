package pushwire

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func FuzzDecodeRequest(f *testing.F) {
	vectors := readVectors(f)
	for _, v := range vectorRequests() {
		f.Add(vectors[v.name])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		req, err := DecodeRequest(b)
		if err != nil {
			require.NotEqual(t, OK, CodeFor(err))
			return
		}
		again, err := EncodeRequest(req)
		if err != nil { // elements that were left out take a byte each
			require.ErrorIs(t, err, ErrTooLarge)
			return
		}
		got, err := DecodeRequest(again)
		require.NoError(t, err)
		require.Equal(t, req, got)
	})
}

func FuzzDecodeReply(f *testing.F) {
	vectors := readVectors(f)
	for _, v := range vectorReplies() {
		f.Add(vectors[v.name])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		rep, err := DecodeReply(b)
		if err != nil {
			return
		}
		again, err := EncodeReply(rep)
		if err != nil {
			require.ErrorIs(t, err, ErrTooLarge)
			return
		}
		got, err := DecodeReply(again)
		require.NoError(t, err)
		require.Equal(t, rep.Body, got.Body)
		require.Equal(t, rep.Code, got.Code)
		require.Equal(t, rep.Ledger, got.Ledger)
	})
}

func FuzzOpenPayload(f *testing.F) {
	vectors := readVectors(f)
	for _, v := range vectorPayloads() {
		f.Add(vectors["plain-"+v.name])
		f.Add(vectors["sealed-"+v.name])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, err := OpenPayload(b, nil); err == nil {
			again, err := PlainPayload(p)
			require.NoError(t, err)
			got, err := OpenPayload(again, nil)
			require.NoError(t, err)
			require.Equal(t, p, got)
		}
		OpenPayload(b, vectorSealPrivate)
	})
}

// What is inside the seal comes from whoever knows the public key.
func FuzzDecodePayload(f *testing.F) {
	vectors := readVectors(f)
	for _, v := range vectorPayloads() {
		f.Add(vectors["payload-"+v.name])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := decodePayload(b)
		if err != nil {
			return
		}
		again := make([]byte, PlainSize)
		require.NoError(t, p.encode(again))
		got, err := decodePayload(again)
		require.NoError(t, err)
		require.Equal(t, p, got)
	})
}

func FuzzDecodeOffer(f *testing.F) {
	f.Add(readVectors(f)["offer"])
	f.Add(readVectors(f)["offer-succession"])
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := DecodeOffer(b)
		if err != nil {
			return
		}
		again, err := EncodeOffer(o)
		require.NoError(t, err)
		got, err := DecodeOffer(again)
		require.NoError(t, err)
		require.Equal(t, o, got)
	})
}
