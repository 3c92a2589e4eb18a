// Package uplink is one outgoing connection of a whisper.Node, for programs that
// dial a node and serve nobody, such as apps.
//
// It speaks RLPx and version 5 of the base protocol of devp2p, so the program
// does not contain what only a server needs: listening, discovery, NAT traversal
// and a database of nodes. On Android some of that does not even link.
//
//	node, err := whisper.NewNode(whisper.Config{LightNode: true, Bloom: new(whisper.Bloom)})
//	err = node.Start()
//	link, err := uplink.Dial(ctx, uplink.Config{Node: node, Server: server})
//	err = node.SendMessages(ctx, server.ID(), env)
//	link.Close()
//	node.Stop()
package uplink

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/ethereum/go-ethereum/p2p/rlpx"

	"whisperpush/whisper"
)

const (
	// handshakeTimeout bounds everything before shh/6: the exchange of keys and of
	// hellos.
	handshakeTimeout = 10 * time.Second
	// pingEvery is the interval at which this end sends a ping, as in go-ethereum.
	pingEvery = 15 * time.Second
	// readTimeout ends a link on which nothing arrives; the other end pings every 15 s.
	readTimeout = 30 * time.Second
	// writeTimeout ends a link that accepts nothing.
	writeTimeout = 20 * time.Second
	// goodbyeTimeout bounds the sending of the last message.
	goodbyeTimeout = time.Second
)

var (
	// ErrBroken means that the connection broke without a reason from the other end.
	ErrBroken = errors.New("the connection broke")
	// ErrClosed means that Close was called.
	ErrClosed = errors.New("the connection was closed")
	// ErrNoWhisper means that the other end is a node without shh/6.
	ErrNoWhisper = errors.New("the node does not speak shh/6")

	errNoAddress = errors.New("the enode URL has no address to dial")
	errCode      = errors.New("a message of no protocol")
)

// Config says which server to dial, and as whom.
type Config struct {
	Node   *whisper.Node     // has been started
	Server *enode.Node       // with an address, or a host name, and a TCP port
	Key    *ecdsa.PrivateKey // identity towards the server; nil: one made for this connection
	Name   string            // what the program calls itself
}

// Link is a connection on which the handshake of shh/6 is complete. It lasts
// until it is closed, the node stops, or it breaks; it is not dialled again.
type Link struct {
	server  *enode.Node
	tcp     net.Conn
	rlpx    *rlpx.Conn
	writing chan struct{} // holds one element while somebody writes to rlpx

	life context.Context // ends with the connection; its cause is why
	end  context.CancelCauseFunc
	once sync.Once
	over chan struct{} // closed when the node has let go of the link
}

var _ whisper.Link = (*Link)(nil)

// Dial connects cfg.Node to cfg.Server and returns when the handshake of shh/6 is
// complete. An error says what failed, but names neither the server nor its
// address. It is a Disconnected if the server hung up and gave a reason.
func Dial(ctx context.Context, cfg Config) (*Link, error) {
	if cfg.Node.Connected(cfg.Server.ID()) {
		return nil, whisper.ErrConnected
	}
	address, err := address(cfg.Server)
	if err != nil {
		return nil, err
	}
	tcp, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, orCause(ctx, fmt.Errorf("the node cannot be reached: %w", bare(err)))
	}
	return connect(ctx, tcp, cfg)
}

// connect turns a connection into a link. It owns tcp.
func connect(ctx context.Context, tcp net.Conn, cfg Config) (*Link, error) {
	key := cfg.Key
	if key == nil {
		var err error
		if key, err = crypto.GenerateKey(); err != nil {
			tcp.Close()
			return nil, err
		}
	}
	l := &Link{server: cfg.Server, tcp: tcp, rlpx: rlpx.NewConn(tcp, cfg.Server.Pubkey()), writing: make(chan struct{}, 1), over: make(chan struct{})}
	l.life, l.end = context.WithCancelCause(context.Background())
	stop := context.AfterFunc(ctx, func() { tcp.Close() })
	defer stop()
	if err := l.handshake(key, cfg.Name); err != nil {
		l.Disconnect(err)
		return nil, orCause(ctx, err)
	}
	go l.run(cfg.Node)
	if err := l.wait(ctx, cfg.Node); err != nil {
		l.Close()
		return nil, orCause(ctx, err)
	}
	return l, nil
}

// address returns the address to dial for a node.
func address(node *enode.Node) (string, error) {
	if host := node.Hostname(); host != "" && node.TCP() != 0 {
		return net.JoinHostPort(host, strconv.Itoa(node.TCP())), nil
	}
	endpoint, ok := node.TCPEndpoint()
	if !ok {
		return "", errNoAddress
	}
	return endpoint.String(), nil
}

// orCause returns why ctx ended, or err if it has not ended.
func orCause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// bare returns a network error without addresses and names of system calls.
func bare(err error) error {
	if op := new(net.OpError); errors.As(err, &op) {
		err = op.Err
	}
	if dns := new(net.DNSError); errors.As(err, &dns) {
		return errors.New(dns.Err)
	}
	if call := new(os.SyscallError); errors.As(err, &call) {
		err = call.Err
	}
	return err
}

// broken wraps an error of the connection in ErrBroken.
func broken(err error) error { return fmt.Errorf("%w: %w", ErrBroken, bare(err)) }

// run lets the node speak on the link until it ends.
func (l *Link) run(node *whisper.Node) {
	defer close(l.over)
	var pinging sync.WaitGroup
	pinging.Go(l.pingLoop)
	l.Disconnect(node.Run(l))
	pinging.Wait()
}

// wait returns when the node's handshake is complete or has failed.
func (l *Link) wait(ctx context.Context, node *whisper.Node) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	connected := make(chan error, 1)
	go func() { connected <- node.WaitPeer(ctx, l.ID()) }()
	select {
	case err := <-connected:
		return err
	case <-l.over:
		cancel()
		<-connected
		return context.Cause(l.life)
	}
}

func (l *Link) pingLoop() {
	ticker := time.NewTicker(pingEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			if l.write(pingMessage, emptyList) != nil {
				return
			}
		case <-l.life.Done():
			return
		}
	}
}

// Context ends with the link. Its cause says why: ErrClosed, an error that wraps
// ErrBroken, a Disconnected, or what Node.Run returned.
func (l *Link) Context() context.Context { return l.life }

// Close hangs up and returns when the node has let go of the link. It may be
// called more than once.
func (l *Link) Close() {
	l.Disconnect(ErrClosed)
	<-l.over
}

// ID implements whisper.Link.
func (l *Link) ID() enode.ID { return l.server.ID() }

// RemoteAddr implements whisper.Link.
func (l *Link) RemoteAddr() net.Addr { return l.tcp.RemoteAddr() }

// Inbound implements whisper.Link.
func (l *Link) Inbound() bool { return false }

// ReadPacket implements whisper.Link. It answers pings and other messages of devp2p itself.
func (l *Link) ReadPacket() (whisper.Packet, error) {
	for {
		code, payload, err := l.read(readTimeout)
		if err == nil {
			switch {
			case code == pingMessage:
				err = l.write(pongMessage, emptyList)
			case code == disconnectMessage:
				err = decodeDisconnect(payload)
			case code >= baseLength+whisper.ProtocolLength:
				err = fmt.Errorf("%w: code %d", errCode, code)
			case code >= baseLength:
				return whisper.Packet{Code: code - baseLength, Size: uint32(len(payload)), Payload: bytes.NewReader(payload)}, nil
			}
		}
		if err != nil {
			l.Disconnect(err)
			return whisper.Packet{}, context.Cause(l.life)
		}
	}
}

// WritePacket implements whisper.Link.
func (l *Link) WritePacket(p whisper.Packet) error {
	payload := make([]byte, p.Size)
	if _, err := io.ReadFull(p.Payload, payload); err != nil {
		return err
	}
	return l.write(baseLength+p.Code, payload)
}

// read returns the next message. Its bytes are valid until the next call.
func (l *Link) read(within time.Duration) (code uint64, payload []byte, err error) {
	l.tcp.SetReadDeadline(time.Now().Add(within))
	code, payload, _, err = l.rlpx.Read()
	if err != nil {
		return 0, nil, broken(err)
	}
	return code, payload, nil
}

// write writes a message. A link on which that fails has ended.
func (l *Link) write(code uint64, payload []byte) error {
	l.writing <- struct{}{}
	l.tcp.SetWriteDeadline(time.Now().Add(writeTimeout))
	err := l.life.Err() // checked after the deadline is set: Disconnect sets them in the opposite order
	if err == nil {
		_, err = l.rlpx.Write(code, payload)
	}
	<-l.writing
	if err != nil {
		l.Disconnect(broken(err))
		return context.Cause(l.life)
	}
	return nil
}

// Disconnect implements whisper.Link. Only the first reason counts.
func (l *Link) Disconnect(reason error) {
	l.once.Do(func() {
		l.end(reason)
		l.sayGoodbye(reason)
		l.tcp.Close()
	})
}

// sayGoodbye tells the other end why, unless that end has hung up itself. A
// write under way, perhaps to a peer that accepts nothing, must end by the
// deadline.
func (l *Link) sayGoodbye(reason error) {
	word := subprotocolError
	switch {
	case errors.As(reason, new(Disconnected)), errors.Is(reason, ErrBroken):
		return
	case errors.Is(reason, ErrClosed), errors.Is(reason, whisper.ErrNotRunning):
		word = Quitting
	case errors.Is(reason, whisper.ErrConnected):
		word = AlreadyConnected
	}
	l.tcp.SetWriteDeadline(time.Now().Add(goodbyeTimeout))
	l.writing <- struct{}{}
	l.rlpx.Write(disconnectMessage, encodeDisconnect(word))
	<-l.writing
}
