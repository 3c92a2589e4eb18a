package pushext

import (
	"bytes"
	"slices"
	"time"

	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

// registrationID is a small local number of a registration. It never leaves
// the server, is never a label or logged beside anything that names its owner,
// and is never given to another registration.
type registrationID uint64

// state is where a registration is in its life.
type state uint8

const (
	unconfirmed  state = iota // gets its challenge and nothing else
	confirmed                 // is woken
	dead                      // its provider said that its addresses are gone; the reason tells
	expired                   // its lifetime ended: a tombstone
	unregistered              // the device ended it: a tombstone
)

// route is one way to wake a device.
type route struct {
	provider string
	address  Address
	// proven says that the device confirmed the address. Until then nothing
	// but the challenge may be sent to it.
	proven bool
}

// registration is one device under one registration key.
type registration struct {
	id         registrationID
	key        [33]byte // compressed registration public key
	version    uint64   // of the latest Register
	state      state
	reason     string    // why it is not confirmed any more
	registered time.Time // latest accepted Register, which proves the addresses current
	expires    time.Time
	routes     []route // in ladder order
	sealKey    []byte  // X25519 public key; empty if plain
	plain      bool
	group      []byte // devices that share read state; may be empty
	collapse   string // constant, random: what push services see is derived from it, see face
}

// mode of a channel, as on the wire.
type mode = pushwire.Mode

const every = pushwire.Every

// channel is a topic that a registration listens to.
type channel struct {
	topic whisper.Topic
	mode  mode
	muted uint32 // Unix seconds until which it is silent
}

func (r *route) equal(o *route) bool {
	return r.provider == o.provider && r.address.Token == o.address.Token &&
		slices.EqualFunc(r.address.Keys, o.address.Keys, bytes.Equal)
}

// overhead is what a registration takes in memory besides its addresses and keys, in bytes.
const overhead = 400

// weight is about how many bytes a registration takes in memory.
func (r *registration) weight() int {
	n := overhead + len(r.sealKey) + len(r.group) + len(r.collapse)
	for i := range r.routes {
		n += len(r.routes[i].address.Token)
		for _, key := range r.routes[i].address.Keys {
			n += len(key)
		}
	}
	return n
}

// leadsTo reports whether two routes have one address.
func (r *route) leadsTo(o route) bool {
	return r.provider == o.provider && r.address.Token == o.address.Token
}

// wire is a state as a device is told.
func (s state) wire() pushwire.State {
	switch s {
	case unconfirmed:
		return pushwire.Waiting
	case confirmed:
		return pushwire.Active
	case dead:
		return pushwire.Dead
	case expired:
		return pushwire.Expired
	}
	return pushwire.Terminated
}
