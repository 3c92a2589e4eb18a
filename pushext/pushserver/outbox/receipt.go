package outbox

import (
	"slices"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"whisperpush/pushext/pushserver/registration"
)

// Fetched is the receipt for hashes: a sign of life that also cancels whatever is pending
// for them. An entry of a registration in a group is kept as read. received are envelopes
// that came to the device another way; what is pending for them is cancelled too.
func (o *Outbox) Fetched(id registration.ID, hashes []common.Hash, grouped bool, received ...common.Hash) error {
	return o.alive(id, func(d *device, now time.Time) {
		d.fetched = uint32(now.Unix())
		for _, h := range hashes {
			if !o.receive(d, h, grouped) {
				o.early.add(id, id, h, now)
			}
		}
		for _, h := range received {
			o.receive(d, h, grouped)
		}
	})
}

// Owed is what a device is owed besides envelopes.
type Owed struct {
	// Dismissed are envelopes whose notifications it is to remove, the oldest first.
	Dismissed []common.Hash
}

// Owed returns what a device is owed, without the dismissals that it says it knows of.
// The error is the disk's.
func (o *Outbox) Owed(id registration.ID, dismissed []common.Hash) (owed Owed, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	d, err := o.load(id)
	if err != nil {
		return Owed{}, err
	}
	before := len(d.dismissed)
	for _, h := range dismissed {
		d.settled(h)
	}
	if len(d.dismissed) != before {
		o.touch(d)
	}
	return Owed{Dismissed: slices.Clone(d.dismissed)}, nil
}

// receive cancels what is pending for a hash, and reports whether there is an entry.
// The caller holds mu.
func (o *Outbox) receive(d *device, h common.Hash, grouped bool) bool {
	i := d.find(h)
	switch {
	case i < 0:
		return false
	case d.entries[i].read:
	default:
		o.ended(d, d.entries[i], outcomeFetched, "fetch")
		if grouped {
			d.entries[i].read = true
		} else {
			d.entries = slices.Delete(d.entries, i, i+1)
		}
	}
	return true
}

// Seen drops hashes for the device that has seen them and for the others of its group. It
// returns, for each of the others, the hashes that it may be showing: it was woken for
// them, or has fetched them. The others are owed the dismissal, whether or not a wake-up
// can tell them, even if it is not known that they have the envelope: they may have it by
// a mail request, or from before the outbox forgot it.
func (o *Outbox) Seen(id registration.ID, others []registration.ID, hashes []common.Hash) (map[registration.ID][]common.Hash, error) {
	shown, drop := o.dropper(id, hashes)
	for _, other := range others {
		if other == id {
			continue
		}
		if err := o.update(other, drop); err != nil {
			return shown, err
		}
	}
	return shown, o.alive(id, drop)
}

// SeenElsewhere is Seen for the devices of a group on this server, if the device that has
// seen the hashes is on another.
func (o *Outbox) SeenElsewhere(here []registration.ID, hashes []common.Hash) (map[registration.ID][]common.Hash, error) {
	shown, drop := o.dropper(0, hashes)
	for _, id := range here {
		if err := o.update(id, drop); err != nil {
			return shown, err
		}
	}
	return shown, nil
}

// dropper returns a function that drops, for a device, hashes that id has seen, and a map
// in which it notes what other devices may be showing.
func (o *Outbox) dropper(id registration.ID, hashes []common.Hash) (map[registration.ID][]common.Hash, func(*device, time.Time)) {
	shown := make(map[registration.ID][]common.Hash)
	return shown, func(d *device, now time.Time) {
		for _, h := range hashes {
			if d.id == id {
				d.settled(h)
			} else if d.matched > 0 {
				d.dismiss(h)
			}
			i := d.find(h)
			if i < 0 {
				o.early.add(id, d.id, h, now)
				continue
			}
			e := d.entries[i]
			if !e.read {
				o.ended(d, e, outcomeSeen, "seen")
			}
			if d.id != id && (e.read || e.seq <= d.covered) {
				shown[d.id] = append(shown[d.id], h)
			}
			d.entries = slices.Delete(d.entries, i, i+1)
		}
	}
}

// Renewed is a sign of life without a receipt: the device registered, or
// proved an address.
func (o *Outbox) Renewed(id registration.ID) error {
	return o.alive(id, func(*device, time.Time) {})
}

// Arrived ends the silence of a device that connected by itself. It is not a receipt:
// what it has not fetched stays unfetched.
func (o *Outbox) Arrived(id registration.ID) error {
	return o.update(id, func(d *device, _ time.Time) { d.strikes = 0 })
}

// alive is update for a sign of life, which ends the silence. What was sent and is still
// not fetched may have been lost since: its ladder starts again.
func (o *Outbox) alive(id registration.ID, change func(*device, time.Time)) error {
	pending, climb := 0, 0
	err := o.update(id, func(d *device, now time.Time) {
		change(d, now)
		d.revive()
		_, pending = d.unread()
		climb = int(d.climb)
	})
	if err != nil {
		return err
	}
	o.bell.Calm(id)
	switch {
	case pending > 0:
		o.bell.Ring(id, false)
	case climb > 0:
		o.bell.Climb(id, climb)
	}
	return nil
}

// update changes a device.
func (o *Outbox) update(id registration.ID, change func(*device, time.Time)) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	d, err := o.load(id)
	if err != nil {
		return err
	}
	change(d, time.Now())
	if d.matched > 0 { // else there is nothing to remember
		o.touch(d)
	}
	return nil
}

// Drop ends everything that waits for a registration, with a reason. Its sequence numbers
// stay, and its dismissals.
func (o *Outbox) Drop(id registration.ID, outcome, reason string) error {
	return o.update(id, func(d *device, _ time.Time) {
		for _, e := range d.entries {
			if !e.read {
				o.ended(d, e, outcome, reason)
			}
		}
		d.entries = nil
	})
}

// Forget is Drop for a registration whose id will never be used again.
func (o *Outbox) Forget(id registration.ID, outcome, reason string) error {
	if err := o.Drop(id, outcome, reason); err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.starts, id)
	if d := o.devices[id]; d != nil {
		o.recent.Remove(d.recent)
		delete(o.devices, id)
		d.forgotten = true
	}
	o.removed = append(o.removed, id)
	signal(o.soon)
	return nil
}
