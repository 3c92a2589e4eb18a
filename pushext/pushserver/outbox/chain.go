package outbox

import (
	"encoding/binary"
	"errors"
	"fmt"

	"whisperpush/durable"
	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushserver/vault"
	"whisperpush/pushext/pushwire"
)

// chain makes the keys of a device's wake-ups. What is on disk is always ahead of what
// was sent, as with sequence numbers: a record that reserves numbers holds the chain as
// it is when they are used up. A crash skips keys, and no record leads to a key that was
// used.
type chain struct {
	front pushwire.Chain // makes the next key; the zero value: there is no chain
	ahead pushwire.Chain // the same, or further on: what was recorded last
	start uint64         // version of the start whose record is deleted with the next one of the device
}

// begin replaces the chain.
func (c *chain) begin(version uint64, start registration.Start) {
	c.front = pushwire.NewChain(version, start)
	c.ahead = c.front
	c.start = version
}

// take returns a key, nil if there is no chain or it is at its end.
func (c *chain) take() *pushwire.ChainKey {
	if c.front.Version == 0 {
		return nil
	}
	key, ok := c.front.Take()
	if !ok {
		return nil
	}
	return &key
}

// reserve is the chain after n more keys, to be recorded.
func (c *chain) reserve(n uint64) pushwire.Chain {
	if n == 0 {
		return c.front // what was recorded further on is given back
	}
	if c.ahead.Next < c.front.Next {
		c.ahead = c.front
	}
	c.ahead.Skip(c.front.Next + n - min(c.ahead.Next, c.front.Next+n))
	return c.ahead
}

const (
	chainSize = 8 + 8 + pushwire.ChainSize // version, next, link
	// maxStarts bounds the starts in memory; others are read when they are needed.
	maxStarts = 1 << 15
)

func appendChain(b []byte, c pushwire.Chain) []byte {
	b = binary.BigEndian.AppendUint64(b, c.Version)
	b = binary.BigEndian.AppendUint64(b, c.Next)
	return append(b, c.Link[:]...)
}

// sealChain returns a device's chain as its record holds it: nothing, if there is none.
func (o *Outbox) sealChain(d *device, reserved uint64) []byte {
	if d.chain.front.Version == 0 {
		return nil
	}
	var room [chainSize]byte
	return o.store.Seal(Key(d.id), appendChain(room[:0], d.chain.reserve(reserved-d.used)))
}

// openChain reverses sealChain. A chain that does not open counts as none: the device's
// wake-ups go without until it registers again.
func (o *Outbox) openChain(d *device) {
	if len(d.sealed) == 0 {
		return
	}
	b, err := o.store.Open(Key(d.id), d.sealed)
	d.sealed = nil
	if err != nil || len(b) != chainSize {
		o.log.Error("the chain of a registration's keys is damaged; its wake-ups go without", "registration", uint64(d.id), "err", err)
		o.m.damaged.Inc()
		return
	}
	d.chain.front = pushwire.Chain{
		Version: binary.BigEndian.Uint64(b), Next: binary.BigEndian.Uint64(b[8:]), Link: [pushwire.ChainSize]byte(b[16:]),
	}
	d.chain.ahead = d.chain.front
}

// newStart is the start of a chain that no wake-up was sent under.
type newStart struct {
	version uint64
	start   registration.Start
}

// Started remembers the start of a chain, because devices that register are likely to be
// woken soon.
func (o *Outbox) Started(id registration.ID, version uint64, start registration.Start) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, known := o.starts[id]; known || len(o.starts) < maxStarts {
		o.starts[id] = newStart{version, start}
	}
}

// startOf returns the start of a chain, nil if there is none. The error is the disk's.
// The caller does not hold mu.
func (o *Outbox) startOf(id registration.ID, version uint64) (*registration.Start, error) {
	key := registration.ChainKey(id, version)
	sealed, err := o.store.Get(key)
	if errors.Is(err, durable.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the start of a chain: %w", err)
	}
	start, err := o.store.Open(key, sealed)
	if errors.Is(err, vault.ErrSealed) || err == nil && len(start) != pushwire.ChainSize {
		o.log.Error("the start of a registration's chain is damaged; its wake-ups go without", "registration", uint64(id))
		o.m.damaged.Inc()
		return nil, nil
	}
	return (*registration.Start)(start), err
}

// chained makes a device's chain that of a version, 0 for none, and returns the device.
// The caller holds mu, which is released while the disk is asked.
func (o *Outbox) chained(id registration.ID, version uint64) (*device, error) {
	d, err := o.load(id)
	if err != nil || d.chain.front.Version == version {
		return d, err
	}
	fresh, known := o.starts[id]
	known = known && fresh.version == version
	from := &fresh.start
	if !known && version != 0 {
		o.mu.Unlock()
		from, err = o.startOf(id, version)
		o.mu.Lock()
		if err != nil {
			return nil, err
		}
		if d, err = o.load(id); err != nil || d.chain.front.Version == version {
			return d, err
		}
	}
	delete(o.starts, id)
	if version == 0 || from == nil {
		d.chain = chain{}
		return d, nil
	}
	d.chain.begin(version, *from)
	o.touch(d)
	return d, nil
}
