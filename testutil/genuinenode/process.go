package genuinenode

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"sync"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/p2p/enode"

	"whisperpush/testutil/nested"
)

// Options of a node. The zero value is a full node without a mailserver that
// accepts envelopes of any PoW.
type Options struct {
	NodeKey        *ecdsa.PrivateKey // nil: a new one
	Listen         string            // address; empty: a free port of 127.0.0.1
	MinPoW         float64           // the least it accepts
	MaxMessageSize uint32            // bytes; 0: the genuine default of 1 MiB
	MaxPeers       int               // 0: 50
	// Light starts a light client: its bloom filter is empty and grows with its
	// subscriptions, and it gives even ordinary messages only to filters with
	// AllowP2P. It refuses other light clients, but forwards anyway.
	Light bool

	MailDir      string  // database directory; empty: no mailserver
	MailPassword string  // of mail requests; must be set with MailDir
	MailPoW      float64 // the least a mail request needs

	Log      io.Writer // takes its log; nil: only the end is kept, for errors
	LogLevel int       // 0 (crit) to 5 (trace)
}

func (o Options) args() []string {
	args := []string{"serve", "-pow", strconv.FormatFloat(o.MinPoW, 'g', -1, 64), "-verbosity", strconv.Itoa(o.LogLevel)}
	if o.NodeKey != nil {
		args = append(args, "-nodekey", fmt.Sprintf("%x", crypto.FromECDSA(o.NodeKey)))
	}
	if o.Listen != "" {
		args = append(args, "-listen", o.Listen)
	}
	if o.MaxMessageSize != 0 {
		args = append(args, "-maxsize", strconv.FormatUint(uint64(o.MaxMessageSize), 10))
	}
	if o.MaxPeers != 0 {
		args = append(args, "-maxpeers", strconv.Itoa(o.MaxPeers))
	}
	if o.Light {
		args = append(args, "-light")
	}
	if o.MailDir != "" {
		args = append(args, "-db", o.MailDir, "-password", o.MailPassword, "-mspow", strconv.FormatFloat(o.MailPoW, 'g', -1, 64))
	}
	return args
}

// Node is a running genuine node. Its methods may be called concurrently. Those
// that take a context return when the node has answered or ended, or when the
// context ends.
type Node struct {
	Enode string   // its enode URL, on loopback
	ID    enode.ID // its devp2p identity

	*nested.Process // ends it, and says why it ended

	writeMu sync.Mutex // guards writing to stdin

	mu      sync.Mutex // guards the following fields
	nextID  uint64
	calls   map[uint64]chan response
	peers   map[enode.ID]peerState
	inbox   map[string][]Message // by filter
	changed chan struct{}        // closed and replaced when peers or inbox change
}

type peerState struct {
	up     bool
	ends   int    // how many links ended
	reason string // why the last one did
}

type response struct {
	Result json.RawMessage
	Error  string
}

// line is anything the process writes: a response or an event.
type line struct {
	ID     uint64          `json:"id"`
	Result json.RawMessage `json:"result"`
	Error  string          `json:"error"`
	Event  string          `json:"event"`
	Data   json.RawMessage `json:"data"`
}

// Run starts a node for the length of a test and fails the test if it cannot.
func Run(t nested.TB, o Options) *Node {
	t.Helper()
	n, err := Start(t.Context(), o)
	if err != nil {
		t.Fatalf("genuine node: %v", err)
	}
	t.Cleanup(n.Stop)
	return n
}

// Start builds the node if needed, starts it and returns when it listens. The
// context covers only that; Stop must be called to end the node.
func Start(ctx context.Context, o Options) (*Node, error) {
	exe, err := Build(ctx)
	if err != nil {
		return nil, err
	}
	n := &Node{
		calls:   make(map[uint64]chan response),
		peers:   make(map[enode.ID]peerState),
		inbox:   make(map[string][]Message),
		changed: make(chan struct{}),
	}
	ready := make(chan Info, 1)
	n.Process, err = nested.Start("genuine node", exec.Command(exe, o.args()...), o.Log, func(stdout io.Reader) error {
		return n.read(stdout, ready)
	})
	if err != nil {
		return nil, err
	}
	info, err := nested.Await(ctx, n.Process, ready)
	if err != nil {
		return nil, err
	}
	n.Enode, n.ID = info.Enode, info.ID
	return n, nil
}

// read distributes what the process writes until it ends.
func (n *Node) read(stdout io.Reader, ready chan<- Info) error {
	dec := json.NewDecoder(bufio.NewReaderSize(stdout, 1<<16))
	for {
		var l line
		err := dec.Decode(&l)
		if err == nil {
			err = n.dispatch(l, ready)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (n *Node) dispatch(l line, ready chan<- Info) error {
	switch l.Event {
	case "":
		n.mu.Lock()
		call := n.calls[l.ID]
		delete(n.calls, l.ID)
		n.mu.Unlock()
		if call != nil {
			call <- response{l.Result, l.Error}
		}
	case "ready":
		var info Info
		if err := json.Unmarshal(l.Data, &info); err != nil {
			return err
		}
		ready <- info
	case "peer":
		var ev struct {
			ID    enode.ID
			Up    bool
			Error string
		}
		if err := json.Unmarshal(l.Data, &ev); err != nil {
			return err
		}
		n.update(func() {
			s := n.peers[ev.ID]
			if s.up = ev.Up; !ev.Up {
				s.ends++
				s.reason = ev.Error
			}
			n.peers[ev.ID] = s
		})
	case "message":
		var ev struct {
			Filter string
			Message
		}
		if err := json.Unmarshal(l.Data, &ev); err != nil {
			return err
		}
		n.update(func() { n.inbox[ev.Filter] = append(n.inbox[ev.Filter], ev.Message) })
	}
	return nil
}

// update makes a change that others wait for, and wakes them.
func (n *Node) update(change func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	change()
	close(n.changed)
	n.changed = make(chan struct{})
}

// await returns once ok returns true. ok is called with mu held.
func (n *Node) await(ctx context.Context, ok func() bool) error {
	for {
		n.mu.Lock()
		done, changed := ok(), n.changed
		n.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-changed:
		case <-n.Ended():
			return n.Err()
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// params are those of every method; each takes some.
type params struct {
	Enode      string          `json:"enode,omitempty"`
	Peer       *enode.ID       `json:"peer,omitempty"`
	Password   string          `json:"password"`
	Envelope   hexutil.Bytes   `json:"envelope,omitempty"`
	SymKey     hexutil.Bytes   `json:"symKey,omitempty"`
	PublicKey  hexutil.Bytes   `json:"publicKey,omitempty"`
	PrivateKey hexutil.Bytes   `json:"privateKey,omitempty"`
	SignKey    hexutil.Bytes   `json:"signKey,omitempty"`
	Signer     hexutil.Bytes   `json:"signer,omitempty"`
	TTL        uint32          `json:"ttl"`
	Topic      hexutil.Bytes   `json:"topic,omitempty"`
	Topics     []hexutil.Bytes `json:"topics,omitempty"`
	Payload    hexutil.Bytes   `json:"payload,omitempty"`
	Padding    hexutil.Bytes   `json:"padding,omitempty"`
	PoW        float64         `json:"pow"`
	PoWSeconds uint32          `json:"powSeconds"`
	Via        Via             `json:"via,omitempty"`
	Bloom      hexutil.Bytes   `json:"bloom,omitempty"`
	AllowP2P   bool            `json:"allowP2P"`
	Filter     string          `json:"filter,omitempty"`
	Count      int             `json:"count"`
	Size       uint32          `json:"size"`
	Light      bool            `json:"light"`
	Writers    int             `json:"writers"`
	Load       *Load           `json:"load,omitempty"`
}

// call runs a method of the process and decodes its result, unless result is
// nil.
func (n *Node) call(ctx context.Context, method string, p params, result any) error {
	answer := make(chan response, 1)
	n.mu.Lock()
	n.nextID++
	id := n.nextID
	n.calls[id] = answer
	n.mu.Unlock()
	defer func() {
		n.mu.Lock()
		delete(n.calls, id)
		n.mu.Unlock()
	}()

	b, err := json.Marshal(map[string]any{"id": id, "method": method, "params": p})
	if err != nil {
		return fmt.Errorf("genuine node: %s: %w", method, err)
	}
	n.writeMu.Lock()
	_, err = n.Stdin.Write(append(b, '\n'))
	n.writeMu.Unlock()
	if err != nil {
		return fmt.Errorf("genuine node: %s: %w", method, err)
	}
	select {
	case r := <-answer:
		if r.Error != "" {
			return fmt.Errorf("genuine node: %s: %s", method, r.Error)
		}
		if result == nil {
			return nil
		}
		return json.Unmarshal(r.Result, result)
	case <-n.Ended():
		return n.Err()
	case <-ctx.Done():
		return fmt.Errorf("genuine node: %s: %w", method, context.Cause(ctx))
	}
}
