// Package registration has the types that the parts of a push server share to describe
// a device's registration: its ID, routes, channels and state, the Errand that proves
// an address, the Limits on what strangers register, and the Refusal of requests that
// exceed them. It has no behaviour of its own.
package registration

import (
	"bytes"
	"slices"
	"time"

	"whisperpush/pushext"
	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

// ID is a small local number of a registration. It never leaves the server, is
// never a label or logged beside anything that names its owner, and is never
// given to another registration.
type ID uint64

// State is where a registration is in its life.
type State uint8

const (
	Waiting    State = iota // gets its challenge and nothing else
	Active                  // is woken
	Dead                    // its addresses are gone, or another registration confirmed them; Reason says which
	Expired                 // its lifetime ended: a tombstone
	Terminated              // the device or the operator ended it: a tombstone
)

// Route is one way to wake a device.
type Route struct {
	Provider string
	Address  pushext.Address
	// Proven says that the device confirmed the address. Until then only
	// the challenge may be sent to it.
	Proven bool
}

// Registration is one device under one registration key.
type Registration struct {
	ID         ID
	Key        [33]byte // compressed registration public key
	Version    uint64   // of the latest Register
	State      State
	Reason     string    // why it is no longer confirmed
	Registered time.Time // latest accepted Register, which shows that the addresses are current
	Expires    time.Time
	Routes     []Route // in ladder order
	SealKey    []byte  // X25519 public key; empty if plain
	Chain      uint64  // version of the Register that started the chain of its wake-ups' keys; 0: there is none
	Plain      bool
	Group      []byte // devices that share read state; may be empty
	Collapse   string // random and constant; what push services see is derived from it, see package dispatch
}

// Mode of a channel, as on the wire.
type Mode = pushwire.Mode

// Every is the Mode of a channel on which every envelope wakes the device.
const Every = pushwire.Every

// Channel is a topic that a registration listens to.
type Channel struct {
	Topic whisper.Topic
	Mode  Mode
	Muted uint32 // Unix seconds until which it is silent
}

// Equal reports whether two routes have the same provider, token and keys.
func (r *Route) Equal(o *Route) bool {
	return r.Provider == o.Provider && r.Address.Token == o.Address.Token &&
		slices.EqualFunc(r.Address.Keys, o.Address.Keys, bytes.Equal)
}

// overhead is how many bytes a registration takes in memory besides its addresses and keys.
const overhead = 400

// Weight is roughly how many bytes a registration takes in memory.
func (r *Registration) Weight() int {
	n := overhead + len(r.SealKey) + len(r.Group) + len(r.Collapse)
	for i := range r.Routes {
		n += len(r.Routes[i].Address.Token)
		for _, key := range r.Routes[i].Address.Keys {
			n += len(key)
		}
	}
	return n
}

// LeadsTo reports whether two routes have the same address.
func (r *Route) LeadsTo(o Route) bool {
	return r.Provider == o.Provider && r.Address.Token == o.Address.Token
}

// Wire returns a state in the form that devices get.
func (s State) Wire() pushwire.State {
	switch s {
	case Waiting:
		return pushwire.Waiting
	case Active:
		return pushwire.Active
	case Dead:
		return pushwire.Dead
	case Expired:
		return pushwire.Expired
	}
	return pushwire.Terminated
}
