package shh

import (
	"context"
	"fmt"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/p2p/enode"

	"whisperpush/whisper"
)

// Info is the answer of shh_info.
type Info struct {
	Memory         int     `json:"memory"`         // bytes of the envelopes in the pool
	Messages       int     `json:"messages"`       // envelopes in the pool
	MinPow         float64 `json:"minPow"`         // least proof of work the node takes
	MaxMessageSize uint32  `json:"maxMessageSize"` // largest envelope the node takes, in bytes
}

// Version returns the version of the Whisper protocol.
func (a *API) Version(context.Context) string { return fmt.Sprintf("%d.0", whisper.ProtocolVersion) }

// Info tells how full the pool is and what the node takes.
func (a *API) Info(context.Context) Info {
	pool := a.node.Pool()
	return Info{
		Memory:         int(pool.Bytes),
		Messages:       pool.Envelopes,
		MinPow:         a.node.MinPoW(),
		MaxMessageSize: a.node.MaxMessageSize(),
	}
}

// SetMaxMessageSize sets the largest envelope the node takes, in bytes.
func (a *API) SetMaxMessageSize(_ context.Context, size uint32) (bool, error) {
	err := a.node.SetMaxMessageSize(size)
	return err == nil, err
}

// SetMinPoW sets the least proof of work the node takes, and tells the peers.
func (a *API) SetMinPoW(_ context.Context, pow float64) (bool, error) {
	err := a.node.SetMinPoW(pow)
	return err == nil, err
}

// SetBloomFilter sets which topics the node wants, and tells the peers.
func (a *API) SetBloomFilter(_ context.Context, bloom hexutil.Bytes) (bool, error) {
	if len(bloom) != whisper.BloomSize {
		return false, fmt.Errorf("invalid bloom filter of %d bytes; give %d", len(bloom), whisper.BloomSize)
	}
	a.node.SetBloom(whisper.Bloom(bloom))
	return true, nil
}

// MarkTrustedPeer takes direct messages from the node with this enode URL from now on. It does not connect to it.
func (a *API) MarkTrustedPeer(_ context.Context, url string) (bool, error) {
	peer, err := parsePeer(url)
	if err != nil {
		return false, err
	}
	if !a.node.Connected(peer) {
		return false, fmt.Errorf("could not find peer with ID: %x", peer[:]) // in geth's words
	}
	a.node.Trust(peer)
	return true, nil
}

// MakeLightClient stops relaying: peers that connect from now on are told that this is a light node.
func (a *API) MakeLightClient(context.Context) bool {
	a.node.SetLightNode(true)
	return a.node.LightNode()
}

// CancelLightClient relays again, towards peers that connect from now on.
func (a *API) CancelLightClient(context.Context) bool {
	a.node.SetLightNode(false)
	return !a.node.LightNode()
}

// parsePeer reads the identity out of an enode URL. Its text tells nothing of the URL.
func parsePeer(url string) (enode.ID, error) {
	node, err := enode.Parse(enode.ValidSchemes, url)
	if err != nil {
		return enode.ID{}, fmt.Errorf("invalid peer; give an enode URL")
	}
	return node.ID(), nil
}
