package client

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"testing"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/stretchr/testify/require"

	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

// ring sends a wake-up over the link to whom it may be.
func (s *scripted) ring(t *testing.T, signer *ecdsa.PrivateKey, to *ecdsa.PublicKey, body []byte) {
	t.Helper()
	env, err := pushwire.SealReply(t.Context(), pushwire.Reply{State: pushwire.Active, Body: &pushwire.Ring{Body: body}}, signer, to)
	require.NoError(t, err)
	for _, peer := range s.peer.Node.Peers() {
		_ = s.peer.Node.SendDirect(t.Context(), peer.ID, env) // a former link of the device may be in the list
	}
}

func TestListen(t *testing.T) {
	s := startScripted(t)
	shown := make(chan *ecdsa.PublicKey, 10)
	s.answer = func(req pushwire.Request, from *ecdsa.PublicKey) (pushwire.Reply, []*whisper.Envelope, bool) {
		if _, ok := req.Body.(*pushwire.Status); ok {
			shown <- from
		}
		return pushwire.Reply{State: pushwire.Active}, nil, true
	}
	d := s.open(t, nil)
	route, err := d.DirectRoute("direct")
	require.NoError(t, err)
	require.Equal(t, "direct", route.Provider)

	bodies := make(chan string, 10)
	listening, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- d.Listen(listening, func(body []byte) error {
			bodies <- string(body)
			return nil
		})
	}()
	to := <-shown
	require.Equal(t, route.Address, crypto.CompressPubkey(to))
	s.ring(t, newTestKey(t), to, []byte("forged"))
	s.ring(t, s.key, to, []byte("first"))
	require.Equal(t, "first", <-bodies, "who does not hold the push key cannot ring")

	// The link is lost: it shows itself again.
	d.Sleep()
	<-shown
	s.ring(t, s.key, to, []byte("second"))
	require.Equal(t, "second", <-bodies)
	stop()
	require.ErrorIs(t, <-ended, context.Canceled)
}

func TestListenEnds(t *testing.T) {
	for name, c := range map[string]struct {
		reply pushwire.Reply
		want  error
	}{
		"not registered": {reply: pushwire.Reply{Code: pushwire.NotRegistered, Text: "no registration"}},
		"dead":           {reply: pushwire.Reply{State: pushwire.Dead, Reason: "gone"}, want: ErrInactive},
	} {
		t.Run(name, func(t *testing.T) {
			s := startScripted(t)
			s.answer = func(pushwire.Request, *ecdsa.PublicKey) (pushwire.Reply, []*whisper.Envelope, bool) {
				return c.reply, nil, true
			}
			err := s.open(t, nil).Listen(t.Context(), func([]byte) error { return nil })
			require.Error(t, err)
			if c.want != nil {
				require.ErrorIs(t, err, c.want)
				require.ErrorContains(t, err, c.reply.Reason)
			} else {
				require.True(t, IsRefused(err, c.reply.Code))
			}
		})
	}
	s := startScripted(t)
	s.answer = func(pushwire.Request, *ecdsa.PublicKey) (pushwire.Reply, []*whisper.Envelope, bool) {
		return pushwire.Reply{State: pushwire.Active}, nil, true
	}
	d := s.open(t, nil)
	rang(d.rings, []byte("ring"))
	full := errors.New("the app had enough")
	require.ErrorIs(t, d.Listen(t.Context(), func([]byte) error { return full }), full)
}

func TestRingsAreBounded(t *testing.T) {
	rings := make(chan []byte, maxRings)
	for i := range 3 * maxRings {
		rang(rings, []byte{byte(i)})
	}
	require.Len(t, rings, maxRings)
	require.Equal(t, []byte{2 * maxRings}, <-rings, "the newest stay")
}
