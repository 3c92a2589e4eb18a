package pushserver

import (
	"context"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"whisperpush/pushext/pushserver/registry"
	"whisperpush/pushext/pushserver/requests"
	"whisperpush/pushext/pushserver/vault"
	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

// A server may hold one shard of the registrations only (Config.Shard). What follows is
// how it and those that hold the others work together; it is safe for concurrent use
// between New and Stop.

// hold is the dispatcher's.
func (c Config) hold() func() error {
	if c.Shard == nil {
		return nil
	}
	return c.Shard.Hold
}

// HandleCall takes a request on the push topic, from whatever carries envelopes both ways.
// It does not block.
func (x *Server) HandleCall(from Caller, env *whisper.Envelope) { x.protocol.Handle(from, env) }

// Heard says that the device with a registration key (compressed) is there through a
// caller, whose request another server took.
func (x *Server) Heard(from Caller, key, pushKey [33]byte) error {
	return x.protocol.Heard(from, key, pushKey)
}

// Tellings are what devices of this shard have seen, of which other shards that have devices
// of the same group are to be told, until Told says that they were. They survive a restart.
func (x *Server) Tellings() []Telling { return x.outbox.Tellings() }

// Told says that all shards were told.
func (x *Server) Told(number uint64) { x.outbox.Told(number) }

// SeenElsewhere takes a Telling of another shard. When it returns nil, what devices here are
// owed for it is on disk.
func (x *Server) SeenElsewhere(ctx context.Context, group []byte, hashes []common.Hash) error {
	return x.protocol.SeenElsewhere(ctx, group, hashes)
}

// Claims returns at most so many claims to addresses that are not settled.
func (x *Server) Claims(most int) ([]Claim, error) { return x.registry.Claims(most, time.Now()) }

// Settled notes that no other shard has an owner of what was claimed.
func (x *Server) Settled(c Claim) error { return x.registry.Settled(c) }

// Yield takes an address that another shard claims from its owner here. If it was claimed
// here later it returns that claim, and the other shard is to yield.
func (x *Server) Yield(to Claim) (later *Claim, err error) { return x.registry.Yield(to) }

// Idle tells whether there is no use in answering a request, because it changes nothing but for its answer and whoever
// sent it has left.
func Idle(req pushwire.Request, from Caller) bool { return requests.Idle(req, from) }

// KeyWrap is where every shard has a record if the disk key was ever exchanged.
var KeyWrap = vault.KeyWrap

// HandleKey returns the key under which every shard files registrations with a handle. wrap is the record at KeyWrap of any
// of them, nil if there is none.
func HandleKey(diskKey, wrap, handle []byte) ([]byte, error) {
	v, err := vault.New(diskKey)
	if err == nil && wrap != nil {
		err = v.Wrapped(wrap)
	}
	if err != nil {
		return nil, err
	}
	return registry.HandleKey(v, handle), nil
}

// AddressKey returns the key under which every shard files registrations with the address
// of a claim. The value is 1 if the registration owns it.
func AddressKey(c Claim) []byte { return registry.AddressPrefix(c.Address) }
