package rpc

import (
	"slices"

	geth "github.com/ethereum/go-ethereum/rpc"
)

// Limits of one JSON-RPC request. A message of the largest size is twice as long in hex.
const (
	bodyLimit     = 2*(10<<20) + 64<<10
	batchItems    = 1000
	batchResponse = 32 << 20
)

// APIs are the JSON-RPC namespaces by name. The exported methods of each are its calls.
type APIs map[string]any

// newServer serves those that names lists, all without names.
func (a APIs) newServer(names ...string) (*geth.Server, error) {
	srv := geth.NewServer()
	srv.SetBatchLimits(batchItems, batchResponse)
	srv.SetHTTPBodyLimit(bodyLimit)
	srv.SetWebsocketReadLimit(bodyLimit)
	for name, receiver := range a {
		if len(names) > 0 && !slices.Contains(names, name) {
			continue
		}
		if err := srv.RegisterName(name, receiver); err != nil {
			return nil, err
		}
	}
	return srv, nil
}
