package client

import (
	"context"
	"crypto/ecdsa"
	"sync"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/stretchr/testify/require"

	"whisperpush/pushext/pushwire"
	"whisperpush/testutil/network"
	"whisperpush/whisper"
)

// scripted is a mailserver's end of the push protocol on a real link. What it
// answers is the test's.
type scripted struct {
	peer *network.Peer
	key  *ecdsa.PrivateKey

	// answer makes the reply to a request; false: there is none. The envelopes
	// are delivered before it.
	answer func(req pushwire.Request, from *ecdsa.PublicKey) (pushwire.Reply, []*whisper.Envelope, bool)

	mail func() // called for a request of mail

	wg sync.WaitGroup

	mu       sync.Mutex // guards the following
	requests []pushwire.Request
	sizes    []int // of the data in every envelope of packets 126
}

func startScripted(t *testing.T) *scripted {
	t.Helper()
	key, err := crypto.GenerateKey()
	require.NoError(t, err)
	s := &scripted{key: key}
	s.peer = network.Start(t, network.Options{Whisper: whisper.Config{Requests: s}})
	t.Cleanup(s.wg.Wait)
	return s
}

// HandleRequest implements whisper.RequestHandler.
func (s *scripted) HandleRequest(peer enode.ID, payload []byte) {
	s.wg.Go(func() {
		env, err := whisper.DecodeEnvelope(payload)
		if err != nil {
			return
		}
		s.mu.Lock()
		s.sizes = append(s.sizes, len(env.Data))
		s.mu.Unlock()
		if env.Topic != pushwire.Topic() {
			if s.mail != nil {
				s.mail()
			}
			return
		}
		req, from, err := pushwire.OpenRequest(env, s.key)
		if err != nil {
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.requests = append(s.requests, req)
		reply, envelopes, ok := s.answer(req, from)
		if !ok {
			return
		}
		reply.ID = req.ID
		sealed, err := pushwire.SealReply(context.Background(), reply, s.key, from)
		if err != nil {
			return
		}
		_ = s.peer.Node.SendDirect(context.Background(), peer, append(envelopes, sealed)...)
	})
}

func (s *scripted) seen() []pushwire.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests
}

// open returns a device of the server that listens to one chat.
func (s *scripted) open(t *testing.T, store Store) *Device {
	t.Helper()
	d, err := Open(t.Context(), Config{
		Server:  s.peer.Enode.URLv4(),
		PushKey: hexutil.Encode(crypto.CompressPubkey(&s.key.PublicKey)),
		Store:   store,
		Chats:   []Chat{family()},
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	return d
}

func family() Chat {
	return Chat{Name: "family", Topic: whisper.TopicFor("family"), Key: make([]byte, whisper.SymmetricKeySize)}
}

// letter is a message to the chat, sent some seconds ago.
func letter(t *testing.T, text string, age time.Duration) *whisper.Envelope {
	t.Helper()
	e, err := whisper.Seal(t.Context(), whisper.Draft{
		Payload: []byte(text), Topic: family().Topic, Key: family().Key, Now: time.Now().Add(-age),
	})
	require.NoError(t, err)
	return e
}

func accepted(version uint64) pushwire.Reply {
	return pushwire.Reply{State: pushwire.Active, Body: &pushwire.RegisterReply{Version: version}}
}
