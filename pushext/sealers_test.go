package pushext

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

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
	who := sealFor{1, [pushwire.SealKeySize]byte(public)}
	made := s.get(who, start.Add(2*sealerLife-1))
	require.NotNil(t, made, "it is kept for half an hour at least")
	require.Nil(t, s.get(who, start.Add(2*sealerLife)), "and for an hour at most")
	require.Nil(t, s.get(sealFor{2, who.key}, start), "two registrations share nothing, whatever their keys")

	_, err = s.seal(pushwire.Payload{Kind: pushwire.Messages, Seq: 1}, 1, public, start.Add(2*sealerLife))
	require.NoError(t, err)
	require.NotNil(t, s.get(who, start.Add(2*sealerLife)))
	require.Nil(t, s.get(who, start.Add(4*sealerLife)), "nor is one kept over a quiet time")
}

func TestSealersAreBounded(t *testing.T) {
	_, public, err := pushwire.NewSealKey()
	require.NoError(t, err)
	sealer, err := pushwire.NewSealer(public)
	require.NoError(t, err)
	var s sealers
	now := time.Now()
	for id := range registrationID(5 * maxSealers) {
		who := sealFor{id: id}
		if s.get(who, now) == nil {
			s.keep(who, sealer)
		}
		require.LessOrEqual(t, len(s.young)+len(s.old), 2*maxSealers)
	}
	require.NotNil(t, s.get(sealFor{id: 5*maxSealers - 1}, now), "the latest are kept")
}

func TestSealersRefuseAKey(t *testing.T) {
	var s sealers
	for _, key := range [][]byte{nil, make([]byte, pushwire.SealKeySize), make([]byte, pushwire.SealKeySize+1)} {
		_, err := s.seal(pushwire.Payload{Kind: pushwire.Messages, Seq: 1}, 1, key, time.Now())
		require.ErrorContains(t, err, "seal key")
	}
}
