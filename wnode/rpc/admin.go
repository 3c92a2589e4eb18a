package rpc

import (
	"context"
	"errors"

	"github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/p2p/enode"
)

// Admin is the namespace admin: geth's calls about the node's peers. It is served on the local socket, and
// elsewhere only if asked for.
type Admin struct{ Server *p2p.Server }

// NodeInfo describes this node.
func (a Admin) NodeInfo(context.Context) *p2p.NodeInfo { return a.Server.NodeInfo() }

// Peers describes the connected peers.
func (a Admin) Peers(context.Context) []*p2p.PeerInfo { return a.Server.PeersInfo() }

// AddPeer dials and keeps redialling the node with this enode URL.
func (a Admin) AddPeer(_ context.Context, url string) (bool, error) {
	return onPeer(url, a.Server.AddPeer)
}

// RemovePeer cuts the link to the node with this enode URL and no longer dials it.
func (a Admin) RemovePeer(_ context.Context, url string) (bool, error) {
	return onPeer(url, a.Server.RemovePeer)
}

func onPeer(url string, do func(*enode.Node)) (bool, error) {
	node, err := enode.Parse(enode.ValidSchemes, url)
	if err != nil {
		return false, errors.New("invalid peer; give an enode URL")
	}
	do(node)
	return true, nil
}
