package wnode

import (
	"context"
	"errors"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/p2p/enode"
)

// adminAPI is the name space admin: geth's calls about the node's peers. It is served on the local socket, and
// elsewhere only if asked for.
type adminAPI struct{ server *p2p.Server }

// NodeInfo describes this node.
func (a adminAPI) NodeInfo(context.Context) *p2p.NodeInfo { return a.server.NodeInfo() }

// Peers describes the connected peers.
func (a adminAPI) Peers(context.Context) []*p2p.PeerInfo { return a.server.PeersInfo() }

// AddPeer dials and keeps redialling the node with this enode URL.
func (a adminAPI) AddPeer(_ context.Context, url string) (bool, error) {
	return onPeer(url, a.server.AddPeer)
}

// RemovePeer cuts the link to the node with this enode URL and no longer dials it.
func (a adminAPI) RemovePeer(_ context.Context, url string) (bool, error) {
	return onPeer(url, a.server.RemovePeer)
}

func onPeer(url string, do func(*enode.Node)) (bool, error) {
	node, err := enode.Parse(enode.ValidSchemes, url)
	if err != nil {
		return false, errors.New("invalid peer; give an enode URL")
	}
	do(node)
	return true, nil
}

// netAPI is the name space net.
type netAPI struct{ server *p2p.Server }

// Version is the id of the network as a decimal number. Whisper has one network, and programs made for geth know
// the main one's: 1.
func (netAPI) Version(context.Context) string { return "1" }

// Listening tells whether the node takes connections.
func (netAPI) Listening(context.Context) bool { return true }

// PeerCount is the number of connected peers.
func (a netAPI) PeerCount(context.Context) hexutil.Uint { return hexutil.Uint(a.server.PeerCount()) }

// web3API is the name space web3.
type web3API struct{}

// ClientVersion names this program.
func (web3API) ClientVersion(context.Context) string { return clientName() }

// Sha3 is the keccak256 of input.
func (web3API) Sha3(_ context.Context, input hexutil.Bytes) hexutil.Bytes {
	return crypto.Keccak256(input)
}
