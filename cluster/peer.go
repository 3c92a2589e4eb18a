package cluster

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"whisperpush/desk"
)

const (
	// maxFrame bounds one message between nodes: what a Fetch sends at once.
	maxFrame = 16 << 20
	// maxPeers bounds a node's connections to and from others.
	maxPeers = 256
	// handshakeTimeout bounds how long a connection may take to authenticate, dialTimeout how
	// long one may take to be made.
	handshakeTimeout = 3 * time.Second
	dialTimeout      = 3 * time.Second
	// dismissAfter is how long a connection goes on to a node that would not be let in any more.
	dismissAfter = 5 * time.Second
	// redialPause is how long a node that could not be reached is left alone.
	redialPause = 250 * time.Millisecond
	// writeTimeout is how long a write may block before the connection is ended.
	writeTimeout = 5 * time.Second
	// replyTimeout is how long a node may take to confirm a message.
	replyTimeout = 2 * time.Second
	// sendTimeout is how long a node may take to hand envelopes to a device.
	sendTimeout = 20 * time.Second
	// handledAtOnce is how many messages of one node are worked on at a time.
	handledAtOnce = 256
)

var (
	errClosed  = errors.New("the connection between two nodes has ended")
	errRefused = errors.New("the other node did not do what it was asked for")
	errFrame   = errors.New("a message between nodes is malformed")
)

// peer is a connection to another node, whichever side dialled. Both sides send messages and
// answer with a status. messages.go describes the messages.
type peer struct {
	s    *Server
	conn net.Conn
	done chan struct{} // closed when it has ended
	busy chan struct{} // holds one for each message being worked on
	wg   sync.WaitGroup
	as   ed25519.PublicKey // the key this node has shown, if it dialled

	writing sync.Mutex // held while a message is written

	shown ed25519.PublicKey // the key shown by the other side, nil before the handshake; guarded by peers.mu
	until time.Time         // when it is dismissed; guarded by peers.mu

	mu      sync.Mutex // guards the following fields
	next    uint32
	waiting map[uint32]chan answer
	callers map[desk.ID]struct{} // of the other node, connected there
	ended   bool
}

// answer is what the other side says to a message.
type answer struct {
	ok   bool
	body []byte
}

func newPeer(s *Server, conn net.Conn) *peer {
	return &peer{
		s: s, conn: conn, done: make(chan struct{}), busy: make(chan struct{}, handledAtOnce),
		waiting: map[uint32]chan answer{}, callers: map[desk.ID]struct{}{},
	}
}

// run reads messages until the connection ends.
func (p *peer) run() {
	defer p.wg.Wait()
	defer p.close()
	r := bufio.NewReader(p.conn)
	for {
		kind, seq, body, err := readFrame(r)
		if err != nil {
			return
		}
		if kind == kindAnswer {
			if len(body) == 0 {
				return
			}
			p.mu.Lock()
			waiting := p.waiting[seq]
			delete(p.waiting, seq)
			p.mu.Unlock()
			if waiting != nil {
				waiting <- answer{body[0] == 1, body[1:]}
			}
			continue
		}
		if err := p.take(kind, seq, body); err != nil {
			p.s.log.Warn("a node sent what this one cannot read; its connection ends", "err", err)
			return
		}
	}
}

// close ends the connection and everything that waits for it.
func (p *peer) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return
	}
	p.ended = true
	close(p.done)
	p.conn.Close()
	clear(p.callers)
}

// frame is length 4, kind 1, sequence 4, body; the length is that of what follows it.
func readFrame(r io.Reader) (kind byte, seq uint32, body []byte, err error) {
	var head [9]byte
	if _, err = io.ReadFull(r, head[:]); err != nil {
		return 0, 0, nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n < 5 || n > maxFrame {
		return 0, 0, nil, errFrame
	}
	body = make([]byte, n-5)
	_, err = io.ReadFull(r, body)
	return head[4], binary.BigEndian.Uint32(head[5:]), body, err
}

func (p *peer) write(kind byte, seq uint32, body []byte) error {
	if len(body)+5 > maxFrame {
		return fmt.Errorf("%w: it has %d bytes, at most %d", errFrame, len(body), maxFrame-5)
	}
	frame := make([]byte, 9, 9+len(body))
	binary.BigEndian.PutUint32(frame, uint32(len(body)+5))
	frame[4] = kind
	binary.BigEndian.PutUint32(frame[5:], seq)
	frame = append(frame, body...)
	p.writing.Lock()
	defer p.writing.Unlock()
	p.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
	_, err := p.conn.Write(frame)
	if err != nil {
		p.close() // half a message may have been written
		return errClosed
	}
	return nil
}

// ask sends a message and waits for the answer.
func (p *peer) ask(ctx context.Context, kind byte, body []byte, within time.Duration) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	reply := make(chan answer, 1)
	p.mu.Lock()
	if p.ended {
		p.mu.Unlock()
		return nil, errClosed
	}
	p.next++
	seq := p.next
	p.waiting[seq] = reply
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		delete(p.waiting, seq)
		p.mu.Unlock()
	}()
	if err := p.write(kind, seq, body); err != nil {
		return nil, err
	}
	select {
	case a := <-reply:
		if !a.ok {
			return nil, errRefused
		}
		return a.body, nil
	case <-p.done:
		return nil, errClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// answer says whether a message was taken.
func (p *peer) answer(seq uint32, err error, body []byte) {
	status := byte(0)
	if err == nil {
		status = 1
	}
	p.write(kindAnswer, seq, append([]byte{status}, body...))
}

// later works on a message in a goroutine of its own, and answers it.
func (p *peer) later(seq uint32, work func(ctx context.Context) ([]byte, error)) {
	select {
	case p.busy <- struct{}{}:
	default:
		p.answer(seq, errRefused, nil)
		return
	}
	p.wg.Go(func() {
		defer func() { <-p.busy }()
		ctx, cancel := context.WithTimeout(context.Background(), sendTimeout)
		defer cancel()
		stop := make(chan struct{})
		defer close(stop)
		go func() {
			select {
			case <-p.done:
				cancel()
			case <-stop:
			}
		}()
		body, err := work(ctx)
		p.answer(seq, err, body)
	})
}

// holds reports whether a caller is connected to the other node.
func (p *peer) holds(id desk.ID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, ok := p.callers[id]
	return ok
}

// came notes that a caller is connected to the other node.
func (p *peer) came(id desk.ID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.ended && len(p.callers) < maxPresent {
		p.callers[id] = struct{}{}
	}
}

func (p *peer) left(id desk.ID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.callers, id)
}

// peers are the connections between this node and the others.
type peers struct {
	s *Server

	mu     sync.Mutex // guards the following fields
	dialed map[string]*dialing
	taken  map[*peer]struct{}
	closed bool
	wg     sync.WaitGroup
}

// dialing is a connection made once for all that need it.
type dialing struct {
	done  chan struct{} // closed when the following are set
	peer  *peer
	err   error
	at    time.Time // of the failure
	again bool      // the one before failed too; the failure is not reported again
}

// to returns a connection to the node with an address.
func (ps *peers) to(ctx context.Context, address string) (*peer, error) {
	ps.mu.Lock()
	if ps.closed {
		ps.mu.Unlock()
		return nil, errClosed
	}
	if ps.dialed == nil {
		ps.dialed = map[string]*dialing{}
	}
	d := ps.dialed[address]
	before := d
	if d != nil && closed(d.done) && (d.err != nil && time.Since(d.at) > redialPause || d.err == nil && (closed(d.peer.done) || !d.peer.as.Equal(ps.s.ring.Load().own.public))) {
		d = nil
	}
	if d == nil {
		d = &dialing{done: make(chan struct{}), again: before != nil && before.err != nil}
		ps.dialed[address] = d
		ps.wg.Go(func() { ps.dial(address, d) })
	}
	ps.mu.Unlock()
	select {
	case <-d.done:
		return d.peer, d.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// dial makes a connection, and serves it until it ends.
func (ps *peers) dial(address string, d *dialing) {
	ring := ps.s.ring.Load()
	dialer := tls.Dialer{NetDialer: &net.Dialer{Timeout: dialTimeout}, Config: ps.s.tls(ring)}
	ctx, cancel := context.WithTimeout(context.Background(), dialTimeout+handshakeTimeout)
	conn, err := dialer.DialContext(ctx, "tcp", address)
	cancel()
	if err != nil {
		level := slog.LevelWarn
		if d.again {
			level = slog.LevelDebug
		}
		ps.s.log.Log(context.Background(), level, "another node of the cluster cannot be reached", "err", dialCause(err))
		d.err, d.at = errClosed, time.Now()
		close(d.done)
		return
	}
	d.peer = newPeer(ps.s, conn)
	d.peer.as = ring.own.public
	if !ps.keep(d.peer) || !ps.knows(d.peer, shown(conn.(*tls.Conn))) {
		d.peer.close()
	}
	close(d.done)
	d.peer.run()
	ps.drop(d.peer)
}

// dialCause is err without the address, which belongs in no log.
func dialCause(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Err
	}
	return err
}

func (ps *peers) keep(p *peer) bool {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if ps.closed || len(ps.taken) >= maxPeers {
		return false
	}
	if ps.taken == nil {
		ps.taken = map[*peer]struct{}{}
	}
	ps.taken[p] = struct{}{}
	return true
}

func (ps *peers) drop(p *peer) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	delete(ps.taken, p)
}

// dismiss ends connections whose other side is not let in any more. It does so dismissAfter after
// it first sees one, so that work under way can finish.
func (ps *peers) dismiss(ring *keyring, now time.Time) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	for p := range ps.taken {
		switch {
		case p.shown == nil || ring.lets(p.shown):
		case p.until.IsZero():
			p.until = now.Add(dismissAfter)
		case now.After(p.until):
			p.close()
		}
	}
}

// knows notes the key of the other side of a connection, and reports whether it is let in.
func (ps *peers) knows(p *peer, key ed25519.PublicKey) bool {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	p.shown = key
	return ps.s.ring.Load().lets(key)
}

// close ends all connections and waits for them.
func (ps *peers) close() {
	ps.mu.Lock()
	ps.closed = true
	for p := range ps.taken {
		p.close()
	}
	ps.mu.Unlock()
	ps.wg.Wait()
}

// accept takes the connections of other nodes until the listener is closed.
func (s *Server) accept(ctx context.Context) {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(redialPause):
			}
			continue
		}
		s.peers.mu.Lock()
		if s.peers.closed {
			s.peers.mu.Unlock()
			conn.Close()
			return
		}
		s.peers.wg.Go(func() { s.welcome(conn) })
		s.peers.mu.Unlock()
	}
}

// welcome serves a connection made by another node, if that node has the key.
func (s *Server) welcome(raw net.Conn) {
	conn := tls.Server(raw, s.tls(s.ring.Load()))
	p := newPeer(s, conn)
	defer p.close()
	if !s.peers.keep(p) {
		return
	}
	defer s.peers.drop(p)
	ctx, cancel := context.WithTimeout(context.Background(), handshakeTimeout)
	err := conn.HandshakeContext(ctx)
	cancel()
	if err != nil {
		s.log.Warn("a connection to the address for other nodes was refused", "err", dialCause(err))
		return
	}
	if s.peers.knows(p, shown(conn)) {
		p.run()
	}
}
