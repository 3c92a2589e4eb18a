package client

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/p2p/enode"

	"whisperpush/mailserver/mailclient"
	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
	"whisperpush/whisper/uplink"
)

// deviceName is what every device calls itself, so that it tells none apart.
const deviceName = "whisperpush-device"

// session is one connection to the mailserver, from dialling to hanging up. It
// is the whisper node's handler of direct messages: replies and the envelopes
// of a fetch go to the call that waits for them, the rest to the mail client.
type session struct {
	identity *ecdsa.PrivateKey // registration key
	pushKey  *ecdsa.PublicKey  // who must have signed a reply
	server   *enode.Node
	mailKey  func() []byte // of the mailserver's password; nil: requests are encrypted to its node key

	rings chan []byte // of the device

	node *whisper.Node
	link *uplink.Link
	mail *mailclient.Client

	life context.Context // of the link; its cause is why it ended

	mu    sync.Mutex // guards calls
	calls map[[pushwire.IDSize]byte]*call
}

// call is a request under way.
type call struct {
	wanted    map[common.Hash]bool // envelopes that are asked for; the server's word alone is not enough
	envelopes []*whisper.Envelope
	reply     chan pushwire.Reply // capacity 1
}

// dial connects to the mailserver with a node key made for this connection, so
// that two connections cannot be linked to one device. It returns when the
// shh handshake is complete.
func dial(ctx context.Context, server *enode.Node, identity *ecdsa.PrivateKey, pushKey *ecdsa.PublicKey, mailKey func() []byte, rings chan []byte, now func() time.Time, logger *slog.Logger) (_ *session, err error) {
	s := &session{identity: identity, pushKey: pushKey, server: server, mailKey: mailKey, rings: rings, calls: make(map[[pushwire.IDSize]byte]*call)}
	// Requests of history are signed by keys of their own, so that only the
	// connection links them to the registration, and are as long as requests of
	// push, so that who watches the link cannot tell them apart.
	padding := pushwire.Padding
	if mailKey != nil {
		padding = pushwire.SymmetricPadding
	}
	s.mail = mailclient.New(mailclient.Config{Padding: padding, Now: now, Logger: logger})
	// A phone wants nothing of the network's traffic, and passes nothing on.
	s.node, err = whisper.NewNode(whisper.Config{Bloom: new(whisper.Bloom), LightNode: true, Direct: s, Logger: logger})
	if err != nil {
		return nil, err
	}
	s.mail.Attach(s.node)
	if err := s.node.Start(); err != nil {
		return nil, err
	}
	s.node.Trust(server.ID())
	s.link, err = uplink.Dial(ctx, uplink.Config{Node: s.node, Server: server, Name: deviceName})
	if err != nil {
		s.node.Stop()
		return nil, fmt.Errorf("connecting to the mailserver: %w", err)
	}
	s.life = s.link.Context()
	return s, nil
}

// mailserver is how requests of history are sent.
func (s *session) mailserver() mailclient.Server {
	server := mailclient.Server{ID: s.server.ID(), PoW: s.work()}
	if s.mailKey != nil {
		server.Key = s.mailKey()
	} else {
		server.PublicKey = s.server.Pubkey()
	}
	return server
}

// work is the proof of work that the mailserver asks of what it is sent.
func (s *session) work() float64 {
	for _, peer := range s.node.Peers() {
		if peer.ID == s.server.ID() {
			return min(peer.MinPoW, maxPoW)
		}
	}
	return 0
}

// during is ctx for as long as the connection stands.
func (s *session) during(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(s.life, func() { cancel(context.Cause(s.life)) })
	return ctx, func() {
		stop()
		cancel(nil)
	}
}

// connected tells whether the link still stands.
func (s *session) connected() bool { return len(s.node.Peers()) > 0 }

func (s *session) close() {
	s.link.Close()
	s.node.Stop()
}

// do sends a request and waits for its reply and for the envelopes in wanted
// that the server delivers before it.
func (s *session) do(ctx context.Context, req pushwire.Request, wanted []common.Hash, pow float64) (pushwire.Reply, []*whisper.Envelope, error) {
	env, err := pushwire.SealRequest(ctx, req, s.identity, s.pushKey, pow)
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
	if err := s.node.SendRequest(ctx, s.server.ID(), env); err != nil {
		return pushwire.Reply{}, nil, fmt.Errorf("%s request: %w", req.Body.Kind(), err)
	}
	select {
	case reply := <-c.reply:
		s.mu.Lock()
		defer s.mu.Unlock()
		return reply, c.envelopes, nil
	case <-s.life.Done():
		select { // the reply may have been the last thing that came
		case reply := <-c.reply:
			s.mu.Lock()
			defer s.mu.Unlock()
			return reply, c.envelopes, nil
		default:
		}
		return pushwire.Reply{}, nil, fmt.Errorf("no reply to a %s request: %w", req.Body.Kind(), context.Cause(s.life))
	case <-ctx.Done():
		return pushwire.Reply{}, nil, fmt.Errorf("no reply to a %s request: %w", req.Body.Kind(), context.Cause(ctx))
	}
}

// HandleDirect implements whisper.DirectHandler.
func (s *session) HandleDirect(from enode.ID, e *whisper.Envelope) {
	if from != s.server.ID() {
		return
	}
	if e.Topic == pushwire.Topic() {
		reply, err := pushwire.OpenReply(e, s.identity, s.pushKey)
		if err == nil {
			if ring, ok := reply.Body.(*pushwire.Ring); ok {
				rang(s.rings, ring.Body)
				return
			}
			s.mu.Lock()
			c := s.calls[reply.ID]
			delete(s.calls, reply.ID) // whatever comes behind the reply is too late
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
	if from == s.server.ID() {
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
