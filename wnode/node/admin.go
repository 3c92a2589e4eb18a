package node

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// administration is the namespace of Admin, which is served on the local socket alone.
const administration = "wnode"

// Admin is what an operator asks of a running node: the namespace "wnode" of the local socket, and of no other
// listener. The errors are sentences for the operator.
type Admin struct {
	node    *Node
	names   *sealedNames
	streams *streams
}

// errPushOff is told to who asks for registrations or providers.
var errPushOff = errors.New("push is off; start the node with --push")

// Reload reads the settings anew and takes them, all or nothing. It returns what changed.
func (a *Admin) Reload(context.Context) ([]string, error) {
	again := a.node.again.Load()
	if again == nil {
		return nil, fmt.Errorf("%w: the node does not run yet, or was started by another program", errNothingReloaded)
	}
	changed, err := (*again)()
	return append([]string{}, changed...), err // a list in JSON, also if it is empty
}

// ProviderReport is how a push provider is.
type ProviderReport struct {
	Name    string `json:"name"`    // as it was configured
	State   string `json:"state"`   // "works", "fails", "paused", or "held": paused by the operator
	Waiting int    `json:"waiting"` // devices that wait for it
	Cause   string `json:"cause"`   // why the latest attempt failed, if none succeeded since; empty: none did
}

// Providers tells how each push provider is.
func (a *Admin) Providers(context.Context) ([]ProviderReport, error) {
	if a.node.push == nil {
		return nil, errPushOff
	}
	reports := []ProviderReport{}
	for _, p := range a.node.push.Providers(time.Now()) {
		state := "works"
		switch {
		case p.Held:
			state = "held"
		case p.Paused:
			state = "paused"
		case p.Failing:
			state = "fails"
		}
		reports = append(reports, ProviderReport{Name: p.Name, State: state, Waiting: p.Queued, Cause: p.Cause})
	}
	return reports, nil
}
