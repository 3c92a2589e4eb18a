package rpc

import (
	"context"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/p2p"
)

// Net is the namespace net.
type Net struct{ Server *p2p.Server }

// Version is the id of the network as a decimal number. Whisper has one network, and programs made for geth know
// the main one's: 1.
func (Net) Version(context.Context) string { return "1" }

// Listening tells whether the node takes connections.
func (Net) Listening(context.Context) bool { return true }

// PeerCount is the number of connected peers.
func (a Net) PeerCount(context.Context) hexutil.Uint { return hexutil.Uint(a.Server.PeerCount()) }
