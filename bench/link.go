package main

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/ethereum/go-ethereum/p2p/rlpx"
	"github.com/ethereum/go-ethereum/rlp"

	"whisperpush/whisper"
)

// Codes of devp2p's base protocol, and the first code of the other protocols.
const (
	helloPacket  = 0
	discPacket   = 1
	pingPacket   = 2
	pongPacket   = 3
	baseLength   = 16
	devp2pSnappy = 5 // the version from which packets are compressed
)

// link is one RLPx connection that speaks only what it needs of shh/6. It is the load
// generator, the same for our node and the genuine one.
type link struct {
	id   enode.ID
	conn *rlpx.Conn
	raw  net.Conn

	writing sync.Mutex // one packet at a time

	mu      sync.Mutex // guards the following fields
	handler func(code uint64, payload []byte)
	pongs   chan struct{}
	err     error         // why it ended
	ended   chan struct{} // closed when nothing more will be read
}

// hello is devp2p's first packet.
type hello struct {
	Version    uint64
	Name       string
	Caps       []p2p.Cap
	ListenPort uint64
	ID         []byte
	Rest       []rlp.RawValue `rlp:"tail"`
}

// encodeHello is the hello of a node that speaks only shh/6.
func encodeHello(name string, key *ecdsa.PrivateKey) ([]byte, error) {
	return rlp.EncodeToBytes(&hello{
		Version: devp2pSnappy, Name: name,
		Caps: []p2p.Cap{{Name: whisper.ProtocolName, Version: whisper.ProtocolVersion}}, ID: crypto.FromECDSAPub(&key.PublicKey)[1:],
	})
}

// encodeStatus is the status of a full shh/6 node that takes any envelope.
func encodeStatus() ([]byte, error) {
	return rlp.EncodeToBytes([]any{uint(whisper.ProtocolVersion), uint(0), []byte{}, false})
}

// dial connects to a node and exchanges the status of a full shh/6 node that
// takes any envelope.
func dial(ctx context.Context, to *enode.Node) (*link, error) {
	key, err := crypto.GenerateKey()
	if err != nil {
		return nil, err
	}
	endpoint, ok := to.TCPEndpoint()
	if !ok {
		return nil, fmt.Errorf("node %v has no TCP port", to)
	}
	var dialer net.Dialer
	raw, err := dialer.DialContext(ctx, "tcp", endpoint.String())
	if err != nil {
		return nil, err
	}
	l := &link{
		id: enode.PubkeyToIDV4(&key.PublicKey), conn: rlpx.NewConn(raw, to.Pubkey()), raw: raw,
		pongs: make(chan struct{}, 1), ended: make(chan struct{}), handler: func(uint64, []byte) {},
	}
	if err := l.shake(key); err != nil {
		raw.Close()
		return nil, fmt.Errorf("connect to %v: %w", endpoint, err)
	}
	go l.read()
	return l, nil
}

func (l *link) shake(key *ecdsa.PrivateKey) error {
	l.conn.SetDeadline(time.Now().Add(10 * time.Second))
	defer l.conn.SetDeadline(time.Time{})
	if _, err := l.conn.Handshake(key); err != nil {
		return err
	}
	ours, err := encodeHello("whisperpush/bench", key)
	if err != nil {
		return err
	}
	if _, err := l.conn.Write(helloPacket, ours); err != nil {
		return err
	}
	code, payload, _, err := l.conn.Read()
	if err != nil {
		return err
	}
	var theirs hello
	if code != helloPacket {
		return fmt.Errorf("packet %d instead of a hello", code)
	}
	if err := rlp.DecodeBytes(payload, &theirs); err != nil {
		return fmt.Errorf("hello: %w", err)
	}
	l.conn.SetSnappy(theirs.Version >= devp2pSnappy)
	status, err := encodeStatus()
	if err != nil {
		return err
	}
	if err := l.send(whisper.StatusPacket, status); err != nil {
		return err
	}
	for {
		code, _, _, err := l.conn.Read()
		switch {
		case err != nil:
			return err
		case code == baseLength+whisper.StatusPacket:
			return nil
		case code == discPacket:
			return errors.New("the node hung up")
		}
	}
}

// send writes one packet of shh/6.
func (l *link) send(code uint64, payload []byte) error { return l.write(baseLength+code, payload) }

func (l *link) write(code uint64, payload []byte) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	_, err := l.conn.Write(code, payload)
	return err
}

// handle sets the handler of shh/6 packets, which is called on the reading goroutine; the
// payload is valid during the call.
func (l *link) handle(fn func(code uint64, payload []byte)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.handler = fn
}

func (l *link) read() {
	defer close(l.ended)
	for {
		code, payload, _, err := l.conn.Read()
		if err == nil && code == discPacket {
			err = errors.New("the node hung up")
		}
		if err != nil {
			l.mu.Lock()
			l.err = err
			l.mu.Unlock()
			return
		}
		switch code {
		case pingPacket:
			go l.write(pongPacket, rlp.EmptyList)
		case pongPacket:
			select {
			case l.pongs <- struct{}{}:
			default:
			}
		default:
			if code >= baseLength {
				l.mu.Lock()
				handler := l.handler
				l.mu.Unlock()
				handler(code-baseLength, payload)
			}
		}
	}
}

// ping times one devp2p ping.
func (l *link) ping(ctx context.Context) (time.Duration, error) {
	start := time.Now()
	if err := l.write(pingPacket, rlp.EmptyList); err != nil {
		return 0, err
	}
	if err := l.wait(ctx, l.pongs); err != nil {
		return 0, err
	}
	return time.Since(start), nil
}

// wait returns when done brings something, or the reason that it never will.
func (l *link) wait(ctx context.Context, done <-chan struct{}) error {
	select {
	case <-done:
		return nil
	case <-l.ended:
		l.mu.Lock()
		defer l.mu.Unlock()
		return fmt.Errorf("link ended: %w", l.err)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// close closes the link and waits for the reader.
func (l *link) close() {
	l.raw.Close()
	<-l.ended
}
