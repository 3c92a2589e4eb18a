// Package network builds networks of whisper nodes on the loopback for tests:
// each node has a real p2p.Server on a port of its own, without discovery, and
// is stopped with its test.
package network

import (
	"context"
	"crypto/ecdsa"
	"net"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/stretchr/testify/require"

	"whisperpush/whisper"
	"whisperpush/whisper/devp2p"
)

// Options of a node.
type Options struct {
	Whisper  whisper.Config
	Key      *ecdsa.PrivateKey // identity of the node; nil: a new one
	MaxPeers int               // 0: 50
	NoListen bool              // like a phone: it only dials
}

// Peer is a running node.
type Peer struct {
	Node   *whisper.Node
	Server *p2p.Server
	Enode  *enode.Node // where it listens
	Key    *ecdsa.PrivateKey
}

// ID returns the identifier by which other nodes know the peer.
func (p *Peer) ID() enode.ID { return p.Enode.ID() }

// handshakes bounds how long Connect waits for two nodes on the loopback.
const handshakes = 20 * time.Second

// Start starts a node on 127.0.0.1 and stops it when the test ends.
func Start(t testing.TB, o Options) *Peer {
	t.Helper()
	if o.Key == nil {
		key, err := crypto.GenerateKey()
		require.NoError(t, err)
		o.Key = key
	}
	if o.MaxPeers == 0 {
		o.MaxPeers = 50
	}
	node, err := whisper.NewNode(o.Whisper)
	require.NoError(t, err)
	require.NoError(t, node.Start())
	config := p2p.Config{
		PrivateKey:  o.Key,
		MaxPeers:    o.MaxPeers,
		NoDiscovery: true,
		Name:        "whisperpush/test",
		Protocols:   []p2p.Protocol{devp2p.Protocol(node)},
	}
	if !o.NoListen {
		config.ListenAddr = "127.0.0.1:0"
	}
	server := &p2p.Server{Config: config}
	if err := server.Start(); err != nil {
		node.Stop()
		require.NoError(t, err)
	}
	t.Cleanup(func() {
		node.Stop()
		server.Stop()
	})
	port := 0
	if !o.NoListen {
		_, portText, err := net.SplitHostPort(server.ListenAddr)
		require.NoError(t, err)
		port, err = net.LookupPort("tcp", portText)
		require.NoError(t, err)
	}
	return &Peer{
		Node:   node,
		Server: server,
		Enode:  enode.NewV4(&o.Key.PublicKey, net.IPv4(127, 0, 0, 1), port, port),
		Key:    o.Key,
	}
}

// Connect has a dial b and waits until both have completed the shh handshake.
func Connect(t testing.TB, a, b *Peer) {
	t.Helper()
	a.Server.AddPeer(b.Enode)
	ctx, cancel := context.WithTimeout(t.Context(), handshakes)
	defer cancel()
	require.NoError(t, a.Node.WaitPeer(ctx, b.ID()))
	require.NoError(t, b.Node.WaitPeer(ctx, a.ID()))
}
