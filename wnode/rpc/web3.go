package rpc

import (
	"context"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"
)

// Web3 is the namespace web3.
type Web3 struct {
	Client string // what ClientVersion says
}

// ClientVersion names this program.
func (a Web3) ClientVersion(context.Context) string { return a.Client }

// Sha3 is the keccak256 of input.
func (Web3) Sha3(_ context.Context, input hexutil.Bytes) hexutil.Bytes {
	return crypto.Keccak256(input)
}
