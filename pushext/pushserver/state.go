package pushserver

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"whisperpush/durable"
	"whisperpush/pushext/pushserver/dispatch"
	"whisperpush/pushext/pushserver/vault"
)

// keyProbe is the record that Probe writes.
var keyProbe = []byte{vault.Meta, 'p'}

// Probe writes a record with an fsync and reads it back, to tell whether the push
// database accepts writes. It may be called at any time before Stop.
func (x *Server) Probe() error {
	value := make([]byte, 16)
	rand.Read(value) // never fails
	var b durable.Batch
	b.Put(keyProbe, value)
	if err := x.store.Write(&b); err != nil {
		return fmt.Errorf("write a record to the push database: %w", err)
	}
	got, err := x.store.Get(keyProbe)
	if err != nil {
		return fmt.Errorf("read a record of the push database: %w", err)
	}
	if !bytes.Equal(got, value) {
		return errors.New("the push database gives back another record than was written")
	}
	return nil
}

// Position is the receive sequence up to which the archive has been matched.
func (x *Server) Position() uint64 { return x.outbox.Position() }

// Providers returns the states of all providers at now, by name.
func (x *Server) Providers(now time.Time) []dispatch.State { return x.dispatcher.States(now) }
