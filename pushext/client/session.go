package client

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/p2p/enode"

	"whisperpush/mailserver/mailclient"
	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

// session is one connection to the mailserver, from dialling to hanging up. Replies and the
// envelopes of a fetch go to the call that waits for them; everything else goes to the mail
// client.
type session struct {
	identity *ecdsa.PrivateKey // registration key
	mailKey  func() []byte     // key of the mailserver's password; nil: requests are encrypted to its node key

	rings chan []byte // of the device

	server enode.ID // what the road calls the mailserver
	road   road
	mail   *mailclient.Client

	mu       sync.Mutex         // guards the following
	pushKeys []*ecdsa.PublicKey // a reply must be signed by one of them; requests are made for the last
	calls    map[[pushwire.IDSize]byte]*call
}

// call is a request under way.
type call struct {
	wanted    map[common.Hash]bool // requested envelopes; the server's word alone is not enough
	envelopes []*whisper.Envelope
	reply     chan pushwire.Reply // capacity 1
}

// dial makes a road to the mailserver.
func dial(ctx context.Context, server endpoint, identity *ecdsa.PrivateKey, pushKey *ecdsa.PublicKey, mailKey func() []byte, rings chan []byte, now func() time.Time, logger *slog.Logger) (_ *session, err error) {
	s := &session{identity: identity, pushKeys: []*ecdsa.PublicKey{pushKey}, mailKey: mailKey, rings: rings, server: server.peer(), calls: make(map[[pushwire.IDSize]byte]*call)}
	// Requests of history are signed by keys of their own, so that only the connection
	// links them to the registration. They are as long as requests of push, so that nobody
	// who watches the link can tell them apart.
	padding := pushwire.Padding
	if mailKey != nil {
		padding = pushwire.SymmetricPadding
	}
	s.mail = mailclient.New(mailclient.Config{Padding: padding, Now: now, Logger: logger})
	if s.road, err = server.dial(ctx, s, logger); err != nil {
		return nil, err
	}
	s.mail.Attach(s.road)
	return s, nil
}

// goOn makes further requests for another push key. As long as the connection stands, it
// also accepts replies to requests for the former key, and rings from a server that has not
// seen the change yet.
func (s *session) goOn(pushKey *ecdsa.PublicKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.pushKeys[len(s.pushKeys)-1].Equal(pushKey) {
		s.pushKeys = append(slices.Clone(s.pushKeys), pushKey)
	}
}

// signers are the push keys that a reply may be signed by, the newest last.
func (s *session) signers() []*ecdsa.PublicKey {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pushKeys
}

// open decrypts a reply and checks its signature.
func (s *session) open(e *whisper.Envelope) (reply pushwire.Reply, err error) {
	for _, key := range slices.Backward(s.signers()) {
		if reply, err = pushwire.OpenReply(e, s.identity, key); !errors.Is(err, pushwire.ErrSigner) {
			break
		}
	}
	return reply, err
}

// mailserver tells how to send requests of history.
func (s *session) mailserver(ctx context.Context) (mailclient.Server, error) {
	var key []byte
	if s.mailKey != nil {
		key = s.mailKey()
	}
	return s.road.mailserver(ctx, key)
}

// during returns a ctx that also ends with the connection.
func (s *session) during(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(s.road.life(), func() { cancel(context.Cause(s.road.life())) })
	return ctx, func() {
		stop()
		cancel(nil)
	}
}

// connected tells whether the link still stands.
func (s *session) connected() bool { return s.road.up() }

func (s *session) close() { s.road.close() }

// do sends a request and waits for its reply and for those envelopes in wanted that the
// server delivers before the reply. show asks the server to ring the device on this road.
func (s *session) do(ctx context.Context, req pushwire.Request, wanted []common.Hash, pow float64, show bool) (pushwire.Reply, []*whisper.Envelope, error) {
	keys := s.signers()
	env, err := pushwire.SealRequest(ctx, req, s.identity, keys[len(keys)-1], pow)
	if err != nil {
		return pushwire.Reply{}, nil, err
	}
	c := &call{wanted: make(map[common.Hash]bool, len(wanted)), reply: make(chan pushwire.Reply, 1)}
	for _, hash := range wanted {
		c.wanted[hash] = true
	}
	s.mu.Lock()
	s.calls[req.ID] = c
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.calls, req.ID)
		s.mu.Unlock()
	}()
	if show {
		err = s.road.show(ctx, env)
	} else {
		err = s.road.SendRequest(ctx, s.server, env)
	}
	if err != nil {
		return pushwire.Reply{}, nil, fmt.Errorf("%s request: %w", req.Body.Kind(), err)
	}
	select {
	case reply := <-c.reply:
		s.mu.Lock()
		defer s.mu.Unlock()
		return reply, c.envelopes, nil
	case <-s.road.life().Done():
		select { // the reply may have been the last thing that came
		case reply := <-c.reply:
			s.mu.Lock()
			defer s.mu.Unlock()
			return reply, c.envelopes, nil
		default:
		}
		return pushwire.Reply{}, nil, fmt.Errorf("no reply to a %s request: %w", req.Body.Kind(), context.Cause(s.road.life()))
	case <-ctx.Done():
		return pushwire.Reply{}, nil, fmt.Errorf("no reply to a %s request: %w", req.Body.Kind(), context.Cause(ctx))
	}
}

// HandleDirect implements whisper.DirectHandler.
func (s *session) HandleDirect(from enode.ID, e *whisper.Envelope) {
	if from != s.server {
		return
	}
	if e.Topic == pushwire.Topic() {
		reply, err := s.open(e)
		if err == nil {
			if ring, ok := reply.Body.(*pushwire.Ring); ok {
				rang(s.rings, ring.Body)
				return
			}
			s.mu.Lock()
			c := s.calls[reply.ID]
			delete(s.calls, reply.ID) // anything after the reply is too late
			s.mu.Unlock()
			if c != nil {
				c.reply <- reply
			}
			return
		}
		if !errors.Is(err, whisper.ErrCannotOpen) {
			return
		}
	}
	if !s.deliver(e) {
		s.mail.HandleDirect(from, e)
	}
}

// HandleRequestComplete implements whisper.DirectHandler.
func (s *session) HandleRequestComplete(from enode.ID, payload []byte) {
	if from == s.server {
		s.mail.HandleRequestComplete(from, payload)
	}
}

// deliver gives an envelope to the call that asked for it.
func (s *session) deliver(e *whisper.Envelope) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.calls {
		if c.wanted[e.Hash()] {
			delete(c.wanted, e.Hash())
			c.envelopes = append(c.envelopes, e)
			return true
		}
	}
	return false
}
