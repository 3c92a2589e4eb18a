package dispatch

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushwire"
)

func TestSealersAgreeAgain(t *testing.T) {
	private, public, err := pushwire.NewSealKey()
	require.NoError(t, err)
	var s sealers
	start := time.Now()
	for _, at := range []time.Duration{0, time.Second, sealerLife - 1, sealerLife, 2*sealerLife - 1} {
		body, err := s.seal(pushwire.Payload{Kind: pushwire.Messages, Seq: 1}, 1, public, start.Add(at))
		require.NoError(t, err)
		_, err = pushwire.OpenPayload(body, private)
		require.NoError(t, err)
	}
	require.NotNil(t, s.get(1, public, start.Add(2*sealerLife-1)), "it is kept for half an hour or so at least")
	require.Nil(t, s.get(1, public, start.Add(2*sealerLife)), "and for an hour at most")
	require.Nil(t, s.get(2, public, start), "two registrations share nothing, whatever their keys")

	_, err = s.seal(pushwire.Payload{Kind: pushwire.Messages, Seq: 1}, 1, public, start.Add(2*sealerLife))
	require.NoError(t, err)
	require.NotNil(t, s.get(1, public, start.Add(2*sealerLife)))
	require.Nil(t, s.get(1, bytes.Repeat([]byte{1}, pushwire.SealKeySize), start.Add(2*sealerLife)), "a changed key needs another")
	require.Nil(t, s.get(1, public, start.Add(4*sealerLife)), "nor is one kept over a quiet time")
}

func TestSealersAreBounded(t *testing.T) {
	_, public, err := pushwire.NewSealKey()
	require.NoError(t, err)
	sealer, err := pushwire.NewSealer(public)
	require.NoError(t, err)
	var s sealers
	now := time.Now()
	for id := range registration.ID(5 * maxSealers) {
		if s.get(id, public, now) == nil {
			s.keep(id, keptSealer{[pushwire.SealKeySize]byte(public), sealer})
		}
		require.LessOrEqual(t, len(s.young)+len(s.old), 2*maxSealers)
	}
	require.NotNil(t, s.get(5*maxSealers-1, public, now), "the latest are kept")
}

func TestSealersRefuseAKey(t *testing.T) {
	var s sealers
	for _, key := range [][]byte{nil, make([]byte, pushwire.SealKeySize), make([]byte, pushwire.SealKeySize+1)} {
		_, err := s.seal(pushwire.Payload{Kind: pushwire.Messages, Seq: 1}, 1, key, time.Now())
		require.ErrorContains(t, err, "seal key")
	}
}
