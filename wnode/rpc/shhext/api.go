// Package shhext is the JSON-RPC namespace shhext: what programs that were written for status-go's Whisper ask besides shh. A
// program has the node ask a mailserver for what was archived (requestMessages), and what comes goes to its filters and
// subscriptions of the namespace shh that allow direct messages (allowP2P). What becomes of requests and posts it is told
// by a subscription to events.
package shhext

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/ethereum/go-ethereum/rpc"

	"whisperpush/mailserver/mailclient"
	"whisperpush/mailserver/mailwire"
	"whisperpush/whisper"
	"whisperpush/whisper/uplink"
	"whisperpush/wnode/rpc/shh"
)

// Namespace is the name the methods are served under: shhext_post.
const Namespace = "shhext"

// Limits on what callers can leave here.
const (
	// maxRequests is how many mailservers are asked at once: each is a connection, and may bring mailclient.DefaultMaxBytes.
	maxRequests = 8
	// maxSubscriptions bounds the subscriptions of all callers, and maxEvents what waits for one of them; the oldest goes.
	maxSubscriptions = 64
	maxEvents        = 256
	// defaultTimeout is how long a mailserver may take, and maxTimeout how long at most if the caller says.
	defaultTimeout = 30 * time.Second
	maxTimeout     = 5 * time.Minute
)

var (
	errClosed               = errors.New("the node is stopping")
	errTooManyRequests      = fmt.Errorf("%d mailservers are being asked already; wait for one of them", maxRequests)
	errTooManySubscriptions = fmt.Errorf("there are %d subscriptions already; end some with shhext_unsubscribe", maxSubscriptions)
)

// Node takes what mailservers send: a *whisper.Node.
type Node interface {
	Deliver(e *whisper.Envelope) error
}

// API has the methods of the namespace as methods of its own; the rpc package makes shhext_post of Post.
type API struct {
	node   Node
	shh    *shh.API
	logger *slog.Logger
	life   context.Context // ends with close
	end    context.CancelFunc
	work   sync.WaitGroup

	mu       sync.Mutex // guards the following fields
	requests int
	feeds    map[*feed]bool
	closed   bool
}

// New serves node, with the keys of calls. stop ends requests and subscriptions and waits for them; it is no method, for
// those are served. logger may be nil.
func New(node Node, calls *shh.API, logger *slog.Logger) (_ *API, stop func()) {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	a := &API{node: node, shh: calls, logger: logger, feeds: map[*feed]bool{}}
	a.life, a.end = context.WithCancel(context.Background())
	return a, a.close
}

func (a *API) close() {
	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
	a.end()
	a.work.Wait()
}

// MessagesRequest says which messages a mailserver is asked for.
type MessagesRequest struct {
	MailServerPeer string          `json:"mailServerPeer"` // enode URL of the mailserver
	From           uint32          `json:"from"`           // sent then or later, Unix seconds; 0: a day before To
	To             uint32          `json:"to"`             // sent then or before, Unix seconds; 0: now
	Limit          uint32          `json:"limit"`          // most messages; 0: as many as the mailserver likes
	Cursor         string          `json:"cursor"`         // of the former answer to the same request; empty: from the beginning
	Topic          whisper.Topic   `json:"topic"`          // one topic; or
	Topics         []whisper.Topic `json:"topics"`         // several; neither: every topic
	SymKeyID       string          `json:"symKeyID"`       // id of the key made of the mailserver's password; empty: the request is for its node key
	Timeout        uint32          `json:"timeout"`        // seconds that it may take; 0: 30, and 300 at most
}

// Event is what became of a request or a post.
type Event struct {
	Type             string        `json:"type"`                       // envelope.sent, mailserver.request.completed or mailserver.request.expired
	Hash             hexutil.Bytes `json:"hash"`                       // of the post's envelope, or the id of the request
	RequestID        hexutil.Bytes `json:"requestID,omitempty"`        // the id of the request as well, of one that was completed; status-go has it there
	Messages         int           `json:"messages,omitempty"`         // that the mailserver sent
	LastEnvelopeHash *common.Hash  `json:"lastEnvelopeHash,omitempty"` // of the last of them
	Cursor           string        `json:"cursor,omitempty"`           // to ask for what comes behind; missing: there is no more
	ErrorMessage     string        `json:"errorMessage,omitempty"`     // why the mailserver sent none
}

// Types of events.
const (
	eventSent      = "envelope.sent"
	eventCompleted = "mailserver.request.completed"
	eventExpired   = "mailserver.request.expired"
)

// Post is shh_post, and tells subscribers that the node has taken the message (envelope.sent). It returns the envelope's hash.
func (a *API) Post(ctx context.Context, message shh.NewMessage) (hexutil.Bytes, error) {
	hash, err := a.shh.Post(ctx, message)
	if err == nil {
		a.publish(Event{Type: eventSent, Hash: hash})
	}
	return hash, err
}

// RequestMessages asks a mailserver for what it archived, over a connection of its own, and returns the id of the request at
// once. What comes goes to filters and subscriptions of shh with allowP2P; an event tells the end.
func (a *API) RequestMessages(ctx context.Context, request MessagesRequest) (hexutil.Bytes, error) {
	server, wanted, err := a.read(ctx, &request, time.Now())
	if err != nil {
		return nil, err
	}
	timeout := min(time.Duration(request.Timeout)*time.Second, maxTimeout)
	if timeout == 0 {
		timeout = defaultTimeout
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return nil, errClosed
	}
	if a.requests >= maxRequests {
		return nil, errTooManyRequests
	}
	a.requests++
	id := make([]byte, common.HashLength)
	rand.Read(id) // never fails
	a.work.Go(func() {
		limited, cancel := context.WithTimeout(a.life, timeout)
		defer cancel()
		event := a.ask(limited, server, wanted)
		event.Hash = id
		if event.Type == eventCompleted {
			event.RequestID = id
		}
		a.mu.Lock()
		a.requests--
		a.mu.Unlock()
		a.publish(event)
	})
	return id, nil
}

// mailserver is one that is asked.
type mailserver struct {
	node *enode.Node
	key  []byte // of its password; nil: requests are for its node key
}

// read checks a request.
func (a *API) read(ctx context.Context, r *MessagesRequest, now time.Time) (s mailserver, w mailwire.Request, err error) {
	if s.node, err = enode.ParseV4(r.MailServerPeer); err != nil {
		return s, w, errors.New("invalid mailServerPeer; give an enode URL")
	}
	if r.SymKeyID != "" {
		if s.key, err = a.shh.GetSymKey(ctx, r.SymKeyID); err != nil {
			return s, w, err
		}
	}
	topics := r.Topics
	if r.Topic != (whisper.Topic{}) {
		topics = append([]whisper.Topic{r.Topic}, topics...)
	}
	if len(topics) > mailwire.MaxTopics {
		return s, w, fmt.Errorf("%d topics at once; give at most %d", len(topics), mailwire.MaxTopics)
	}
	w = mailwire.Request{Form: mailwire.List, Lower: r.From, Upper: r.To, Topics: topics, Limit: min(r.Limit, mailwire.MaxLimit), Batch: true}
	if w.Upper == 0 {
		w.Upper = uint32(now.Unix())
	}
	if w.Lower == 0 {
		w.Lower = w.Upper - min(w.Upper, uint32(24*60*60))
	}
	if w.Lower > w.Upper {
		return s, w, errors.New("from is behind to")
	}
	if r.Cursor != "" {
		raw, err := hex.DecodeString(r.Cursor)
		if err == nil {
			w.Cursor, err = mailwire.ParseCursor(raw)
		}
		if err != nil {
			return s, w, errors.New("invalid cursor; give the one of the event, as it was")
		}
	}
	return s, w, nil
}

// ask asks a mailserver once, and hands over what comes.
func (a *API) ask(ctx context.Context, server mailserver, r mailwire.Request) Event {
	answer, err := collect(ctx, server, r)
	if err != nil {
		a.logger.Debug("a mailserver that a local program asks for did not answer", "err", err)
		if errors.Is(err, mailclient.ErrTimeout) || ctx.Err() != nil {
			return Event{Type: eventExpired, ErrorMessage: "the mailserver did not answer in time"}
		}
		return Event{Type: eventCompleted, ErrorMessage: err.Error()}
	}
	event := Event{Type: eventCompleted, Messages: len(answer.Envelopes)}
	for _, e := range answer.Envelopes {
		if err := a.node.Deliver(e); err != nil {
			a.logger.Debug("a mailserver's envelope is not delivered", "err", err)
		}
		hash := e.Hash()
		event.LastEnvelopeHash = &hash
	}
	if answer.More() {
		event.Cursor = hex.EncodeToString(answer.Cursor.Bytes())
	}
	return event
}

// collect asks over a link of its own, under a key that is made for it.
func collect(ctx context.Context, server mailserver, r mailwire.Request) (a mailclient.Answer, err error) {
	asks := mailclient.New(mailclient.Config{})
	node, err := whisper.NewNode(whisper.Config{LightNode: true, Bloom: new(whisper.Bloom), Direct: asks})
	if err != nil {
		return a, err
	}
	asks.Attach(node)
	if err := node.Start(); err != nil {
		return a, err
	}
	defer node.Stop()
	node.Trust(server.node.ID())
	link, err := uplink.Dial(ctx, uplink.Config{Node: node, Server: server.node})
	if err != nil {
		return a, err
	}
	defer link.Close()
	to := mailclient.Server{ID: server.node.ID(), Key: server.key}
	if server.key == nil {
		to.PublicKey = server.node.Pubkey()
	}
	return asks.Ask(ctx, to, r)
}

// feed is a subscription to events.
type feed struct{ events chan Event }

// publish tells every subscriber. Where too much waits the oldest goes.
func (a *API) publish(e Event) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for f := range a.feeds {
		for sent := false; !sent; {
			select {
			case f.events <- e:
				sent = true
			default:
				select {
				case <-f.events:
				default:
				}
			}
		}
	}
}

// Events is shhext_subscribe("events"): what becomes of requests and posts, whoever made them.
func (a *API) Events(ctx context.Context) (*rpc.Subscription, error) {
	notifier, ok := rpc.NotifierFromContext(ctx)
	if !ok {
		return nil, rpc.ErrNotificationsUnsupported
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return nil, errClosed
	}
	if len(a.feeds) >= maxSubscriptions {
		return nil, errTooManySubscriptions
	}
	f := &feed{make(chan Event, maxEvents)}
	a.feeds[f] = true
	subscription := notifier.CreateSubscription()
	a.work.Go(func() {
		a.feed(notifier, subscription, f)
		a.mu.Lock()
		delete(a.feeds, f)
		a.mu.Unlock()
	})
	return subscription, nil
}

// feed tells a subscriber what comes, until they leave or the API ends.
func (a *API) feed(notifier *rpc.Notifier, subscription *rpc.Subscription, f *feed) {
	for {
		select {
		case e := <-f.events:
			if err := notifier.Notify(subscription.ID, e); err != nil {
				a.logger.Debug("a subscriber to events is gone", "err", err)
				return
			}
		case <-subscription.Err():
			return
		case <-a.life.Done():
			return
		}
	}
}
