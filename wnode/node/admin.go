package node

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// administration is the namespace of Admin, which only the local socket serves.
const administration = "wnode"

// Admin is what an operator asks of a running node: the namespace "wnode", which only the local socket serves. The
// errors are sentences for the operator.
type Admin struct {
	node    *Node
	names   *sealedNames
	streams *streams
}

// errPushOff is the answer to a question about registrations or providers while push is off.
var errPushOff = errors.New("push is off; start the node with --push")

// Reload reads the settings again and adopts them, all or nothing. It returns what changed.
func (a *Admin) Reload(context.Context) ([]string, error) {
	again := a.node.again.Load()
	if again == nil {
		return nil, fmt.Errorf("%w: the node does not run yet, or was started by another program", errNothingReloaded)
	}
	changed, err := (*again)()
	return append([]string{}, changed...), err // a list in JSON even if it is empty
}

// ProviderReport is the state of a push provider.
type ProviderReport struct {
	Name    string `json:"name"`    // as configured
	State   string `json:"state"`   // "works", "fails", "paused", or "held": paused by the operator
	Waiting int    `json:"waiting"` // devices that wait for the provider
	Cause   string `json:"cause"`   // why the latest attempt failed, if none succeeded since; empty: no failure since
}

// Providers returns the state of each push provider.
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
