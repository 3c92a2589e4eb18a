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
	"time"

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
	// subscriptions, and it hands even ordinary messages only to filters that
	// have AllowP2P. It refuses other light clients, and forwards all the same.
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

// Node is a running genuine node. Its methods may be called concurrently; those
// that take a context return when the node answered, it ended, or the context
// did.
type Node struct {
	Enode string   // its enode URL, on loopback
	ID    enode.ID // its devp2p identity

	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stderr *nested.Tail
	stop   sync.Once
	ended  chan struct{} // closed when the process is gone and everything was read
	err    error         // why, valid once ended is closed

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
	reason string // why the last did
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

// stopGrace is how long Stop waits for the node to end by itself.
const stopGrace = 5 * time.Second

// TB is the part of testing.TB that [Run] uses.
type TB interface {
	Helper()
	Fatalf(format string, args ...any)
	Cleanup(func())
	Context() context.Context
}

// Run starts a node for the length of a test and fails the test if it cannot.
func Run(t TB, o Options) *Node {
	t.Helper()
	n, err := Start(t.Context(), o)
	if err != nil {
		t.Fatalf("genuine node: %v", err)
	}
	t.Cleanup(func() { n.Stop() })
	return n
}

// Start builds the node if needed, starts it and returns when it listens. The
// context covers just that; Stop must be called to end the node.
func Start(ctx context.Context, o Options) (*Node, error) {
	exe, err := Build(ctx)
	if err != nil {
		return nil, err
	}
	n := &Node{
		cmd:     exec.Command(exe, o.args()...),
		stderr:  &nested.Tail{To: o.Log},
		ended:   make(chan struct{}),
		calls:   make(map[uint64]chan response),
		peers:   make(map[enode.ID]peerState),
		inbox:   make(map[string][]Message),
		changed: make(chan struct{}),
	}
	n.cmd.Stderr = n.stderr
	if n.stdin, err = n.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := n.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := n.cmd.Start(); err != nil {
		return nil, err
	}
	ready := make(chan Info, 1)
	go n.read(stdout, ready)
	select {
	case info := <-ready:
		n.Enode, n.ID = info.Enode, info.ID
		return n, nil
	case <-n.ended:
		return nil, n.err
	case <-ctx.Done():
		n.Stop()
		return nil, context.Cause(ctx)
	}
}

// Stop ends the node, by force if it takes more than 5 s, and waits until it is
// gone. It may be called more than once.
func (n *Node) Stop() {
	n.stop.Do(func() {
		n.stdin.Close()
		select {
		case <-n.ended:
		case <-time.After(stopGrace):
			n.cmd.Process.Kill()
		}
	})
	<-n.ended
}

// Kill ends the node at once, as a crash would, and waits until it is gone.
func (n *Node) Kill() {
	n.cmd.Process.Kill()
	n.Stop()
}

// Pid is the process's id, for reading its resource use.
func (n *Node) Pid() int { return n.cmd.Process.Pid }

// Ended is closed when the node is gone, stopped or crashed.
func (n *Node) Ended() <-chan struct{} { return n.ended }

// Err tells why the node is gone, with the end of its log; nil before.
func (n *Node) Err() error {
	select {
	case <-n.ended:
		return n.err
	default:
		return nil
	}
}

// read deals out what the process writes until it ends, then reaps it.
func (n *Node) read(stdout io.Reader, ready chan<- Info) {
	dec := json.NewDecoder(bufio.NewReaderSize(stdout, 1<<16))
	var bad error
	for bad == nil {
		var l line
		if bad = dec.Decode(&l); bad == nil {
			bad = n.dispatch(l, ready)
		}
	}
	if !errors.Is(bad, io.EOF) {
		n.cmd.Process.Kill()
	}
	io.Copy(io.Discard, stdout)
	err := n.cmd.Wait()
	switch {
	case !errors.Is(bad, io.EOF):
		err = bad
	case err == nil:
		err = errors.New("stopped")
	}
	n.err = fmt.Errorf("genuine node ended: %w%s", err, n.stderr.String())
	close(n.ended)
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

// update changes what others wait for and wakes them.
func (n *Node) update(change func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	change()
	close(n.changed)
	n.changed = make(chan struct{})
}

// await returns once ok does, which is called with mu held.
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
		case <-n.ended:
			return n.err
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

// call runs a method of the process and decodes its result, unless nil is given
// for it.
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
	_, err = n.stdin.Write(append(b, '\n'))
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
	case <-n.ended:
		return n.err
	case <-ctx.Done():
		return fmt.Errorf("genuine node: %s: %w", method, context.Cause(ctx))
	}
}
