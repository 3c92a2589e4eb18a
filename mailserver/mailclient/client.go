// Package mailclient asks mailservers for archived envelopes and collects their
// answers.
//
// A mailserver is a trusted peer: the node passes its packets 127 to the client
// unchecked, so the client checks them. It listens only to a peer with an open
// request, takes only envelopes that it asked for, each once, and takes no more
// bytes than its limits allow. The end of an answer counts only with the id of
// its request.
//
//	client := mailclient.New(mailclient.Config{})
//	node, err := whisper.NewNode(whisper.Config{Direct: client})
//	client.Attach(node)
//	node.Trust(server.ID)                       // or its answers are dropped
//	cursor, err = client.Collect(ctx, server, mailclient.Since(cursor), handle)
//
// The client holds no keys and opens no envelopes; it returns them as the
// network sent them.
package mailclient

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/p2p/enode"

	"whisperpush/mailserver/mailwire"
	"whisperpush/whisper"
)

// Defaults of Config.
const (
	DefaultTimeout  = 30 * time.Second
	DefaultQuiet    = 5 * time.Second
	DefaultMaxBytes = 64 << 20
	DefaultMaxRows  = 100_000
	DefaultRetries  = 6
)

var (
	// ErrTimeout means that a mailserver did not answer, or stopped halfway.
	ErrTimeout = errors.New("mailclient: no answer in time")
	// ErrIncomplete means that the mailserver ended its answer, but its
	// last envelope did not arrive. Most often the node does not trust the
	// peer.
	ErrIncomplete = errors.New("mailclient: the end of the answer came without its last envelope; is the mailserver a trusted peer?")
	// ErrTooMuch means that a mailserver sent more than Config allows.
	ErrTooMuch = errors.New("mailclient: more was sent than is taken for one request")
	// ErrNoProgress means that a mailserver keeps repeating a cursor.
	ErrNoProgress = errors.New("mailclient: the cursor of the answer is the one that was asked for")
)

// RefusedError is a mailserver's refusal.
type RefusedError struct{ Refusal mailwire.Refusal }

func (e *RefusedError) Error() string {
	return fmt.Sprintf("mailclient: refused: %q", string(e.Refusal))
}

// Node sends requests. A whisper.Node is one.
type Node interface {
	SendRequest(ctx context.Context, peer enode.ID, env *whisper.Envelope) error
}

// Server is a mailserver to ask: a connected and trusted peer.
type Server struct {
	ID enode.ID
	// Key, from whisper.KeyFromPassword, or PublicKey encrypts the requests.
	Key       []byte
	PublicKey *ecdsa.PublicKey
	// PoW is the least proof of work that the mailserver asks of a request.
	PoW float64
}

// Config configures a Client. The zero value is usable.
type Config struct {
	// Sign signs the requests. nil: each is signed with a fresh key, so that only
	// the connection links them.
	Sign *ecdsa.PrivateKey
	// Padding returns the padding for a payload of that many bytes in a request, so
	// that the caller decides what its size reveals. nil: up to a multiple of 256
	// bytes, as for every message.
	Padding func(payload int) []byte
	// Now is the clock for requests, for a device that knows the mailserver's time
	// better than its own clock does. The mailserver refuses a request from a clock
	// that is off by more than mailwire.MaxClockSkew. nil: time.Now.
	Now func() time.Time
	// Timeout is the longest time without progress in an answer that has an end
	// mark; 0: DefaultTimeout.
	Timeout time.Duration
	// Quiet is how long nothing must arrive before an answer without an end mark
	// counts as complete; 0: DefaultQuiet.
	Quiet time.Duration
	// MaxBytes and MaxRows bound one answer; 0: the defaults.
	MaxBytes, MaxRows int
	// Retries is how many times in a row Collect asks a busy or silent
	// mailserver again; 0: DefaultRetries.
	Retries int
	Logger  *slog.Logger // nil: nothing is logged
}

// Client asks mailservers. It implements whisper.DirectHandler and is safe for
// concurrent use. It has only one open request at a time with a mailserver.
type Client struct {
	cfg Config

	mu      sync.Mutex // guards the following fields
	node    Node
	open    map[enode.ID]*collection
	syncs   map[enode.ID]*syncing
	turns   map[enode.ID]*turn
	ignored uint64
}

// turn admits one request at a time to a mailserver.
type turn struct {
	token   chan struct{} // capacity 1: full while a question is open
	waiting int           // callers that hold or wait for the token; guarded by Client.mu
}

// New returns a client for whisper.Config.Direct. Attach must follow.
func New(cfg Config) *Client {
	for _, d := range []struct {
		value   *time.Duration
		instead time.Duration
	}{{&cfg.Timeout, DefaultTimeout}, {&cfg.Quiet, DefaultQuiet}} {
		if *d.value <= 0 {
			*d.value = d.instead
		}
	}
	for _, d := range []struct {
		value   *int
		instead int
	}{{&cfg.MaxBytes, DefaultMaxBytes}, {&cfg.MaxRows, DefaultMaxRows}, {&cfg.Retries, DefaultRetries}} {
		if *d.value <= 0 {
			*d.value = d.instead
		}
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Client{cfg: cfg, open: make(map[enode.ID]*collection), syncs: make(map[enode.ID]*syncing), turns: make(map[enode.ID]*turn)}
}

// Attach gives the client the node to send with. It must be called before the first
// request.
func (c *Client) Attach(node Node) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.node = node
}

// Ignored returns how many envelopes and end marks came that were not asked for.
func (c *Client) Ignored() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ignored
}

// Since returns the request for everything that a mailserver of this project
// committed after a cursor, whatever its sent time; the zero cursor means everything
// it has. Topics, if any are given, select exactly. The cursor is the one that
// Collect last returned. On another mailserver, or on one whose archive was begun
// again, it means everything too.
func Since(cursor mailwire.Cursor, topics ...whisper.Topic) mailwire.Request {
	return mailwire.Request{
		Form: mailwire.List, Upper: math.MaxUint32, Topics: topics, Batch: true,
		Cursor: cursor.Resume(),
	}
}

// Hashes returns the request for exactly these envelopes, to a mailserver of
// this project.
func Hashes(hashes ...common.Hash) mailwire.Request {
	return mailwire.Request{Form: mailwire.List, Upper: math.MaxUint32, Hashes: hashes, Batch: true}
}

// Answer is what one request brought.
type Answer struct {
	Envelopes []*whisper.Envelope // in the order sent
	Cursor    mailwire.Cursor     // where to continue; see mailwire.Complete
	Marked    bool                // the mailserver marked the end
	Ignored   int                 // envelopes that were not asked for
	Proof     *mailwire.Proof     // answers mailwire.Request.Prove; not checked here; nil: there is none
}

// More reports whether the cursor leads to more envelopes now.
func (a Answer) More() bool { return !a.Cursor.IsZero() && !a.Cursor.Complete }

// Ask sends one request and collects its answer. It waits while another request to
// the same mailserver is open. A refusal is a *RefusedError. With ErrTimeout,
// ErrIncomplete, ErrTooMuch and the error of the context, the answer holds the
// envelopes that came before.
func (c *Client) Ask(ctx context.Context, server Server, r mailwire.Request) (Answer, error) {
	release, err := c.takeTurn(ctx, server.ID)
	if err != nil {
		return Answer{}, err
	}
	defer release()

	env, id, err := c.seal(ctx, server, r)
	if err != nil {
		return Answer{}, err
	}
	k := newCollection(id, r, c.cfg)
	c.mu.Lock()
	node := c.node
	c.open[server.ID] = k
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.open, server.ID)
		c.ignored += uint64(k.ignored)
	}()
	if node == nil {
		return Answer{}, errors.New("mailclient: no node attached")
	}
	if err := node.SendRequest(ctx, server.ID, env); err != nil {
		return Answer{}, fmt.Errorf("mailclient: sending a request: %w", err)
	}
	err = k.wait(ctx, c.cfg)
	c.mu.Lock()
	defer c.mu.Unlock()
	return k.answer(), err
}

// takeTurn waits until no other request to the mailserver is open.
func (c *Client) takeTurn(ctx context.Context, server enode.ID) (release func(), err error) {
	c.mu.Lock()
	t := c.turns[server]
	if t == nil {
		t = &turn{token: make(chan struct{}, 1)}
		c.turns[server] = t
	}
	t.waiting++
	c.mu.Unlock()
	leave := func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if t.waiting--; t.waiting == 0 {
			delete(c.turns, server)
		}
	}
	select {
	case t.token <- struct{}{}:
		return func() { <-t.token; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}

// seal returns the packet 126 and the id of the request in it.
func (c *Client) seal(ctx context.Context, server Server, r mailwire.Request) (*whisper.Envelope, common.Hash, error) {
	if r.Form == mailwire.Plain {
		return nil, common.Hash{}, errors.New("mailclient: plain requests are not supported, use a List")
	}
	payload, err := r.Encode()
	if err != nil {
		return nil, common.Hash{}, err
	}
	sign := c.cfg.Sign
	if sign == nil {
		if sign, err = crypto.GenerateKey(); err != nil {
			return nil, common.Hash{}, fmt.Errorf("mailclient: key for a request: %w", err)
		}
	}
	draft := whisper.Draft{Payload: payload, Sign: sign, Key: server.Key, To: server.PublicKey, PoW: server.PoW, Now: c.cfg.Now()}
	if c.cfg.Padding != nil {
		draft.Padding = c.cfg.Padding(len(payload))
	}
	env, err := whisper.Seal(ctx, draft)
	if err != nil {
		return nil, common.Hash{}, fmt.Errorf("mailclient: request: %w", err)
	}
	return env, env.Hash(), nil
}

// HandleDirect takes a packet 127. It does not block.
func (c *Client) HandleDirect(peer enode.ID, env *whisper.Envelope) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if k := c.open[peer]; k != nil {
		k.take(env)
		return
	}
	c.ignored++
}

// HandleRequestComplete takes the content of a packet 125. It does not block.
func (c *Client) HandleRequestComplete(peer enode.ID, payload []byte) {
	end, err := mailwire.DecodeComplete(payload)
	c.mu.Lock()
	defer c.mu.Unlock()
	if k := c.open[peer]; err == nil && k != nil && k.id == end.ID {
		k.end(end)
		return
	}
	c.ignored++
}
