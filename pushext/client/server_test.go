package client

import (
	"context"
	"crypto/ecdsa"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/stretchr/testify/require"

	"whisperpush/mailserver/mailwire"
	"whisperpush/pushext/pushwire"
	"whisperpush/testutil/network"
	"whisperpush/whisper"
)

// scripted is a mailserver's end of the push protocol on a real link. What it
// answers is the test's.
type scripted struct {
	peer *network.Peer
	key  *ecdsa.PrivateKey
	// former is a push key that the server answers to as well; nil: there is none.
	former *ecdsa.PrivateKey

	// answer makes the reply to a request; false: there is none. The envelopes
	// are delivered before it.
	answer func(req pushwire.Request, from *ecdsa.PublicKey) (pushwire.Reply, []*whisper.Envelope, bool)

	mail func()              // called for a request of mail, if it is not answered
	log  []*whisper.Envelope // archived: answers requests of mail, unless it is nil
	id   mailwire.LogID      // of the log

	refuse mailwire.Refusal // if not empty, of requests of mail

	wg sync.WaitGroup

	mu       sync.Mutex // guards the following
	requests []pushwire.Request
	sizes    []int // of the data in every envelope of packets 126
	mails    []mailwire.Request
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
			s.answerMail(peer, env)
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		key := s.key
		req, from, err := pushwire.OpenRequest(env, key)
		if err != nil && s.former != nil {
			key = s.former
			req, from, err = pushwire.OpenRequest(env, key)
		}
		if err != nil {
			return
		}
		s.requests = append(s.requests, req)
		reply, envelopes, ok := s.answer(req, from)
		if !ok {
			return
		}
		reply.ID = req.ID
		sealed, err := pushwire.SealReply(context.Background(), reply, key, from)
		if err != nil {
			return
		}
		_ = s.peer.Node.SendDirect(context.Background(), peer, append(envelopes, sealed)...)
	})
}

// answerMail gives what is in the log, as a mailserver does in the order of the log.
func (s *scripted) answerMail(peer enode.ID, env *whisper.Envelope) {
	m, err := env.OpenAsymmetric(s.peer.Key)
	if err != nil {
		return
	}
	req, err := mailwire.DecodeRequest(m.Payload)
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mails = append(s.mails, req)
	if s.log == nil {
		return
	}
	if s.refuse != "" {
		_ = s.peer.Node.SendRequestComplete(context.Background(), peer, mailwire.Complete{ID: env.Hash(), Refusal: s.refuse}.Encode())
		return
	}
	from := req.Cursor.In(s.id)
	end := mailwire.Complete{ID: env.Hash(), Cursor: mailwire.Cursor{Ascending: true, Complete: true, Seq: uint64(len(s.log)), Log: s.id}}
	var page []*whisper.Envelope
	for i, e := range s.log {
		wanted := req.Hashes == nil && uint64(i) >= from.Seq && e.Sent() >= req.Lower || slices.Contains(req.Hashes, e.Hash())
		if !wanted {
			continue
		}
		if req.Limit > 0 && len(page) == int(req.Limit) {
			end.Cursor.Complete, end.Cursor.Seq = false, uint64(i)
			break
		}
		page = append(page, e)
		end.Last = e.Hash()
	}
	if s.peer.Node.SendDirectBatch(context.Background(), peer, page) == nil {
		_ = s.peer.Node.SendRequestComplete(context.Background(), peer, end.Encode())
	}
}

// change changes what the server does, between requests.
func (s *scripted) change(do func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	do()
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

// gives answers fetches from the log, and everything else as an active registration.
func (s *scripted) gives(req pushwire.Request, _ *ecdsa.PublicKey) (pushwire.Reply, []*whisper.Envelope, bool) {
	fetch, ok := req.Body.(*pushwire.Fetch)
	if !ok {
		return accepted(1), nil, true
	}
	body := new(pushwire.FetchReply)
	var found []*whisper.Envelope
	for _, hash := range fetch.Hashes {
		if at := slices.IndexFunc(s.log, func(e *whisper.Envelope) bool { return e.Hash() == hash }); at >= 0 {
			body.Sent, found = append(body.Sent, hash), append(found, s.log[at])
		} else {
			body.Missing = append(body.Missing, hash)
		}
	}
	return pushwire.Reply{State: pushwire.Active, Body: body}, found, true
}

// push is the body of a wake-up for envelopes.
func (d *Device) push(t *testing.T, seq uint64, envelopes ...*whisper.Envelope) []byte {
	t.Helper()
	p := pushwire.Payload{Kind: pushwire.Messages, Seq: seq}
	for _, e := range envelopes {
		p.Hashes = append(p.Hashes, e.Hash())
	}
	body, err := pushwire.SealPayload(p, d.state.SealPublicKey)
	require.NoError(t, err)
	return body
}

func texts(e Event) []string {
	var all []string
	for i := range e.Previews {
		all = append(all, e.Previews[i].Text)
	}
	return all
}
