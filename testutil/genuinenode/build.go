package genuinenode

import (
	"context"

	"whisperpush/testutil/nested"
)

// genuine is the module of go-ethereum v1.9.20. The flag lets code of 2020 reach
// runtime internals that Go has closed since.
var genuine = nested.Module{Dir: "testutil/genuine", Cache: "genuine", LDFlags: "-checklinkname=0"}

// Build compiles the node and returns the path of its executable, which is kept as
// nested.Module.Build says: under a minute the first time, if Go's build cache is
// empty.
func Build(ctx context.Context) (string, error) {
	return genuine.Build(ctx, "genuinenode", "./cmd/genuinenode")
}

// BuildWnode does the same for cmd/wnode as shipped with v1.9.20.
func BuildWnode(ctx context.Context) (string, error) {
	return genuine.Build(ctx, "wnode", "github.com/ethereum/go-ethereum/cmd/wnode")
}

// BuildSHHClient does the same for a command that makes every call of the genuine
// client of shh's JSON-RPC: to the node whose URL is its argument, or else to a
// genuine node in its own process.
func BuildSHHClient(ctx context.Context) (string, error) {
	return genuine.Build(ctx, "shhclient", "./cmd/shhclient")
}
