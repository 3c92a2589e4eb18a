package node

import (
	"context"
	"fmt"
)

// administration is the namespace of Admin, which is served on the local socket alone.
const administration = "wnode"

// Admin is what an operator asks of a running node: the namespace "wnode" of the local socket, and of no other
// listener. The errors are sentences for the operator.
type Admin struct{ node *Node }

// Reload reads the settings anew and takes them, all or nothing. It returns what changed.
func (a *Admin) Reload(context.Context) ([]string, error) {
	again := a.node.again.Load()
	if again == nil {
		return nil, fmt.Errorf("%w: the node does not run yet, or was started by another program", errNothingReloaded)
	}
	changed, err := (*again)()
	return append([]string{}, changed...), err // a list in JSON, also if it is empty
}
