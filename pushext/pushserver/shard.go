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

// A server may hold only one shard of the registrations (Config.Shard). What follows is
// how it and the servers that hold the other shards work together. It is safe for
// concurrent use between New and Stop.

// hold is the dispatcher's Options.Hold.
func (c Config) hold() func() error {
	if c.Shard == nil {
		return nil
	}
	return c.Shard.Hold
}

// HandleCall takes a request on the push topic from any transport that carries envelopes
// both ways. It does not block.
func (x *Server) HandleCall(from Caller, env *whisper.Envelope) { x.protocol.Handle(from, env) }

// Heard says that the device with a registration key (compressed) can be reached
// through a caller, whose request another server took.
func (x *Server) Heard(from Caller, key, pushKey [33]byte) error {
	return x.protocol.Heard(from, key, pushKey)
}

// Tellings are what devices of this shard have seen and what other shards with devices of
// the same group must be told, until Told says that they were. They survive a restart.
func (x *Server) Tellings() []Telling { return x.outbox.Tellings() }

// Told says that all shards were told of the Telling with this number.
func (x *Server) Told(number uint64) { x.outbox.Told(number) }

// SeenElsewhere takes a Telling from another shard. When it returns nil, what it owes to
// devices here is on disk.
func (x *Server) SeenElsewhere(ctx context.Context, group []byte, hashes []common.Hash) error {
	return x.protocol.SeenElsewhere(ctx, group, hashes)
}

// Claims returns at most most claims to addresses that are not settled.
func (x *Server) Claims(most int) ([]Claim, error) { return x.registry.Claims(most, time.Now()) }

// Settled notes that no other shard has an owner of the claimed address.
func (x *Server) Settled(c Claim) error { return x.registry.Settled(c) }

// Yield takes an address that another shard claims away from its owner here. If the claim
// here is the later one, Yield returns that claim, and the other shard is to yield.
func (x *Server) Yield(to Claim) (later *Claim, err error) { return x.registry.Yield(to) }

// Idle reports whether answering a request is pointless, because it has no effect but its answer and its sender has
// left.
func Idle(req pushwire.Request, from Caller) bool { return requests.Idle(req, from) }

// KeyWrap is the key of a record that every shard has if the disk key was ever exchanged.
var KeyWrap = vault.KeyWrap

// HandleKey returns the database key under which every shard files registrations with a handle. wrap is the record at
// KeyWrap of any of them, or nil if there is none.
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

// AddressKey returns the database key under which every shard files registrations with
// the address of a claim. The value is 1 if the registration owns the address.
func AddressKey(c Claim) []byte { return registry.AddressPrefix(c.Address) }
